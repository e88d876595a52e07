"""Figures of the leaderboard as a page shows them; the same words as in the Markdown files."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from benchmark.files import Json
from benchmark.reporting import render
from benchmark.reporting.board import TASKS, Leaderboard
from benchmark.reporting.page import costs
from benchmark.reporting.page.costs import Costs
from benchmark.reporting.page.text import html_of
from benchmark.reporting.pairwise import pair_of
from benchmark.reporting.verdicts import HOW_TO, forgetting_section, verdict_sentence
from benchmark.stats import Verdict

SIGNS: dict[Verdict, str] = {"better": "▲", "worse": "▼", "not shown": "○"}
"""Beside each colour, so that no colour speaks alone."""


class Said(NamedTuple):
    """The verdict on a model: its sign and word, the figures before and after, and the sentences as HTML."""

    name: str
    verdict: Verdict
    sign: str
    before: str
    after: str
    sentence: Markup
    overall: str
    overall_sentence: Markup


def said_of(board: Leaderboard, name: str) -> Said:
    """What the page says of a model in plain words.

    Raises:
        KeyError: It is the baseline.
    """
    row = board.comparison(TASKS[0], name)
    if row is None:
        raise KeyError(name)
    general = board.general
    return Said(
        name=name,
        verdict=row.verdict,
        sign=SIGNS[row.verdict],
        before=render.number(board.mean(TASKS[0], board.baseline.name).mean),
        after=render.number(board.mean(TASKS[0], name).mean),
        sentence=html_of(render.sentence(board, name)),
        overall="" if general is None else general.verdicts[name],
        overall_sentence=Markup("") if general is None else html_of(verdict_sentence(board, name)),
    )


def headline(board: Leaderboard, task: str, found: Mapping[str, Costs]) -> list[dict[str, Any]]:
    """The rows of the leaderboard on the main metric over all questions, best first."""
    rows: list[dict[str, Any]] = []
    overall = board.general.verdicts if board.general is not None and task == TASKS[0] else {}
    for system in board.ranked(task):
        mean, row = board.mean(task, system.name), board.comparison(task, system.name)
        span = "" if mean.low is None else f"{render.number(mean.low)} to {render.number(mean.high)}"
        rows.append(
            {
                "name": system.name,
                "baseline": row is None,
                "kind": system.kind,
                "licence": system.licence,
                "parameters": costs.count(found[system.name].parameters),
                "mean": render.number(mean.mean),
                "span": span,
                "difference": "" if row is None else render.signed(row.difference),
                "difference_span": "" if row is None else render.interval(row.low, row.high),
                "p": "" if row is None else render.p_value(row.corrected_p),
                "verdict": "" if row is None else row.verdict,
                "sign": "" if row is None else SIGNS[row.verdict],
                "overall": overall.get(system.name, ""),
            }
        )
    return rows


def matrix(board: Leaderboard) -> list[dict[str, Any]]:
    """Rows and cells of the pairwise comparisons, best model first; empty with one model."""
    if not board.pairwise:
        return []
    names = [system.name for system in board.ranked(TASKS[0])]
    return [{"name": row, "cells": [_cell(board, row, column) for column in names]} for row in names]


def _cell(board: Leaderboard, row: str, column: str) -> dict[str, str] | None:
    if row == column:
        return None
    pair = pair_of(board, row, column)
    return {
        "text": f"{pair.wins}–{pair.losses}",
        "p": render.p_value(pair.corrected_p),
        "verdict": pair.verdict,
        "sign": SIGNS[pair.verdict],
        "row": row,
        "column": column,
    }


def ceiling(board: Leaderboard) -> Markup:
    """What reranking could reach at most."""
    return html_of(render.ceiling_line(board))


def forgetting(board: Leaderboard) -> Markup:
    """The general sets in tables and rules, or how to have some."""
    if board.general is None:
        return html_of(Markup(HOW_TO))  # noqa: S704 (our own words)
    return html_of(list(forgetting_section(board, board.general)))


def how_to_read(board: Leaderboard) -> Markup:
    """What the columns and signs mean."""
    return html_of(render.legend(board))


def surroundings(manifests: Iterable[tuple[str, Json]]) -> list[dict[str, str]]:
    """Versions and hardware of runs; those that were made in the same surroundings are told together."""
    found: dict[str, list[str]] = {}
    for name, manifest in manifests:
        here = {
            "device": manifest.get("device") or "unknown",
            "python": manifest.get("python") or "unknown",
            "packages": ", ".join(f"{package} {version}" for package, version in (manifest.get("packages") or {}).items()),
            "code": _commit(manifest.get("code") or {}),
        }  # fmt: skip
        found.setdefault(json.dumps(here), []).append(name)
    return [{**json.loads(here), "runs": "all" if len(found) == 1 else ", ".join(runs)} for here, runs in found.items()]


def _commit(code: Mapping[str, Any]) -> str:
    commit = str(code.get("commit") or "")[:12]
    return f"{commit} with uncommitted changes" if commit and code.get("dirty") else commit
