"""The page about language models, held against the configuration's classes."""

import re
from pathlib import Path

import pytest
import yaml

from benchmark.errors import BenchError
from benchmark.specs import Budget, Endpoint, LLMSpec, LocalModel, parse_spec

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "llm.md").read_text(encoding="utf-8")
TABLES = {"Under `llm`": LLMSpec, "Under `endpoint`": Endpoint, "Under `local`": LocalModel, "Under `budget`": Budget}


def snippets():
    """Heading -> the `llm` part of the snippet under it."""
    found = re.findall(r"^### (.+?)\n.*?```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == PAGE.count("```yaml") == PAGE.count("\n### ")
    return {heading: yaml.safe_load(text)["generate"]["llm"] for heading, text in found}


def table(opening):
    """Row by row, the names in the first column of the table that follows some words, and the row's other cells."""
    rows = PAGE.split(opening, 1)[1].split("|---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [(re.findall(r"`(\w+)`", first), rest) for first, *rest in cells]


@pytest.mark.parametrize("heading", snippets())
def test_every_snippet_is_a_language_model(heading):
    spec = parse_spec(LLMSpec, snippets()[heading], heading)
    assert (spec.endpoint is None) == ("local" in snippets()[heading])
    if spec.endpoint is not None and not spec.endpoint.base_url.startswith("http://localhost"):
        assert spec.endpoint.base_url.startswith("https://") and spec.endpoint.api_key_env


def test_every_kind_of_model_has_its_snippet():
    models = {heading: parse_spec(LLMSpec, value, heading) for heading, value in snippets().items()}
    hosts = {model.endpoint.base_url.split("/")[2] for model in models.values() if model.endpoint}
    assert hosts == {
        "api.openai.com", "generativelanguage.googleapis.com", "api.anthropic.com", "localhost:8000", "localhost:11434",
    }  # fmt: skip
    assert [heading for heading, model in models.items() if model.endpoint and model.endpoint.batch] == [
        "OpenAI's Batch API: half the price, within a day"
    ]
    local = [model.local for model in models.values() if model.local]
    assert {(bool(each.package), bool(each.gguf), each.style) for each in local} == {
        (True, True, "begun"), (False, True, "instructed"), (False, False, "instructed"),
    }  # fmt: skip


def test_a_wrong_snippet_would_be_found():
    with pytest.raises(BenchError, match=r"unknown key 'endpoint\.api_key'; did you mean 'api_key_env'"):
        parse_spec(LLMSpec, {"endpoint": {"base_url": "https://x.org", "model": "m", "api_key": "s"}}, "docs")


@pytest.mark.parametrize("opening", TABLES)
def test_the_tables_name_every_key_and_no_other(opening):
    named = [name for names, _ in table(opening) for name in names]
    assert sorted(named) == sorted(TABLES[opening].model_fields)


@pytest.mark.parametrize("opening", [opening for opening in TABLES if opening != "Under `budget`"])
def test_the_tables_tell_the_defaults(opening):
    fields = TABLES[opening].model_fields
    for names, (told, _) in table(opening):
        for name in names:
            default = None if fields[name].is_required() else fields[name].default
            if default in (None, {}):
                assert told in {"", "none", "unknown"}, name
            else:
                assert told.strip("`").casefold() == str(default).casefold() or float(told) == default, name
