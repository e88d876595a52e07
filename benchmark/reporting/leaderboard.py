"""`results/<domain>/leaderboard.{json,md,csv,tex}`: made from kept runs, and checked again from its own JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from benchmark.console import Reporter
from benchmark.errors import Problems
from benchmark.files import read_json, read_text, shown, write_text
from benchmark.project import Domain, Project
from benchmark.reporting.board import TASKS, Comparison, Leaderboard, Mean, Question, Scores, Settings
from benchmark.reporting.compact import close, dump_compact
from benchmark.reporting.compare import with_statistics
from benchmark.reporting.general import General, GeneralRow
from benchmark.reporting.inputs import Evaluated, check_agreement, read_evaluated, read_general, read_systems
from benchmark.reporting.latex import leaderboard_latex
from benchmark.reporting.metrics import metrics_for, score_run
from benchmark.reporting.page import embedded_board, make_page, page_board
from benchmark.reporting.pages import leaderboard_csv, leaderboard_markdown
from benchmark.reporting.pairwise import Pair
from benchmark.reporting.render import sentence
from benchmark.reporting.verdicts import verdict_sentence
from benchmark.runs import Ranking
from benchmark.specs import BenchmarkSpec

NAME = "leaderboard"
_ANEW = "make it anew: domainbench leaderboard"
_AT_MOST = 20  # differences listed before the rest is only counted


def make_leaderboard(
    project: Project,
    domain: Domain,
    benchmark: BenchmarkSpec,
    reporter: Reporter,
    evaluated: Evaluated | None = None,
) -> Leaderboard:
    """Score the kept runs, compare with the baseline, write `leaderboard.{json,md,csv,tex}`.

    Loads no model; the same runs give the same bytes.

    Args:
        project: Where the model specs stand.
        domain: Whose runs are compared.
        benchmark: What is compared, on which metric, with which seed.
        reporter: Where notes go.
        evaluated: What `read_evaluated` gave, where that has been read.

    Raises:
        BenchError: Runs are missing, belong to another test set, or disagree with the scores that mteb reported.
    """
    found = evaluated or read_evaluated(domain, benchmark)
    board = with_statistics(_scored(project, domain, benchmark, found, reporter))
    for suffix, text in _files(board):
        write_text(_path(domain, suffix), text)
    reporter.note(f"leaderboard: {len(board.systems)} models, {len(board.queries)} questions, {shown(domain.results)}")
    return board


def _scored(
    project: Project, domain: Domain, benchmark: BenchmarkSpec, evaluated: Evaluated, reporter: Reporter
) -> Leaderboard:
    metrics = metrics_for(benchmark.main_metric, benchmark.top_k)
    systems = read_systems(project, benchmark, evaluated)
    jobs = [(task, name) for task in TASKS for name in benchmark.compared]
    scores: Scores = {task: {} for task in TASKS}
    for task, name in reporter.track(jobs, total=len(jobs), label="scoring runs"):
        found = score_run(evaluated.runs[task][name], evaluated.qrels, metrics, top_k=benchmark.top_k)
        scores[task][name] = {metric: column.tolist() for metric, column in found.items()}
    check_agreement(domain, evaluated, scores, benchmark.top_k)
    return Leaderboard(
        domain=domain.name,
        title=domain.spec.title,
        task_names={task: domain.task_name + task.capitalize() for task in TASKS},
        testset=evaluated.testset_hash,
        settings=Settings.of(benchmark),
        metrics=metrics,
        systems=systems,
        queries=tuple(Question(query.id, query.category) for query in evaluated.testset.queries),
        scores=scores,
        general=read_general(project, domain, benchmark, evaluated),
    )


def _path(domain: Domain, suffix: str) -> Path:
    return domain.results / f"{NAME}.{suffix}"


def _files(board: Leaderboard) -> Iterator[tuple[str, str]]:
    """Suffix and content of each file; the JSON last, since the others can be made from it."""
    yield "md", leaderboard_markdown(board)
    yield "csv", leaderboard_csv(board)
    yield "tex", leaderboard_latex(board)
    yield "json", dump_compact(board.to_json()) + "\n"


def write_page(
    project: Project,
    domain: Domain,
    benchmark: BenchmarkSpec,
    board: Leaderboard,
    runs: Mapping[str, Ranking] | None = None,
) -> None:
    """Write `leaderboard.html`, which needs no network and no server.

    Args:
        project: Has the general domains.
        domain: Whose page.
        benchmark: What was compared.
        board: What `make_leaderboard` returned.
        runs: The retrieval runs by system, where they have been read.

    Raises:
        BenchError: The test set or a run is not the one that the leaderboard was made from.
    """
    write_text(_path(domain, "html"), make_page(project, domain, benchmark, board, runs))


def read_leaderboard(domain: Domain) -> Leaderboard:
    """Read `leaderboard.json`.

    Raises:
        BenchError: It is missing or broken.
    """
    path = _path(domain, "json")
    return Leaderboard.from_json(read_json(path), shown(path))


# --- checking what was committed ------------------------------------------------------------------------------------


def check_leaderboard(domain: Domain, benchmark: BenchmarkSpec) -> Leaderboard:
    """Derive every statistic and the other files anew from the per-query scores in `leaderboard.json`.

    Needs no run and no model, so it works in a clean checkout.

    Returns:
        The leaderboard, as it was derived.

    Raises:
        BenchError: One line for each difference: a figure, a setting, a line of `leaderboard.md` or `.csv`, or a
            verdict that `report.md` does not repeat.
    """
    stored = read_leaderboard(domain)
    where = shown(_path(domain, "json"))
    found = [f"{where}: {line}" for line in _other_settings(stored, benchmark)]
    derived = with_statistics(stored)
    figures = [f"{where}: {line}" for line in _other_figures(stored, derived)]
    # The stored figures are rendered where they are right: their last digits may be another processor's.
    for suffix, text in _files(derived if figures else stored):
        found += _other_lines(_path(domain, suffix), text)
    found += [*_other_page(domain, stored), *_other_report(domain, derived), *figures]
    with Problems() as problems:
        for line in found[:_AT_MOST]:
            problems.add(line)
        if len(found) > _AT_MOST:
            problems.add(f"{where}: and {len(found) - _AT_MOST} more differences; {_ANEW}")
    return derived


def _other_settings(stored: Leaderboard, benchmark: BenchmarkSpec) -> Iterator[str]:
    asked, have = asdict(Settings.of(benchmark)), asdict(stored.settings)
    for key, value in asked.items():
        if have[key] != value:
            yield f"made with {key} {have[key]!r}, the benchmark file says {value!r}"
    names = [system.name for system in stored.systems]
    if names != list(benchmark.compared):
        yield f"compares {', '.join(names)}; the benchmark file says {', '.join(benchmark.compared)}"
    if stored.metrics != metrics_for(benchmark.main_metric, benchmark.top_k):
        yield f"its metrics are {', '.join(map(str, stored.metrics))}, not those of the benchmark file"
    sets = [one.name for one in stored.general.sets] if stored.general else []
    if sets != benchmark.general:
        yield f"has general sets {_listed(sets)}; the benchmark file says {_listed(benchmark.general)}"
    elif stored.general is not None and stored.general.margin != benchmark.margin:
        yield f"made with margin {stored.general.margin!r}, the benchmark file says {benchmark.margin!r}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _other_figures(stored: Leaderboard, derived: Leaderboard) -> Iterator[str]:
    yield from _other_rows(stored.means, derived.means)
    yield from _other_rows(stored.comparisons, derived.comparisons)
    yield from _other_rows(stored.tuning, derived.tuning)
    yield from _other_rows(stored.pairwise, derived.pairwise)
    if stored.general is not None and derived.general is not None:
        yield from _other_general(stored.general, derived.general)


def _other_general(stored: General, derived: General) -> Iterator[str]:
    yield from _other_rows(stored.rows, derived.rows)
    for name, verdict in derived.verdicts.items():
        if stored.verdicts.get(name) != verdict:
            yield f"{name}: the verdict is {stored.verdicts.get(name)}, its scores give {verdict}"


_Row = Mean | Comparison | GeneralRow | Pair
_Rows = Sequence[Mean | Comparison] | Sequence[GeneralRow] | Sequence[Pair]


def _other_rows(stored: _Rows, derived: _Rows) -> Iterator[str]:
    if len(stored) != len(derived):
        yield f"has {len(stored)} rows where its scores give {len(derived)}"
        return
    for old, new in zip(stored, derived, strict=True):
        for key in (field.name for field in fields(new)):
            value = getattr(new, key)
            if not close(getattr(old, key), value):
                yield f"{_place(new)}: {key} is {getattr(old, key)}, its scores give {value}"


def _place(row: _Row) -> str:
    if isinstance(row, Pair):
        return f"{row.first} against {row.second}"
    if isinstance(row, GeneralRow):
        return f"general sets, {row.system}, {row.group or 'together'}"
    return f"{row.task}, {row.system}, {row.metric}, {row.category or 'overall'}"


def _other_lines(path: Path, text: str) -> Iterator[str]:
    """The first line that differs, if any."""
    have, want = read_text(path).split("\n"), text.split("\n")
    for number, (old, new) in enumerate(zip(have, want, strict=False), start=1):
        if old != new:
            yield f"{shown(path)}:{number}: differs from what the scores give; {_ANEW}"
            return
    if len(have) != len(want):
        yield f"{shown(path)}: has {len(have)} lines, the scores give {len(want)}; {_ANEW}"


def _other_page(domain: Domain, stored: Leaderboard) -> Iterator[str]:
    """The page cannot be made without runs, but the leaderboard in it can be compared."""
    path = _path(domain, "html")
    if page_board(read_text(path)) != embedded_board(stored):
        yield f"{shown(path)}: holds another leaderboard than leaderboard.json; {_ANEW}"


def _other_report(domain: Domain, derived: Leaderboard) -> Iterator[str]:
    """The report cannot be made without runs, but the verdicts in it can be."""
    path = domain.results / "report.md"
    if not path.is_file():
        return
    text = read_text(path)
    for system in derived.systems[1:]:
        said = [sentence(derived, system.name), *([verdict_sentence(derived, system.name)] if derived.general else [])]
        if not all(words in text for words in said):
            yield f"{shown(path)}: its verdict on '{system.name}' is not the leaderboard's; {_ANEW}"
