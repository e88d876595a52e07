"""domainbench: does an embedding model tuned on my own documents make my RAG better, by how much, can I believe it?"""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: importlib.metadata alone takes a tenth of the time of `--help`."""
    if name != "__version__":
        raise AttributeError(f"module 'benchmark' has no attribute '{name}'")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("domainbench")
    except PackageNotFoundError:
        return "0.0.0"


def register_tasks(project: str | None = None) -> list[str]:
    """Make every domain of a project known to mteb as `<Domain>Retrieval` and `<Domain>Reranking`.

    Args:
        project: The project's folder; without it the one around the working directory, or the built-in one.

    Returns:
        The names that `mteb.get_task` now knows.

    Raises:
        BenchError: A domain.yaml has mistakes.
    """
    from benchmark.pipeline import register_tasks as register

    return register(project)


__all__ = ["register_tasks"]
