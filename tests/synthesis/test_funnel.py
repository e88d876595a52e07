"""The funnel: order, arithmetic, switches, relaxing, and what the kept queries remember of the dropped ones."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.console import SILENT, Notes
from benchmark.encoders.bm25 import BM25Index
from benchmark.encoders.dense import DenseEncoder
from benchmark.errors import BenchError
from benchmark.llm.asking import Asker
from benchmark.llm.prompts import Prompts
from benchmark.project import Project
from benchmark.records import Chunk
from benchmark.specs import RULES, BM25Settings, Endpoint, Filters, GenerateSpec, LLMSpec, Negatives
from benchmark.specs.generate import CrossEncoderFilter, JudgeFilter
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.funnel import Tools, run_filters
from benchmark.synthesis.negatives import mine
from benchmark.synthesis.round_trip import relaxed_k, round_trip_verdict
from benchmark.synthesis.search import Corpus

TEXTS = [
    "A mooring in the inner basin is let for one season and paid before April.",
    "A colony of bees swarms when the queen is old and the hive is crowded.",
    "The starter is fed with rye flour and water every twelve hours.",
    "Each player has ninety minutes on the clock and forfeits when late.",
    "The parking permit is printed by the office of the mayor.",
    "Copper pipes are soldered with a torch after the flux has been brushed on.",
]
TEST_QUESTION = "By when must I settle what I owe for my place on the quay?"
QUESTIONS = [
    Draft("For how long is a mooring in the basin let?", 0, "llm", TEXTS[0], type="question"),
    Draft("mooring season April", 0, "llm", TEXTS[0], type="keywords"),
    Draft("Why?", 1, "llm", TEXTS[1], type="question"),  # length
    Draft("Wann schwärmt ein Volk der Bienen?", 1, "llm", TEXTS[1], type="question"),  # language
    Draft("When does a colony of bees swarm, says the passage?", 1, "llm", TEXTS[1], type="edge"),  # deictic
    Draft("What is a hive of a hive of a hive of a hive?", 1, "llm", TEXTS[1], type="edge"),  # repetition
    Draft("a colony of bees swarms when the queen is old and the hive", 1, "llm", TEXTS[1]),  # copied_span
    Draft("for how long is a mooring in the basin let", 4, "imported", TEXTS[4]),  # duplicate, from another chunk
    Draft("By when must I settle what I owe for my place?", 0, "llm", TEXTS[0], type="jargon"),  # leak
    Draft("starter rye flour", 3, "imported", TEXTS[3]),  # round_trip: it leads to another chunk
    Draft("How often is the starter fed with rye flour?", 2, "imported", TEXTS[2]),
    Draft("ninety minutes on the clock", 3, "span", TEXTS[3]),
    Draft("Copper pipes are soldered with a torch", 5, "sentence", TEXTS[5]),
    Draft("Why?", 5, "heading", TEXTS[5]),
    Draft("Who prints a parking permit?", 4, "llm", TEXTS[4], type="question"),
]
EXPECTED = {
    "length": [2], "language": [3], "deictic": [4], "repetition": [5], "copied_span": [6], "duplicate": [7],
    "leak": [8],
}  # fmt: skip


class Bench:
    """A small corpus with its encoder."""

    def __init__(self, project, texts=TEXTS):
        self.project, self.told = project, Notes()
        self.encoder = DenseEncoder.load(project, "tiny")
        self.chunks = [Chunk(f"c{i}", "a.md", "", (), 0, len(text), text) for i, text in enumerate(texts)]
        index = BM25Index([chunk.id for chunk in self.chunks], texts, BM25Settings())
        self.corpus = Corpus(self.chunks, self.encoder.encode(texts, "document"), index)

    def run(self, drafts, filters=None, llm=None, asker=None, questions=(TEST_QUESTION,), language=None, **spec):
        # An encoder that has learnt nothing finds all texts alike.
        filters = {"leak_similarity": 1.0, "near_duplicate": 1.0, "round_trip_k": 1, **(filters or {})}
        spec = GenerateSpec(
            llm=llm, retriever="tiny", questions_per_chunk=0, filters=Filters(**filters), **spec
        )  # fmt: skip
        tools = Tools(self.project, asker or Asker(self.project, None, SILENT), Prompts(), language)
        self.told.lines.clear()
        return run_filters(drafts, self.corpus, self.encoder, spec, list(questions), tools, self.told)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_model):
    root = tmp_path_factory.mktemp("project")
    (root / "model_specs").mkdir()
    shutil.copytree(tiny_model, root / "weights" / "tiny")
    (root / "model_specs" / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 96\n", encoding="utf-8")
    return Bench(Project(root))


def german(text):
    return 0.9 if "ä" in text else None


def rule_of(filtered, number):
    return [item.rule for item in filtered.dropped if item.draft == QUESTIONS[number]]


def test_each_query_is_dropped_by_the_first_rule_that_objects(bench):
    filtered = bench.run(QUESTIONS, language=german)
    found = {rule: [QUESTIONS.index(item.draft) for item in filtered.dropped if item.rule == rule] for rule in EXPECTED}
    assert found == EXPECTED
    assert rule_of(filtered, 9) == ["round_trip"]
    ranks = {item.draft: item.score for item in filtered.dropped if item.rule == "round_trip"}
    assert ranks[QUESTIONS[9]] >= 2
    assert all(item.score is not None for item in filtered.dropped)
    steps = filtered.facts["funnel"]
    assert [step["rule"] for step in steps] == [rule for rule in RULES if rule not in ("cross_encoder", "judge")]
    assert filtered.facts["not_asked"] == ["cross_encoder", "judge"] and filtered.facts["off"] == []
    assert filtered.vectors.shape == (len(filtered.kept), 32)
    np.testing.assert_allclose(
        filtered.vectors, bench.encoder.encode([draft.text for draft in filtered.kept], "query"), atol=1e-5
    )


def check_arithmetic(filtered, drafts, off):
    facts = filtered.facts
    order = [drafts.index(draft) for draft in filtered.kept]
    assert order == sorted(order)
    assert len(drafts) == len(filtered.kept) + len(filtered.dropped)
    assert Counter(filtered.kept) + Counter(item.draft for item in filtered.dropped) == Counter(drafts)
    steps = facts["funnel"]
    asked = [step["rule"] for step in steps]
    assert sorted([*asked, *facts["off"], *facts["not_asked"]]) == sorted(RULES)
    assert set(facts["off"]) == set(off) and asked == [rule for rule in RULES if rule in asked]
    before = len(drafts)
    for step in steps:
        assert step["before"] == before and step["before"] - step["dropped"] == step["kept"]
        before = step["kept"]
    assert before == len(filtered.kept) == len(filtered.vectors)
    dropped = Counter(item.rule for item in filtered.dropped)
    assert {step["rule"]: step["dropped"] for step in steps if step["dropped"]} == dropped
    assert sum((Counter(rules) for rules in facts["by_origin"].values()), Counter()) == dropped
    types = facts["by_type"].values()
    assert sum(row["written"] for row in types) == sum(draft.origin == "llm" for draft in drafts)
    assert sum(row["kept"] for row in types) == sum(draft.origin == "llm" for draft in filtered.kept)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    off=st.sets(st.sampled_from(RULES)),
    numbers=st.lists(st.integers(0, len(QUESTIONS) - 1), unique=True, min_size=1),
    near=st.sampled_from([0.5, 0.95, 1.0]),
)
def test_written_is_kept_and_dropped_whatever_is_off(bench, off, numbers, near):
    drafts = [QUESTIONS[number] for number in numbers]
    filters = {"off": sorted(off, key=RULES.index), "near_duplicate": near, "leak_similarity": near}
    try:
        filtered = bench.run(drafts, filters, language=german)
    except BenchError as error:
        assert "no query survived" in str(error)
    else:
        check_arithmetic(filtered, drafts, off)


@pytest.mark.parametrize("rule", EXPECTED)
def test_a_rule_that_is_off_drops_nothing_and_the_others_do_what_they_did(bench, rule):
    with_all = bench.run(QUESTIONS, language=german)
    without = bench.run(QUESTIONS, {"off": [rule]}, language=german)
    (number,) = EXPECTED[rule]
    assert rule not in Counter(item.rule for item in without.dropped)
    assert rule_of(with_all, number) == [rule] and rule_of(without, number) in ([], ["round_trip"])
    assert without.facts["off"] == [rule]
    for other, numbers in EXPECTED.items():
        if other != rule:
            assert all(rule_of(without, number) == [other] for number in numbers)


def test_all_off_is_every_rule_but_the_leak_check(bench):
    leaks = [QUESTIONS[8], Draft(TEST_QUESTION, 0, "llm", TEXTS[0])]
    drafts = [*QUESTIONS, leaks[1]]
    filtered = bench.run(drafts, {"off": "all"}, language=german)
    assert filtered.kept == [draft for draft in drafts if draft not in leaks]
    assert [(item.draft, item.rule) for item in filtered.dropped] == [(draft, "leak") for draft in leaks]
    facts = filtered.facts
    assert facts["funnel"] == [{"rule": "leak", "before": len(drafts), "dropped": 2, "kept": len(drafts) - 2}]
    assert facts["off"] == [rule for rule in RULES if rule != "leak"] and facts["not_asked"] == []
    assert facts["leak"]["exact"] == 1 and filtered.vectors.shape == (len(drafts) - 2, 32)
    assert not any("leak check" in line for line in bench.told.lines)


def test_the_leak_check_goes_only_by_its_name_and_says_so(bench):
    drafts = [*QUESTIONS, Draft(TEST_QUESTION, 0, "llm", TEXTS[0])]
    filtered = bench.run(drafts, {"off": list(RULES)}, language=german)
    assert filtered.kept == drafts and filtered.dropped == [] and filtered.facts["funnel"] == []
    assert filtered.facts["off"] == list(RULES) and "leak" not in filtered.facts
    assert any("leak check is OFF" in line for line in bench.told.lines)


def test_leaks_are_told_by_kind_with_the_highest_similarity_that_stayed(bench):
    exact, ngram = Draft(TEST_QUESTION.upper(), 0, "span", TEXTS[0]), QUESTIONS[8]
    alone = [*(QUESTIONS[number] for number in (0, 10, 11)), exact, ngram]
    others = bench.encoder.encode([draft.text for draft in alone[:3]], "query")
    close = others @ bench.encoder.encode([TEST_QUESTION], "query")[0]
    middle = float(np.sort(close)[1:].mean())  # between the closest and the next
    filtered = bench.run(alone, {"leak_similarity": middle, "round_trip_k": 6})
    facts = filtered.facts["leak"]
    assert (facts["test_questions"], facts["exact"], facts["ngram"], facts["embedding"]) == (1, 1, 1, 1)
    assert facts["highest_similarity_kept"] == pytest.approx(float(np.sort(close)[1]), abs=1e-3)
    scores = {item.draft: item.score for item in filtered.dropped if item.rule == "leak"}
    assert scores[exact] == 1.0 and scores[alone[int(close.argmax())]] == pytest.approx(float(close.max()), abs=1e-3)
    assert any("filters.leak_similarity" in line for line in bench.told.lines)  # one in three is suspicious
    calm = bench.run(alone, {"round_trip_k": 6}, questions=()).facts["leak"]
    assert calm["highest_similarity_kept"] is None and calm["exact"] == calm["embedding"] == 0


def test_chunks_of_dropped_twins_go_over_to_the_query_that_stays(bench):
    one = Draft("For how long is a mooring in the basin let?", 0, "llm", TEXTS[0])
    same = Draft("for how long is a mooring in the basin let", 4, "llm", TEXTS[4])
    own = Draft("For how long is a mooring, in the basin, let?", 0, "span", TEXTS[0])
    near = Draft("For how long is a mooring in a basin let?", 5, "llm", TEXTS[5])
    near_same = Draft("For how long is a mooring in a basin let", 3, "llm", TEXTS[3])
    other = Draft("How often is the starter fed with rye flour?", 2, "llm", TEXTS[2])
    drafts = [other, one, same, own, near, near_same]
    vectors = bench.encoder.encode([one.text, near.text, other.text], "query")
    threshold = (float(vectors[0] @ vectors[1]) + float((vectors[:2] @ vectors[2]).max())) / 2
    filtered = bench.run(drafts, {"near_duplicate": threshold, "off": ["round_trip"]})
    assert filtered.kept == [other, one]
    assert filtered.also == {1: frozenset({3, 4, 5})}  # the twin's own twin as well, and never its own chunk
    rules = {item.draft: item.rule for item in filtered.dropped}
    assert rules == {same: "duplicate", own: "duplicate", near_same: "duplicate", near: "near_duplicate"}
    apart = bench.run(drafts, {"near_duplicate": threshold, "off": ["round_trip", "near_duplicate"]})
    assert apart.kept == [other, one, near]  # the near one stays, and the two know of each other's chunks
    assert apart.also == {1: frozenset({3, 4, 5}), 2: frozenset({0, 3, 4})}


@pytest.mark.parametrize("off", [["duplicate", "near_duplicate"], [rule for rule in RULES if rule != "leak"], "all"])
def test_equal_queries_know_of_each_others_chunks_though_no_rule_drops_them(bench, off):
    """Else one's positive would be the other's negative."""
    fees = [Draft("Fees and dues", 0, "heading", TEXTS[0]), Draft("fees, and DUES", 4, "heading", TEXTS[4])]
    other = Draft("How often is the starter fed with rye flour?", 2, "llm", TEXTS[2])
    again = Draft("Fees and dues!", 0, "span", TEXTS[0])
    vectors = bench.encoder.encode([draft.text for draft in (*fees, other, again)], "query")
    closest = float((vectors[[0, 1, 3]] @ vectors[2]).max())
    drafts = [fees[0], other, fees[1], again]
    filtered = bench.run(drafts, {"off": off, "round_trip_k": 6, "near_duplicate": (1 + closest) / 2})
    assert filtered.kept == drafts
    assert filtered.also == {0: frozenset({4}), 2: frozenset({0}), 3: frozenset({4})}
    corpus = Corpus(bench.chunks, np.eye(6, dtype=np.float32), bench.corpus.bm25)
    vectors = (
        np.full((4, 6), 0.3, dtype=np.float32) + 0.5 * np.eye(6, dtype=np.float32)[[draft.chunk for draft in drafts]]
    )
    spec, held_out = Negatives(count=5, pool=5), np.zeros(6, dtype=bool)
    told = mine(corpus, drafts, vectors, held_out, filtered.also, spec, 0.9, 0).negatives
    untold = mine(corpus, drafts, vectors, held_out, {}, spec, 0.9, 0).negatives
    for number, place in ((0, 4), (2, 0), (3, 4)):
        assert sorted([*told[number], place]) == sorted(untold[number])


def test_twins_of_a_query_that_a_later_rule_drops_are_not_lost(bench):
    """The first of three is dropped as a near-duplicate; what it was told goes over with it."""
    one = Draft("How often is the starter fed with rye flour?", 2, "llm", TEXTS[2])
    near = Draft("How often is a starter fed with rye flour?", 3, "llm", TEXTS[3])
    same = Draft("how often is a starter fed with rye flour", 5, "llm", TEXTS[5])
    vectors = bench.encoder.encode([one.text, near.text, same.text], "query")
    threshold = float((vectors[1:] @ vectors[0]).min()) - 1e-3
    filtered = bench.run([one, near, same], {"near_duplicate": threshold, "off": ["round_trip", "duplicate"]})
    assert filtered.kept == [one] and filtered.also == {0: frozenset({3, 5})}


def test_an_encoder_that_finds_everything_alike_bars_nothing(bench):
    drafts = [Draft(f"How many minutes are on clock number {n}?", n % 6, "llm", TEXTS[n % 6]) for n in range(42)]
    vectors = bench.encoder.encode([draft.text for draft in drafts], "query")
    filters = {"near_duplicate": max(0.0, float((vectors @ vectors.T).min()) - 0.01), "off": "all"}
    assert bench.run(drafts, filters).also == {}
    few = bench.run(drafts[:6], filters)
    assert few.also == {n: frozenset(range(6)) - {n} for n in range(6)}


def test_yields_by_origin_and_by_type(bench):
    facts = bench.run(QUESTIONS, language=german).facts
    assert facts["by_origin"]["imported"] == {"duplicate": 1, "round_trip": 1}
    assert facts["by_type"]["keywords"] == {"written": 1, "kept": 1, "round_trip_asked": 1, "round_trip_passed": 1}
    assert facts["by_type"]["edge"] == {"written": 2, "kept": 0, "round_trip_asked": 0, "round_trip_passed": 0}
    assert facts["by_type"]["untyped"]["written"] == 1
    trip = facts["round_trip"]
    assert (trip["k"], trip["asked_k"]) == (1, 1) and trip["passed_share"]["imported"] == 0.5
    assert trip["types"]["question"] == {"asked": 2, "passed": 2}
    without = bench.run(QUESTIONS, {"off": ["round_trip"]}).facts
    assert without["by_type"]["keywords"]["round_trip_passed"] is None and "round_trip" not in without


def test_the_round_trip_is_relaxed_with_a_notice(bench):
    lost = [Draft(f"{text.split(' is ')[0]} number {i}", (i + 1) % 6, "llm", "") for i, text in enumerate(TEXTS)]
    filtered = bench.run(lost)
    (step,) = filtered.facts["relaxed"]
    assert step["rule"] == "round_trip" and step["setting"] == "filters.round_trip_k" and step["from"] == 1 < step["to"]
    assert filtered.facts["round_trip"]["k"] == step["to"] and filtered.kept
    assert any(f"relaxed to the first {step['to']}" in line for line in bench.told.lines)
    assert bench.run(QUESTIONS[:2]).facts["relaxed"] == [] and not bench.told.lines


def test_k_is_doubled_until_enough_survives():
    def drafts(count, origin="llm"):
        return [Draft(f"q{i}", 0, origin, "") for i in range(count)]

    assert relaxed_k(np.array([1, 9] * 200), drafts(400), 3) == 3
    assert relaxed_k(np.array([1] * 100 + [5] * 300), drafts(400), 3) == 6  # a quarter of the questions is too little
    assert relaxed_k(np.array([1] * 100 + [5] * 300), drafts(400, "imported"), 3) == 6
    assert relaxed_k(np.array([1] * 100 + [5] * 300), drafts(400, "span"), 3) == 3
    assert relaxed_k(np.full(400, 999), drafts(400), 3) == 24  # not for ever
    assert relaxed_k(np.array([1] * 90 + [4] * 310), drafts(400, "span"), 3) == 6  # 90 pairs
    assert relaxed_k(np.array([1, 1, 9]), drafts(3), 3) == 3  # a tiny corpus cannot give a hundred
    assert relaxed_k(np.array([], dtype=np.int64), [], 3) == 3


def test_the_round_trip_takes_the_better_rank(bench):
    found = [draft for draft in QUESTIONS if draft.text == "starter rye flour"]
    home = Draft(found[0].text, 2, "imported", TEXTS[2])
    vectors = bench.encoder.encode([home.text], "query")
    assert round_trip_verdict(bench.corpus, [home], vectors, 1).objections == {}  # BM25 finds it
    for k in (1, 2):
        verdict = round_trip_verdict(bench.corpus, found * 2, np.repeat(vectors, 2, axis=0), k)
        assert verdict.facts["k"] >= k and all(rank > verdict.facts["k"] for rank in verdict.objections.values())


def test_nothing_left_is_an_error_that_says_why(bench):
    drafts = [Draft("Why?", 0, "llm", TEXTS[0]), Draft("What does this document say?", 0, "llm", TEXTS[0])]
    with pytest.raises(BenchError, match=r"no query survived the filters \(dropped by length: 1, deictic: 1\)"):
        bench.run(drafts)
    with pytest.raises(BenchError, match="no query to filter"):
        bench.run([])


def test_cross_encoder_and_judge_come_last_and_see_what_is_left(project, serve, cross_encoder):
    def reply(body):
        text = body["messages"][-1]["content"]
        fine = {"answerable": True, "natural": True, "reason": "so", "self_contained": True, "specific": True}
        return json.dumps({**fine, "score": 3 if "fed" in text.rsplit("<passage-", 1)[1] else 8})

    server, bench = serve(reply), Bench(project)
    llm = LLMSpec(endpoint=Endpoint(base_url=server.url, model="m"))
    filters = {"cross_encoder": CrossEncoderFilter(model="ce", keep=1.0), "judge": JudgeFilter(), "round_trip_k": 6}
    with Asker(project, project.domain("village"), SILENT) as asker:
        filtered = bench.run(QUESTIONS, filters, llm, asker, language=german)
    check_arithmetic(filtered, QUESTIONS, [])
    assert [step["rule"] for step in filtered.facts["funnel"]] == list(RULES) and filtered.facts["not_asked"] == []
    judged = [
        draft
        for draft in QUESTIONS
        if draft.origin in ("llm", "imported") and not rule_of(filtered, QUESTIONS.index(draft))
    ]
    assert rule_of(filtered, 10) == ["judge"] and len(server.bodies) == len(judged) + 1
    assert filtered.facts["judge"]["graded"] == len(server.bodies) == filtered.facts["cross_encoder"]["scored"]
    assert {draft.origin for draft in filtered.kept} >= {"span", "sentence"}
