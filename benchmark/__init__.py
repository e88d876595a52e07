"""domainbench: does an embedding model tuned on my own documents make my RAG better, by how much, can I believe it?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("domainbench")
except PackageNotFoundError:
    __version__ = "0.0.0"


def register_tasks(project: str | None = None) -> list[str]:
    """Make every domain of a project known to mteb as `<Domain>Retrieval` and `<Domain>Reranking`.

    Args:
        project: The project's folder; without it the one around the working directory, or the built-in one.

    Returns:
        The names that `mteb.get_task` now knows.

    Raises:
        BenchError: A domain.yaml has mistakes.
    """
    from benchmark.evaluation.tasks import register_tasks as register

    return register(project)


__all__ = ["__version__", "register_tasks"]
