"""A page of a domain with runs, for the browser of tests/conftest.py: skipped where there is none, but not in CI."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


def _kit() -> ModuleType:
    """The means of the reporting tests to make a domain with runs."""
    spec = importlib.util.spec_from_file_location("reporting_kit", HERE.parent / "reporting" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COSTS = {
    "base": (8.0, 1.5e9, 22e6),
    "village-tuned": (8.1, 1.5e9, 22e6),
    "bm25": (0.4, 3e8, 0),
    "bm25+tuned": (8.6, 1.8e9, 22e6),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A domain of five models with hostile questions and passages, a general set, costs, and its page."""
    from benchmark.console import SILENT
    from benchmark.reporting.leaderboard import make_leaderboard
    from benchmark.reporting.page import make_page

    kit = _kit()
    lab = kit.make_lab(tmp_path_factory.mktemp("browser") / "project")
    kit.evaluate_all(lab)
    for name, (latency, size, parameters) in COSTS.items():
        path = lab.domain.run("retrieval", name) / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["facts"]["costs"] = {
            "parameters": parameters, "dimensions": 384, "index_bytes_per_million_chunks": size, "chunks_per_second": 900.0,
            "query_ms": {"p50": latency, "p95": 2 * latency, "questions": 30}, "machine": {"cpu": "a processor", "cores": 2},
        }  # fmt: skip
        path.write_text(json.dumps(manifest))
    lab = kit.add_general(lab, "daily", dict.fromkeys(kit.SYSTEMS, 1.5))
    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    text = make_page(lab.project, lab.domain, lab.benchmark, board)
    path = lab.domain.results / "leaderboard.html"
    path.write_text(text, encoding="utf-8")
    return path, board, text


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """A page with the baseline alone, without costs and without general sets."""
    from benchmark.console import SILENT
    from benchmark.reporting.leaderboard import make_leaderboard
    from benchmark.reporting.page import make_page

    kit = _kit()
    lab = kit.make_lab(tmp_path_factory.mktemp("alone") / "project", {"core": 3}, 10).with_benchmark(models=[kit.BASE])
    kit.evaluate_all(lab, {kit.BASE: 1.0})
    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    path = lab.domain.results / "leaderboard.html"
    path.write_text(make_page(lab.project, lab.domain, lab.benchmark, board), encoding="utf-8")
    return path
