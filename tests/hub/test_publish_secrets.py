"""Secrets are found wherever they stand, with file and line, and are never printed."""

import io
import json
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.hub.parcel import Item
from benchmark.hub.secrets import find_secrets, known_secrets

LETTERS = "QwErTyUiOpAsDfGhJkLzXcVbNm"
SECRETS = {
    "a Hugging Face token": "hf_" + LETTERS + "12345678",
    "a key of a language model's API (sk-...)": "sk-proj-" + LETTERS + "7",
    "an AWS access key": "AKIA" + LETTERS[:14].upper() + "Z9",
    "an AWS secret key": "aws_secret_access_key = " + (LETTERS * 2)[:36] + "/+9x",
    "a GitHub token": "ghp_" + LETTERS + "0123456789",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a Google API key": "AIza" + LETTERS + "012345678",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTI",
    "a Slack token": "xoxb-" + "29384756-" + LETTERS,
    "a GitLab token": "glpat-" + LETTERS[:20],
}  # fmt: skip


def found(*items, known=(), paths=()):
    return [str(finding) for finding in find_secrets(items, dict(known), paths)]


@pytest.mark.parametrize(("what", "secret"), SECRETS.items(), ids=list(SECRETS))
@pytest.mark.parametrize("around", ["{}", "key: {}", 'x = "{}"', "(see {}, please)"])
def test_each_form_is_found_at_its_line_and_not_shown(what, secret, around):
    text = f"first\nsecond\n{around.format(secret)}\nlast\n"
    lines = found(Item.of_text("notes.md", text))
    assert f"notes.md:3: holds {what}" in lines
    assert not any(secret[10:] in line for line in lines)


@pytest.mark.parametrize("text", [
    "api_key: 9f8e7d6c5b4a39281706f5e4",
    '"apiKey": "Zx81-Zx82-Zx83-Zx84-Zx85"',
    "ACCESS_TOKEN=abcdef0987654321abcdef",
    "client_secret: 'aB3aB3aB3aB3aB3aB3'",
])  # fmt: skip
def test_what_is_named_as_a_key_is_found(text):
    assert found(Item.of_text("a.yaml", f"x: 1\n{text}\n")) == ["a.yaml:2: holds what is named as a key"]


@pytest.mark.parametrize("text", [
    "api_key_env: OPENAI_API_KEY_NUMBER_2",
    "api_key: YOUR_API_KEY_1_GOES_HERE",
    "api_key: ${SOME_VARIABLE_2}",
    "api_key: str | None = None",
    f"fingerprint: {'0123456789abcdef' * 4}",
    f'{{"revision": "{"a1b2c3d4e5" * 4}", "sha256": "{"9f" * 32}"}}',
    "risk-adjusted-return-on-capital-2024-and-more",
    "task-specific-2-instructions-for-the-retrieval",
    "the private key of a company is 12 characters long",
    "hf_hub_download(hf_token=None)",
])  # fmt: skip
def test_what_is_none_is_passed_over(text):
    assert not found(Item.of_text("a.md", text))


def test_a_file_a_table_and_the_head_of_weights_are_looked_through(tmp_path):
    secret = SECRETS["a Hugging Face token"]
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"a": [1, 2], "b": secret}, indent=1))
    table = tmp_path / "t.parquet"
    # Enough rows that compression hides the text from who looks at the bytes.
    rows = pa.table({"text": ["some words"] * 500 + [f"the token is {secret}"]})
    pq.write_table(rows, table, compression="gzip", write_statistics=False)
    assert secret.encode() not in table.read_bytes()
    head = json.dumps({"__metadata__": {"note": secret}}).encode()
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 64)
    (tmp_path / "empty.txt").touch()
    items = [Item.of_file(path.name, path) for path in sorted(tmp_path.iterdir())]
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": [secret]}), stream)
    lines = found(*items, Item("made.parquet", stream.getvalue(), "made.parquet"))
    assert [line.replace(f"{tmp_path}/", "") for line in lines] == [
        "model.safetensors:1: holds a Hugging Face token",
        "plain.json:6: holds a Hugging Face token",
        "t.parquet: row 501: holds a Hugging Face token",
        "made.parquet: row 1: holds a Hugging Face token",
    ]


def table_of(rows, tmp_path):
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return Item("t.parquet", stream.getvalue(), "t.parquet")


@pytest.mark.parametrize("value", [
    "words\nTOKEN", "words\tTOKEN\n", 'say "TOKEN"', "a\\TOKEN", '{"inner": "words\\nTOKEN"}', ["x", "y\nTOKEN"], {"z": "\nTOKEN"},
])  # fmt: skip
def test_a_cell_is_read_as_it_is(value, tmp_path):
    secret = SECRETS["a Hugging Face token"]
    row = json.loads(json.dumps({"text": value}).replace("TOKEN", secret))
    assert found(table_of([{"text": row["text"]}], tmp_path)) == ["t.parquet: row 1: holds a Hugging Face token"]


@pytest.mark.parametrize("row", [
    {"text": 'first\nset api_key = "9f8e7d6c5b4a39281706f5e4"'}, {"api_key": "9f8e7d6c5b4a39281706f5e4"},
    {"text": {"clientSecret": 1, "client_secret": "aB3aB3aB3aB3aB3aB3"}},
])  # fmt: skip
def test_a_key_in_a_cell_is_found_by_its_name(row, tmp_path):
    assert found(table_of([row], tmp_path)) == ["t.parquet: row 1: holds what is named as a key"]


def test_cells_do_not_run_into_each_other(tmp_path):
    row = {"a": "the api_key:", "b": "9f8e7d6c5b4a39281706f5e4", "c": ["hf_", LETTERS + "12345678"]}
    assert not found(table_of([row], tmp_path))


@pytest.mark.parametrize("path", ["page.html", "board.json", "rows.jsonl"])
@pytest.mark.parametrize(("words", "what"), [
    ("see\nTOKEN", "a Hugging Face token"),
    ("see\u00e9\nTOKEN.", "a Hugging Face token"),
    ('api_key = "9f8e7d6c5b4a39281706f5e4"', "what is named as a key"),
])  # fmt: skip
def test_escapes_hide_nothing(path, words, what):
    block = json.dumps({"text": words.replace("TOKEN", SECRETS["a Hugging Face token"])})
    if path.endswith("html"):
        block = f'<script type="application/json" id="questions">{block}</script>'
    assert found(Item.of_text(path, f"{{}}\n{block}\nlast\n")) == [f"{path}:2: holds {what}"]


def test_entities_of_a_page_hide_nothing():
    text = "<p>api_key = &#34;9f8e7d6c5b4a39281706f5e4&#34;</p>"
    assert found(Item.of_text("a.html", text)) == ["a.html:1: holds what is named as a key"]


def test_the_values_of_the_variables_that_specs_name_are_known(tmp_path, monkeypatch):
    (tmp_path / "model_specs").mkdir()
    (tmp_path / "model_specs" / "a.yaml").write_text(
        "api: {base_url: http://h, model: m, api_key_env: MY_KEY_OF_THE_TEST}\n"
    )
    (tmp_path / "benchmark.yaml").write_text(
        'generate:\n  endpoint: {api_key_env: "OTHER_KEY"}\n  x: {api_key_env: SHORT}\n'
    )
    monkeypatch.setenv("MY_KEY_OF_THE_TEST", "not of any known form")
    monkeypatch.setenv("OTHER_KEY", "another plain sentence")
    monkeypatch.setenv("SHORT", "ollama")
    monkeypatch.setenv("HF_TOKEN", "a token of an odd form")
    known = known_secrets(tmp_path)
    assert {"MY_KEY_OF_THE_TEST", "OTHER_KEY", "HF_TOKEN"} <= known.keys() and "SHORT" not in known
    text = "\nso: another plain sentence, and not of any known form; a token of an odd form; ollama\n"
    lines = found(Item.of_text("a.txt", text), known=known)
    assert lines[:3] == [
        "a.txt:2: holds the value of HF_TOKEN", "a.txt:2: holds the value of MY_KEY_OF_THE_TEST",
        "a.txt:2: holds the value of OTHER_KEY",
    ]  # fmt: skip
    assert not any("sentence" in line or "odd form" in line for line in lines)


def test_paths_of_this_machine_are_found(tmp_path):
    text = f"a\n{tmp_path}/x.json\n{tmp_path}2/x.json\n"
    assert found(Item.of_text("a.json", text), paths=[tmp_path]) == ["a.json:2: holds a path of this machine"]
