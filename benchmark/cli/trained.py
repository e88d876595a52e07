"""What `domainbench finetune` says about the models that it made."""

from collections.abc import Iterator, Sequence

from benchmark.provenance import Outcome


def lines_of(outcome: Outcome) -> Iterator[str]:
    """The development figures before and after, and what was chosen and why, as far as the stage left them."""
    name, facts = outcome.folder.name, outcome.facts
    development = facts.get("development", {})
    before, after = (development.get(when, {}).get("ndcg@10") for when in ("before", "after"))
    if after is not None:
        start = "" if before is None else f"{before:.4f} -> "
        yield f"{name}: development nDCG@10 {start}{after:.4f}"
    if "choice" in facts:
        yield f"{name}: {facts['choice']['chosen']}: {facts['choice']['why']}"


def lines_to_add(names: Sequence[str]) -> Iterator[str]:
    """How to compare models that the benchmark file does not name yet."""
    if not names:
        return
    yield "to compare them, add under 'models:' in the benchmark file:"
    for name in names:
        yield f"  - {name}"
    yield f"then: domainbench evaluate {names[0]}, or domainbench run for all of it"
