"""Figures in files: as many digits as mean something, and JSON that people and diffs can read."""

import json
import math
from typing import Any, NamedTuple

from benchmark.stats import Interval

_DIGITS = 12  # beyond these a sum depends on the order of its terms, and so on the processor


class Ends(NamedTuple):
    """Both ends of an interval; None where there is none."""

    low: float | None
    high: float | None


def kept(value: float) -> float:
    """A figure as it is stored."""
    return round(value, _DIGITS) + 0.0  # + 0.0: no negative zero


def ends(interval: Interval | None) -> Ends:
    """An interval as it is stored."""
    return Ends(None, None) if interval is None else Ends(kept(interval.low), kept(interval.high))


def dump_compact(value: Any, indent: int = 0) -> str:
    """JSON for people and for diffs: a list or object without further ones inside stands in one line.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(part, (dict, list)) for part in inner):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    pad = "  " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(k, ensure_ascii=False)}: {dump_compact(v, indent + 1)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        parts = [pad + dump_compact(part, indent + 1) for part in value]
        opening, closing = "[", "]"
    return opening + "\n" + ",\n".join(parts) + "\n" + "  " * indent + closing


def close(left: object, right: object) -> bool:
    """Whether two figures agree up to the last digits (sums differ there between processors)."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=0.0, abs_tol=1e-9)
    return left == right
