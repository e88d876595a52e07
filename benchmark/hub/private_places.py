"""What spec files say of this machine and this network: folders by their whole path, and addresses of APIs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from benchmark.errors import BenchError
from benchmark.files import read_text, shown

_PUBLIC: Final = frozenset({
    "api.openai.com", "api.anthropic.com", "api.mistral.ai", "api.cohere.com", "api.cohere.ai", "api.voyageai.com",
    "api.jina.ai", "api.together.xyz", "api.deepinfra.com", "api.fireworks.ai", "api.groq.com", "api.deepseek.com",
    "openrouter.ai", "router.huggingface.co", "generativelanguage.googleapis.com", "integrate.api.nvidia.com",
})  # fmt: skip
"""Services that are the same for everybody: their addresses tell nothing of who uses them."""
_FEWEST: Final = 2
"""Names in a path that tell a machine: `/data` stands in many a text."""


def private_places(root: Path) -> dict[str, str]:
    """What must not stand in results: each value, and what it is.

    Args:
        root: The project, whose model specs, benchmark files and domains are read; those that are broken are passed
            over, since no results come from them.
    """
    found: dict[str, str] = {}
    for path in sorted((*root.glob("model_specs/*.yaml"), *root.glob("*.yaml"), *root.glob("tasks/*/*.yaml"))):
        try:
            value = yaml.safe_load(read_text(path))
        except (yaml.YAMLError, BenchError, OSError):
            continue
        for place, what in _places(value):
            found.setdefault(place, f"{what} of {shown(path)}")
    return found


def _places(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner, key)
    elif isinstance(value, str) and key == "base_url":
        if _is_private(value):
            yield value.strip().rstrip("/"), "the base_url"
    elif isinstance(value, str):
        text = value.strip().rstrip("/")
        if text.startswith(("/", "~/")) and "\n" not in text and len(Path(text).parts) > _FEWEST:
            yield text, f"the '{key}'"


def _is_private(address: str) -> bool:
    try:
        return urlsplit(address.strip()).hostname not in _PUBLIC
    except ValueError:
        return True
