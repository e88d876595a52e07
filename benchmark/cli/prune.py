"""`domainbench prune`: room on the disk."""

from typing import Annotated

import typer


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")] = False,
) -> None:
    """Delete vectors, scores and exported models of encoders that no spec and no kept run of the project has."""
    from benchmark.cli.state import project_folder
    from benchmark.encoders.pruning import prune as remove
    from benchmark.files import shown
    from benchmark.project import Project

    found = remove(Project.find(project_folder()), dry_run=dry_run)
    for one in found:
        typer.echo(f"{shown(one.path)} ({one.what}): {_bytes(one.size)}{'; ' if one.stays else ''}{one.stays}")
    freed = sum(one.size for one in found if not one.stays)
    word = "would be freed" if dry_run else "freed"
    typer.echo(f"{_bytes(freed)} {word}")


def _bytes(size: int) -> str:
    """In the largest unit of which there is one.

    >>> _bytes(999), _bytes(1500), _bytes(2_340_000_000)
    ('999 bytes', '1.5 kB', '2.3 GB')
    """
    for unit, many in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= many:
            return f"{size / many:.1f} {unit}"
    return f"{size} bytes"
