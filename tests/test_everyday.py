"""tasks/everyday, the general set that ships with the project: sound by the project's own checks and by its own rules."""

import re
import shutil
from collections import Counter

import pytest

from benchmark.console import SILENT
from benchmark.domain.check import CheckReport, check_domain
from benchmark.pipeline import Pipeline
from benchmark.project import Project, builtin_root
from benchmark.records import Chunk, TestSet, read_chunks, read_testset

_COPIED = 5


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The stages over a copy, whose results stay out of the checkout."""
    root = tmp_path_factory.mktemp("everyday")
    for name in ("model_specs", "tasks/everyday"):
        shutil.copytree(builtin_root() / name, root / name)
    project = Project(root)
    return Pipeline(project, project.domain("everyday"), None, SILENT)


@pytest.fixture(scope="module")
def passages(pipeline: Pipeline) -> dict[str, Chunk]:
    return {chunk.id: chunk for chunk in read_chunks(pipeline.chunks().folder / "chunks.jsonl")}


@pytest.fixture(scope="module")
def testset(pipeline: Pipeline) -> TestSet:
    return read_testset(pipeline.testset().folder)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[at : at + _COPIED]) for at in range(len(words) - _COPIED + 1)}


def test_the_projects_check_finds_nothing(pipeline):
    assert check_domain(pipeline.project, pipeline.domain, SILENT) == CheckReport((), ())


def test_counts(passages, testset):
    assert len(passages) == 240
    topics = Counter(chunk.document for chunk in passages.values())
    assert len(topics) == 40
    assert set(topics.values()) == {6}
    assert len(testset.queries) == 150
    assert not testset.unanswerable
    categories = Counter(query.category for query in testset.queries)
    assert set(categories) == {"core", "jargon", "edge"}
    assert min(categories.values()) >= 30  # what `check` asks of a category


def test_ids_and_texts_are_unique(passages, testset):
    """Ids of passages are unique by the reader; here against those of queries, and the texts."""
    assert not passages.keys() & {query.id for query in testset.queries}
    for texts in (
        [chunk.text for chunk in passages.values()],
        [chunk.title for chunk in passages.values()],
        [query.text for query in testset.queries],
    ):
        assert len({" ".join(_words(text)) for text in texts}) == len(texts)


def test_passages_are_of_one_length(passages):
    lengths = {name: len(chunk.text.split()) for name, chunk in passages.items()}
    assert {name: length for name, length in lengths.items() if not 40 <= length <= 100} == {}


def test_every_question_has_one_or_two_labels_and_every_topic_is_asked_about(passages, testset):
    assert {query.id for query in testset.queries} == testset.qrels.keys()
    assert {len(judged) for judged in testset.qrels.values()} <= {1, 2}
    asked = {passages[name].document for judged in testset.qrels.values() for name in judged}
    assert asked == {chunk.document for chunk in passages.values()}


def test_no_question_copies_its_passage(passages, testset):
    copied = [
        (query.id, name)
        for query in testset.queries
        for name in testset.qrels[query.id]
        if _runs(query.text) & _runs(f"{passages[name].title}\n{passages[name].text}")
    ]
    assert copied == []
