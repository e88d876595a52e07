"""The rules that read a query alone, each with what it must drop and what it must leave."""

import pytest

from benchmark.records import Chunk
from benchmark.synthesis.draft import ORIGINS, Draft, stretches, word_count, words_of
from benchmark.synthesis.filters import exact_duplicates, longest_run, objections, text_checks
from benchmark.synthesis.questions import _SHORTEST

TEXT = "An advance facility repays the servicer for principal and interest that it has advanced to the trust in time."
CHUNK = Chunk("c0", "a.md", "Advances", (), 0, len(TEXT), TEXT)
COPIED = "How the servicer for principal and interest that it has advanced to the trust?"


def draft(text, origin="llm", kind=""):
    return Draft(text, 0, origin, TEXT, type=kind)


def first_objection(item, language=None):
    for rule, check in text_checks(language).items():
        if objections(check, [item], [CHUNK]):
            return rule
    return None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Why?", "length"),
        ("How " + "very " * 33 + "long?", "length"),
        ("What does this document say about advances?", "deictic"),
        ("Why is the text about servicers?", "deictic"),
        ("Which of the following is an advance?", "deictic"),
        ("How does SmolLM help with servicer advances?", "deictic"),
        ("What is a ratio of a ratio of a ratio of a ratio?", "repetition"),
        (COPIED, "copied_span"),
        ("Who repays a servicer for its outlays?", None),
        ("Which document proves that the trust owes the servicer?", None),
        ("When does the offering document have to be filed?", None),
    ],
)
def test_each_rule_drops_its_own(text, rule):
    assert first_objection(draft(text)) == rule


def test_rules_for_questions_leave_what_was_cut_from_a_text_alone():
    cut = "repays the servicer for principal and interest that it has advanced as this document says"
    for origin in ("sentence", "span", "lexical", "acronym", "heading"):
        assert first_objection(draft(cut, origin), lambda text: 1.0) is None


def test_imported_questions_may_quote_but_not_point_at_a_page():
    assert first_objection(draft(COPIED, "imported")) is None
    assert first_objection(draft("What does this document say about advances?", "imported")) == "deictic"
    assert first_objection(draft("advance facility", "imported")) is None
    assert first_objection(draft("advance facility")) == "length"


def test_every_origin_has_a_length():
    for origin in ORIGINS:
        assert objections(text_checks(None)["length"], [draft("word " * 200, origin)], [CHUNK]) == {0: 200.0}


def test_keyword_queries_may_be_short_and_not_long():
    assert first_objection(draft("advance facility", kind="keywords")) is None
    assert first_objection(draft("advance", kind="keywords")) == "length"
    thirteen = "one two three four five six seven eight nine ten eleven twelve thirteen"
    assert first_objection(draft(thirteen, kind="keywords")) == "length"
    assert first_objection(draft(thirteen, kind="question")) is None
    assert first_objection(draft("advance facility", "imported", kind="keywords")) is None


def test_a_question_in_another_language_goes_with_the_figure_of_the_check():
    def language(text):
        return 0.93 if "quién" in text else None

    drafts = [draft("¿A quién paga el fondo los anticipos?"), draft("Who repays the servicer?")]
    assert objections(text_checks(language)["language"], drafts, [CHUNK]) == {0: 0.93}
    assert "language" not in text_checks(None)


def test_the_same_query_twice_points_to_the_first_whatever_the_origin():
    twice = [
        draft("Who repays a servicer?"), draft("Who repays the trust?"), draft("who repays a servicer", "span"),
        draft("Ｗho repays (a servicer)", "imported"),
    ]  # fmt: skip
    assert {number: twin.other for number, twin in exact_duplicates(twice).items()} == {2: 0, 3: 0}


def test_longest_run_against_all_substrings():
    words, text = list("abcabde"), list("xabdeabcy")
    runs = [
        size for size in range(1, 8) for i in range(8 - size) for j in range(len(text) - size + 1)
        if words[i : i + size] == text[j : j + size]
    ]  # fmt: skip
    assert longest_run(words, text) == max(runs) == 4


HARBOUR = "贷款申请人必须在四月一日之前向港口办公室支付停泊费用。如果泊位空置六周以上，管理员可以将其出租给访客。"


@pytest.mark.parametrize(
    ("text", "kind", "rule"),
    [
        ("停泊费用必须在什么时候支付？", "question", None),
        ("泊位空置多久可以出租给访客？", "question", None),
        ("停泊费用", "keywords", None),
        ("係留料はいつまでに港湾事務所に支払わなければなりませんか。", "question", None),
        ("データレイクのデータとデータウェアハウスのデータはどう違いますか。", "question", None),
        ("ต้องชำระค่าจอดเรือภายในวันที่เท่าไรของปี", "question", None),
        ("नाव का किराया कब तक देना होता है और किसे दिया जाता है?", "question", None),
        ("为何？", "question", "length"),
        ("停泊" * 33 + "？", "question", "length"),
        ("停泊费用是停泊费用是停泊费用是停泊费用吗？", "question", "repetition"),
        ("为什么贷款申请人必须在四月一日之前向港口办公室支付？", "question", "copied_span"),
    ],
)
def test_questions_in_other_scripts_are_measured_by_their_letters(text, kind, rule):
    item = Draft(text, 0, "llm", HARBOUR, type=kind)
    chunk = Chunk("c0", "a.md", "", (), 0, len(HARBOUR), HARBOUR)
    found = (name for name, check in text_checks(None).items() if objections(check, [item], [chunk]))
    assert next(found, None) == rule


def test_words_of_scripts_without_spaces_are_letters_and_two_of_them_count_as_one():
    assert words_of("EC2の料金、3.5円") == ["ec2", "の", "料", "金", "3.5", "円"]
    assert words_of("한국어 단어") == ["한국어", "단어"]  # Korean has spaces
    assert words_of("ที่นี่") == ["ที่", "นี่"] and words_of("किताब") == ["किताब"]
    assert words_of("Öl cafe\u0301") == ["öl", "cafe\u0301"]
    assert word_count("EC2の料金、3.5円") == 4 and word_count("") == 0
    assert word_count(HARBOUR) > _SHORTEST > word_count(HARBOUR[:20])
    words = ["one", "two", "three", "four", "five"]
    for length in (1, 2, 5, 6):
        assert stretches(words, length) == list(zip(*(words[i:] for i in range(length)), strict=False))
    assert stretches(["ec2", "の", "料", "金"], 2) == [("ec2", "の", "料")]
    assert stretches([], 2) == []
