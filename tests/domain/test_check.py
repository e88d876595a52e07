"""The check of a domain tells everything at once and writes nothing into the project."""

from benchmark.domain.check import check_domain

PASSAGE = "A cleanup call lets the servicer buy the last loans once the pool has shrunk to a tenth of its size."
OTHER = "A step-up coupon gives the issuer a reason to call the notes on the first date on which it may do so."


def question(id_, text, quote, document="a.md", **more):
    return {"id": id_, "question": text, "evidence": [{"document": document, "quote": quote}], **more}


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_good_domain_has_no_problems(shop, notebook):
    shop.write("a.md", f"# Calls\n\n{PASSAGE}\n")
    shop.ask(*(question(f"q{n}", f"Who wins when number {n} is drawn in June?", PASSAGE) for n in range(30)))
    before = tree(shop.project.root)
    report = check_domain(shop.project, shop.domain, notebook)
    assert report.problems == ()
    assert [note for note in report.notes if "nearly the same" not in note] == []
    assert tree(shop.project.root) == before


def test_mistakes_of_documents_and_questions_together(shop, notebook):
    shop.write("a.md", f"# Calls\n\n{PASSAGE}\n")
    shop.write("bad.pdf", b"nothing")
    shop.write("latin.txt", b"caf\xe9")
    shop.write("logo.png", b"")
    shop.ask(
        question("q1", "What shrinks?", "no such words here"),
        question("q2", "Which page?", "anything", document="bad.pdf"),
        question("q3", "Which?", "anything", document="gone.md"),
        {"id": "q4", "question": ""},
    )
    before = tree(shop.project.root)
    report = check_domain(shop.project, shop.domain, notebook)
    parts = [
        "bad.pdf: broken PDF",
        "latin.txt:1: not UTF-8",
        "q1: the quote",
        "q3: no document 'gone.md'",
        "question q4",
    ]
    assert len(report.problems) == len(parts)
    for line, part in zip(report.problems, parts, strict=True):
        assert part in line
    assert any(".png" in note for note in report.notes)
    assert tree(shop.project.root) == before


def test_questions_are_checked_where_the_documents_cannot_be(shop, notebook):
    shop.configure((shop.folder / "domain.yaml").read_text().replace("tokenizer: all-minilm-l6-v2", "tokenizer: gone"))
    shop.write("a.md", b"\xff")
    shop.ask({"id": "q4", "question": "", "evidence": []})
    report = check_domain(shop.project, shop.domain, notebook)
    assert any("no such model spec" in line for line in report.problems)
    assert any("q4" in line for line in report.problems)


def test_what_is_worth_a_second_look(shop, notebook):
    shop.configure((shop.folder / "domain.yaml").read_text().replace("licence: CC0-1.0\n", ""))
    shop.write("a.md", f"# Calls\n\n{PASSAGE}\n\n## Coupons\n\n{OTHER}\n")
    shop.write("b.md", f"# Reasons\n\n{OTHER}\n")
    shop.ask(
        question("q1", "When may the servicer buy the last loans of the pool?", PASSAGE),
        question("q2", "When may the servicer buy the last loans of the pool", PASSAGE, category="edge"),
        question("q3", "Why is it paid back on day one?", OTHER),
    )
    report = check_domain(shop.project, shop.domain, notebook)
    assert report.problems == ()
    for part in [
        "licence is unknown",
        "1 passages are nearly the same",
        "category 'core' has 2 questions",
        "category 'edge' has 1 questions",
        "questions q1 and q2 ask nearly the same",
        "question q3: the relevant passage has a near-duplicate",
        "question q3: its evidence stands word for word in b.md#0 too",
        "2 of 3 questions repeat 80%",
    ]:
        assert [note for note in report.notes if part in note], (part, report.notes)


def test_a_ready_made_corpus_is_checked_as_well(shop, beir, notebook):
    beir([{"_id": "d 1", "text": "x"}, {"_id": "d2", "text": "y"}], [{"_id": "q1", "text": "a?"}], [("q1", "d3", 1)])
    report = check_domain(shop.project, shop.domain, notebook)
    told = [line.rsplit("/", 1)[1].split(": ", 1)[0] for line in report.problems]
    assert told == ["corpus.jsonl:1", "qrels.tsv:2", "queries.jsonl:1"]
    (shop.folder / "qrels.tsv").unlink()
    assert "neither qrels.tsv nor" in check_domain(shop.project, shop.domain, notebook).problems[-1]
