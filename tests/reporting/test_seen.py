"""Seen and unseen passages: who belongs where, and that the statistics are those of the leaderboard."""

import json

import numpy as np

from benchmark.console import SILENT
from benchmark.files import write_text
from benchmark.records import read_testset
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.report import make_report
from benchmark.reporting.seen import SEEN, UNSEEN, by_seen, seen_table, trained_passages

TUNED = "village-tuned"


def train_on(made, chunks, split="train"):
    rows = [{"id": f"s{i}", "chunk": chunk, "split": split} for i, chunk in enumerate(chunks)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_text(made.domain.synthetic / "queries.jsonl", text)


def test_one_trained_passage_among_the_answers_is_enough(made):
    train_on(made, made.chunks[:30])
    board, qrels = read_leaderboard(made.domain), read_testset(made.domain.testset).qrels
    split = by_seen(board, qrels, trained_passages(made.domain))
    wanted = {query: bool(set(made.chunks[:30]) & set(row)) for query, row in qrels.items()}
    assert {query.id: query.category == SEEN for query in split.queries} == wanted
    assert [system.name for system in split.systems] == [board.baseline.name, TUNED]
    rows = {query.id: place for place, query in enumerate(board.queries)}
    gaps = {
        query: board.scores["retrieval"][TUNED][board.main][rows[query]]
        - board.scores["retrieval"][board.baseline.name][board.main][rows[query]]
        for query in qrels
    }
    for group, seen in ((SEEN, True), (UNSEEN, False)):
        row = split.comparison("retrieval", TUNED, category=group)
        mine = [gap for query, gap in gaps.items() if wanted[query] is seen]
        assert row.n == len(mine) and np.isclose(row.difference, np.mean(mine)) and row.low < row.difference < row.high
        assert row.corrected_p >= row.p


def test_development_queries_and_passages_from_elsewhere_do_not_count(made):
    train_on(made, made.chunks[:30], split="dev")
    assert trained_passages(made.domain) == frozenset()
    train_on(made, made.chunks[:30])
    assert len(trained_passages(made.domain)) == 30
    write_text(made.domain.synthetic / "passages.jsonl", "")
    assert trained_passages(made.domain) == frozenset()


def test_the_report_shows_both_groups_with_their_sizes(made):
    train_on(made, made.chunks[:30])
    board = read_leaderboard(made.domain)
    text = make_report(made.project, made.domain, made.benchmark, board, SILENT).read_text()
    sizes = by_seen(board, read_testset(made.domain.testset).qrels, trained_passages(made.domain)).categories
    assert "### Seen and unseen passages" in text
    assert f"seen (n = {sizes[SEEN]})" in text and f"unseen (n = {sizes[UNSEEN]})" in text


def test_all_unseen_is_a_table_of_one_group(made):
    board = read_leaderboard(made.domain)
    table = seen_table(by_seen(board, read_testset(made.domain.testset).qrels, frozenset()))
    assert table.count(UNSEEN) == 1 and f"| {SEEN} (" not in table
