"""`domainbench publish`: results, the test set, a tuned model or the page, to the Hugging Face Hub."""

from typing import Annotated, Literal

import typer

from benchmark.cli.opening import BenchmarkOption, DomainOption


def publish(
    what: Annotated[
        Literal["results", "dataset", "model", "space"],
        typer.Argument(help="The leaderboard, the test set, a tuned model, or the leaderboard's page as a Space."),
    ],
    to: Annotated[str, typer.Option("--to", help="The repository, organisation/name; made where it is not there.")],
    model: Annotated[str | None, typer.Option("--model", help="The model's spec, for publish model.")] = None,
    domain: DomainOption = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Where the test set was published, organisation/name@commit, for model cards."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; private by default.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List every file with its size and its place; ask and send nothing.")
    ] = False,
    with_documents: Annotated[
        bool, typer.Option("--with-documents", help="Documents and questions may be sent; a licence is needed as well.")
    ] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The synthetic training set with the test set, for publish dataset.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--licence", help="The licence, where domain.yaml does not say it or says another.")
    ] = None,
    benchmark: BenchmarkOption = None,
    message: Annotated[str | None, typer.Option("--message", help="The commit's message.")] = None,
) -> None:
    """Send results, the test set, a tuned model or the page to the Hugging Face Hub, private by default."""
    from benchmark.cli.screen import Screen
    from benchmark.cli.state import project_folder
    from benchmark.errors import BenchError
    from benchmark.hub.publish import publish as send
    from benchmark.hub.publish_request import Request
    from benchmark.pipeline import hold
    from benchmark.project import Project

    request = Request(
        to, model, dataset, public=public, dry_run=dry_run, with_documents=with_documents, synthetic=synthetic,
        licence=licence, message=message,
    )  # fmt: skip
    project = Project.find(project_folder())
    if domain is None:
        path = benchmark or project.root / "benchmark.yaml"
        domains = project.benchmark(path).domains
        if len(domains) > 1:
            raise BenchError(f"{path.name} has several domains; name one with --domain: {', '.join(domains)}")
        domain = domains[0]
    chosen = project.domain(domain)
    hold(chosen)
    send(what, project, chosen, request, Screen(), typer.echo)
