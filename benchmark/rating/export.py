"""All ratings with their questions and answers, for other programs."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmark.errors import BenchError
from benchmark.escape import csv_cell
from benchmark.files import Json, shown, write_jsonl, write_text
from benchmark.project import Domain
from benchmark.rating.pairs import SCALES, Item, Key, Material, shown_text
from benchmark.rating.store import raters_of


def export_ratings(domain: Domain, material: Material, path: Path) -> int:
    """Write the rating that counts of each rater for each pair; returns how many.

    A rating of answers that have changed since is `current: false` and comes without the answers, which are gone.

    Args:
        domain: Whose `ratings/` are read.
        material: Has questions and answers.
        path: A .csv or .jsonl file.

    Raises:
        BenchError: Another kind of file, nobody has rated, or a rater's file is broken.
    """
    if path.suffix not in {".csv", ".jsonl"}:
        raise BenchError(f"--export {shown(path)}: name a file that ends with .csv or .jsonl")
    if path.parent.resolve() == domain.ratings.resolve():
        raise BenchError(f"--export {shown(path)}: the raters' own files lie there; name another folder")
    rows = list(_rows(domain, {item.key: item for item in material.items}))
    if not rows:
        raise BenchError(
            f"{shown(domain.ratings)}: no ratings of these pipelines yet; make some with: domainbench rate"
        )
    if path.suffix == ".jsonl":
        return write_jsonl(path, rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([csv_cell("" if value is None else str(value)) for value in row.values()] for row in rows)
    write_text(path, stream.getvalue())
    return len(rows)


def _rows(domain: Domain, items: Mapping[Key, Item]) -> Iterator[Json]:
    for rater, kept in raters_of(domain.ratings).items():
        for key, rating in kept.last.items():
            if key not in items:
                continue
            item = items[key]
            current = rating.answers == item.answers_hash
            answers = {answer.pipeline: shown_text(answer) for answer in (item.first, item.second)} if current else {}
            row: Json = {
                "rater": rater, "at": rating.at, "question": rating.question, "text": item.asked.text,
                "category": item.asked.category, "reference": item.asked.reference, "current": current,
            }  # fmt: skip
            for side in ("left", "right"):
                pipeline = getattr(rating, side)
                row |= {side: pipeline, f"{side}_answer": answers.get(pipeline)}
                row |= {f"{side}_{scale}": rating.scores[pipeline][scale] for scale in SCALES}
            yield {**row, "preferred": rating.preferred, "note": rating.note, "saw_reference": rating.saw_reference}
