"""`domainbench rate`: people rate answers without knowing whose they are."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.opening import BenchmarkOption, DomainOption, open_pipeline

if TYPE_CHECKING:
    from benchmark.project import Domain
    from benchmark.rating.pairs import Material
    from benchmark.specs import BenchmarkSpec


def rate(
    rater: Annotated[
        str | None, typer.Option("--rater", help="Who rates, as a file's name; your name on this machine by default.")
    ] = None,
    pipelines: Annotated[
        str | None,
        typer.Option("--pipelines", help="Which to compare, by letter or name: A,B. The first against each other."),
    ] = None,
    domain: DomainOption = None,
    port: Annotated[int, typer.Option("--port", help="Of 127.0.0.1; any free one by default.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Show the address only.")] = False,
    show_reference: Annotated[
        bool, typer.Option("--show-reference", help="Let the reference answer be read before rating.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write all ratings to a .csv or .jsonl file; open no page.")
    ] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Tell how far raters agree, and the judge with them; open no page.")
    ] = False,
    benchmark: BenchmarkOption = None,
) -> None:
    """Rate answers blindly on a page of this machine, export the ratings, or tell how far raters agree."""
    from benchmark.errors import BenchError
    from benchmark.files import shown
    from benchmark.rating.export import export_ratings
    from benchmark.rating.serve import rate as serve
    from benchmark.rating.store import checked_rater

    if export is not None and agreement:
        raise BenchError("--export and --agreement are two things; ask for one at a time")
    chosen, spec, material = _material(benchmark, domain, pipelines)
    if export is not None:
        count = export_ratings(chosen, material, export)
        typer.echo(f"{shown(export)}: {count} ratings")
    elif agreement:
        _agreement(chosen, spec, material)
    else:
        name = checked_rater(_own_name() if rater is None else rater)
        serve(
            chosen, material, name, spec.seed, typer.echo,
            port=port, browser=not no_browser, always_reference=show_reference,
        )  # fmt: skip


def _own_name() -> str:
    from contextlib import suppress

    with suppress(KeyError, OSError):  # a container's user may have no name
        return getpass.getuser().lower()
    return ""


def _material(path: Path | None, name: str | None, pipelines: str | None) -> "tuple[Domain, BenchmarkSpec, Material]":
    """The domain, the benchmark file, and what can be rated."""
    from benchmark.rating.pairs import chosen_pairs, read_material

    # Several people may rate at once, also while something else is at work: each has a file of their own.
    pipeline = open_pipeline(path, name, lock=False)
    domain, spec = pipeline.domain, pipeline.spec
    return domain, spec, read_material(domain, chosen_pairs(spec.answering, pipelines), spec.seed)


def _agreement(domain: "Domain", spec: "BenchmarkSpec", material: "Material") -> None:
    from rich.console import Console

    from benchmark.files import dump_json, shown, write_text
    from benchmark.rating.summary import summarise
    from benchmark.rating.tables import tables

    found = summarise(domain, material, resamples=spec.bootstrap, seed=spec.seed, alpha=spec.alpha)
    path = domain.results / "ratings.json"
    write_text(path, dump_json(found))
    for part in tables(found):
        Console().print(part)
    typer.echo(shown(path))
