"""The page as text: what is in it, that nothing in the data can break it, and what can be taken out again."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from benchmark.errors import BenchError
from benchmark.files import write_text
from benchmark.records import read_chunks, read_testset
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.page import embedded, embedded_board, make, make_page, page_board, page_without_passages
from benchmark.reporting.page.costs import costs_of
from benchmark.reporting.page.questions import CUTS, Cut, explorer, questions_block
from benchmark.reporting.page.runs import read_heads
from benchmark.reporting.page.text import html_of, json_for_html, plain
from benchmark.reporting.render import sentence
from benchmark.runs import read_run

NASTY = [
    "<script>alert(1)</script>", "</script><script>alert(2)</script>", "<!-- <script>", "\" onload='alert(3)'", "&lt;b&gt;",
    "]]>", "\u202eesrever", "{{ 7 * 7 }}", "{% raw %}", "<img src=x onerror=alert(4)>", "javascript:alert(5)",
]  # fmt: skip


class Elements(HTMLParser):
    """The page as a browser's parser sees it: elements with their attributes, and what stands in scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.scripts, self.words = [], [], []
        self._open = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1][1] += data
        elif self._open != "style":
            self.words.append(data)


def page_of(lab) -> str:
    return make_page(lab.project, lab.domain, lab.benchmark, read_leaderboard(lab.domain))


@pytest.fixture(scope="module")
def text(kept_lab) -> str:
    return page_of(kept_lab)


def data(text: str, name: str) -> dict:
    found = Elements(text)
    return json.loads(next(content for attrs, content in found.scripts if attrs.get("id") == name))


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_the_same_runs_give_the_same_bytes(kept_lab, text):
    assert page_of(kept_lab) == text


def test_a_page_is_one_file_that_fetches_nothing(text):
    found = Elements(text)
    for _, attrs in found.tags:
        assert "src" not in attrs and "srcset" not in attrs and "action" not in attrs
        assert attrs.get("href", "#").startswith(("#", "data:,"))
    assert "url(" not in text and "@import" not in text
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def test_only_our_own_script_can_run(text):
    import base64
    import hashlib

    found = Elements(text)
    run = [content for attrs, content in found.scripts if attrs.get("type") != "application/json"]
    assert len(run) == 1
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(run[0].encode()).digest()).decode()}'" in policy
    assert not [attrs for _, attrs in found.tags if any(name.startswith("on") or name == "style" for name in attrs)]


# --- what the data may hold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NASTY)
def test_data_can_close_no_script(value):
    block = json_for_html({"a": [value], value: 1})
    assert json.loads(block) == {"a": [value], value: 1}
    assert "<" not in block
    assert not any("\u202a" <= char <= "\u202e" for char in block)


@pytest.mark.parametrize("value", NASTY)
def test_documents_and_questions_become_no_element(made, text, value):
    chunks = read_chunks(made.domain.chunks / "chunks.jsonl")
    board = read_leaderboard(made.domain)
    testset = read_testset(made.domain.testset)
    queries = tuple(replace(query, text=value, answer=value) for query in testset.queries)
    heads = {system.name: read_heads(made.domain, system.name, testset.qrels) for system in board.systems}
    block = questions_block(
        board,
        replace(testset, queries=queries),
        [replace(chunk, text=value, title=value) for chunk in chunks],
        heads,
        10**9,
    )
    whole = re.sub(r'(id="questions">).*?(</script>)', lambda found: found[1] + block + found[2], text, flags=re.DOTALL)
    before, after = Elements(text), Elements(whole)
    assert [tag for tag, _ in after.tags] == [tag for tag, _ in before.tags]
    found = json.loads(block)
    assert {row["text"] for row in found["passages"]} == {plain(value)}
    assert {row["text"] for row in found["questions"]} == {plain(value)}


def test_hostile_names_in_a_leaderboard_are_text(kit, tmp_path):
    nasty = "<b>x</b>\u202e | *y* \"'"
    lab = kit.make_lab(tmp_path / "p", {nasty: 40, "small": 10}, 30)
    write_text(
        lab.project.root / "model_specs" / "base.yaml", "package: a/b\nlicence: '<i>MIT</i>'\ndescription: '<u>'\n"
    )
    kit.evaluate_all(lab)
    board = kit.make_leaderboard(lab.project, lab.domain, lab.benchmark, kit.SILENT)
    text = make_page(lab.project, lab.domain, lab.benchmark, board)
    found = Elements(text)
    assert not {"b", "i", "u"} & {tag for tag, _ in found.tags}
    assert "<i>MIT</i>" in "".join(found.words)
    assert "\u202e" not in text
    assert page_board(text) == embedded_board(board)


def test_markdown_becomes_html_without_links_or_elements():
    from markupsafe import Markup

    given = Markup("`a<b>` **bold** \\*no\\* &lt;i&gt; [x](http://e.example) <u>u</u> ![p](http://e.example/p.png)")
    html = html_of(given)
    tags = {tag for tag, _ in Elements(html).tags}
    assert tags == {"p", "code", "strong"}
    assert "*no*" in html and "&lt;i&gt;" in html


# --- content --------------------------------------------------------------------------------------------------------


def test_the_table_and_the_verdicts_stand_there_without_a_script(kept_lab, text, kit):
    board = read_leaderboard(kept_lab.domain)
    words = " ".join("".join(Elements(text).words).split())
    for system in board.systems:
        assert f"{board.mean('retrieval', system.name).mean:.3f}" in words
        if system.name != board.baseline.name:
            said = re.sub(r"[`*\\]", "", str(sentence(board, system.name)))
            assert said in words
    assert "not shown is an answer as good as the others" in words
    assert "minimum detectable difference" in words
    assert board.testset in words and "Seed" in words


def test_every_pair_stands_in_the_matrix(kept_lab, text):
    board = read_leaderboard(kept_lab.domain)
    cells = [attrs for tag, attrs in Elements(text).tags if tag == "td" and "data-row" in attrs]
    assert len(cells) == 2 * len(board.pairwise) == len(board.systems) * (len(board.systems) - 1)
    found = {(attrs["data-row"], attrs["data-column"]): attrs["class"] for attrs in cells}
    for pair in board.pairwise:
        assert found[pair.first, pair.second] == pair.verdict.replace(" ", "-")
        assert found[pair.second, pair.first] == pair.turned.verdict.replace(" ", "-")


def test_the_explorer_holds_what_was_ranked_first(kept_lab, text):
    found = data(text, "questions")
    board = read_leaderboard(kept_lab.domain)
    testset = read_testset(kept_lab.domain.testset)
    chunks = {chunk.id: chunk for chunk in read_chunks(kept_lab.domain.chunks / "chunks.jsonl")}
    ids = [row["id"] for row in found["passages"]]
    assert len(ids) == len(set(ids)), "a passage stands there twice"
    assert all(row["text"] == chunks[row["id"]].text for row in found["passages"])
    for place, system in enumerate(board.systems):
        run = read_run(kept_lab.domain.run("retrieval", system.name) / "run.trec")
        for query, row in zip(testset.queries, found["questions"], strict=True):
            first, hits = row["ranked"][place]
            assert [ids[one] for one in hits] == [hit.chunk for hit in run[query.id][:3]]
            assert {ids[one] for one in row["relevant"]} == set(testset.qrels[query.id])
            ranks = [n for n, hit in enumerate(run[query.id], start=1) if hit.chunk in testset.qrels[query.id]]
            assert first == (ranks[0] if ranks else None)
            assert row["text"] == query.text


def test_a_question_without_hits_is_told(made):
    board = read_leaderboard(made.domain)
    testset = read_testset(made.domain.testset)
    block = json.loads(questions_block(board, testset, [], {system.name: {} for system in board.systems}, 10**9))
    assert block["questions"][0]["ranked"] == [[None, []]] * len(board.systems)
    assert set(block["passages"][0]) == {"id"}, "a passage that the corpus lacks is its id"


def test_forgetting_is_on_the_page(lab, kit):
    lab = kit.add_general(lab, "daily", dict.fromkeys(kit.SYSTEMS, 1.5) | {kit.TUNED: 0.2})
    board = kit.make_leaderboard(lab.project, lab.domain, lab.benchmark, kit.SILENT)
    text = make_page(lab.project, lab.domain, lab.benchmark, board)
    words = " ".join("".join(Elements(text).words).split())
    assert "REGRESSION" in words and "daily (150 queries)" in words
    assert f"{kit.TUNED} on daily" in words or "Runs: all" in words
    assert page_board(text)["general"]["verdicts"][kit.TUNED] == "REGRESSION"


def test_one_model_has_nothing_to_be_compared_with(lab, kit):
    lab = lab.with_benchmark(models=[kit.BASE])
    board = kit.make_leaderboard(lab.project, lab.domain, lab.benchmark, kit.SILENT)
    text = make_page(lab.project, lab.domain, lab.benchmark, board)
    assert "nothing to compare it with" in text
    assert 'id="matrix"' not in text


def test_other_runs_than_the_leaderboards_are_refused_all_at_once(made, kit):
    board = read_leaderboard(made.domain)
    (made.domain.run("retrieval", kit.LEXICAL) / "run.trec").unlink()
    path = made.domain.run("retrieval", kit.TUNED) / "run.trec"
    write_text(path, path.read_text() + "q0 Q0 doc-0.md#0 101 -9 x\n")
    systems = [
        replace(system, fingerprint="other") if system.name == kit.DOTTED else system for system in board.systems
    ]
    with pytest.raises(BenchError) as caught:
        make_page(made.project, made.domain, made.benchmark, replace(board, testset="0" * 64, systems=tuple(systems)))
    assert len(caught.value.problems) == 4
    for line, name in zip(caught.value.problems, ("testset", kit.TUNED, kit.DOTTED, kit.LEXICAL), strict=True):
        assert name in line and "domainbench " in line


# --- costs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [{}, {"costs": None}, {"costs": []}, {"costs": {"query_ms": 3, "index_bytes_per_million_chunks": "many", "machine": "mine"}},
     {"costs": {"query_ms": {"p50": None, "p95": float("nan")}, "chunks_per_second": -1, "parameters": True}}],
)  # fmt: skip
def test_costs_that_are_missing_or_odd_are_not_measured(kept_lab, facts):
    system = read_leaderboard(kept_lab.domain).systems[0]
    costs = costs_of(system, {"facts": facts})
    assert not costs.measured
    assert costs.parameters == system.parameters == 22713216
    assert costs.latency_p50 is costs.latency_p95 is costs.index_bytes_per_million is costs.chunks_per_second is None
    assert costs_of(system, {}) == costs_of(system, {"facts": {"costs": {}}})


def test_measured_costs_are_shown(lab, kit):
    costs = {
        "parameters": 33360000, "dimensions": 384, "index_bytes_per_million_chunks": 1_536_000_000, "chunks_per_second": 1234.5,
        "query_ms": {"p50": 7.25, "p95": 12.5, "questions": 30},
        "machine": {"cpu": "a <CPU>", "cores": 2, "threads": 1, "gpu": None, "torch": "2.13.0"},
    }  # fmt: skip
    for task in ("retrieval", "reranking"):
        lab.evaluate(kit.DOTTED, task, lab.scores(1.2, 3), edit=lambda facts: {**facts, "costs": costs})
    board = kit.make_leaderboard(lab.project, lab.domain, lab.benchmark, kit.SILENT)
    text = make_page(lab.project, lab.domain, lab.benchmark, board)
    words = " ".join("".join(Elements(text).words).split())
    for shown in ("7.2 ms", "12 ms", "1,234", "1.54 GB", "33.4 M", "a <CPU>, 2 cores, 1 thread", "not measured"):
        assert shown in words, shown
    assert data(text, "facts")["costs"][kit.DOTTED]["latency_p50"] == 7.25


# --- in and out -----------------------------------------------------------------------------------------------------


def test_the_leaderboard_comes_out_again(kept_lab, text):
    board = read_leaderboard(kept_lab.domain)
    assert page_board(text) == embedded_board(board) == board.to_json()


def test_a_large_leaderboard_keeps_the_scores_that_the_explorer_shows(kept_lab, monkeypatch):
    monkeypatch.setattr(embedded, "MOST_SCORES", 1000)
    board = read_leaderboard(kept_lab.domain)
    found = page_board(page_of(kept_lab))
    assert found == embedded_board(board)
    assert {key: value for key, value in found.items() if key != "scores"} == {
        key: value for key, value in board.to_json().items() if key != "scores"
    }
    assert found["scores"] == {
        "retrieval": {
            system.name: {"ndcg@10": board.scores["retrieval"][system.name][board.main]} for system in board.systems
        }
    }


def test_without_passages_there_is_no_document_in_the_page(made, kit):
    queries = made.domain.testset / "queries.jsonl"
    rows = [json.loads(line) for line in queries.read_text().splitlines()]
    for place, row in enumerate(rows):
        row["answer"] = f"Answer number {place} <b>"
    board = read_leaderboard(made.domain)
    testset = read_testset(made.domain.testset)
    answered = replace(testset, queries=tuple(
        replace(query, answer=row["answer"]) for query, row in zip(testset.queries, rows, strict=False)
    ))  # fmt: skip
    chunks = read_chunks(made.domain.chunks / "chunks.jsonl")
    heads = {system.name: read_heads(made.domain, system.name, testset.qrels) for system in board.systems}
    block = questions_block(board, answered, chunks, heads, 10**9)
    text = re.sub(
        r'(id="questions">).*?(</script>)', lambda found: found[1] + block + found[2], page_of(made), flags=re.DOTALL
    )
    bare = page_without_passages(text)
    assert "Answer number 3" in text and "Answer number" not in bare
    for query in testset.queries:
        assert json_for_html(query.text)[1:-1] in text and json_for_html(query.text)[1:-1] not in bare, query.text
    for chunk in chunks:
        words = chunk.text.split(". ")[0]  # "Passage 7": the rest of it stands in hostile questions as well
        for form in (words + ".", chunk.title, chunk.id, chunk.document, *chunk.headings):
            assert form not in bare, form
            assert json_for_html(form)[1:-1] not in bare, form
    found = data(bare, "questions")
    assert found["withheld"] is True and set().union(*found["passages"]) == {"id"}
    assert {(row["text"], row["answer"]) for row in found["questions"]} == {("", "")}
    assert [row["id"] for row in found["passages"]][:2] == ["passage 1", "passage 2"]
    assert [row["ranked"] for row in found["questions"]] == [
        row["ranked"] for row in data(text, "questions")["questions"]
    ]
    assert page_without_passages(bare) == bare
    assert page_board(bare) == page_board(text)


def test_a_large_test_set_is_cut_and_says_so(made):
    board, testset = read_leaderboard(made.domain), read_testset(made.domain.testset)
    chunks = [replace(chunk, text=chunk.text * 60) for chunk in read_chunks(made.domain.chunks / "chunks.jsonl")]
    heads = {system.name: read_heads(made.domain, system.name, testset.qrels) for system in board.systems}

    def block(budget: int) -> str:
        return questions_block(board, testset, chunks, heads, budget)

    seen = [block(10**9)]
    while len(less := block(len(seen[-1].encode()) - 1)) < len(seen[-1]):  # a byte less than the last one took
        seen.append(less)
    cuts, whole = [json.loads(text)["cut"] for text in seen], {chunk.id: chunk.text for chunk in chunks}
    # With 160 questions nothing is won by taking the first 2,000.
    assert [cut["characters"] for cut in cuts] == [4000, 1500, 800, 400, 250, 250, 120]
    assert [cut["hits"] for cut in cuts] == [3, 3, 3, 3, 3, 1, 1]
    assert all(cut["shortened"] == len(json.loads(text)["passages"]) for cut, text in zip(cuts, seen, strict=True))
    for text, cut in zip(seen, cuts, strict=True):
        for row in json.loads(text)["passages"]:
            assert len(row["text"]) <= cut["characters"] + 2 and row["cut"] == len(whole[row["id"]])
    assert block(0) == seen[-1], "the least that is of use, however small the budget"


def test_the_first_questions_are_kept_where_there_are_too_many(made):
    board, testset = read_leaderboard(made.domain), read_testset(made.domain.testset)
    found = explorer(board, testset, [], {system.name: {} for system in board.systems}, Cut(100, 1, 7))
    assert [row["text"] for row in found["questions"]] == [query.text for query in testset.queries[:7]]


def test_a_page_stays_small(kept_lab, monkeypatch):
    monkeypatch.setattr(make, "MOST_BYTES", 0)
    assert data(page_of(kept_lab), "questions")["cut"]["characters"] == CUTS[-1].characters
    monkeypatch.undo()
    assert data(page_of(kept_lab), "questions")["cut"]["characters"] == CUTS[0].characters


@pytest.mark.parametrize("text", ["", "<html></html>", '<script type="application/json" id="board">{</script>',
                                  '<script type="application/json" id="board">[]</script>'])  # fmt: skip
def test_what_is_no_page_is_one_clear_line(text):
    with pytest.raises(BenchError, match=r"leaderboard\.html"):
        page_board(text)
    with pytest.raises(BenchError, match=r"leaderboard\.html"):
        page_without_passages(text)
