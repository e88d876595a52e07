"""Prompts: text files beside this module. Texts of documents are set in by concatenation, never by formatting."""

import hashlib
from pathlib import Path

from benchmark.files import hash_json

_FOLDER = Path(__file__).parent / "prompts"


def prompt(name: str) -> str:
    """The text of `prompts/<name>.txt`, without white space at its ends."""
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()


def prompts_hash() -> str:
    """A hash over all prompts: a changed prompt makes the stages that use them run again."""
    files = sorted(_FOLDER.glob("*.txt"))
    return hash_json([[path.name, path.read_text(encoding="utf-8")] for path in files])


def fenced(text: str) -> str:
    """A document's text between marks that it cannot contain, so that it cannot pass itself off as instructions.

    The mark is a hash of the text: whoever writes the text cannot know it while writing, and the same text always
    gives the same request.
    """
    nonce = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return "<passage-" + nonce + ">\n" + text + "\n</passage-" + nonce + ">"
