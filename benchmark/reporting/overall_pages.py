"""What several domains' leaderboard looks like in Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup

from benchmark.escape import code, csv_cell, md, tex
from benchmark.reporting import latex
from benchmark.reporting.render import SIGNS, bold, interval, number, p_value, signed, table

if TYPE_CHECKING:
    from benchmark.reporting.overall import Overall, OverallRow


def _markdown(found: "Overall") -> str:
    settings, sizes = found.settings, zip(found.domains, found.queries, strict=True)
    domains = Markup(", ").join(Markup("{} (n = {})").format(code(name), n) for name, n in sizes)
    head = ["Rank", "Model", f"Mean {found.metric}", "Difference", "95 % interval", "p (Holm)", "Verdict", "Points"]
    rows: list[list[object]] = []
    for row in found.rows:
        one = row.against
        name = code(row.system) + (Markup(" (baseline)") if one is None else Markup(""))
        cells: list[object] = ["", "", "", ""]
        if one is not None:
            said = Markup("not shown") if one.verdict == "not shown" else bold(one.verdict)
            cells = [signed(one.difference), interval(one.low, one.high), p_value(one.corrected_p), said]
        rows.append([row.rank, name, number(row.mean), *cells, f"{row.points:g}", *map(number, row.by_domain)])
    notes = [
        "- Mean: of the domains' means, so that every domain counts the same, however many questions it has.",
        "- Rank: by Borda count, as in MTEB: in each domain a model gets a point for every model below it (half a point "
        "for an equal one). It says who is often ahead, not by how much, and nothing of what is shown.",
        f"- Difference: model minus baseline ({code(settings.baseline)}), mean over the domains; the 95 % interval is a "
        f"percentile bootstrap ({settings.bootstrap:,} resamples) that draws questions within their domain; p is from a "
        f"paired sign-flip test over all questions ({settings.permutations:,} permutations), corrected by Holm's "
        "method over the models.",
        "- These domains stand for themselves: intervals and tests speak of further questions on them, not of other "
        "fields.",
    ]
    parts: list[str] = [
        f"# Leaderboard: {len(found.domains)} domains",
        f"{domains}. Baseline: {code(settings.baseline)}. Seed {settings.seed}.",
        table([*head, *map(code, found.domains)], rows),
        "Every domain has its own leaderboard, with all metrics, categories and what forgetting was found: "
        + ", ".join(f"[{md(name)}]({name}/leaderboard.md)" for name in found.domains),
        "\n".join(notes),
    ]
    return "\n\n".join(parts) + "\n"


def _csv(found: "Overall") -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    figures = ("difference", "low", "high", "p", "corrected_p", "verdict")
    writer.writerow(["rank", "model", "points", "mean", *figures, *map(csv_cell, found.domains)])
    for row in found.rows:
        cells = [getattr(row.against, name) if row.against else None for name in figures]
        values = [row.points, row.mean, *cells, *row.by_domain]
        writer.writerow([row.rank, csv_cell(row.system), *map(_figure, values)])
    return stream.getvalue()


def _figure(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str("" if value is None else value)


def _latex(found: "Overall") -> str:
    rows = [[*_latex_cells(row)] for row in found.rows]
    caption = (
        f"{found.metric} over {len(found.domains)} domains, each counting the same; rank by Borda count. Bold: better "
        "than the baseline; italics: worse (paired sign-flip test, Holm's correction)."
    )
    head = ["Rank", "Model", "Mean", "Difference", "95 % interval", *found.domains]
    columns = "rl" + "r" * (len(head) - 2)
    return latex.HEAD + "\n\n" + latex.table(head, rows, columns, caption, "tab:overall") + "\n"


def _latex_cells(row: "OverallRow") -> Iterator[str]:
    one = row.against
    styles = {"▲": r"\textbf{%s}", "▼": r"\textit{%s}"}
    yield str(row.rank)
    yield tex(row.system)
    yield styles.get(SIGNS[one.verdict].strip() if one else "", "%s") % number(row.mean)
    yield latex.numeral(signed(one.difference)) if one else ""
    yield latex.numeral(interval(one.low, one.high)) if one else ""
    yield from map(number, row.by_domain)


PAGES: Mapping[str, Callable[["Overall"], str]] = {"md": _markdown, "csv": _csv, "tex": _latex}
"""By the file's suffix."""
