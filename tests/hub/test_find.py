"""Searching the Hub: words that no id has together, filters, what is undeclared, and a Hub that does not answer."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from benchmark.cli.main import run_app
from benchmark.console import Notes
from benchmark.errors import BenchError
from benchmark.hub.find import Filters, find_models, parameters_of

_spec = importlib.util.spec_from_file_location("repositories", Path(__file__).with_name("repositories.py"))
hub = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub)


@pytest.fixture
def server(monkeypatch, tmp_path):
    from huggingface_hub import constants

    started = hub.ReadServer(*hub.ALL)
    monkeypatch.setattr(constants, "ENDPOINT", started.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield started
    started.close()


def found(text, **filters):
    return [model.id for model in find_models(None, text, Filters(**filters), Notes()).models]


def command(capsys, *words):
    code = run_app([str(word) for word in words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return code, captured.out, captured.err


def test_several_words_find_what_no_single_search_does(server):
    assert server.search({"search": ["finance embedding"]}) == []
    ids = found("finance embedding")
    assert ids[0] == "org/finance-embedding-investopedia"
    # Both words in the id, or one in the id and one among the tags, go before one word and any number of downloads.
    both = find_models(None, "finance embed", Filters(), Notes()).models
    assert [(model.id, model.words) for model in both[:2]] == [
        ("org/finance-embedding-investopedia", 2), ("org/FinBridge-embed", 2),
    ]  # fmt: skip
    assert all(model.words < 2 for model in both[2:])
    assert [model.downloads for model in both[2:]] == sorted((model.downloads for model in both[2:]), reverse=True)
    # Every word is searched for by itself, in ids and as a tag, under both pipeline tags.
    asked = [line for line in server.asked if "search=finance&" in line or "filter=finance&" in line]
    assert {re.search(r"pipeline_tag=([a-z-]+)", line)[1] for line in asked} == {
        "sentence-similarity",
        "feature-extraction",
    }
    assert "org/finance-reranker" not in ids and "org/chat" not in found("chat")


def test_each_kind_is_searched_where_the_hub_has_it(server):
    assert found("", kind="cross-encoder") == ["cross-encoder/ms-marco-MiniLM-L6-v2", "org/finance-reranker"]
    assert found("finance", kind="cross-encoder") == ["org/finance-reranker"]
    assert found("splade", kind="sparse") == ["naver/splade-v3"]
    assert found("", kind="late-interaction") == ["lightonai/GTE-ModernColBERT-v1"]
    kinds = {model.id: model.kind for model in find_models(None, "", Filters(), Notes()).models}
    assert kinds["lightonai/GTE-ModernColBERT-v1"] == "late-interaction" and kinds["naver/splade-v3"] == "sparse"
    assert "naver/splade-v3" not in found("", kind="bi-encoder")


def test_filters_leave_out_what_does_not_fit_and_count_what_is_undeclared(server):
    everything = found("", limit=100)
    assert set(found("", licences=frozenset({"mit", "apache-2.0"}))) < set(everything)
    assert "naver/splade-v3" not in found("", licences=frozenset({"mit"}))
    small = find_models(None, "", Filters(max_parameters=parameters_of("50M")), Notes())
    assert {model.id for model in small.models} == {"BAAI/bge-small-en-v1.5", "org/own-code", "org/FinBridge-embed"}
    assert small.undeclared["size"] == len([model for model in find_models(None, "", Filters(limit=100), Notes()).models
                                            if model.parameters is None]) > 0  # fmt: skip
    assert found("", min_downloads=5_000_000) == ["BAAI/bge-small-en-v1.5", "Qwen/Qwen3-Embedding-0.6B"]
    assert found("", language="de") == ["intfloat/multilingual-e5-small"]
    assert "nomic-ai/nomic-embed-text-v1.5" in everything
    assert not {"nomic-ai/nomic-embed-text-v1.5", "org/own-code"} & set(found("", no_own_code=True, limit=100))
    assert "org/pickled" in everything and "org/pickled" not in found("", safetensors=True)
    top = find_models(None, "", Filters(limit=2), Notes())
    assert len(top.models) == 2 and top.more == len(everything) - 2


def test_what_is_undeclared_is_unknown_and_never_nothing(server, project, capsys):
    code, out, _ = command(capsys, "--project", project.root, "find", "like-jina", "--json")
    (row,) = [row for row in json.loads(out) if row["id"] == "org/like-jina"]
    assert code == 0
    assert (row["parameters"], row["downloads"], row["languages"], row["licence"]) == (None, None, None, "my-licence")
    code, out, _ = command(capsys, "--project", project.root, "find", "like-jina")
    (line,) = [line for line in out.splitlines() if line.startswith("org/like-jina")]
    assert re.split(r"\s{2,}", line.strip()) == [
        "org/like-jina", "bi-encoder", "unknown", "unknown", "my-licence", "unknown", "no", "yes",
    ]  # fmt: skip


def test_the_table_ends_with_the_command_that_adds_the_first(server, project, capsys):
    (project.specs_folder / "small.yaml").write_text(f"hub: baai/BGE-small-en-v1.5\nrevision: {hub.NEW}\n")
    options = ("--licence", "MIT,apache-2.0", "--max-parameters", "500M")
    code, out, _ = command(capsys, "--project", project.root, "find", "bge", *options)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("BAAI/")]
    assert re.split(r"\s{2,}", line.strip()) == [
        "BAAI/bge-small-en-v1.5", "bi-encoder", "33.4M", "9,000,000", "mit", "en", "no", "yes", "small",
    ]  # fmt: skip
    assert out.splitlines()[-1] == "domainbench add BAAI/bge-small-en-v1.5"
    code, out, _ = command(capsys, "--project", project.root, "find", "finance", "embed", "--limit", "1")
    assert "more fit; --limit shows them" in out and out.endswith(
        "domainbench add org/finance-embedding-investopedia\n"
    )
    code, out, _ = command(capsys, "--project", project.root, "find", "zzz-nothing")
    assert (code, out) == (0, "nothing found; fewer or other words, or fewer filters, find more\n")
    assert command(capsys, "--project", project.root, "find", "zzz-nothing", "--json")[1] == "[]\n"


def test_searching_needs_no_project(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = command(capsys, "find", "bge")
    assert code == 0 and "domainbench add BAAI/bge-small-en-v1.5" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "sparce"], "--kind sparce: no such kind; did you mean 'sparse'?"),
        (["--max-parameters", "few"], "--max-parameters few: a number is expected, such as 500M"),
        (["--max-parameters", "0"], "a number is expected"),
    ],
)
def test_mistakes_in_the_options_are_one_line(server, project, capsys, words, said):
    code, out, err = command(capsys, "--project", project.root, "find", "x", *words)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and len(err.splitlines()) == 1
    assert not server.asked


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the Hub says: HTTP 401; is HF_TOKEN a valid token?"),
        (403, "the Hub says: HTTP 403; is HF_TOKEN a valid token?"),
        (404, "the Hub says: HTTP 404"),
        (429, "the Hub says: too many requests (HTTP 429); try again in 7 s"),
        (500, "the Hub says: HTTP 500; try again later"),
    ],
)
def test_a_hub_that_refuses_is_one_line(server, project, monkeypatch, status, said):
    from huggingface_hub.utils import _http

    waited = []
    monkeypatch.setattr(_http.time, "sleep", waited.append)
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    server.failing, server.retry_after = status, "7"
    notes = Notes()
    with pytest.raises(BenchError) as error:
        find_models(project, "bge", Filters(), notes)
    assert str(error.value) == said
    assert "hf_secret" not in "".join(notes.lines)
    # The client waits as long as the Hub asks for, and the user is told why nothing happens.
    if status in {429, 500}:
        assert sum(waited) > 0 and len(notes.lines) == 1 and "trying again" in notes.lines[0]


def test_a_hub_that_cannot_be_reached_is_one_line_at_once(server, project, monkeypatch, capsys):
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http.time, "sleep", lambda seconds: pytest.fail("waits for a dead address"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    code, out, err = command(capsys, "--project", project.root, "find", "bge")
    assert (code, out, err) == (2, "", "error: http://127.0.0.1:1 cannot be reached (ConnectError)\n")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, out, err = command(capsys, "--project", project.root, "find", "bge")
    assert (code, out, err) == (2, "", "error: http://127.0.0.1:1 cannot be reached (HF_HUB_OFFLINE is set)\n")


def test_an_address_that_is_no_hub_is_one_line(server, project, monkeypatch):
    monkeypatch.setattr(server, "search", lambda query: {"error": "I am something else"})
    with pytest.raises(BenchError, match="does not answer as a Hub does"):
        find_models(project, "bge", Filters(), Notes())
