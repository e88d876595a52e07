"""What each model costs to run, as far as its evaluation measured it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmark.files import Json
from benchmark.reporting.systems import System

NOISE: Final = 1.5
"""Two times, neither of which is this many times the other, are told as the same: each was measured once, beside whatever
else the machine did."""


@dataclass(frozen=True)
class Costs:
    """Figures of one model; None where nothing was measured.

    Attributes:
        parameters: Of the weights.
        dimensions: Of a vector.
        index_bytes_per_million: Bytes of an index of a million passages.
        chunks_per_second: Passages indexed in a second.
        latency_p50: Milliseconds to answer a query, the median.
        latency_p95: The same for the slowest in twenty.
        latency_n: Queries that were timed.
        machine: Where it was measured.
    """

    parameters: float | None
    dimensions: float | None
    index_bytes_per_million: float | None
    chunks_per_second: float | None
    latency_p50: float | None
    latency_p95: float | None
    latency_n: float | None
    machine: str

    @property
    def measured(self) -> bool:
        """Whether there is anything beside what the spec says."""
        return any(
            value is not None for value in (self.index_bytes_per_million, self.chunks_per_second, self.latency_p50)
        )

    def to_json(self) -> Json:
        """A JSON object."""
        return asdict(self)


def costs_of(system: System, manifest: Mapping[str, Any]) -> Costs:
    """A model's costs from the manifest of its retrieval run; what is missing or no number is None.

    Args:
        system: The model; its spec tells parameters and dimensions where the run does not.
        manifest: Of the run; those of older versions hold no costs.
    """
    found = _mapping(_mapping(manifest.get("facts")).get("costs"))
    latency = _mapping(found.get("query_ms"))
    return Costs(
        parameters=_figure(found.get("parameters"), system.parameters),
        dimensions=_figure(found.get("dimensions"), system.dimensions),
        index_bytes_per_million=_figure(found.get("index_bytes_per_million_chunks")),
        chunks_per_second=_figure(found.get("chunks_per_second")),
        latency_p50=_figure(latency.get("p50")),
        latency_p95=_figure(latency.get("p95")),
        latency_n=_figure(latency.get("questions")),
        machine=_machine(_mapping(found.get("machine"))),
    )


def _machine(found: Mapping[str, Any]) -> str:
    """Processor, cores, and a GPU where there was one.

    >>> _machine({"cpu": "AMD EPYC", "cores": 2, "threads": 1, "gpu": None, "torch": "2.13.0"})
    'AMD EPYC, 2 cores, 1 thread, torch 2.13.0'
    """
    parts = [found.get("gpu"), found.get("cpu"), *(_several(found, key) for key in ("cores", "threads"))]
    torch = found.get("torch")
    return ", ".join(str(part) for part in (*parts, torch and f"torch {torch}") if part)


def _several(found: Mapping[str, Any], key: str) -> str:
    n = _figure(found.get(key))
    return "" if n is None else f"{n:g} {key.removesuffix('s') if n == 1 else key}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _figure(*values: object) -> float | None:
    """The first that is a number, not negative and not infinite."""
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
            return value
    return None


# --- in words -------------------------------------------------------------------------------------------------------


def count(value: float | None) -> str:
    """Parameters: `22.7 M`; blank where unknown.

    >>> count(22713216), count(1_500_000_000), count(None), count(0)
    ('22.7 M', '1,500.0 M', '', '0')
    """
    if value is None:
        return ""
    return f"{value / 1e6:,.1f} M" if value else "0"


def size(value: float | None) -> str:
    """Bytes as people write them.

    >>> size(1_536_000_000), size(640), size(2_500_000), size(None)
    ('1.54 GB', '640 B', '2.50 MB', '')
    """
    if value is None:
        return ""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value >= 100 * factor else f"{value / factor:.2f} {unit}"
    return f"{value:.0f} B"


def milliseconds(value: float | None) -> str:
    """A latency.

    >>> milliseconds(0.123), milliseconds(12.34), milliseconds(1234.5), milliseconds(None)
    ('0.12 ms', '12 ms', '1,234 ms', '')
    """
    if value is None:
        return ""
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
