"""Passages that stand in the corpus more than once, word for word or nearly."""

import re
from typing import Any, NamedTuple

import numpy as np

_PERMUTATIONS = 120
_BANDS = 12
"""Bands of 10 rows: a pair of similarity .9 shares a band, and so is seen, with a chance of .994; of .5, .012."""
_WORD = re.compile(r"\w+")


def shingles(text: str, length: int) -> list[str]:
    """All runs of `length` words, lower case; a shorter text is one run.

    >>> shingles("Over-collateralization tests, first.", 3)
    ['over collateralization tests', 'collateralization tests first']
    """
    words = _WORD.findall(text.lower())
    return [" ".join(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]


class Twin(NamedTuple):
    """An earlier text and how similar it is (estimated Jaccard index of word shingles, 0 to 1)."""

    key: str
    similarity: float


class NearDuplicates:
    """Finds, for each text in turn, the most similar earlier one.

    MinHash (Broder 1997) with locality-sensitive hashing (Indyk and Motwani 1998). Signatures are datasketch's. Its
    LSH index keeps a set for each bucket, 4 kB a text; here a bucket holds its first text alone, 1.5 kB with the
    signature, so that a hundred thousand passages fit into 150 MB.

    Args:
        threshold: From which similarity on a text counts.
        length: Words in a shingle.
    """

    def __init__(self, threshold: float = 0.9, length: int = 3) -> None:
        from datasketch import MinHash

        self._threshold = threshold
        self._length = length
        self._first: Any = MinHash(num_perm=_PERMUTATIONS, seed=1)
        self._keys: list[str] = []
        self._signatures: list[bytes] = []
        self._buckets: list[dict[bytes, int]] = [{} for _ in range(_BANDS)]

    def add(self, key: str, text: str) -> Twin | None:
        """Remember a text and give the most similar earlier one at or above the threshold, if there is one."""
        minhash = self._first.copy()
        minhash.update_batch([part.encode("utf-8", "replace") for part in shingles(text, self._length)])
        values = minhash.hashvalues
        raw: bytes = values.tobytes()
        width = len(raw) // _BANDS
        number = len(self._keys)
        holders = {
            bucket.setdefault(raw[i * width : (i + 1) * width], number) for i, bucket in enumerate(self._buckets)
        }
        self._keys.append(key)
        self._signatures.append(raw)
        twins = [
            Twin(self._keys[other], self._similarity(values, other)) for other in sorted(holders) if other != number
        ]
        best = max(twins, key=lambda twin: twin.similarity, default=None)
        return best if best and best.similarity >= self._threshold else None

    def _similarity(self, values: Any, other: int) -> float:
        return float(np.mean(values == np.frombuffer(self._signatures[other], dtype=values.dtype)))
