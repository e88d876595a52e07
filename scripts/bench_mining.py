"""Memory and speed of mining negatives; run as: python scripts/bench_mining.py [--chunks N] [--queries N] [--dims N].

The dense miner runs in a process of its own on random unit vectors (in clusters, so that the rules bite): its peak
memory over what the process held before the matrix of vectors was made should be the matrix and one block of
similarities, and no more than a tenth beyond. Then both miners on a tenth of it with texts, for the speed alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.specs import BM25Settings, Negatives
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import Mined, mine
from benchmark.synthesis.search import Corpus

MIB = 2**20
ALLOWED = 1.1
NEAR_DUPLICATE = 0.9
_SLICE = 256
_STATUS = Path("/proc/self/status")


def main() -> None:
    """Run the measurement in a child process, and say how it compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--child", choices=["dense", "both"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(measure(asked.chunks, asked.queries, asked.dims, asked.child)))
        return
    print(f"{asked.chunks} chunks, {asked.dims} dimensions, {asked.queries} queries")
    dense = in_child(asked.chunks, asked.queries, asked.dims, "dense")
    limit = dense["matrix"] + dense["block"]
    verdict = "yes" if dense["peak"] <= ALLOWED * limit else "NO"
    print(f"  matrix {dense['matrix'] / MIB:.1f} MiB, block {dense['block'] / MIB:.1f} MiB")
    print(f"  peak {dense['peak'] / MIB:.1f} MiB = {dense['peak'] / limit:.3f} of matrix + block")
    print(f"  at most matrix + block + 10 %: {verdict}")
    print(f"  miner dense: {dense['per_second']:.0f} queries a second ({said(dense)})")
    both = in_child(asked.chunks // 10, asked.queries // 10, asked.dims, "both")
    print(f"{asked.chunks // 10} chunks with texts, {asked.queries // 10} queries")
    print(f"  miner both: {both['per_second']:.0f} queries a second ({said(both)})")
    if verdict == "NO":
        raise SystemExit(1)


def said(figures: dict[str, float]) -> str:
    """Counts of what was mined, in words."""
    return (
        f"{figures['mined']:.0f} negatives, {figures['excluded']:.0f} excluded among the closest, "
        f"{figures['short']:.0f} queries short"
    )


def in_child(chunks: int, queries: int, dims: int, miner: str) -> dict[str, float]:
    """Measure in a new process: another one's memory is not to be counted."""
    sizes = ["--chunks", str(chunks), "--queries", str(queries), "--dims", str(dims)]
    done = subprocess.run(  # noqa: S603 (our own script)
        [sys.executable, __file__, *sizes, "--child", miner], stdout=subprocess.PIPE, check=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measure(n_chunks: int, n_queries: int, dims: int, miner: str) -> dict[str, float]:
    """Mine once.

    Returns:
        Bytes of the matrix, of one block, and of the peak over what was held before the matrix was made; queries a
        second, and what was mined.
    """
    draws = np.random.default_rng(0)
    chunks = [made_chunk(number, draws, words=40 if miner == "both" else 0) for number in range(n_chunks)]
    texts = [chunk.full_text for chunk in chunks] if miner == "both" else []
    index = BM25Index([chunk.id for chunk in chunks], texts, BM25Settings())
    sources = draws.integers(0, n_chunks, n_queries).tolist()
    drafts = [Draft(" ".join(chunks[source].text.split()[:8]), source, "llm", "") for source in sources]
    held_out = np.zeros(n_chunks, dtype=bool)
    held_out[: n_chunks // 8] = True
    also = {number: frozenset({number % n_chunks}) for number in range(0, n_queries, 10)}
    before = memory("VmRSS")

    vectors = clustered(n_chunks, dims, draws)
    corpus = Corpus(chunks, vectors, index)
    asked = beside(vectors, sources, 0.5, draws)
    spec = Negatives(miner="dense" if miner == "dense" else "both")
    start = time.perf_counter()
    mined = mine(corpus, drafts, asked, held_out, also, spec, NEAR_DUPLICATE, 0)
    seconds = time.perf_counter() - start
    peak = memory("VmHWM") - before
    return {
        "matrix": vectors.nbytes,
        "block": min(corpus.block_rows, n_queries) * n_chunks * vectors.itemsize,
        "peak": peak,
        "per_second": n_queries / seconds,
        **counts(mined),
    }


def counts(mined: Mined) -> dict[str, float]:
    """How many negatives, exclusions and short queries."""
    return {
        "mined": sum(len(row) for row in mined.negatives),
        "excluded": sum(mined.excluded.values()),
        "short": sum(mined.short.values()),
    }


def made_chunk(number: int, draws: np.random.Generator, words: int) -> Chunk:
    """One of twenty chunks of a document, four to a section; its text is drawn from a few thousand words."""
    # Zipf's law, as words have it.
    text = " ".join(f"word{word % 20_000}" for word in draws.zipf(1.3, words)) or f"text {number}"
    document = f"{number // 20}.md"
    return Chunk(f"c{number}", document, "", (f"Section {number // 4}",), 0, len(text), text)


def clustered(count: int, dims: int, draws: np.random.Generator) -> NDArray[np.float32]:
    """Unit vectors in clusters of about fifty, shape (count, dims)."""
    centres = unit(draws.normal(size=(max(1, count // 50), dims)).astype(np.float32))
    return beside(centres, draws.integers(0, len(centres), count).tolist(), 0.6, draws)


def beside(
    vectors: NDArray[np.float32], places: Sequence[int], distance: float, draws: np.random.Generator
) -> NDArray[np.float32]:
    """A random unit vector beside each of some others, shape (n_places, n_dimensions).

    Made in slices, for whatever is held here for a moment counts in the peak.
    """
    found = np.empty((len(places), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(places), _SLICE):
        rows = vectors[places[start : start + _SLICE]]
        noise = draws.normal(scale=distance / np.sqrt(rows.shape[1]), size=rows.shape).astype(np.float32)
        found[start : start + _SLICE] = unit(rows + noise)
    return found


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same directions at length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def memory(field: str) -> int:
    """Bytes that the process holds (`VmRSS`) or did hold at most (`VmHWM`)."""
    if not _STATUS.is_file():
        # Without /proc only the peak is known, which counts what was let go before.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
