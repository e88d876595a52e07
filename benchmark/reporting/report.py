"""`results/<domain>/report.md` and its plots: the leaderboard explained, from kept runs and manifests alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from benchmark.console import Reporter
from benchmark.escape import code, md
from benchmark.files import Json, shown
from benchmark.pages import markdown_templates
from benchmark.project import Domain, Project
from benchmark.records import Chunk, TestSet, read_chunks, read_testset
from benchmark.reporting import author, render, report_data
from benchmark.reporting.board import FEW, TASKS, Leaderboard
from benchmark.reporting.changes import Changes, changes
from benchmark.reporting.discussion import discussion
from benchmark.reporting.inputs import RUN
from benchmark.reporting.page.costs import Costs
from benchmark.reporting.pairwise import Pair, pair_of
from benchmark.reporting.plots import Plot, write_plots
from benchmark.reporting.report_answers import answers_section, read_answer_figures, read_texts
from benchmark.reporting.report_costs import cost_table, front_sentence, machines, read_costs
from benchmark.reporting.report_ratings import ratings_section
from benchmark.reporting.seen import by_seen, seen_table, trained_passages
from benchmark.reporting.systems import System
from benchmark.reporting.tuning import tuning_section
from benchmark.reporting.verdicts import HOW_TO, forgetting_section, verdict_sentence
from benchmark.runs import Ranking, read_ranking
from benchmark.specs import BenchmarkSpec

NAME: Final = "report.md"
PLOTS: Final = "plots"
_ANSWER: Final = 400  # characters of an answer that are shown beside an example
_TEMPLATES: Final = Path(__file__).parent / "templates"


def make_report(
    project: Project,
    domain: Domain,
    benchmark: BenchmarkSpec,
    leaderboard: Leaderboard,
    reporter: Reporter,
    draw: Callable[[Leaderboard, Path, Mapping[str, Costs]], list[Plot]] = write_plots,
) -> Path:
    """Write `report.md` and `plots/*.png`; the same runs and manifests give the same bytes.

    What the author has written into the old report is kept (`benchmark.reporting.author`).

    Args:
        project: What the report's path is told relative to.
        domain: Whose report it is.
        benchmark: What was run.
        leaderboard: What `make_leaderboard` returned.
        reporter: Where notes go.
        draw: Draws the plots into a folder.

    Returns:
        The path of `report.md`.

    Raises:
        BenchError: Chunks, test set or runs are missing.
    """
    manifests = dict(report_data.manifests(project, domain, benchmark))
    costs = read_costs(leaderboard, report_data.of_runs(manifests))
    plots = draw(leaderboard, domain.results / PLOTS, costs)  # first: another process may be waiting for it
    context = {
        **_data(domain, benchmark, leaderboard, manifests),
        **_measured(domain, benchmark, leaderboard, costs, reporter),
    }
    context["plots"] = {plot.file.removesuffix(".png"): _image(plot) for plot in plots}
    template = markdown_templates(_TEMPLATES).get_template("report.md.jinja")

    def make(written: Mapping[str, str]) -> str:
        return template.render(
            **context,
            author=lambda name: Markup(author.place(name, written)),  # noqa: S704 (the author's own Markdown)
            others=author.others(written),
        )

    path = domain.results / NAME
    notes = author.write_report(path, make)
    where = path.relative_to(project.root).as_posix() if path.is_relative_to(project.root) else shown(path)
    for line in [*notes, f"report: {where} with {len(plots)} plots"]:
        reporter.note(line)
    return path


def _data(
    domain: Domain, benchmark: BenchmarkSpec, board: Leaderboard, manifests: Mapping[str, Json]
) -> dict[str, Any]:
    """What the template shows of data, training and method."""
    testset, chunks = read_testset(domain.testset), read_chunks(domain.chunks / "chunks.jsonl")
    return {
        "board": board,
        "domain": domain,
        "benchmark": benchmark,
        "sizes": report_data.sizes(chunks, testset),
        "few": FEW,
        "systems": _systems(board),
        "synthetic": report_data.synthetic(manifests.get("generate")),
        "seen": _seen(domain, board, testset),
        "trained": [report_data.trained(name, manifests) for name in report_data.trained_names(benchmark, manifests)],
        "changes": list(_changes(domain, board, testset, chunks)),
        "seconds": report_data.seconds(manifests),
        "surroundings": report_data.surroundings(manifests),
    }


def _measured(
    domain: Domain, benchmark: BenchmarkSpec, board: Leaderboard, costs: Mapping[str, Costs], reporter: Reporter
) -> dict[str, Any]:
    """What the template shows of results."""
    figures = read_answer_figures(domain)
    texts, problem = read_texts(domain)
    if problem:
        reporter.note(problem)
    return {
        "figures": _figures(board),
        "forgetting": list(forgetting_section(board, board.general)) if board.general else [HOW_TO],
        "tuning": tuning_section(board),
        "answers": answers_section(figures, benchmark) if figures is not None else None,
        "ratings": ratings_section(domain, figures),
        "answered": lambda question, system: [
            (name, md(words, _ANSWER)) for name, words in texts.lines(question, [board.baseline.name, system])
        ],
        "costs": cost_table(board, costs),
        "machines": machines(costs),
        "front": front_sentence(board, costs),
        "discussion": discussion(board, figures, costs),
    }


# --- results --------------------------------------------------------------------------------------------------------


def _figures(board: Leaderboard) -> dict[str, Any]:
    """Tables and sentences that come from the leaderboard alone."""
    order = [system.name for system in board.subjects]
    order += [system.name for system in board.ranked(TASKS[0]) if system.name not in order]
    rivals = [name for name in order if name != board.baseline.name]
    main = [row for name in rivals if (row := board.comparison(TASKS[0], name)) is not None]
    return {
        "sentences": [_in_short(board, name) for name in rivals],
        "example": main[0] if main else None,
        "questions": render.questions_line(board),
        "headline": render.headline_table(board, "retrieval"),
        "metrics": render.metric_table(board, "retrieval"),
        "categories": render.category_table(board, "retrieval"),
        "reranking": render.headline_table(board, "reranking"),
        "ceiling": render.ceiling_line(board),
        "pairs": _matrix(board) if len(board.systems) > 2 else None,
        "legend": render.legend(board),
    }


def _matrix(board: Leaderboard) -> Markup:
    """Every model against every other: the row's mean minus the column's, with the sign of the row's verdict."""
    names = [system.name for system in board.ranked(TASKS[0])]
    rows = [
        [Markup("{}. {}").format(place, code(name)), *(_cell(board, name, other) for other in names)]
        for place, name in enumerate(names, start=1)
    ]
    return render.table(["Model", *range(1, len(names) + 1)], rows)


def _cell(board: Leaderboard, name: str, other: str) -> str:
    if name == other:
        return "·"
    pair: Pair = pair_of(board, name, other)
    return render.signed(pair.difference) + render.SIGNS[pair.verdict]


def _in_short(board: Leaderboard, name: str) -> Markup:
    said = render.sentence(board, name)
    return said if board.general is None else said + Markup(" ") + verdict_sentence(board, name)


def _image(plot: Plot) -> Markup:
    return Markup("![{}]({}/{})").format(md(plot.caption), PLOTS, plot.file)


def _systems(board: Leaderboard) -> Markup:
    rows = [
        [
            render.system_cell(board, system.name),
            system.kind,
            system.description,
            system.licence,
            f"{system.parameters / 1e6:.1f} M" if system.parameters else "",
            system.dimensions or "",
        ]
        for system in board.systems
    ]
    return render.table(["Model", "What it is", "Description", "Licence", "Parameters", "Dimensions"], rows, left=4)


def _changes(
    domain: Domain, board: Leaderboard, testset: TestSet, chunks: Sequence[Chunk]
) -> Iterator[tuple[System, Changes]]:
    """The questions that gained and lost most, for each system worth a closer look."""

    def run(name: str) -> Ranking:
        return read_ranking(domain.run("retrieval", name) / RUN)

    passages = {chunk.id: chunk for chunk in chunks}
    before = run(board.baseline.name)
    for system in board.subjects:
        yield system, changes(board, system.name, testset, passages, before, run(system.name))


def _seen(domain: Domain, board: Leaderboard, testset: TestSet) -> Markup | None:
    rows = by_seen(board, testset.qrels, trained_passages(domain, board))
    return seen_table(rows) if rows else None
