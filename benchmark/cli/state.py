"""What was said before the command's name."""

from pathlib import Path


class _State:
    project: Path | None = None


_STATE = _State()


def project_folder() -> Path | None:
    """The project's folder as given with --project; None where it is to be found upwards."""
    return _STATE.project


def set_project_folder(folder: Path | None) -> None:
    """Keep what was given with --project."""
    _STATE.project = folder
