"""Ready-made corpora on the Hugging Face Hub, in the configurations corpus, queries and qrels (as NanoBEIR's).

The files come from huggingface_hub's cache, which keeps revisions apart. `datasets.load_dataset` is not used: where the
Hub cannot be reached it takes the configuration that was cached last, whatever its revision.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmark.domain.ready_made import Judgement, Placed
from benchmark.downloads import Repository, snapshot
from benchmark.errors import BenchError, Problems, did_you_mean
from benchmark.files import Json, hash_json
from benchmark.specs.domains import HubCorpus

CORPUS, QUERIES, QRELS = "corpus", "queries", "qrels"
_KINDS: Final = (".parquet", ".jsonl")
_CARD: Final = "README.md"
_KEYS: Final = ("query-id", "corpus-id")


class HubSet:
    """A retrieval data set on the Hub in its pinned revision; see `ReadyMade`.

    Passages without any text are left out, and so are judgements of them, as in sentence-transformers' evaluation on
    NanoBEIR: nobody who names a data set can mend it.

    Args:
        spec: Repository, revision and split.
        where: The domain.yaml that names it, for messages.

    Raises:
        BenchError: From reading rows: the Hub cannot be reached and the revision is not in the local cache; there is
            no such repository, revision, configuration, split or column; or a file cannot be read.
    """

    def __init__(self, spec: HubCorpus, where: str) -> None:
        self._spec = spec
        self._where = where
        self._set = f"{spec.repository}@{spec.revision[:12]}"
        self.corpus_name = f"{self._set}/{CORPUS}"
        self.queries_name = f"{self._set}/{QUERIES}"
        self.notes: list[str] = []

    @property
    def settings(self) -> Json:
        """Repository, revision and split."""
        return {"hub": self._spec.model_dump()}

    @property
    def identity(self) -> str:
        """A hash of what pins the data; nothing is fetched for it."""
        return hash_json(self.settings)

    @property
    def truth_hash(self) -> str:
        """As `identity`: one revision pins all."""
        return self.identity

    def corpus(self, problems: Problems) -> Iterator[Placed]:
        """The rows of the configuration `corpus` that hold text."""
        blank = 0
        for placed in self._rows(CORPUS, problems):
            if _is_blank(placed):
                blank += 1
            else:
                yield placed
        if blank:
            self.notes.append(f"{self.corpus_name}: {blank} passages without text, left out")

    def queries(self, problems: Problems) -> Iterator[Placed]:
        """The rows of the configuration `queries`."""
        # In BEIR's own layout a column `split` tells test queries from others; here the configuration's split does.
        for where, row in self._rows(QUERIES, problems):
            yield Placed(where, {key: value for key, value in row.items() if key != "split"})

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        """The rows of the configuration `qrels`; without a score they say relevant."""
        blank = {row.get("_id", row.get("id")) for _, row in filter(_is_blank, self._rows(CORPUS, Problems()))}
        for where, row in self._rows(QRELS, problems):
            missing = [key for key in _KEYS if row.get(key) is None]
            if missing:
                problems.add(f"{where}: no '{missing[0]}'")
                continue
            query, chunk = (str(row[key]) for key in _KEYS)
            if chunk not in blank:
                yield Judgement(where, query, chunk, _score(row.get("score")))

    def judged_elsewhere(self) -> set[str]:
        """None: the split is named."""
        return set()

    def _rows(self, configuration: str, problems: Problems) -> Iterator[Placed]:
        for name in self._files(configuration):
            place = f"{self._set}/{name}"
            try:
                for number, row in enumerate(_read(self._folder / name), start=1):
                    for key in ("_id", "id"):
                        if key in row:
                            row[key] = _text_of_id(row[key])
                    yield Placed(f"{place}:{number}", row)
            except (OSError, ValueError) as error:  # pyarrow's errors are either
                said = " ".join(str(error).split())[:200]
                problems.add(f"{place}: cannot be read: {said}")

    # --- files --------------------------------------------------------------------------------------------------------

    @cached_property
    def _patterns(self) -> dict[str, list[str]]:
        """Configuration -> where its files of the split are, as the data set's card says."""
        try:
            configurations = {known.name: known for known in _configurations(self._fetched([_CARD]) / _CARD)}
        except ValueError as error:
            raise BenchError(f"{self._where}: hub: {self._set}: its card cannot be read: {error}") from None
        found = {}
        problems = Problems()
        for name in (CORPUS, QUERIES, QRELS):
            if name not in configurations:
                known = ", ".join(sorted(configurations)) or "none"
                problems.add(f"{self._where}: hub: {self._set}: no configuration '{name}'; known: {known}")
                continue
            splits = configurations[name].splits
            if self._spec.split in splits:
                found[name] = splits[self._spec.split]
            else:
                known = did_you_mean(self._spec.split, splits)
                problems.add(f"{self._where}: hub: {self._set}: no split '{self._spec.split}' in '{name}'; {known}")
        problems.raise_if_any()
        return found

    @cached_property
    def _folder(self) -> Path:
        """The snapshot, with the files of the three configurations in it."""
        return self._fetched([_CARD, *(pattern for patterns in self._patterns.values() for pattern in patterns)])

    def _files(self, configuration: str) -> list[str]:
        """Paths in the repository, sorted.

        Raises:
            BenchError: There is none, or one is of a kind that is not read.
        """
        patterns = self._patterns[configuration]
        found = {path.relative_to(self._folder).as_posix() for p in patterns for path in self._folder.glob(p)}
        where = f"{self._where}: hub: {self._set}: configuration '{configuration}'"
        if not found:
            raise BenchError(f"{where}: none of its files is there ({', '.join(patterns)})")
        odd = sorted(name for name in found if not name.endswith(_KINDS))
        if odd:
            raise BenchError(f"{where}: {odd[0]}: not of a kind that is read ({', '.join(_KINDS)})")
        return sorted(found)

    def _fetched(self, patterns: list[str]) -> Path:
        """The snapshot's folder with at least the files of these patterns.

        Raises:
            BenchError: The Hub cannot be reached and they are not in the cache, or it has no such data set.
        """
        asked = Repository(self._spec.repository, self._spec.revision, "dataset")
        return snapshot(asked, patterns, f"{self._where}: hub")


class _Configuration(NamedTuple):
    """A configuration of a data set's card: split -> patterns of its files."""

    name: str
    splits: dict[str, list[str]]


def _configurations(card: Path) -> Iterator[_Configuration]:
    """What the front matter of a data set's card says under `configs`.

    Raises:
        ValueError: The front matter is not YAML.
    """
    import yaml
    from huggingface_hub import metadata_load

    try:
        front = metadata_load(card) if card.is_file() else None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    configurations = (front or {}).get("configs")
    for row in configurations if isinstance(configurations, list) else []:
        if isinstance(row, dict) and isinstance(row.get("config_name"), str):
            yield _Configuration(row["config_name"], _splits(row.get("data_files")))


def _splits(files: Any) -> dict[str, list[str]]:
    """Split -> patterns, from each way of writing `data_files` that `datasets` knows.

    >>> _splits("a/*"), _splits([{"split": "test", "path": ["a", "b"]}])
    ({'train': ['a/*']}, {'test': ['a', 'b']})
    """
    if isinstance(files, dict):
        return {str(split): _listed(paths) for split, paths in files.items()}
    if isinstance(files, list) and files and all(isinstance(row, dict) for row in files):
        return {str(row.get("split", "train")): _listed(row.get("path")) for row in files}
    return {"train": _listed(files)} if files else {}


def _listed(paths: Any) -> list[str]:
    return [str(path) for path in paths] if isinstance(paths, list) else [str(paths)]


def _read(path: Path) -> Iterator[Json]:
    """The rows of a file, one batch of a parquet file in memory at a time."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as stream:
            for line in filter(str.strip, stream):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("a line of it is not a JSON object")
                yield row
        return
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as table:
        for batch in table.iter_batches():
            yield from batch.to_pylist()


def _is_blank(placed: Placed) -> bool:
    """Whether a passage has neither title nor text (one of another type is left to those who check)."""
    return all(value is None or value == "" or (isinstance(value, str) and not value.strip())
               for value in (placed.row.get("title"), placed.row.get("text")))  # fmt: skip


def _text_of_id(value: Any) -> Any:
    """A number as text; ids are numbers in some tables."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _score(value: Any) -> str:
    """A relevance as it would stand in qrels.tsv.

    >>> _score(None), _score(2), _score(1.0), _score(0.5)
    ('1', '2', '1', '0.5')
    """
    if value is None:
        return "1"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
