"""The page: figures and words made here, put into the template with its style and its script."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from benchmark.files import Json, read_json
from benchmark.project import Domain, Project
from benchmark.provenance import MANIFEST
from benchmark.records import read_chunks, read_testset
from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.measures import Relevance
from benchmark.reporting.page import costs
from benchmark.reporting.page.costs import Costs, costs_of
from benchmark.reporting.page.embedded import BOARD, QUESTIONS, embedded_text
from benchmark.reporting.page.questions import questions_block
from benchmark.reporting.page.runs import heads_of, read_heads, read_manifests
from benchmark.reporting.page.text import html_of, json_for_html, plain
from benchmark.reporting.page.words import (
    ceiling,
    forgetting,
    headline,
    how_to_read,
    matrix,
    said_of,
    surroundings,
)
from benchmark.reporting.render import detectable_line
from benchmark.runs import Ranking
from benchmark.specs import BenchmarkSpec

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_BYTES = 5_000_000  # of a page: a phone can open it, and a repository can hold it
_HERE = Path(__file__).parent
_SCRIPTS = ("common", "table", "pairs", "costs", "questions", "start")


def make_page(
    project: Project,
    domain: Domain,
    benchmark: BenchmarkSpec,
    board: Leaderboard,
    runs: Mapping[str, Ranking] | None = None,
) -> str:
    """`leaderboard.html` as text: everything that it shows is inside, and nothing that it holds is run but our script.

    Loads no model; the same runs and leaderboard give the same text.

    Args:
        project: Has the general domains, for the versions that they were measured with.
        domain: Whose runs, passages and questions the explorer shows.
        benchmark: Names those general domains.
        board: What `make_leaderboard` returned for these runs.
        runs: The retrieval runs by system, where they have been read.

    Raises:
        BenchError: Test set or runs are missing, or are others than the leaderboard was made from.
    """
    manifests = read_manifests(domain, board)
    testset, chunks = read_testset(domain.testset), read_chunks(domain.chunks / "chunks.jsonl")
    found = {system.name: costs_of(system, manifests[system.name]) for system in board.systems}
    whole = embedded_text(board)
    context = {
        **_context(board, domain, found),
        "surroundings": surroundings(_all_manifests(project, benchmark, manifests)),
    }
    context["data"] = {BOARD: Markup(whole), "facts": Markup(json_for_html(_facts(board, found)))}  # noqa: S704
    without = _render({**context, "data": {**context["data"], QUESTIONS: ""}})
    qrels = Relevance(testset.qrels)
    heads = {name: heads_of(runs[name], qrels) if runs else read_heads(domain, name, qrels) for name in manifests}
    budget = MOST_BYTES - len(without.encode())
    context["data"][QUESTIONS] = Markup(  # noqa: S704 (JSON without a <)
        questions_block(board, testset, chunks, heads, budget)
    )
    return _render(context)


def _context(board: Leaderboard, domain: Domain, found: Mapping[str, Costs]) -> dict[str, Any]:
    """What the template shows without a script."""
    rivals = [system for system in board.ranked(TASKS[0]) if system.name != board.baseline.name]
    return {
        "board": board,
        "task_names": board.task_names,
        "description": domain.spec.description,
        "licence": domain.spec.licence,
        "few": FEW,
        "verdicts": [said_of(board, system.name) for system in rivals],
        "detectable": detectable_line(board),
        "headline": headline(board, TASKS[0], found),
        "reranking": headline(board, TASKS[1], found),
        "ceiling": ceiling(board),
        "matrix": matrix(board),
        "costs": list(_cost_rows(board, found)),
        "forgetting": forgetting(board),
        "legend": how_to_read(board),
    }


def _facts(board: Leaderboard, found: Mapping[str, Costs]) -> Json:
    """What the script needs beside the leaderboard."""
    return {
        "labels": {str(metric): metric.label for metric in board.metrics},
        "few": FEW,
        "order": [system.name for system in board.ranked(TASKS[0])],
        "costs": {name: {key: plain(v) if isinstance(v, str) else v for key, v in row.to_json().items()}
                  for name, row in found.items()},
    }  # fmt: skip


def _cost_rows(board: Leaderboard, found: Mapping[str, Costs]) -> Iterator[dict[str, str]]:
    for system in board.ranked(TASKS[0]):
        row = found[system.name]
        rate = row.chunks_per_second
        yield {
            "name": system.name,
            "p50": costs.milliseconds(row.latency_p50),
            "p95": costs.milliseconds(row.latency_p95),
            "rate": "" if rate is None else f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
            "size": costs.size(row.index_bytes_per_million),
            "parameters": costs.count(row.parameters),
            "dimensions": "" if row.dimensions is None else f"{row.dimensions:g}",
            "machine": row.machine,
            "measured": "yes" if row.measured else "",
        }


def _all_manifests(
    project: Project, benchmark: BenchmarkSpec, manifests: Mapping[str, Json]
) -> Iterator[tuple[str, Json]]:
    """The retrieval runs on the domain, then those on the general sets, by what they are of."""
    for name, manifest in manifests.items():
        yield name, manifest
    for general in benchmark.general:
        for name in manifests:
            path = project.domain(general).run(TASKS[0], name) / MANIFEST
            if path.is_file():
                yield f"{name} on {general}", read_json(path)


# --- template -------------------------------------------------------------------------------------------------------


def _render(context: Mapping[str, Any]) -> str:
    style, script = _style(), _script()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return _templates().get_template("page.html.jinja").render(
        **context, policy=policy, style=Markup(style), script=Markup(script)  # noqa: S704 (our own files)
    )  # fmt: skip


@cache
def _style() -> str:
    return _file("page.css")


@cache
def _script() -> str:
    """One script of several files, that no name of it can meet another's."""
    parts = "\n".join(_file(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def _file(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A script or style as a Content-Security-Policy names it: nothing else is run or applied."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _templates() -> "Environment":
    """Whatever a template prints is text, unless our own code has made it HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "static"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["html"] = html_of
    return environment
