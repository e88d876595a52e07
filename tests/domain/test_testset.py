"""The test set stage: every mistake is told, evidence leads to chunks, duplicates lose nothing."""

import json
from pathlib import Path

import pytest

from benchmark.console import SILENT
from benchmark.domain.testset import build_testset
from benchmark.files import iter_jsonl
from benchmark.records import Query

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CALLS = "A cleanup call lets the servicer buy the last loans once the pool has shrunk to a tenth of its size."
STEP = "A step-up coupon gives the issuer a reason to call the notes on the first date on which it may do so."
FILL = "Nobody asks about this sentence, which only keeps the others apart in the document."


@pytest.fixture
def asked(shop):
    shop.write("a.md", f"# Calls\n\n{CALLS}\n\n{FILL}\n\n## Coupons\n\n{STEP}\n\n## Again\n\nIt may do so. {FILL}\n")
    shop.write("sub/b.md", f"# Other\n\n{FILL}\n")
    return shop


def row(id_="q1", quote=CALLS, document="a.md", **more):
    return {"id": id_, "question": f"What of {id_}?", "evidence": [{"document": document, "quote": quote}], **more}


def test_queries_and_qrels(asked):
    start = len("# Calls\n\n")
    asked.ask(
        row("q1", answer=" ten percent ", category="jargon"),
        {"id": "q2", "question": "Why\n call  early?", "evidence": [{"document": "a.md", "start": start, "end": start + 50},
                                                                   {"document": "a.md", "quote": STEP[:40]}]},
        {"id": "q3", "question": "Who won the cup?", "answerable": False, "category": "edge"},
    )  # fmt: skip
    testset = asked.testset()
    assert testset.queries == (Query("q1", "What of q1?", "jargon", "ten percent"), Query("q2", "Why call early?"))
    assert testset.unanswerable == (Query("q3", "Who won the cup?", "edge"),)
    assert testset.qrels == {"q1": {"a.md#0": 1}, "q2": {"a.md#0": 1, "a.md#1": 1}}
    rows = list(iter_jsonl(asked.domain.testset / "evidence.jsonl"))
    assert rows[0] == {
        "query": "q1",
        "document": "a.md",
        "start": start,
        "end": start + len(CALLS),
        "chunks": ["a.md#0"],
    }
    assert [item["query"] for item in rows] == ["q1", "q2", "q2"]


def test_rechunking_keeps_the_ground_truth(asked):
    asked.ask(row("q1"), row("q2", quote=STEP))
    for budget in (40, 64, 200):
        asked.configure((asked.folder / "domain.yaml").read_text().replace("max_tokens: 64", f"max_tokens: {budget}"))
        texts = {chunk.id: chunk.text for chunk in asked.chunks()}
        for query, passage in (("q1", CALLS), ("q2", STEP)):
            assert any(passage in texts[chunk] for chunk in asked.testset().qrels[query])


def test_evidence_in_a_dropped_duplicate_counts_for_the_kept_chunk(shop):
    shop.write("a.md", f"# Calls\n\n{CALLS}\n")
    shop.write("b.md", f"# Calls\n\n{CALLS}\n\n## More\n\n{STEP}\n")
    shop.write("copy.txt", f"{STEP}\n\n{FILL}\n")
    shop.write("copy2.txt", f"{STEP}\n\n{FILL}\n")
    shop.ask(row("q1", document="b.md"), row("q2", document="copy2.txt", quote=FILL))
    assert shop.testset().qrels == {"q1": {"a.md#0": 1}, "q2": {"copy.txt#0": 1}}


def test_a_quote_twice_in_one_chunk_is_no_mistake(shop):
    shop.write("a.md", "# T\n\nThe fee is ten. Later the fee is ten again, as the trustee says.\n")
    shop.ask(row(quote="fee is ten"))
    assert shop.testset().qrels == {"q1": {"a.md#0": 1}}


def test_all_mistakes_of_questions_at_once(asked):
    good = row("q1")
    rows = [
        good,
        row("q2", quote="A cleanup call lets the trustee buy those last loans once"),
        row("q3", document="b.md"),
        row("q4", document="A.MD"),
        row("q5", quote="may do so"),
        row("q6", quote="Coupons"),
        {**row("q7"), "evidence": [{"document": "a.md", "start": 5, "end": 9999}]},
        {**row("q8"), "question": " WHAT OF  q1? "},
        row("q1", question="Another?"),
        {**row("q 9"), "question": " "},
        row("q10", quote=" "),
        {"id": "q11", "question": "No evidence?"},
        row("q12", answerable=False),
        {**row("q13"), "categroy": "core"},
        row("q14", category="two words"),
        {"id": 15, "question": ["x"], "evidence": [{"document": "a.md", "start": 3}]},
        {**row("q16"), "evidence": [{"document": "a.md", "start": 9, "end": 9}]},
        row("q17", quote=FILL, document="sub/b.md", answer=None),
        row("q18", quote="zebra", document="sub/b.md"),
        row("q19", quote=STEP, document="sub/b.md"),
    ]
    asked.ask(*rows)
    with asked.domain.questions.open("a") as stream:
        stream.write("{broken\n\n[1]\n")
    lines = asked.refusal(asked.testset)
    told = [line.split("questions.jsonl:", 1)[1] for line in lines]
    expected = [
        (
            "2: question q2:",
            "is not in 'a.md'; the nearest there: \"A cleanup call lets the servicer buy the last loans once\"",
        ),
        ("3: question q3:", "no document 'b.md'; did you mean 'sub/b.md'?"),
        ("4: question q4:", "no document 'A.MD'; did you mean 'a.md'?"),
        ("5: question q5:", "stands in 'a.md' 2 times, in different chunks"),
        ("6: question q6:", "lies in no chunk of 'a.md' (a heading alone?)"),
        ("7: question q7:", "the span 5-9999 goes beyond the"),
        ("8: question q8:", "asks the same as question q1"),
        ("9: question q1:", "the id stands in line 1 already"),
        ("10: question q 9:", "holds white space"),
        ("10: question q 9:", "'question' is empty"),
        ("11: question q10:", "'quote' is empty"),
        ("12: question q11:", "no evidence"),
        ("13: question q12:", "but there is evidence"),
        ("14: question q13:", "unknown key 'categroy'; did you mean 'category'?"),
        ("15: question q14:", "the category 'two words'"),
        ("16: 'id'", "string"),
        ("16: 'question'", "string"),
        ("16: 'evidence.0'", "'start' goes with 'end'"),
        ("17: question q16:", "is empty"),
        ("18: question q17:", "'answer'"),
        ("19: question q18:", "no word of it is there"),
        ("20: question q19:", "but it is in 'a.md'"),
        ("21: not JSON", ""),
        ("23: not a JSON object", ""),
    ]
    for begin, part in expected:
        assert any(line.startswith(begin) and part in line for line in told), (begin, part, told)
    assert len({line.split(":")[0] for line in told}) == 21
    assert not any(line.startswith("1:") for line in told)
    numbers = [int(line.split(":")[0]) for line in told]
    assert numbers == sorted(numbers)
    assert not asked.domain.testset.exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        ("", "no questions"),
        ('{"id": "q", "question": "x?", "answerable": false}\n', "no answerable"),
    ],
)
def test_no_questions(asked, content, part):
    if content is not None:
        asked.domain.questions.write_text(content)
    [line] = asked.refusal(asked.testset)
    assert part in line


def test_skipped_until_questions_or_chunks_change(asked):
    asked.ask(row("q1"))

    def build():
        return build_testset(asked.domain, asked.ingest(), SILENT).skipped

    assert [build(), build()] == [False, True]
    asked.ask(row("q1", category="edge"))
    assert not build()
    asked.write("c.md", "A new document.")
    assert not build()


CORPUS = [{"_id": "d1", "text": "one"}, {"_id": "d2", "text": "two"}]


def test_a_beir_test_set(shop, beir):
    beir(
        CORPUS,
        [{"_id": "q1", "text": "a?", "category": "edge", "answer": "x"}, {"_id": "q2", "text": "b?"},
         {"_id": "q3", "text": "c?", "split": "train"}, {"_id": "q4", "text": "d?", "answerable": False}],
        [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d2", 1), ("q3", "d1", 1)],
    )  # fmt: skip
    testset = shop.testset()
    assert testset.queries == (Query("q1", "a?", "edge", "x"), Query("q2", "b?"))
    assert testset.unanswerable == (Query("q4", "d?"),)
    assert testset.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}}


def test_queries_of_other_splits_are_left_out(shop, beir):
    folder = beir(CORPUS, [{"_id": "q1", "text": "a?"}, {"_id": "q2", "text": "b?"}], [])
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").unlink()
    for name, query in (("test", "q1"), ("train", "q2")):
        (folder / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{query}\td1\t1\n")
    assert shop.testset().qrels == {"q1": {"d1": 1}}


def test_all_mistakes_of_beir_judgements_at_once(shop, beir):
    beir(
        CORPUS,
        [{"_id": "q1", "text": "a?"}, {"_id": "q2", "text": "b?"}, {"_id": "q3", "text": " "}, {"_id": "q4", "text": "d?"},
         {"_id": "q5", "text": "e?", "answerable": False}, {"_id": "q 6", "text": "f?"}],
        [("q1", "d1", 1), ("q1", "d9", 1), ("q9", "d1", 1), ("q1", "d2", "1.5"), ("q1", "d2", -1), ("q1", "d1", 1),
         ("q3", "d1", 1), ("q4", "d1", 0), ("q5", "d1", 1), ("q1", "d1")],
    )  # fmt: skip
    told = [line.rsplit("/", 1)[1] for line in shop.refusal(shop.testset)]
    expected = [
        "queries.jsonl:3: query q3: is empty",
        "queries.jsonl:6: the id 'q 6' holds white space",
        "qrels.tsv:3: passage d9 is not in corpus.jsonl",
        "qrels.tsv:4: query q9 is not in queries.jsonl",
        "qrels.tsv:5: the relevance '1.5' is not a whole number",
        "qrels.tsv:6: the relevance '-1' is not a whole number",
        "qrels.tsv:7: query q1 and passage d1 stand here a second time",
        "qrels.tsv:11: 2 fields",
        "queries.jsonl:5: query q5: unanswerable, but",
        "queries.jsonl:2: query q2: no relevant passage",
        "queries.jsonl:4: query q4: no relevant passage",
    ]
    assert len(told) == len(expected)
    for begin in expected:
        assert any(line.startswith(begin) for line in told), (begin, told)


def test_a_missing_header_is_told(shop, beir):
    beir(CORPUS, [{"_id": "q1", "text": "a?"}], [("q1", "d1", 1)], header="q1\td2\t1")
    [line] = shop.refusal(shop.testset)
    assert "qrels.tsv:1: the header is missing" in line


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
def test_human_spans_of_biomedical_papers_lead_to_chunks(shop):
    """15 documents of COVID-QA: every span that experts marked is found, and few chunks hold it."""
    folder = SHARED / "covidqa"
    queries = {item["id"]: item for item in iter_jsonl(folder / "queries.jsonl")}
    spans = list(iter_jsonl(folder / "spans.jsonl"))
    names = sorted({span["doc_id"] for span in spans})[:15]
    for name in names:
        shop.write(name, (folder / "docs" / name).read_bytes())
    rows: dict[str, dict] = {}
    for span in (span for span in spans if span["doc_id"] in names):
        question = {"id": span["query_id"], "question": queries[span["query_id"]]["text"], "evidence": []}
        place = {"document": span["doc_id"], "start": span["start"], "end": span["end"]}
        rows.setdefault(span["query_id"], question)["evidence"].append(place)
    shop.ask(*rows.values())
    shop.configure((shop.folder / "domain.yaml").read_text().replace("max_tokens: 64", "max_tokens: 160"))
    testset = shop.testset()
    assert len(testset.queries) == len(rows) > 50
    chunks = {chunk.id: chunk for chunk in shop.chunks()}
    located = list(iter_jsonl(shop.domain.testset / "evidence.jsonl"))
    for item in located:
        for chunk in map(chunks.get, item["chunks"]):
            overlap = min(item["end"], chunk.end) - max(item["start"], chunk.start)
            assert overlap > 0 or chunk.document != item["document"]  # the latter: a duplicate
    assert sum(len(judged) for judged in testset.qrels.values()) < 1.1 * len(rows)
    texts = {name: (folder / "docs" / name).read_text() for name in names}
    quoted = [
        json.loads(
            json.dumps(
                {
                    **r,
                    "evidence": [
                        {"document": e["document"], "quote": texts[e["document"]][e["start"] : e["end"]]}
                        for e in r["evidence"]
                    ],
                }
            )
        )
        for r in rows.values()
    ]
    unique = [r for r in quoted if all(texts[e["document"]].count(e["quote"].strip()) == 1 for e in r["evidence"])]
    shop.ask(*unique)
    assert shop.testset().qrels == {r["id"]: testset.qrels[r["id"]] for r in unique}
