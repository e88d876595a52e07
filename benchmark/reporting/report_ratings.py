"""What people said of the answers, from `ratings.json`, as tables for the report.

The file is another stage's and may be of another version: what is missing or of another type is left blank.
"""

from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup

from benchmark.escape import code, md
from benchmark.files import Json, read_json
from benchmark.project import Domain
from benchmark.reporting import render
from benchmark.reporting.report_answers import AnswerFigures, number_of

FILE: Final = "ratings.json"
_FORMAT: Final = "domainbench-ratings/"


def ratings_section(domain: Domain, figures: AnswerFigures | None) -> dict[str, Any] | None:
    """What the template shows of people's ratings; None where there are none.

    Args:
        domain: Whose.
        figures: Has the letters of the pipelines.

    Raises:
        BenchError: `ratings.json` is no JSON object.
    """
    path = domain.results / FILE
    if not path.is_file():
        return None
    found = read_json(path)
    if not str(found.get("format", "")).startswith(_FORMAT):
        return None
    raters = _rows(found, "raters")
    return {
        "raters": sum((number_of(row, "rated") or 0) > 0 for row in raters),
        "n": _whole(number_of(found, "ratings")),
        "questions": _whole(number_of(found, "questions")),
        "stale": _whole(sum(number_of(row, "stale") or 0 for row in raters)),
        "preferences": _preferences(_rows(found, "preferences"), figures),
        "comparisons": _comparisons(_rows(found, "comparisons"), figures),
        "agreement": _agreement([*_rows(found, "agreement"), *_rows(found, "judge")], len(_rows(found, "agreement"))),
        "warnings": [line for line in found.get("warnings") or () if isinstance(line, str)],
    }


def _rows(found: Json, key: str) -> list[Json]:
    rows = found.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _whole(value: float | None) -> str:
    return render.BLANK if value is None else f"{value:g}"


def _named(name: object, figures: AnswerFigures | None) -> Markup:
    known = figures is not None and name in figures.pipelines
    return figures.named(str(name)) if figures is not None and known else code(str(name))


def _verdict(row: Json) -> Markup:
    found = row.get("verdict")
    return Markup("**{}**").format(found) if found in {"better", "worse"} else md(found or "")


def _p(row: Json) -> str:
    value = number_of(row, "corrected_p")
    return render.BLANK if value is None else render.p_value(value)


def _preferences(rows: Sequence[Json], figures: AnswerFigures | None) -> Markup | None:
    cells = [
        [
            _named(row.get("second"), figures), _named(row.get("first"), figures),
            *(_whole(number_of(row, key)) for key in ("wins", "losses", "ties")), _p(row), _verdict(row),
            _whole(number_of(row, "n")),
        ]
        for row in rows
    ]  # fmt: skip
    head = ["Pipeline", "Against", "Preferred", "Other preferred", "Ties", "p (Holm)", "Verdict", "n"]
    return render.table(head, cells, left=2) if cells else None


def _comparisons(rows: Sequence[Json], figures: AnswerFigures | None) -> Markup | None:
    cells = [
        [
            md(row.get("scale", "")), _named(row.get("second"), figures), _named(row.get("first"), figures),
            _points(number_of(row, "difference")), _span(row, "+.2f"), _p(row), _verdict(row),
            _whole(number_of(row, "n")),
        ]
        for row in rows
    ]  # fmt: skip
    head = ["Scale (1 to 5)", "Pipeline", "Against", "Difference", "95 % interval", "p (Holm)", "Verdict", "n"]
    return render.table(head, cells, left=3) if cells else None


def _agreement(rows: Sequence[Json], people: int) -> Markup | None:
    """Raters with each other first, then the judge with them."""
    cells = [
        [
            "people with each other" if place < people else "the judge with people", md(row.get("scale", "")),
            md(row.get("coefficient", "")), render.number(number_of(row, "value")) or md(row.get("why") or ""),
            _span(row, ".2f"), _whole(number_of(row, "questions")),
        ]
        for place, row in enumerate(rows)
    ]  # fmt: skip
    head = ["Agreement of", "Scale", "Coefficient", "Value", "95 % interval", "Questions"]
    return render.table(head, cells, left=3) if cells else None


def _points(value: float | None) -> str:
    return render.BLANK if value is None else f"{value:+.2f}"


def _span(row: Json, form: str) -> str:
    low, high = number_of(row, "low"), number_of(row, "high")
    return render.BLANK if low is None or high is None else f"{low:{form}} to {high:{form}}"
