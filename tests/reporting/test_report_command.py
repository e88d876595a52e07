"""`domainbench report` and `domainbench export`, as commands."""

import pytest
import typer
from typer.testing import CliRunner

from benchmark.cli.report import report
from benchmark.cli.state import set_project_folder
from benchmark.files import dump_yaml, write_text
from benchmark.pipeline import release


@pytest.fixture
def command(made):
    """The command in a project with a kept leaderboard."""
    benchmark = made.benchmark.model_copy(update={"generate": None, "finetune": []})
    found = benchmark.model_dump(include={"domains", "baseline", "models", "permutations", "bootstrap"})
    write_text(made.project.root / "benchmark.yaml", dump_yaml(found))
    set_project_folder(made.project.root)
    app = typer.Typer()
    app.command()(report)
    yield lambda *words: CliRunner().invoke(app, list(words))
    release()
    set_project_folder(None)


def test_the_command_writes_what_is_asked_for(command, made):
    done = command("--html")
    assert done.exit_code == 0, done.output
    names = [line.rsplit("/", 1)[-1] for line in done.stdout.split()]
    assert names[-2:] == ["report.md", "report.html"]
    assert (made.domain.results / "report.html").is_file()
    assert not (made.domain.results / "report.pdf").exists()
