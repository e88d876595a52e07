"""`ratings.json`: what people said, how far they agree, and how far the judge agrees with them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median_low
from typing import Final

from benchmark.errors import BenchError
from benchmark.files import Json, shown
from benchmark.project import Domain
from benchmark.rating.agreement import Agreement, Said, alpha, kappa, leaning, sign_test
from benchmark.rating.judged import COUNTERPARTS, Judged, as_point, read_judged
from benchmark.rating.pairs import POINTS, SCALES, TIE, Item, Material, Pair
from benchmark.rating.store import Kept, Rating, raters_of
from benchmark.stats import bootstrap_interval, holm, sign_flip_tests, verdict

FORMAT: Final = "domainbench-ratings/1"


@dataclass(frozen=True)
class Current:
    """A rating of the answers as they are."""

    rater: str
    item: Item
    rating: Rating


def summarise(domain: Domain, material: Material, *, resamples: int, seed: int, alpha: float) -> Json:
    """Everything that ratings tell, as JSON; the same ratings, answers and seed give the same.

    Args:
        domain: Whose `ratings/` and `judged/` are read.
        material: The pairs that count.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        alpha: Under which a corrected p value counts.

    Raises:
        BenchError: Nobody has rated, or a file is broken.
    """
    raters = {name: kept for name, kept in raters_of(domain.ratings).items() if kept.rows or kept.torn}
    if not raters:
        raise BenchError(f"{shown(domain.ratings)}: no ratings yet; make some with: domainbench rate")
    rows = current_ratings(raters, material)
    judged = read_judged(domain)
    return {
        "format": FORMAT,
        "domain": domain.name,
        "pairs": [list(pair) for pair in material.pairs],
        "items": len(material.items),
        "identical": len(material.identical),
        "failed": len(material.failed),
        "seed": seed,
        "bootstrap": resamples,
        "raters": list(_raters(raters, rows, material)),
        "ratings": len(rows),
        "questions": len({row.item.asked.id for row in rows}),
        "agreement": _agreement(rows, resamples, seed),
        "judge": _judge(rows, judged, resamples, seed) if judged else [],
        "means": list(_means(rows, resamples, seed)),
        "comparisons": _comparisons(rows, material, resamples, seed, alpha),
        "preferences": _preferences(rows, material, alpha),
        "warnings": list(_warnings(raters, judged)),
    }


def current_ratings(raters: Mapping[str, Kept], material: Material) -> list[Current]:
    """The ratings that count: the last of each rater for each pair, of the answers as they are."""
    items = {item.key: item for item in material.items}
    return [
        Current(rater, items[key], rating)
        for rater, kept in raters.items()
        for key, rating in kept.last.items()
        if key in items and rating.answers == items[key].answers_hash
    ]


def _raters(raters: Mapping[str, Kept], rows: Sequence[Current], material: Material) -> Iterator[Json]:
    done = Counter(row.rater for row in rows)
    keys = {item.key for item in material.items}
    for name, kept in raters.items():
        yield {
            "rater": name,
            "rated": done[name],
            "of": len(material.items),
            "stale": sum(key in keys for key in kept.last) - done[name],
            "after_reference": sum(row.rating.saw_reference for row in rows if row.rater == name),
        }


def _warnings(raters: Mapping[str, Kept], judged: Judged | None) -> Iterator[str]:
    for name, kept in raters.items():
        if kept.torn:
            yield f"{name}: the last row had been cut off while it was written, and is left out"
    if judged is None:
        yield "no judge has scored these answers; have them scored with: domainbench judge"
        return
    if judged.warning:
        yield judged.warning
    if judged.failed:
        yield f"the judge failed to give {judged.failed} scores and preferences; these cannot be compared"


# --- agreement ------------------------------------------------------------------------------------------------------


def _told(agreement: Agreement) -> Json:
    low, high = agreement.interval or (None, None)
    return {
        "value": agreement.value, "low": low, "high": high, "questions": agreement.questions, "units": agreement.units,
        "raw": agreement.raw, "why": agreement.why,
    }  # fmt: skip


def _agreement(rows: Sequence[Current], resamples: int, seed: int) -> list[Json]:
    """Krippendorff's alpha: ordinal for the scales, where an answer of a pair is rated; nominal for preference."""
    found: list[Json] = []
    for scale in SCALES:
        said = [
            Said(row.item.asked.id, (row.item.key, pipeline), row.rater, scores[scale])
            for row in rows
            for pipeline, scores in row.rating.scores.items()
        ]
        told = _told(alpha(said, POINTS, "ordinal", resamples=resamples, seed=seed))
        found.append({"scale": scale, "coefficient": "Krippendorff's alpha", "level": "ordinal", **told})
    said = [Said(row.item.asked.id, row.item.key, row.rater, _side(row.item, row.rating.preferred)) for row in rows]
    told = _told(alpha(said, ("first", TIE, "second"), "nominal", resamples=resamples, seed=seed))
    return [*found, {"scale": "preference", "coefficient": "Krippendorff's alpha", "level": "nominal", **told}]


def _side(item: Item, preferred: str) -> str:
    """A preference in terms of the pair, whichever pair it is."""
    return {item.pair.first: "first", item.pair.second: "second", TIE: TIE}[preferred]


def _judge(rows: Sequence[Current], judged: Judged, resamples: int, seed: int) -> list[Json]:
    """Cohen's kappa between the judge and people: their median score, their leaning where it is about preference."""
    found: list[Json] = []
    for scale, metric in COUNTERPARTS.items():
        given: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in rows:
            for pipeline, scores in row.rating.scores.items():
                given[row.item.asked.id, pipeline].append(scores[scale])
        places = [place for place in given if (*place, metric) in judged.scores]
        people = [median_low(given[place]) for place in places]
        judge = [as_point(judged.scores[(*place, metric)]) for place in places]
        told = _told(kappa(
            people, judge, [place[0] for place in places], POINTS, "quadratic", resamples=resamples, seed=seed
        ))  # fmt: skip
        found.append({"scale": scale, "metric": metric, "coefficient": "Cohen's kappa", "weights": "quadratic", **told})
    items = {row.item.key: row.item for row in rows if row.item.key in judged.preferred}
    votes = _leanings(rows)
    told = _told(kappa(
        [votes[key] for key in items], [_side(item, judged.preferred[key]) for key, item in items.items()],
        [key.question for key in items], ("first", TIE, "second"), "none", resamples=resamples, seed=seed,
    ))  # fmt: skip
    named = {"scale": "preference", "metric": "preference", "coefficient": "Cohen's kappa", "weights": "none"}
    return [*found, {**named, **told}]


def _leanings(rows: Sequence[Current]) -> Mapping[object, str]:
    """What the raters of each pair of answers prefer, together."""
    votes: dict[object, list[str]] = defaultdict(list)
    for row in rows:
        votes[row.item.key].append(_side(row.item, row.rating.preferred))
    return {key: leaning(given, "first", "second", TIE) for key, given in votes.items()}


# --- scores and preferences -----------------------------------------------------------------------------------------


def _scores(rows: Sequence[Current], scale: str) -> dict[Pair, dict[str, dict[str, float]]]:
    """Pair -> question -> pipeline -> the mean over raters."""
    given: dict[Pair, dict[str, dict[str, list[int]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        for pipeline, scores in row.rating.scores.items():
            given[row.item.pair][row.item.asked.id][pipeline].append(scores[scale])
    return {
        pair: {question: {name: mean(values) for name, values in both.items()} for question, both in questions.items()}
        for pair, questions in given.items()
    }


def _means(rows: Sequence[Current], resamples: int, seed: int) -> Iterator[Json]:
    for scale in SCALES:
        for pair, questions in _scores(rows, scale).items():
            for name in pair:
                values = [both[name] for _, both in sorted(questions.items())]
                low, high = bootstrap_interval(values, resamples=resamples, seed=seed) or (None, None)
                yield {
                    "pipeline": name, "against": next(other for other in pair if other != name), "scale": scale,
                    "n": len(values), "mean": mean(values), "low": low, "high": high,
                }  # fmt: skip


def _comparisons(rows: Sequence[Current], material: Material, resamples: int, seed: int, level: float) -> list[Json]:
    """Second minus first, question by question; Holm's correction over all pairs and scales."""
    found: list[Json] = []
    for pair in material.pairs:
        for scale in SCALES:
            questions = _scores(rows, scale).get(pair, {})
            gaps = [both[pair.second] - both[pair.first] for _, both in sorted(questions.items())]
            if gaps:
                low, high = bootstrap_interval(gaps, resamples=resamples, seed=seed) or (None, None)
                found.append(
                    {
                        "first": pair.first, "second": pair.second, "scale": scale, "n": len(gaps),
                        "difference": mean(gaps), "low": low, "high": high, "p": sign_flip_tests(gaps, seed=seed)[0],
                    }
                )  # fmt: skip
    return _corrected(found, "difference", level)


def _preferences(rows: Sequence[Current], material: Material, level: float) -> list[Json]:
    """Who is preferred on how many questions; identical answers are ties; Holm's correction over the pairs."""
    leanings = _leanings(rows)
    found: list[Json] = []
    for pair in material.pairs:
        counts = Counter(leanings[item.key] for item in material.items if item.pair == pair and item.key in leanings)
        rated = sum(counts.values())
        if not rated:
            continue
        identical = sum(item.pair == pair for item in material.identical)
        wins, losses = counts["second"], counts["first"]
        found.append(
            {
                "first": pair.first, "second": pair.second, "n": rated + identical, "rated": rated, "wins": wins,
                "losses": losses, "ties": counts[TIE] + identical, "identical": identical,
                "unrated": sum(item.pair == pair for item in material.items) - rated,
                "failed": sum(item.pair == pair for item in material.failed),
                "net": (wins - losses) / (rated + identical), "p": sign_test(wins, losses),
            }
        )  # fmt: skip
    return _corrected(found, "net", level)


def _corrected(rows: list[Json], difference: str, level: float) -> list[Json]:
    corrected = holm([row["p"] for row in rows])
    return [
        {**row, "corrected_p": p, "verdict": verdict(row[difference], p, level)}
        for row, p in zip(rows, corrected, strict=True)
    ]
