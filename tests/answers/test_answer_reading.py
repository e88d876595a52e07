"""Requests for both kinds of language model, replies read, citations found, and which questions are drawn."""

import json
from collections import Counter

import pytest

from benchmark.answers.citations import Citations, read_formed, read_plain, read_reply
from benchmark.answers.prompt import Prompter, prompt_hashes, read_prompts
from benchmark.answers.sampling import asked_questions
from benchmark.llm.model import Answer
from benchmark.llm.prompts import Prompts
from benchmark.records import Chunk, Query, TestSet
from benchmark.specs import Endpoint, LLMSpec, LocalModel

GIVEN = ("bees.md#1", "bread.md#0")
CORPUS = {*GIVEN, "chess.md#2", "7187158"}
DECLINING = "The passages do not answer this question."
CHUNKS = [Chunk("bees.md#1", "bees.md", "Bees", ("Swarming",), 0, 9, "It swarms."),
          Chunk("bread.md#0", "bread.md", "", (), 0, 9, "It {bakes} %s.")]  # fmt: skip


def formed(text, citations=(), answerable=True):
    value = {"answer": text, "citations": list(citations), "answerable": answerable}
    return read_formed(json.dumps(value), GIVEN, CORPUS, DECLINING)


def test_citations_of_the_list_and_of_the_text_are_one_list():
    reply = formed("In spring [bread.md#0], or so [1].", ["bees.md#1", "bread.md#0"])
    assert reply.text == "In spring, or so [1]."
    assert reply.cited == ("bread.md#0", "bees.md#1") and reply.invented == () and not reply.declined


@pytest.mark.parametrize(
    "written",
    ["[bees.md#1]", " 'bees.md#1' ", "id: bees.md#1", "bees.md#1; bees.md#1", "【bees.md#1】"],
)
def test_signs_around_a_citation_do_not_matter(written):
    assert formed("Yes.", [written]).cited == ("bees.md#1",)


@pytest.mark.parametrize("written", ["chess.md#2", "bees.md", "1", "7187158", "the rule book", "Bees.md#1"])
def test_what_leads_to_no_passage_of_the_request_is_invented(written):
    reply = formed("Yes.", [written, ""])
    assert (reply.cited, reply.invented) == ((), (written,))


def test_a_list_of_known_and_unknown_ones_is_taken_apart():
    reply = formed("Yes (chess.md#2, bees.md#1).")
    assert (reply.text, reply.cited, reply.invented) == ("Yes.", ("bees.md#1",), ("chess.md#2",))


@pytest.mark.parametrize("text", ["Yes (7187158).", "Yes [sic].", "Yes (see above).", "f(x) [x]"])
def test_brackets_without_ids_stay(text):
    reply = formed(text)
    assert (reply.text, reply.cited, reply.invented) == (text, (), ())


def test_an_id_with_a_comma_is_one_id():
    citations = Citations(["a, b.md#1"], {"a, b.md#1"})
    citations.take("a, b.md#1")
    assert list(citations.cited) == ["a, b.md#1"]


def test_an_invention_is_one_short_line_without_controls():
    (shown,) = formed("Yes.", ["x\x1b[31m\n" + "y" * 500]).invented
    assert "\x1b" not in shown and "\n" not in shown and len(shown) <= 200


def test_declining_is_a_field_and_keeps_what_was_said():
    assert formed("", (), answerable=False) == formed(DECLINING, (), answerable=False)
    assert formed("Nobody says who won.", (), answerable=False).text == "Nobody says who won."
    assert not formed("", ()).declined and formed("", ()).text == ""
    assert read_formed("no JSON", GIVEN, CORPUS, DECLINING) is None


def plain(text, cut_off=False):
    return read_plain(text, GIVEN, CORPUS, DECLINING, cut_off)


def test_plain_text_declines_with_the_sentence_alone():
    assert plain("Sorry: the passages do not answer this QUESTION").declined
    assert not plain("The passages do not say.").declined and not plain("").declined


def test_plain_text_cites_in_brackets_or_not_at_all():
    assert plain("In spring [bees.md#1].").cited == ("bees.md#1",)
    assert plain("In spring (chess.md#2).").invented == ("chess.md#2",)
    assert plain("In spring, says bees.md.") == plain("In spring, says bees.md.", cut_off=True)


def test_what_is_cut_off_ends_with_a_whole_sentence():
    small = LLMSpec(local=LocalModel(path="m"), max_tokens=7)
    corpus = CORPUS
    said = " It bakes. It then"
    assert read_reply(Answer(said, 9, 7), small, GIVEN, corpus, DECLINING).text == "It bakes."
    assert read_reply(Answer(said, 9, 6), small, GIVEN, corpus, DECLINING).text == "It bakes. It then"
    assert read_reply(Answer(" ... ", 9, 6), small, GIVEN, corpus, DECLINING) == "an answer without words"
    large = LLMSpec(endpoint=Endpoint(base_url="http://h/v1", model="m"))
    assert read_reply(Answer(said, 9, 7), large, GIVEN, corpus, DECLINING) == "not the form"


def test_a_request_fences_each_passage_with_its_id():
    llm = LLMSpec(endpoint=Endpoint(base_url="http://h/v1", model="m"), temperature=0.0, max_tokens=99)
    request = Prompter(read_prompts(None, None), llm, 100).request("Why\n {x}?", CHUNKS)
    asked = request.messages[1].content
    assert "\nid: bees.md#1\nBees - Swarming\nIt swarms.\n</passage-" in asked
    assert "\nid: bread.md#0\nIt {bakes} %s.\n</passage-" in asked and asked.endswith("Question: Why {x}?")
    assert asked.index("bees.md#1") < asked.index("bread.md#0")
    assert (request.temperature, request.max_tokens, request.form.name) == (0.0, 99, "grounded_answer")


def test_a_very_small_model_is_made_to_go_on():
    llm = LLMSpec(local=LocalModel(path="m", context_weight=0.25), temperature=0.0)
    request = Prompter(read_prompts(None, None), llm, 100).request("Why?", CHUNKS)
    (message,) = request.messages
    assert message.content.startswith("[bees.md#1]\nBees - Swarming\nIt swarms.\n\n[bread.md#0]\nIt {bakes} %s.\n\n")
    assert message.content.endswith(" %s.\n\nQuestion: Why?")
    assert request.prefill == "According to the text above," and request.form is None and request.context_weight == 0.25
    assert request.background[0].content == "Question: Why?"


def test_a_judges_prompt_changes_no_answer(tmp_path):
    for name in ("answer_task", "judge_x"):
        (tmp_path / f"{name}.txt").write_text("x")
    prompts = Prompts(builtin=tmp_path)
    assert prompt_hashes(prompts).keys() == {"answer_task"}


def village(sizes, unanswerable=0):
    queries = tuple(Query(f"{name}{i}", "?", name, "x") for name, size in sizes.items() for i in range(size))
    none = tuple(Query(f"u{i}", "?") for i in range(unanswerable))
    return TestSet(queries, none, {query.id: {"c#1": 1} for query in queries})


def test_all_questions_are_asked_in_their_order():
    rows = asked_questions(village({"core": 3}, 2), None, 0)
    assert [row.id for row in rows] == ["core0", "core1", "core2", "u0", "u1"]
    assert rows[0].relevant == ("c#1",) and rows[3].relevant == () and rows[0].reference == "x"
    assert asked_questions(village({"core": 3}, 2), 3, 1) == rows


def test_a_draw_keeps_the_shares_of_categories_and_of_unanswerable_ones():
    whole = village({"core": 60, "edge": 30, "jargon": 10}, 20)
    rows = asked_questions(whole, 20, 5)
    answerable = [row for row in rows if row.answerable]
    assert Counter(row.category for row in answerable) == {"core": 12, "edge": 6, "jargon": 2}
    assert len(rows) - len(answerable) == 4
    assert rows == asked_questions(whole, 20, 5) != asked_questions(whole, 20, 6)
    # A larger draw with the same seed holds the smaller one: its answers are kept already.
    assert {row.id for row in rows} < {row.id for row in asked_questions(whole, 40, 5)}


def test_one_unanswerable_question_at_least():
    rows = asked_questions(village({"core": 100}, 2), 1, 0)
    assert [row.answerable for row in rows] == [True, False]
    assert [row.answerable for row in asked_questions(village({"core": 9}), 1, 0)] == [True]
