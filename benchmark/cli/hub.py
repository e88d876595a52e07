"""`domainbench find` and `domainbench add`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.state import project_folder
from benchmark.errors import BenchError

if TYPE_CHECKING:
    from benchmark.hub.find import Listed, Search
    from benchmark.project import Project
    from benchmark.specs.models import Kind

_KINDS = "bi-encoder, cross-encoder, sparse or late-interaction"
_COLUMNS = ("id", "kind", "parameters", "downloads", "licence", "languages", "own code", "safetensors", "in project")
_WIDE = 200
"""Columns of a table that goes into a file or another program."""


def find(
    words: Annotated[list[str] | None, typer.Argument(help="Words to look for in ids, tags and cards.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Only models of this kind: {_KINDS}.")] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(help="Only under this licence, as the Hub writes it; several: repeat, or commas."),
    ] = None,
    max_parameters: Annotated[str | None, typer.Option(help="At most so many, such as 500M.")] = None,
    min_downloads: Annotated[int, typer.Option(min=0, help="At least so many in the last 30 days.")] = 0,
    language: Annotated[str | None, typer.Option(help="Only models that name this language, such as en.")] = None,
    no_own_code: Annotated[bool, typer.Option("--no-own-code", help="Only models without code of their own.")] = False,
    safetensors: Annotated[bool, typer.Option("--safetensors", help="Only models with weights in that form.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: a list, null for what is undeclared.")] = False,
) -> None:
    """Search the Hub for models to compare, with what is declared of each."""
    import json

    from benchmark.cli.screen import Screen
    from benchmark.hub.find import Filters, find_models, parameters_of

    licences = [part.strip().lower() for text in licence or () for part in text.split(",")]
    filters = Filters(
        kind=_kind(kind),
        licences=frozenset(filter(None, licences)),
        max_parameters=None if max_parameters is None else parameters_of(max_parameters),
        min_downloads=min_downloads,
        language=language.strip().lower() if language else None,
        no_own_code=no_own_code,
        safetensors=safetensors,
        limit=limit,
    )
    found = find_models(_project_if_any(), " ".join(words or ()), filters, Screen())
    if as_json:
        typer.echo(json.dumps([model.to_json() for model in found.models], ensure_ascii=False, indent=2))
        return
    _show(found)


def add(
    model: Annotated[str, typer.Argument(help="Its id on the Hub, such as BAAI/bge-small-en-v1.5.")],
    revision: Annotated[str | None, typer.Option(help="A commit, branch or tag; what it is now gets pinned.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the model spec; the model's own by default.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Where its files leave that open: {_KINDS}.")] = None,
    retriever: Annotated[
        str | None, typer.Option(help="The spec before a reranker; the benchmark file's baseline by default.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model run its own code, at the pinned commit.")
    ] = False,
    pickled: Annotated[
        bool, typer.Option("--pickled", help="Take pickled weights where there are no others, read restrictedly.")
    ] = False,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Leave it out of comparisons that do not name it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of this name.")] = False,
) -> None:
    """Write the model spec of a model on the Hub, pinned to its commit; no weights are fetched yet."""
    from benchmark.cli.screen import Screen
    from benchmark.hub.add import add_model, next_steps
    from benchmark.hub.add_request import AddRequest
    from benchmark.project import Project

    project = Project.find(project_folder())
    request = AddRequest(
        model, revision, name, _kind(kind), retriever, trust_remote_code, pickled, not no_compare, force
    )
    added = add_model(project, request, Screen())
    for line in added.lines:
        typer.echo(line)
    for line in added.warnings:
        typer.echo(f"warning: {line}", err=True)
    for line in next_steps(project, added):
        typer.echo(line)


def _kind(text: str | None) -> "Kind | None":
    """A kind as the user wrote it.

    Raises:
        BenchError: There is no such kind.
    """
    from benchmark.errors import did_you_mean
    from benchmark.hub.kinds import KINDS

    found = next((kind for kind in KINDS if kind == text), None)
    if text is not None and found is None:
        raise BenchError(f"--kind {text}: no such kind; {did_you_mean(text, KINDS)}")
    return found


def _project_if_any() -> "Project | None":
    """The project around the working directory; searching needs none.

    Raises:
        BenchError: One was named with --project, and is not there.
    """
    from benchmark.project import Project

    try:
        return Project.find(project_folder())
    except BenchError:
        if project_folder() is not None:
            raise
        return None


def _show(found: "Search") -> None:
    """The table, what was left out, and the command that adds the first one."""
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from benchmark.escape import one_line

    if found.models:
        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for model in found.models:
            # Ids and licences are other people's words: no markup in them.
            table.add_row(*(Text(one_line(cell)) for cell in _cells(model)))
        Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)
    else:
        typer.echo("nothing found; fewer or other words, or fewer filters, find more")
    if found.more:
        typer.echo(f"{found.more} more fit; --limit shows them")
    for what, count in sorted(found.undeclared.items()):
        typer.echo(f"{count} left out: {what} undeclared")
    if found.models:
        typer.echo(f"domainbench add {found.models[0].id}")


def _cells(model: "Listed") -> Sequence[str]:
    def yes(value: bool | None) -> str:
        return "unknown" if value is None else "yes" if value else "no"

    def number(value: int | None, scaled: bool = False) -> str:
        return "unknown" if value is None else _short(value) if scaled else f"{value:,}"

    languages: Any = model.languages
    if languages is not None and len(languages) > 4:
        languages = (*languages[:3], f"and {len(languages) - 3} more")
    return (
        model.id + (" (gated)" if model.gated else ""),
        model.kind or "unknown",
        number(model.parameters, scaled=True),
        number(model.downloads),
        model.licence or "unknown",
        ", ".join(languages) if languages else "unknown",
        yes(model.own_code),
        yes(model.safetensors),
        model.spec or "",
    )


def _short(value: int) -> str:
    """A number of parameters in a few signs.

    >>> _short(33_360_000), _short(7_567_295_488), _short(900)
    ('33.4M', '7.6B', '900')
    """
    for size, sign in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if value >= size:
            return f"{value / size:.1f}{sign}"
    return str(value)
