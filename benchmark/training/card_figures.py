"""The figures of a model card: development split, intervals, and why a model was kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.files import Json
from benchmark.pages import plain_name
from benchmark.stats import Floats, Interval, bootstrap_interval, differences, sign_flip_test


def development_rows(found: Json) -> Json:
    """The development figures as rows, with n.

    A mixture's stand beside those of the tuned model, a reranker's beside those of the first stage that it follows.
    """
    sides = [side for side in ("before", "tuned", "after") if side == "after" or side in found]
    metrics = dict.fromkeys(name for side in sides for name in found.get(side, {}))
    heads = {"before": "First stage" if "first_stage" in found else "Base", "tuned": "Tuned", "after": "This model"}
    return {
        "count": found.get("queries", found.get("pairs", "An unknown number of")),
        "unit": found.get("unit", "queries" if "queries" in found else "labelled pairs"),
        "before": heads["before"].lower(),
        "heads": [heads[side] for side in sides],
        "rows": [
            {"metric": plain_name(name), "values": [_figure(found.get(side, {}).get(name)) for side in sides]}
            for name in metrics
        ],
    }


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "–"


def compared(before: Floats | None, after: Floats | None, seed: int) -> Json | None:
    """Base and model query by query, with intervals; None where the scores are not known.

    Args:
        before: The base's score of each query, shape (n_queries,).
        after: The model's.
        seed: For resamples and permutations.
    """
    if before is None or after is None or not len(before):
        return None
    gaps = differences(after, before)
    shown = {
        "before": _with_interval(before, seed),
        "after": _with_interval(after, seed),
        "gap": _with_interval(gaps, seed, "+"),
    }
    return {"n": len(gaps), "p": f"{sign_flip_test(after, before, seed=seed):.2g}", **shown}


def _with_interval(values: Floats, seed: int, sign: str = "") -> str:
    mean = f"{float(np.mean(values)):{sign}.4f}"
    ends: Interval | None = bootstrap_interval(values, seed=seed)
    return mean if ends is None else f"{mean} ({ends.low:{sign}.4f} to {ends.high:{sign}.4f})"


def choice_rows(found: Json | None, own: float | None) -> Json | None:
    """What was chosen and why, and how each kind of query fares.

    Args:
        found: `Choice.to_json`.
        own: The share of the tuned model in this one, where it is another than what was chosen.
    """
    if not found:
        return None
    share = found["share"] if own is None else own
    kept: Sequence[Json] = next((row["kinds"] for row in found["mixtures"] if row["share"] == share), [])
    by = found.get("by", {})
    return {
        "chosen": found["chosen"],
        "share": f"{found['share']:g}",
        "own": f"{share:g}",
        "why": found["why"],
        "queries": by.get("queries"),
        "written": by.get("written", False),
        "mixtures": [{"share": f"{row['share']:g}", "score": _figure(row["score"])} for row in found["mixtures"]],
        "kinds": [
            {
                "kind": row["kind"],
                "queries": row["queries"],
                "base": _figure(row["base"]),
                "score": _figure(row["score"]),
                "p": f"{row['p']:.3g}",
            }
            for row in kept
        ],
    }
