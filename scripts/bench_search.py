"""Exact search over a mapped file of vectors, beside the bare matrix product over the same blocks.

Prints the seconds of both, their ratio, and the memory taken beyond the file. Random unit vectors with a fixed seed;
both are timed in turn, and the middle one of each counts.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.device import device_name
from benchmark.encoders.search import BLOCK, Block, top_k


def unit(rng: np.random.Generator, rows: int, dimensions: int) -> NDArray[np.float32]:
    """Random directions, shape (rows, dimensions)."""
    vectors = rng.standard_normal((rows, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def write(path: Path, rows: int, dimensions: int) -> None:
    """A file of random vectors, written in blocks."""
    rng = np.random.default_rng(0)
    with path.open("wb") as stream:
        for start in range(0, rows, BLOCK):
            stream.write(unit(rng, min(BLOCK, rows - start), dimensions).tobytes())


def blocks(vectors: NDArray[np.float32]) -> Iterator[Block]:
    """The file, block by block."""
    for start in range(0, len(vectors), BLOCK):
        part = vectors[start : start + BLOCK]
        yield np.arange(start, start + len(part)), part


def product(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> None:
    """Every score, computed and forgotten."""
    device = device_name()
    asked = torch.from_numpy(queries).to(device)
    for _, part in blocks(vectors):
        scores = asked @ torch.from_numpy(np.array(part)).to(device).T
    scores.cpu()


class Memory(threading.Thread):
    """Watches the process' own memory: what is mapped from files, which the system may drop, does not count."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first = self.most = self.now()
        self._ended = threading.Event()

    @staticmethod
    def now() -> int:
        """Bytes of anonymous memory."""
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        return 0

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(0.01):
            self.most = max(self.most, self.now())

    def end(self) -> int:
        """Bytes at the most beyond those at the beginning."""
        self._ended.set()
        self.join()
        return self.most - self.first


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    queries = unit(np.random.default_rng(1), options.queries, options.dimensions)
    ids = [f"c{i}" for i in range(options.chunks)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors"
        write(path, options.chunks, options.dimensions)
        vectors = np.memmap(path, dtype=np.float32, mode="r", shape=(options.chunks, options.dimensions))
        product(queries, vectors)  # the file is in the system's cache for both
        bare, ours = [], []
        watch = Memory()
        watch.start()
        for _ in range(options.repeats):
            ours.append(timed(lambda: top_k(queries, blocks(vectors), options.depth, ids)))
            bare.append(timed(lambda: product(queries, vectors)))
        beyond = watch.end()
    ratio = statistics.median(ours) / statistics.median(bare)
    print(
        f"{options.chunks:,} chunks x {options.dimensions} dimensions, {options.queries:,} queries, top {options.depth}"
    )
    print(f"matrix product {statistics.median(bare):.2f} s, search {statistics.median(ours):.2f} s: ratio {ratio:.2f}")
    print(f"memory beyond the file at the most: {beyond / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
