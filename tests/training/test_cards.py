"""Model cards: what others read, run and must know before they use or pass on a model."""

import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.console import SILENT
from benchmark.files import dump_json, read_json, read_yaml, write_jsonl, write_text
from benchmark.licences import hub_licence
from benchmark.pages import fact_in_words
from benchmark.pipeline import Pipeline
from benchmark.provenance import Outcome
from benchmark.records import read_chunks
from benchmark.specs import AdapterRun, BiEncoderRun, CrossEncoderRun
from benchmark.training.cards import Card, hub_language, write_card
from benchmark.training.export import save_sentence_transformer, write_model
from benchmark.training.finetune import finetune
from benchmark.training.licences import Lineage, caution
from benchmark.training.wording import FOLDER
from benchmark.weights import ADAPTER_FILE, weights_hash

CHOICE = {
    "chosen": "mixed", "share": 0.5, "why": "share 0.5 is the best of 2 (0.4000 -> 0.6000)", "alpha": 0.05,
    "by": {"queries": 60, "written": True},
    "mixtures": [
        {"share": 0.0, "score": 0.4, "kinds": []},
        {"share": 0.5, "score": 0.6, "kinds": [
            {"kind": "with <b>title</b>", "queries": 31, "base": 0.41, "score": 0.61, "p": 0.012, "harmed": False}]},
        {"share": 1.0, "score": 0.5, "kinds": []},
    ],
}  # fmt: skip
FACTS = {
    "pairs": 48, "steps": 12, "final_loss": 0.25, "seconds_per_1000_pairs": 31.5,
    "development": {"queries": 60, "before": {"ndcg@10": 0.4, "mrr@10": 0.3}, "after": {"ndcg@10": 0.6, "mrr@10": 0.5}},
}  # fmt: skip
RUNS = {
    "adapter": AdapterRun(name="linear", base="tiny", sides="both"),
    "bi-encoder": BiEncoderRun(name="tuned", base="tiny", hard_negatives=2),
    "cross-encoder": CrossEncoderRun(name="cross", base="ce", max_length=48),
}


@pytest.fixture
def ready(project, cross_encoder):
    """A project with synthetic queries and their manifest, as the generate stage leaves them."""
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    rows = [{"origin": kind, "split": split} for kind in ("llm", "span", "span") for split in ("train", "train", "dev")]
    write_jsonl(pipeline.domain.synthetic / "queries.jsonl", rows)
    facts = {"llm": {"questions": {"model": "some-llm_7b*"}}, "development_by": "document"}
    write_manifest(pipeline.domain.synthetic, facts, {})
    return project, pipeline.domain


def write_manifest(folder, facts, settings):
    write_text(folder / "manifest.json", dump_json({"facts": facts, "settings": settings}))


def fill(project, kind, target):
    """A model's folder without a card."""
    if kind == "cross-encoder":
        from benchmark.encoders.dense import open_cross_encoder

        model = open_cross_encoder(project.root / "weights" / "ce", project.model_spec("ce"), "test")
        model.save_pretrained(str(target), create_model_card=False, safe_serialization=True)
    elif kind == "bi-encoder":
        shutil.copytree(project.root / "weights" / "tiny", target)
    else:
        from benchmark.encoders.adapter import LinearMaps, open_encoder

        rng = np.random.default_rng(0)
        maps = LinearMaps(*(np.eye(32, dtype=np.float32) + 0.1 * rng.normal(size=(2, 32, 32)).astype(np.float32)))
        target.mkdir()
        maps.save(target / ADAPTER_FILE)
        save_sentence_transformer(target, open_encoder(project, "tiny"), maps)


def made(ready, tmp_path, kind="bi-encoder", **changes):
    """The card of a model's folder, and the folder."""
    project, domain = ready
    target = tmp_path / "model"
    fill(project, kind, target)
    card = Card(**{"domain": domain, "run": RUNS[kind], "seed": 3, "facts": FACTS, **changes})
    write_card(project, target, card)
    return (target / "README.md").read_text(encoding="utf-8"), target


def edit_spec(project, name, lines):
    path = project.specs_folder / f"{name}.yaml"
    path.write_text(path.read_text() + lines, encoding="utf-8")


def edit_domain(domain, project, old, new):
    path = domain.folder / "domain.yaml"
    path.write_text(path.read_text().replace(old, new), encoding="utf-8")
    return project.domain("village")


def run_snippet(card, target, capsys):
    """Runs a card's code on the folder; returns what it printed."""
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert FOLDER in snippet
    exec(compile(snippet.replace(FOLDER, str(target)), "README.md", "exec"), {})
    return capsys.readouterr().out


# --- for machines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "pipeline_tag", "tag"),
    [
        ("adapter", "sentence-similarity", "linear-adapter"),
        ("bi-encoder", "sentence-similarity", "feature-extraction"),
        ("cross-encoder", "text-ranking", "reranker"),
    ],
)
def test_the_hub_can_read_the_head(ready, tmp_path, kind, pipeline_tag, tag):
    from huggingface_hub import ModelCard

    edit_spec(ready[0], RUNS[kind].base, "licence: Apache-2.0\n")
    _, target = made(ready, tmp_path, kind)
    data = ModelCard.load(target / "README.md").data
    assert data.library_name == "sentence-transformers"
    assert data.pipeline_tag == pipeline_tag
    assert {tag, "domainbench", "sentence-transformers"} <= set(data.tags)
    assert (data.language, data.license) == (["en"], "apache-2.0")
    assert data.base_model is None and data.datasets is None


def test_a_model_of_the_hub_is_named_also_behind_a_model_that_was_tuned_here(ready, tmp_path):
    from huggingface_hub import ModelCard

    project, _ = ready
    write_text(project.specs_folder / "far.yaml", "hub: some/encoder\nlicence: mit\n")
    edit_spec(project, "tiny", "provenance: {base: far}\n")
    _, target = made(ready, tmp_path)
    assert ModelCard.load(target / "README.md").data.base_model == "some/encoder"
    found = Lineage.of(project, "tiny")
    assert (found.owner, found.hub, found.where) == ("tiny", "some/encoder", "weights/tiny")


def test_a_circle_of_bases_ends(ready):
    project, _ = ready
    edit_spec(project, "tiny", "provenance: {base: ce}\n")
    edit_spec(project, "ce", "provenance: {base: tiny}\n")
    assert Lineage.of(project, "tiny").hub is None


def test_a_cut_base_has_the_licence_of_the_whole_one(ready):
    project, _ = ready
    edit_spec(project, "tiny", "licence: MIT\n")
    write_text(project.specs_folder / "short.yaml", "base: tiny\ntruncate_dim: 16\n")
    found = Lineage.of(project, "short")
    assert (found.licence, found.owner, found.base.truncate_dim) == ("MIT", "tiny", 16)


@pytest.mark.parametrize(
    ("licence", "head"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("unknown", {"license": "unknown"}),
        ("", {"license": "unknown"}),
        ("House rules: 1", {"license": "other", "license_name": "house-rules-1"}),
    ],
)
def test_licences_at_the_head(licence, head):
    assert hub_licence(licence) == head


@pytest.mark.parametrize(("language", "code"), [("eng-Latn", "en"), ("deu-Latn", "de"), ("xyz-Latn", "xyz")])
def test_languages_at_the_head(language, code):
    assert hub_language(language) == code


# --- use ------------------------------------------------------------------------------------------------------------


def test_the_snippet_of_an_encoder_runs(ready, tmp_path, capsys):
    from sentence_transformers import SentenceTransformer

    card, target = made(ready, tmp_path)
    shown = run_snippet(card, target, capsys)
    model = SentenceTransformer(str(target), device="cpu")
    expected = model.similarity(model.encode_query(["a question"]), model.encode_document(["a passage"]))
    assert float(re.search(r"[\d.]+", shown)[0]) == pytest.approx(float(expected[0][0]), abs=1e-3)


def test_the_snippet_of_a_reranker_runs(ready, tmp_path, capsys):
    from sentence_transformers import CrossEncoder

    card, target = made(ready, tmp_path, "cross-encoder")
    shown = run_snippet(card, target, capsys)
    first = CrossEncoder(str(target), device="cpu").rank("a question", ["a passage", "another passage"])[0]
    assert shown.startswith(f"[{{'corpus_id': {first['corpus_id']}")


def test_the_snippet_of_an_adapter_runs(ready, tmp_path, capsys):
    card, target = made(ready, tmp_path, "adapter")
    assert "tensor([[" in run_snippet(card, target, capsys)
    assert "a matrix for queries and one for documents" in card


def test_an_adapter_without_its_base_says_how_to_multiply(ready, tmp_path, capsys):
    from benchmark.encoders.adapter import LinearMaps

    class Vectors:
        name, fingerprint = "vectors", "f" * 64

    project, domain = ready
    maps = LinearMaps(2 * np.eye(4, dtype=np.float32), None)
    target = tmp_path / "model"
    maps.save(target / ADAPTER_FILE)
    run = AdapterRun(name="linear", base="tiny")
    write_model(target, project, Vectors(), maps, Card(domain, run, 0, FACTS))
    card = (target / "README.md").read_text()
    assert "The base's weights are not in this folder" in card
    assert "library_name" not in card
    assert run_snippet(card, target, capsys).strip() == "[[0.5 0.5 0.5 0.5]]"


def test_prompts_that_the_folder_does_not_know_stand_in_the_snippet(ready, tmp_path, capsys):
    project, _ = ready
    edit_spec(project, "tiny", 'prompts: {query: "find \\"it\\":\\n", document: "text: "}\n')
    card, target = made(ready, tmp_path)
    assert 'prompts={"query": "find \\"it\\":\\n", "document": "text: "}' in card
    with_prompts = run_snippet(card, target, capsys)
    config = target / "config_sentence_transformers.json"
    known = re.sub(
        r'"prompts": \{.*?\}', r'"prompts": {"query": "find \\"it\\":\\n", "document": "text: "}', config.read_text(), flags=re.DOTALL
    )  # fmt: skip
    config.write_text(known)
    write_card(project, target, Card(ready[1], RUNS["bi-encoder"], 3, FACTS))
    card = (target / "README.md").read_text()
    assert "prompts=" not in card
    assert run_snippet(card, target, capsys) == with_prompts


def test_the_card_is_no_part_of_the_weights(ready, tmp_path):
    _, target = made(ready, tmp_path)
    before = weights_hash(target)
    (target / "README.md").unlink()
    assert weights_hash(target) == before


# --- what training writes ------------------------------------------------------------------------------------------


def write_training_data(domain):
    """Tables and queries of the generate stage's form, from the domain's own chunks; one document for development."""
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    rows = []
    for number, item in enumerate(chunks):
        for start in range(0, 18, 3):
            words = item.text.split()[start : start + 5]
            if words:
                split = "dev" if item.document == chunks[-1].document else "train"
                rows.append({"id": f"q{number}-{start}", "text": " ".join(words), "chunk": item.id, "origin": "span",
                             "document": item.document, "type": "", "split": split,
                             "positive_text": item.full_text, "negative": chunks[number - 1].full_text})  # fmt: skip
    write_jsonl(domain.synthetic / "queries.jsonl", rows)
    for split in ("train", "dev"):
        some = [row for row in rows if row["split"] == split]
        columns = {"anchor": [row["text"] for row in some], "positive": [row["positive_text"] for row in some]}
        negatives = [row["negative"] for row in some]
        pq.write_table(pa.table({**columns, "negative_1": negatives}), domain.synthetic / f"ntuples_{split}.parquet")
        pairs = {
            "anchor": columns["anchor"] * 2,
            "positive": columns["positive"] + negatives,
            "label": [1.0] * len(some) + [0.0] * len(some),
            "score": [0.9] * len(some) + [0.1] * len(some),
        }
        pq.write_table(pa.table(pairs), domain.synthetic / f"pairs_{split}.parquet")
    some = [row for row in rows if row["split"] == "dev"]
    write_jsonl(domain.synthetic / "dev_queries.jsonl", some)
    lines = [f"{row['id']}\t{row['chunk']}\t1\n" for row in some]
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))


SHORT = {"epochs": 1.0, "batch_size": 8, "mini_batch_size": 4, "max_length": 32}
TRAINED = {
    "linear": AdapterRun(name="linear", base="tiny", epochs=2),
    "tuned": BiEncoderRun(name="tuned", base="tiny", mix=[], **SHORT),
    "tuned-mixed": BiEncoderRun(name="tuned", base="tiny", mix=[0.5], **SHORT),
    "cross": CrossEncoderRun(name="cross", base="ce", **SHORT),
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_that_training_writes_has_a_card_whose_code_runs(ready, capsys, name):
    from huggingface_hub import ModelCard

    project, domain = ready
    pipeline = Pipeline(project, domain, None, SILENT)
    pipeline.chunks()
    write_training_data(domain)
    write_text(project.root / "weights" / "tiny" / "LICENSE", "Do as you please.\n")
    write_text(project.root / "weights" / "ce" / "LICENSE", "Do as you please.\n")
    finetune(project, domain, TRAINED[name], 0, Outcome(domain.synthetic, False, {"outputs": {"a": "b"}}), SILENT)
    folder = domain.model(name)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"\n# {name}\n" in card and "| span |" in card and "Village" in card
    assert "95 % intervals" in card
    assert (folder / "LICENSE").read_text() == "Do as you please.\n"
    assert ModelCard.load(folder / "README.md").data.library_name == "sentence-transformers"
    assert "README.md" in read_json(folder / "manifest.json")["outputs"]
    assert run_snippet(card, folder, capsys)


# --- for people -----------------------------------------------------------------------------------------------------


def test_every_setting_is_told(ready, tmp_path):
    for kind, run in RUNS.items():
        card, target = made(ready, tmp_path, kind)
        rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", card, re.MULTILINE))
        for name, value in run.effective.items():
            if name not in {"name", "kind"}:
                told = rows[name.replace("_", " ")]
                assert told == ("not set" if value is None else fact_in_words(value)), (kind, name)
        assert rows["seed"] == "3"
        shutil.rmtree(target)


def test_data_and_who_wrote_them(ready, tmp_path):
    card, _ = made(ready, tmp_path)
    assert "48 synthetic queries" in card
    assert "| span | 4 | 2 |" in card and "| llm | 2 | 1 |" in card
    assert r"questions: some-llm\_7b\*" in card
    assert "kept apart from training by document" in card


def test_passages_from_elsewhere_are_told(ready, tmp_path):
    _, domain = ready
    write_manifest(domain.synthetic, {"llm": {}}, {"source": {"prompt": {"description": "boats"}, "dataset": None}})
    write_manifest(domain.source, {"llm": {"passages": {"model": "writer-1"}}}, {})
    card, _ = made(ready, tmp_path)
    assert "no document stands behind them" in card and "passages: writer-1" in card


def test_what_is_not_recorded_is_said_to_be_so(ready, tmp_path):
    (ready[1].synthetic / "manifest.json").unlink()
    (ready[1].synthetic / "queries.jsonl").unlink()
    card, _ = made(ready, tmp_path)
    assert "Who wrote them is not recorded." in card and "| span |" not in card


def test_figures_before_and_after_with_intervals(ready, tmp_path):
    rng = np.random.default_rng(0)
    before = rng.uniform(0.2, 0.6, 60)
    card, _ = made(ready, tmp_path, before=before, after=before + rng.uniform(0.05, 0.15, 60))
    assert "| ndcg@10 | 0.4000 | 0.6000 |" in card
    found = re.search(r"difference \+(0\.\d+) \(\+(0\.\d+) to \+(0\.\d+)\), p = ([\d.e-]+)", card)
    gap, low, high, p = (float(part) for part in found.groups())
    assert 0.05 < low < gap < high < 0.15 and p < 0.001
    assert "n = 60" in card


def test_a_reranker_is_compared_with_the_first_stage_that_it_follows(ready, tmp_path):
    development = {**FACTS["development"], "first_stage": "bm25", "candidate_recall": 0.75, "unit": "reranked queries"}
    scores = np.linspace(0.1, 0.9, 60)
    card, _ = made(
        ready, tmp_path, "cross-encoder", facts={**FACTS, "development": development}, before=scores, after=scores
    )
    assert "60 synthetic reranked queries" in card and "| Metric | First stage | This model |" in card
    assert "): first stage 0.5000 (" in card and "difference +0.0000" in card
    assert "| development: first stage | bm25 |" in card and "| development: candidate recall | 0.75 |" in card


def test_without_figures_by_query_there_is_no_interval(ready, tmp_path):
    card, _ = made(ready, tmp_path)
    assert "95 % intervals" not in card and "Base, mixture" not in card
    assert "| seconds per 1000 pairs | 31.5 |" in card and "| final loss | 0.25 |" in card


def test_a_mixture_says_its_share_and_why(ready, tmp_path):
    facts = {**FACTS, "choice": CHOICE, "saved_share": 0.5}
    facts["development"] = {**FACTS["development"], "tuned": {"ndcg@10": 0.5, "mrr@10": 0.4}}
    card, _ = made(ready, tmp_path, mixed=True, facts=facts)
    assert "# tuned-mixed" in card and "share 0.5 of the tuned weights" in card
    assert "| ndcg@10 | 0.4000 | 0.5000 | 0.6000 |" in card
    assert "**mixed**, share 0.5 of the tuned model. Why: share 0.5 is the best of 2" in card
    assert "60 written queries" in card
    assert "| with &lt;b&gt;title&lt;/b&gt; | 31 | 0.4100 | 0.6100 | 0.012 |" in card
    assert "This model is share" not in card


def test_a_mixture_that_was_not_chosen_says_so(ready, tmp_path):
    choice = {**CHOICE, "chosen": "base", "share": 0.0, "why": "no mixture is better than the base"}
    card, _ = made(ready, tmp_path, mixed=True, facts={**FACTS, "choice": choice, "saved_share": 0.5})
    assert "**base**, share 0 of the tuned model" in card and "This model is share 0.5." in card


def test_long_lists_do_not_flood_the_card(ready, tmp_path):
    card, _ = made(ready, tmp_path, facts={**FACTS, "per_query": list(range(500))})
    assert "| per query | 500 values |" in card


def test_versions_commit_machine(ready, tmp_path):
    import torch

    from benchmark.provenance import code_state

    card, _ = made(ready, tmp_path)
    assert f"| torch | {torch.__version__} |" in card
    assert code_state().get("commit", "") in card
    assert "| trained on |" in card


# --- licences -------------------------------------------------------------------------------------------------------


def test_files_of_the_licence_travel(ready, tmp_path):
    project, _ = ready
    write_text(project.root / "weights" / "tiny" / "LICENSE", "Do as you please.\n")
    write_text(project.root / "weights" / "tiny" / "NOTICE.txt", "By somebody.\n")
    card, target = made(ready, tmp_path, "adapter")
    assert (target / "LICENSE").read_text() == "Do as you please.\n"
    assert (target / "NOTICE.txt").read_text() == "By somebody.\n"
    assert "`LICENSE` `NOTICE.txt`" in card


def test_an_unknown_licence_is_a_warning(ready, tmp_path):
    card, _ = made(ready, tmp_path)
    assert "Base tiny: licence unknown. Do not pass this model on" in card
    assert "Documents of Village:" not in card  # CC0-1.0


def test_documents_that_may_not_be_passed_on_are_a_warning(ready, tmp_path):
    project, domain = ready
    edit_spec(project, "tiny", "licence: MIT\n")
    domain = edit_domain(domain, project, "CC0-1.0", "CC-BY-ND-4.0")
    card, _ = made((project, domain), tmp_path)
    assert "Documents of Village: the licence (CC-BY-ND-4.0) forbids passing on" in card
    assert "Base tiny:" not in card.split("## Use")[0]


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("MIT", None),
        ("Apache-2.0", None),
        ("CC-BY-NC-4.0", "forbids commercial use"),
        ("CC-BY-NC-ND-4.0", "forbids passing on"),
        ("All rights reserved", "forbids passing on"),
        ("Unknown", "licence unknown"),
    ],
)
def test_cautions(licence, said):
    found = caution("X", licence)
    assert found is None if said is None else said in found


# --- data is data ---------------------------------------------------------------------------------------------------


def test_a_title_stays_text(ready, tmp_path):
    from huggingface_hub import ModelCard

    project, domain = ready
    title = "[click](http://evil) <script>alert(1)</script> | **bold** {{ 12345 * 67891 }} `code`"
    domain = edit_domain(domain, project, "title: Village", f"title: {title!r}")
    domain = edit_domain(domain, project, "licence: CC0-1.0", "licence: '<img src=x> # heading'")
    card, target = made((project, domain), tmp_path, facts={**FACTS, "choice": {**CHOICE, "why": "<b>|*x*</b>"}})
    body = card.split("---", 2)[2]
    for raw in ("<script>", "<img", "[click](", "**bold**", str(12345 * 67891), "<b>"):
        assert raw not in body, raw
    assert r"\[click\](http://evil) &lt;script&gt;" in body
    assert ModelCard.load(target / "README.md").data.pipeline_tag == "sentence-similarity"


def test_the_head_holds_whatever_the_licence_says(ready, tmp_path):
    project, _ = ready
    edit_spec(project, "tiny", 'licence: "x: [y\\n---\\n# z"\n')
    card, _ = made(ready, tmp_path)
    head = tmp_path / "head.yaml"
    head.write_text(card.split("---\n")[1])
    assert read_yaml(head)["license"] == "other"
    assert "\n# z" not in card
