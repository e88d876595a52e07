"""Prompts: text files beside this module, or a user's edited copies.

Texts of documents are set in by concatenation, never by formatting.
"""

import hashlib
from functools import cached_property
from pathlib import Path

from benchmark.errors import BenchError, Problems, did_you_mean
from benchmark.files import Json, hash_json, read_text, shown, write_text

BUILTIN = Path(__file__).parent / "prompts"


class Prompts:
    """The package's prompts, with a user's own in the place of those that his folder holds.

    Args:
        folder: Where edited copies stand; None for the package's alone.
        builtin: The package's folder of them; that of the training questions by default.

    Raises:
        BenchError: No such folder, a file there that is no prompt's, or one that is empty.
    """

    def __init__(self, folder: Path | None = None, builtin: Path = BUILTIN) -> None:
        self._builtin = builtin
        self._paths = {path.stem: path for path in sorted(builtin.glob("*.txt"))}
        if folder is None:
            return
        if not folder.is_dir():
            raise BenchError(f"{shown(folder)}: no such folder of prompts; copy them with: domainbench prompts FOLDER")
        known = set(self._paths)
        with Problems() as problems:
            for path in sorted(folder.glob("*.txt")):
                if path.stem not in known:
                    problems.add(f"{shown(path)}: no prompt has this name; {did_you_mean(path.stem, known)}")
                elif not read_text(path).strip():
                    problems.add(f"{shown(path)}: is empty")
                else:
                    self._paths[path.stem] = path

    def text(self, name: str) -> str:
        """The text of `<name>.txt`, without white space at its ends."""
        return self._texts[name]

    def lines(self, name: str) -> list[str]:
        """The lines of `<name>.txt` that are not empty."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {name: read_text(path).strip() for name, path in self._paths.items()}

    @cached_property
    def hashes(self) -> Json:
        """Prompt -> hash of its text: a changed prompt makes the stages that use it run again."""
        return {name: hash_json(text)[:16] for name, text in sorted(self._texts.items())}

    @property
    def edited(self) -> list[str]:
        """Names of the prompts that are not the package's own."""
        return sorted(name for name, path in self._paths.items() if path.parent != self._builtin)


def copy_prompts(folder: Path, builtin: Path = BUILTIN, section: str = "generate") -> list[str]:
    """Copy every prompt into a folder, but for those that it holds already; returns what to tell.

    Args:
        folder: Where the copies go.
        builtin: The package's folder of prompts.
        section: Of the benchmark file, where the folder is to be named.
    """
    sources = sorted(builtin.glob("*.txt"))
    copied = []
    for path in sources:
        target = folder / path.name
        if not target.exists():
            write_text(target, read_text(path))
            copied.append(path.name)
    kept = len(sources) - len(copied)
    lines = [f"{shown(folder)}: {len(copied)} prompts copied" + (f", {kept} were there and stay" if kept else "")]
    return [
        *lines,
        f"edit them, delete those that you leave as they are, and name the folder under '{section}: prompts:'",
    ]


def fenced(text: str) -> str:
    """A document's text between marks that it cannot contain, so that it cannot pass itself off as instructions.

    The mark is a hash of the text: whoever writes the text cannot know it while writing, and the same text always
    gives the same request.
    """
    nonce = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return "<passage-" + nonce + ">\n" + text + "\n</passage-" + nonce + ">"
