"""`domainbench`: one command for each stage, and `run` for all of them.

Nothing heavy is imported before a command needs it, so that `--help` is there at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.answer import answer, ask
from benchmark.cli.evaluate import evaluate
from benchmark.cli.export import export
from benchmark.cli.hub import add, find
from benchmark.cli.judge import judge
from benchmark.cli.lines import counts, lines_of, lines_to_add, show_board, show_seconds
from benchmark.cli.opening import BenchmarkFile, BenchmarkOption, DryRun, Fresh, open_pipelines
from benchmark.cli.prune import prune
from benchmark.cli.publish import publish
from benchmark.cli.rate import rate
from benchmark.cli.report import report
from benchmark.cli.state import project_folder, set_project_folder
from benchmark.errors import BenchError
from benchmark.training.distributed import dismiss, is_first, is_to_tell, join, processes

if TYPE_CHECKING:
    from benchmark.pipeline import Pipeline
    from benchmark.reporting.board import Leaderboard
    from benchmark.specs import BenchmarkSpec

app = typer.Typer(
    name="domainbench",
    help="Does an embedding model tuned on my own documents make my RAG better, by how much, can I believe it?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


_TRAINING = ("finetune", "run")
"""Commands that several processes can share the work of."""
FailOnRegression = Annotated[
    bool,
    typer.Option(
        "--fail-on-regression",
        help="Exit with 1 where a tuned model is worse than the baseline or forgets; all is written.",
    ),
]


def _version(value: bool) -> None:
    if value:
        import benchmark

        typer.echo(f"domainbench {benchmark.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    project: Annotated[
        Path | None, typer.Option("--project", help="The project's folder, as in git -C; found upwards by default.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    set_project_folder(project)
    if processes() > 1:
        _as_one_of_several(str(context.invoked_subcommand))


def _as_one_of_several(command: str) -> None:
    """Under `torchrun` the first process works as ever; the others help it to train, and are silent."""
    if command in _TRAINING:
        join()
    elif is_first():
        typer.echo(f"{processes()} processes were started; {command} is done by one", err=True)
    if is_first():
        return
    if command not in _TRAINING:
        raise typer.Exit
    from benchmark.training.train import take_part

    raise typer.Exit(take_part())


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="The new project's folder; must be empty or not there.")]) -> None:
    """Make a new project: a small example domain to replace by your own, model specs, a benchmark file."""
    from benchmark.cli.init import make_project

    for line in make_project(folder):
        typer.echo(line)


@app.command()
def check(domain: Annotated[str | None, typer.Argument(help="The domain; all by default.")] = None) -> None:
    """Tell all mistakes of a domain, of the model specs and of the benchmark file at once; writes nothing."""
    from benchmark.cli.check import check_project

    raise typer.Exit(check_project(project_folder(), domain))


@app.command()
def prompts(
    folder: Annotated[Path, typer.Argument(help="Where the copies go; files that are there stay.")],
    answers: Annotated[
        bool, typer.Option("--answers", help="Those of answers and judges in place of those of the training questions.")
    ] = False,
) -> None:
    """Copy the prompts into a folder, to edit them, and name it in the benchmark file."""
    from benchmark.llm.prompts import copy_prompts

    if answers:
        from benchmark.answers.prompt import PROMPTS

        lines = copy_prompts(folder, PROMPTS, "answers")
    else:
        lines = copy_prompts(folder)
    for line in lines:
        typer.echo(line)


@app.command()
def ingest(benchmark: BenchmarkFile = None) -> None:
    """Documents to chunks, questions to a test set."""
    for pipeline in open_pipelines(benchmark):
        facts = pipeline.chunks().facts
        found = pipeline.testset().facts
        typer.echo(f"{pipeline.domain.name}: {counts(facts)}; {counts(found)}")


@app.command()
def generate(
    benchmark: BenchmarkFile = None,
    fresh: Fresh = False,
    export: Annotated[
        bool,
        typer.Option("--export", help="Keep the questions' answers in journal.jsonl, for those without the model."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Chunks to synthetic training data."""
    for pipeline in open_pipelines(benchmark):
        if dry_run:
            for line in pipeline.dry_run(fresh):
                typer.echo(f"{pipeline.domain.name}: {line}")
            continue
        outcome = pipeline.synthetic(fresh)
        if export:
            typer.echo(f"{pipeline.domain.name}: {pipeline.export_answers()} answers kept in journal.jsonl")
        typer.echo(f"{pipeline.domain.name}: {counts(outcome.facts)}")


@app.command()
def finetune(
    name: Annotated[str | None, typer.Argument(help="One run of the benchmark file; all by default.")] = None,
    benchmark: BenchmarkOption = None,
) -> None:
    """Synthetic data to tuned models, each with its model spec; a linear adapter where the file names no run."""
    names = []
    for pipeline in open_pipelines(benchmark):
        by_default = pipeline.spec.trains_by_default
        for outcome in pipeline.finetune(name, runs=pipeline.default_runs() if by_default else None):
            made = outcome.folder.name
            names += [made] if by_default and made not in pipeline.spec.models else []
            for line in lines_of(outcome):
                typer.echo(line)
        if not by_default and not pipeline.spec.finetune:
            typer.echo("'finetune' is empty in the benchmark file: nothing to train")
    for line in lines_to_add(names):
        typer.echo(line)


app.command()(evaluate)


@app.command()
def leaderboard(
    benchmark: BenchmarkFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="Derive the committed leaderboard anew from its own scores; write nothing.")
    ] = False,
    fail_on_regression: FailOnRegression = False,
) -> None:
    """Kept runs to leaderboard and report, in seconds and without a model."""
    from benchmark.reporting.leaderboard import check_leaderboard

    boards = []
    pipelines = open_pipelines(benchmark, general=True)
    for pipeline in pipelines:
        if check:
            boards.append(check_leaderboard(pipeline.domain, pipeline.spec))
            typer.echo(f"{pipeline.domain.name}: the committed leaderboard follows from its scores")
            scores = pipeline.check_by_ranx(boards[-1])
            typer.echo(
                f"{pipeline.domain.name}: its runs are not kept here, so ranx was not asked"
                if scores is None
                else f"{pipeline.domain.name}: ranx gives the same {scores:,} scores"
            )
            if pipeline.check_answers():
                typer.echo(f"{pipeline.domain.name}: the committed figures of the answers follow from their scores")
        else:
            boards.append(pipeline.leaderboard())
            show_board(pipeline, boards[-1])
    _together(pipelines, boards, check)
    if fail_on_regression:
        _fail_on_regression(boards, pipelines[0].spec)


@app.command()
def run(benchmark: BenchmarkFile = None, fresh: Fresh = False, fail_on_regression: FailOnRegression = False) -> None:
    """Everything that is missing, in order: from documents and questions to leaderboard and report."""
    boards = []
    pipelines = open_pipelines(benchmark, general=True)
    for pipeline in pipelines:
        boards.append(pipeline.run(fresh))
        show_board(pipeline, boards[-1])
        show_seconds(pipeline)
    _together(pipelines, boards)
    if fail_on_regression:
        _fail_on_regression(boards, pipelines[0].spec)


app.command()(answer)
app.command()(ask)
app.command()(judge)
app.command()(rate)
app.command()(report)
app.command()(export)
app.command()(find)
app.command()(add)
app.command()(publish)
app.command()(prune)


def _together(pipelines: "Sequence[Pipeline]", boards: "Sequence[Leaderboard]", check: bool = False) -> None:
    """Where there are several domains, one leaderboard over them all: made, or compared with the committed one."""
    if len(boards) < 2:
        return
    from benchmark.files import shown
    from benchmark.reporting.overall import check_overall, make_overall

    if check:
        check_overall(pipelines[0].project, boards)
        typer.echo("results/leaderboard: follows from the domains' leaderboards")
    else:
        typer.echo(shown(make_overall(pipelines[0].project, boards)))


def _fail_on_regression(boards: "Sequence[Leaderboard]", spec: "BenchmarkSpec") -> None:
    """Exit with 1 and a line for each model made by a training run (any model, where there is no run) that regressed."""
    from benchmark.reporting.verdicts import HOW_TO, regressions

    if any(board.general is None for board in boards):
        typer.echo(f"note: {HOW_TO}", err=True)
    made = {name for run in spec.finetune for name in run.emits}
    lines = [line for board in boards for line in regressions(board, made)]
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)


def run_app(words: list[str] | None = None) -> int:
    """Run the command; mistakes of the user become one line each and exit code 2.

    Args:
        words: The command line without the program's name; the process's own by default.
    """
    code = 2
    try:
        code = _run(words)
    finally:
        dismiss(code)
        if "benchmark.pipeline" in sys.modules:
            sys.modules["benchmark.pipeline"].release()
    return code


def _run(words: list[str] | None) -> int:
    try:
        app(words)
        return 0
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except BenchError as error:
        return _complain(error.problems, error.exit_code)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM}:
            raise
        from benchmark.files import shown

        where = f"{shown(Path(str(error.filename)))}: " if error.filename else ""
        return _complain([f"{where}{os.strerror(error.errno)}; nothing was half-written"])


def _complain(lines: Sequence[str], code: int = 2) -> int:
    for line in lines if is_to_tell() else ():
        print(f"error: {line}", file=sys.stderr)
    return code


def run_command() -> None:
    """The entry point of the `domainbench` command."""
    # Before torch is loaded: threads that spin while they wait take the cores from those that work (docs/LOG.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run_app())
