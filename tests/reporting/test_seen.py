"""Seen and unseen passages: who belongs where, and that the statistics are those of the leaderboard."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from benchmark.console import SILENT
from benchmark.files import dump_json, write_text
from benchmark.records import read_testset
from benchmark.reporting.leaderboard import read_leaderboard
from benchmark.reporting.plots import planned_plots
from benchmark.reporting.report import make_report
from benchmark.reporting.seen import SEEN, UNSEEN, by_seen, seen_table, trained_passages
from benchmark.stats import holm
from benchmark.weights import TRAINED_CHUNKS

TUNED, OTHER = "village-tuned", "bge-small-en-v1.5"


def undrawn(board, folder, costs):
    """In place of `write_plots`, where a test reads the report's text."""
    return planned_plots(board, costs)


def train_on(made, chunks, name=TUNED):
    write_text(made.domain.model(name) / TRAINED_CHUNKS, dump_json({"chunks": sorted(chunks)}))


def read(made):
    """The leaderboard and what is relevant."""
    return read_leaderboard(made.domain), read_testset(made.domain.testset).qrels


def gaps(board, system):
    rows = [board.scores["retrieval"][name][board.main] for name in (system, board.baseline.name)]
    return dict(zip([query.id for query in board.queries], np.subtract(*rows), strict=True))


def check(rows, board, qrels, system, chunks):
    """Rows of one system against means taken by hand."""
    for row in rows:
        mine = [
            gap
            for query, gap in gaps(board, system).items()
            if bool(chunks & qrels[query].keys()) is (row.group == SEEN)
        ]
        found = row.comparison
        assert row.system == system and found.n == row.before.n == row.after.n == len(mine) > 0
        assert np.isclose(found.difference, np.mean(mine)) and found.low < found.difference < found.high
        assert np.isclose(row.after.mean - row.before.mean, found.difference) and found.corrected_p >= found.p


def test_one_trained_passage_among_the_answers_is_enough(made):
    train_on(made, made.chunks[:30])
    board, qrels = read(made)
    rows = by_seen(board, qrels, trained_passages(made.domain, board))
    assert [row.group for row in rows] == [SEEN, UNSEEN]
    check(rows, board, qrels, TUNED, set(made.chunks[:30]))


def test_each_model_has_passages_of_its_own_and_all_rows_are_corrected_together(made):
    board, qrels = read(made)
    board = replace(board, systems=tuple(
        replace(system, tuned_from="base") if system.name == OTHER else system for system in board.systems
    ))  # fmt: skip
    train_on(made, made.chunks[:30])
    train_on(made, made.chunks[20:25], OTHER)
    trained = trained_passages(made.domain, board)
    assert trained == {TUNED: frozenset(made.chunks[:30]), OTHER: frozenset(made.chunks[20:25])}
    rows = by_seen(board, qrels, trained)
    assert len(rows) == 4 and len({row.comparison.n for row in rows}) == 4
    for name in (TUNED, OTHER):
        check([row for row in rows if row.system == name], board, qrels, name, set(trained[name]))
    corrected = [row.comparison.corrected_p for row in rows]
    assert corrected == pytest.approx(holm([row.comparison.p for row in rows]))
    alone = [row.comparison for row in by_seen(board, qrels, {TUNED: trained[TUNED]})]
    together = [row.comparison for row in rows if row.system == TUNED]
    assert [row.p for row in alone] == [row.p for row in together]
    assert sum(row.corrected_p for row in alone) < sum(row.corrected_p for row in together)


def test_without_what_training_used_there_is_no_table(made):
    """Queries of the generate stage are no proof: the rows may have been cut, or the model come from elsewhere."""
    made.domain.synthetic.mkdir(exist_ok=True)
    text = "".join(f'{{"chunk": "{chunk}", "split": "train"}}\n' for chunk in made.chunks[:30])
    write_text(made.domain.synthetic / "queries.jsonl", text)
    train_on(made, made.chunks[:30], OTHER)  # not a tuned one
    board, _ = read(made)
    assert trained_passages(made.domain, board) == {}
    text = make_report(made.project, made.domain, made.benchmark, board, SILENT, undrawn).read_text()
    assert "Seen and unseen" not in text and "## Results: reranking" in text
    shutil.rmtree(made.domain.model(TUNED))
    assert trained_passages(made.domain, board) == {}


def test_the_report_shows_both_groups_with_their_sizes(made):
    train_on(made, made.chunks[:30])
    board, qrels = read(made)
    text = make_report(made.project, made.domain, made.benchmark, board, SILENT, undrawn).read_text()
    seen = sum(bool(set(made.chunks[:30]) & row.keys()) for row in qrels.values())
    assert "### Seen and unseen passages" in text and 0 < seen < len(qrels)
    assert f"| `{TUNED}` | seen (n = {seen}) |" in text and f"| `{TUNED}` | unseen (n = {len(qrels) - seen}) |" in text


def test_all_unseen_is_a_table_of_one_group(made):
    board, qrels = read(made)
    table = seen_table(by_seen(board, qrels, {TUNED: frozenset()}))
    assert table.count(UNSEEN) == 1 and f"| {SEEN} (" not in table
