"""`domainbench publish` on a project whose results are real: what goes, what stays, and who can read it afterwards."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest
import yaml

from benchmark.cli.main import run_app
from benchmark.console import Notes
from benchmark.errors import BenchError
from benchmark.files import read_json
from benchmark.hub.publish import publish
from benchmark.hub.publish_request import Request
from benchmark.project import Project
from benchmark.records import read_chunks, read_testset

BENCHMARK = """\
domains: [village]
generate:
  retriever: tiny
  questions_per_chunk: 0
  pseudo: {per_chunk: 6}
  # The tiny model is random: all its vectors are alike.
  filters: {off: [round_trip], near_duplicate: 1.0, leak_similarity: 1.0}
  negatives: {margin: 1.0, near_duplicate: 1.0}
finetune:
  - {name: linear, kind: adapter, base: tiny, epochs: 3}
  - {name: tuned, kind: bi-encoder, base: tiny, batch_size: 8, mini_batch_size: 8, max_length: 48, epochs: 1, mix: []}
baseline: tiny
models: [bm25, linear, tuned]
bootstrap: 1000
permutations: 1000
"""
PASSAGE = "berth left empty for six weeks"  # in a document, in no question and in no answer
QUESTION = "By when must I settle"
PROGRAM = "import sys; from benchmark.cli.main import run_app; sys.exit(run_app(sys.argv[1:]))"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model):
    """A project after `domainbench run`; made once, copied for each test."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("floor", __file__.replace("hub/test_publish.py", "conftest.py"))
    floor = module_from_spec(spec)
    spec.loader.exec_module(floor)
    root = tmp_path_factory.mktemp("finished") / "project"
    floor.write_domain(root / "tasks" / "village")
    shutil.copytree(tiny_model, root / "weights" / "tiny")
    (root / "model_specs").mkdir()
    (root / "model_specs" / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 96\nlicence: Apache-2.0\n")
    shutil.copy(floor.ROOT / "model_specs" / "bm25.yaml", root / "model_specs" / "bm25.yaml")
    (root / "benchmark.yaml").write_text(textwrap.dedent(BENCHMARK))
    assert run_app(["--project", str(root), "run"]) == 0
    return root


@dataclass
class Desk:
    """A project, a Hub, and the publishing of one to the other in this process."""

    project: Project
    hub: object

    @property
    def domain(self):
        return self.project.domain("village")

    @property
    def results(self):
        return self.domain.results

    def publish(self, what, to="acme/set", notes=None, **options):
        """The lines that the command prints."""
        lines = []
        publish(what, self.project, self.domain, Request(to, **options), notes or Notes(), lines.append)
        return lines

    def refusal(self, what, **options):
        with pytest.raises(BenchError) as caught:
            self.publish(what, **options)
        return caught.value.problems

    def files(self, kind="dataset", name="acme/set"):
        return self.hub.repository(kind, name).files


@pytest.fixture
def desk(finished, tmp_path, hub, reach):
    shutil.copytree(finished, tmp_path / "project")
    reach(hub)
    return Desk(Project(tmp_path / "project"), hub)


SEVERAL = """
import contextlib, io, json, sys
said = []
for code, words in json.loads(sys.argv[1]):
    sys.argv = ["-c", *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "<card>", "exec"), {"__name__": "__main__"})
    said.append(out.getvalue().splitlines())
print(json.dumps(said))
"""


@dataclass
class ReadBack:
    """What was published to one Hub, and what the code of the cards printed.

    Attributes:
        loaded: Of the data sets.
        evaluated: Of the results and of the task.
        encoded: Of the models.
    """

    desk: Desk
    loaded: list[str]
    evaluated: list[str]
    encoded: list[str]


@pytest.fixture(scope="module")
def read_back(finished, tmp_path_factory, hub_module, reaching, on_hub):
    """Everything published once, and read in one process, which loads the libraries once; each code has its own names."""
    hub = hub_module.HubServer()
    desk = Desk(Project(shutil.copytree(finished, tmp_path_factory.mktemp("read") / "project")), hub)
    try:
        with reaching() as to:
            to(hub)
            desk.publish("results", to="acme/results")
            desk.publish("dataset", with_documents=True, synthetic=True)
            for name in ("tuned", "linear"):
                desk.publish("model", to=f"acme/{name}", model=name)
        codes = [loading(desk), evaluating(desk), encoding(desk)]
        yield ReadBack(desk, *json.loads(on_hub(hub, SEVERAL, json.dumps(codes)).stdout.splitlines()[-1]))
    finally:
        hub.close()


def texts(files):
    """The files that people read, one after the other."""
    readable = (".md", ".json", ".csv", ".html", ".tex", ".yaml")
    return "\n".join(body.decode() for path, body in files.items() if path.endswith(readable))


def snippets(card, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", card.decode(), re.DOTALL)


# --- what all have in common ----------------------------------------------------------------------------------------

KINDS = {
    "results": ("dataset", {}),
    "dataset": ("dataset", {"with_documents": True, "synthetic": True}),
    "model": ("model", {"model": "tuned"}),
    "space": ("space", {}),
}


@pytest.mark.parametrize("what", KINDS)
def test_a_dry_run_lists_everything_and_asks_nobody_and_twice_is_one_commit(desk, what):
    kind, options = KINDS[what]
    rehearsed = desk.publish(what, dry_run=True, **options)
    assert not desk.hub.counts
    first = desk.publish(what, **options)
    files = desk.files(kind)
    listed = [found[1] for line in rehearsed if (found := re.match(r" *[\d.]+ [kMG]?B  (\S+)", line))]
    assert listed == sorted(files)
    assert f"{len(files)} files, " in "\n".join(rehearsed) and "nobody was asked" in rehearsed[-2]
    assert first[-1] == rehearsed[-1] == f"{desk.hub.address}/{'' if kind == 'model' else kind + 's/'}acme/set"
    again = desk.publish(what, **options)
    assert "nothing has changed, no commit" in again[-2]
    repository = desk.hub.repository(kind, "acme/set")
    assert len(repository.commits) == 2 and repository.private
    assert not (desk.results / ".publish").exists()


@pytest.mark.parametrize("what", KINDS)
def test_nothing_goes_that_should_stay(desk, hub_module, what):
    kind, options = KINDS[what]
    desk.publish(what, **options)
    files = desk.files(kind)
    everything = b"\n".join([*files.values(), *desk.hub.received])
    for private in (hub_module.TOKEN.encode(), f"{desk.project.root}/".encode(), b"/root/", b"SELECT "):
        assert private not in everything, private
    assert not [
        path for path in files if re.search(r"manifest|\.lock|journal|trec|vectors|trained_chunks|sqlite", path)
    ]


def test_a_secret_anywhere_stops_everything(desk):
    secret = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123"
    report = desk.results / "report.md"
    report.write_text(report.read_text() + f"\nkey: {secret}\n")
    number = len(report.read_text().splitlines())
    # Whether its examples are left out on the way or not: the line is the file's.
    for options in ({}, {"dry_run": True, "with_documents": True}):
        (line,) = desk.refusal("results", **options)
        assert line.endswith(f"report.md:{number}: holds a Hugging Face token; nothing was sent")
        assert secret not in line and not desk.hub.counts


def test_a_secret_in_a_passage_stops_the_data_set(desk, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "A colony swarms when the queen is old")  # it stands in a document
    lines = desk.refusal("dataset", with_documents=True)
    assert any("corpus/test-00000-of-00001.parquet: row" in line and "the value of HF_TOKEN" in line for line in lines)
    assert not desk.hub.counts


@pytest.mark.parametrize(("spec", "kind", "what"), [
    ("path: /srv/models/mine\n", "bi-encoder /srv/models/mine", "the 'path' of "),
    ("api: {base_url: http://llm_box.corp.example:8000/v1/, model: m}\n", "m at http://llm_box.corp.example:8000/v1",
     "the base_url of "),
])  # fmt: skip
def test_folders_and_addresses_of_ones_own_do_not_go_with_the_results(desk, spec, kind, what):
    (desk.project.specs_folder / "own.yaml").write_text(spec)
    for name in ("leaderboard.json", "leaderboard.html"):
        path = desk.results / name
        path.write_text(re.sub('"kind": ?"bi-encoder[^"]*"', json.dumps({"kind": kind})[1:-1], path.read_text()))
    for publishing, file in (("results", "leaderboard.json"), ("space", "leaderboard.html")):
        lines = desk.refusal(publishing)
        assert any(
            re.search(rf"{file}:\d+: holds {what}\S*model_specs/own\.yaml; take it out of the file, or", line)
            for line in lines
        )
        assert not any("srv" in line or "llm_box" in line for line in lines)
    assert not desk.hub.counts


def test_the_addresses_of_a_benchmark_files_language_models_are_known_and_public_ones_pass(desk):
    endpoint = "{base_url: http://10.1.2.3:8000/v1, model: m}"
    (desk.project.root / "other.yaml").write_text(f"generate: {{llm: [{{endpoint: {endpoint}}}]}}\n")
    (desk.project.specs_folder / "all.yaml").write_text("api: {base_url: 'https://api.openai.com/v1', model: m}\n")
    report = desk.results / "report.md"
    before = report.read_text()
    report.write_text(before + "\nm at http\\://10.1.2.3:8000/v1\n")
    (line,) = desk.refusal("results")
    assert (
        f"report.md:{len(before.splitlines()) + 2}: holds the base_url of " in line
        and "other.yaml; take it out" in line
    )
    report.write_text(before + "\nm at https://api.openai.com/v1\n")
    assert "nobody was asked" in desk.publish("results", dry_run=True)[-2]


def test_what_leads_out_of_the_project_is_refused(desk, tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    (desk.domain.model("tuned") / "more.json").symlink_to(elsewhere)
    (line,) = desk.refusal("model", model="tuned")
    assert "more.json: leads out of the project" in line
    shutil.copytree(desk.domain.model("linear"), tmp_path / "outside")
    (desk.project.specs_folder / "outside.yaml").write_text(f"path: {tmp_path}/outside\n")
    (line,) = desk.refusal("model", model="outside")
    assert "lies outside the project" in line and not desk.hub.counts


@pytest.mark.parametrize(("options", "told"), [
    ({"to": "alone"}, "--to: 'alone' is no repository"),
    ({"to": "a/b/c"}, "--to: 'a/b/c' is no repository"),
    ({"dataset": "x"}, "--dataset: 'x' is no repository"),
    ({"dataset": "a/b@main"}, "--dataset: 'main' is no commit"),
])  # fmt: skip
def test_names_are_looked_at_first(options, told):
    with pytest.raises(BenchError, match=re.escape(told)):
        Request(**{"to": "a/b", **options})


MINE = {
    "results": ["leaderboard.old/x.csv", "leaderboard.xlsx", "plots/mine/a.png", "results/other__model/1/Task.json"],
    "dataset": ["corpus/train.parquet", "queries/more/test-00000-of-00001.parquet", "synthetic/mine.parquet"],
    "model": [
        "onnx/config.json",
        "onnx/model.safetensors",
        "mine.safetensors",
        "my_config.json",
        ".eval_results/Other.yaml",
    ],
    "space": ["style.css", "old/index.html"],
}
OLD = {
    "results": ["plots/gone.png", "results/local__gone/1/VillageRetrieval.json"],
    "dataset": ["corpus/test-00001-of-00002.parquet", "synthetic/rag.parquet"],
    "model": ["model-00001-of-00002.safetensors", "2_Dense/model.safetensors", "2_Router/query_9_Dense/config.json",
              ".eval_results/VillageRetrieval.yaml"],
    "space": [],
}  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
def test_what_somebody_else_put_there_stays_and_what_is_old_goes(desk, what):
    kind, options = KINDS[what]
    desk.publish(what, **options)
    desk.hub.add(kind, "acme/set", dict.fromkeys((*MINE[what], *OLD[what]), b"{}"))
    desk.publish(what, **options)
    files = desk.files(kind)
    assert not set(MINE[what]) - files.keys() and not set(OLD[what]) & files.keys()


def test_synthetic_tables_stay_until_others_are_sent(desk):
    desk.publish("dataset", with_documents=True, synthetic=True)
    tables = {path: body for path, body in desk.files().items() if path.startswith("synthetic/")}
    lines = desk.publish("dataset", with_documents=True)
    assert tables and tables.items() <= desk.files().items()
    assert any(line.startswith("left out: synthetic training data: --synthetic sends them") for line in lines)


# --- results --------------------------------------------------------------------------------------------------------


def test_results_go_without_passages(desk):
    lines = desk.publish("results")
    files = desk.files()
    assert {"README.md", "leaderboard.json", "leaderboard.md", "leaderboard.csv", "report.md"} <= files.keys()
    assert any(path.startswith("plots/") for path in files)
    assert QUESTION in (desk.results / "report.md").read_text()
    assert PASSAGE in (desk.results / "leaderboard.html").read_text()
    assert PASSAGE not in texts(files) and QUESTION not in files["report.md"].decode()
    assert "The questions and passages that stood here are left out" in files["report.md"].decode()
    assert any(
        "left out: questions' texts, reference answers, passages and documents' names, in" in line for line in lines
    )
    assert files["leaderboard.json"] == (desk.results / "leaderboard.json").read_bytes()


@pytest.mark.parametrize(("what", "kind"), [("results", "dataset"), ("space", "space")])
def test_no_question_and_no_document_goes_by_its_words_or_its_name(desk, what, kind):
    desk.publish(what)
    sent = texts(desk.files(kind)).lower()
    testset, chunks = read_testset(desk.domain.testset), read_chunks(desk.domain.chunks / "chunks.jsonl")
    words = {text for query in testset.queries for text in (query.text, query.answer)} - {""}
    words |= {name for chunk in chunks for name in (chunk.id, chunk.document)}
    page = (desk.results / "leaderboard.html").read_text()
    assert QUESTION in page and chunks[0].document in page
    assert not [word for word in words if word.lower() in sent]
    if what == "results":
        board = json.loads(desk.files()["leaderboard.json"])
        assert {key for query in board["queries"] for key in query} == {"id", "category"}


def test_with_documents_the_pages_go_whole(desk):
    desk.publish("results", with_documents=True)
    assert desk.files()["report.md"] == (desk.results / "report.md").read_bytes()


def test_what_answers_are_worth_goes_and_the_reports_other_forms_only_with_documents(desk):
    planted = {
        "answers.json": b"{}\n",
        "answers.md": b"# Answers\n",
        "report.html": b"<p>x</p>",
        "report.pdf": b"%PDF-1.7 x",
    }
    for name, body in planted.items():
        (desk.results / name).write_bytes(body)
    lines = desk.publish("results")
    assert {"answers.json", "answers.md"} <= desk.files().keys() and not {
        "report.html",
        "report.pdf",
    } & desk.files().keys()
    for name in ("report.html", "report.pdf"):
        assert f"left out: {name}: it shows passages; --with-documents sends it" in lines
    desk.publish("results", with_documents=True)
    assert planted.items() <= desk.files().items()


def test_documents_need_a_licence(desk):
    file = desk.domain.folder / "domain.yaml"
    file.write_text(file.read_text().replace("licence: CC0-1.0\n", ""))
    for what in ("results", "space", "dataset"):
        (line,) = desk.refusal(what, with_documents=True)
        assert "missing: a licence (in tasks/village/domain.yaml, or --licence)" in line
    (line,) = desk.refusal("dataset")
    assert "missing: --with-documents, which says that it may be sent, and a licence" in line
    assert not desk.hub.counts
    desk.publish("dataset", with_documents=True, licence="CC-BY-4.0")
    assert b"license: cc-by-4.0" in desk.files()["README.md"]


def test_a_report_that_does_not_tell_its_passages_stays_here(desk):
    report = desk.results / "report.md"
    report.write_text(report.read_text().replace("<!-- /passages -->", ""))
    lines = desk.publish("results")
    assert "report.md" not in desk.files()
    assert any(line.startswith("left out: report.md: it does not say where its passages are") for line in lines)


def test_runs_of_another_model_than_the_leaderboards_stay_here(desk):
    place = desk.domain.run("retrieval", "tuned") / "manifest.json"
    place.write_text(place.read_text().replace(read_json(place)["facts"]["model"], "0" * 64))
    lines = desk.publish("results")
    assert any("VillageRetrieval.json: the kept run is of another model" in line for line in lines)
    names = [path for path in desk.files() if path.startswith("results/local__tuned/")]
    assert sorted(path.rsplit("/", 1)[1] for path in names) == ["VillageReranking.json", "model_meta.json"]


def test_an_older_models_results_go_when_it_is_published_again(desk):
    desk.publish("results")
    desk.hub.add("dataset", "acme/set", {"results/local__gone/1/VillageRetrieval.json": b"{}", "mine.txt": b"mine"})
    desk.publish("results")
    assert "results/local__gone/1/VillageRetrieval.json" not in desk.files() and "mine.txt" in desk.files()


# --- the test set ---------------------------------------------------------------------------------------------------

READ = """\
import json, sys
from pathlib import Path
from benchmark.console import SILENT
from benchmark.domain.ingest import ingest
from benchmark.domain.testset import build_testset
from benchmark.project import Project
project = Project(Path(sys.argv[1]))
domain = project.domain("back")
build_testset(domain, ingest(project, domain, SILENT), SILENT)
"""


def test_a_domain_reads_the_same_test_set_back(desk, on_hub):
    desk.publish("dataset", with_documents=True)
    commit = desk.hub.repository("dataset", "acme/set").head.id
    (spec,) = snippets(desk.files()["README.md"], "yaml")
    (desk.project.root / "tasks" / "back").mkdir()
    (desk.project.root / "tasks" / "back" / "domain.yaml").write_text(
        f"title: Back\nreranking: {{base: tiny, depth: 3}}\n{re.sub('[0-9a-f]{40}', commit, spec)}"
    )
    on_hub(desk.hub, READ, desk.project.root)
    back = Project(desk.project.root).domain("back")
    assert read_testset(back.testset) == read_testset(desk.domain.testset)
    ours, theirs = (read_chunks(domain.chunks / "chunks.jsonl") for domain in (desk.domain, back))
    assert [(chunk.id, chunk.full_text, chunk.document) for chunk in ours] == [
        (chunk.id, chunk.full_text, chunk.document) for chunk in theirs
    ]


def loading(desk):
    (load, _) = snippets(desk.files()["README.md"])
    more = (
        "\nimport json, sys\nrows = {'corpus': corpus.num_rows, 'queries': queries.num_rows, 'qrels': qrels.num_rows}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    rows[name] = {split: part.num_rows for split, part in load_dataset('acme/set', name).items()}\n"
        "rows['leaderboard'] = load_dataset('acme/results', 'leaderboard', split='train').num_rows\n"
        "print(json.dumps([rows, corpus[0], queries[0], qrels[0]]))"
    )
    return load + more, [json.dumps(synthetic_configurations(desk))]


def synthetic_configurations(desk):
    head = yaml.safe_load(desk.files()["README.md"].decode().split("---\n")[1])
    return [row["config_name"] for row in head["configs"] if row["config_name"].startswith("synthetic-")]


def test_datasets_loads_every_configuration(read_back):
    desk, made = read_back.desk, synthetic_configurations(read_back.desk)
    rows, passage, query, judgement = json.loads(read_back.loaded[-1])
    testset, chunks = read_testset(desk.domain.testset), read_chunks(desk.domain.chunks / "chunks.jsonl")
    assert rows["corpus"] == len(chunks) and passage["text"] == chunks[0].text
    assert rows["queries"] == len(testset.queries) + len(testset.unanswerable) and query["_id"] == "q1"
    assert rows["qrels"] == sum(map(len, testset.qrels.values())) and judgement["score"] == 1
    counted = read_json(desk.domain.synthetic / "manifest.json")["facts"]["rows"]
    assert made and all(
        rows[f"synthetic-{name}"][split] == counted[split][name]
        for name in ("triplets", "ntuples", "pairs") for split in ("train", "dev") if counted[split][name]
    )  # fmt: skip
    assert rows["leaderboard"] == (desk.results / "leaderboard.csv").read_text().count("\n") - 1
    assert b"# Synthetic queries: Village" in desk.files()["synthetic/README.md"]


MTEB = """
import json, sys
from sentence_transformers import SentenceTransformer
kept = [[row.model_name, row.model_revision, row.task_results[0].get_score(), row.task_results[0].dataset_revision]
        for row in results.model_results]
model = SentenceTransformer(sys.argv[1], device="cpu")
model.max_seq_length = 96
found = mteb.evaluate(model, tasks=[VillageRetrieval()], cache=None, show_progress_bar=False)
print(json.dumps([kept, found.task_results[0].scores["test"][0]["ndcg_at_10"]]))
"""


def evaluating(desk):
    (read,) = snippets(desk.files(name="acme/results")["README.md"])
    task = snippets(desk.files()["README.md"])[1]
    return read + task + MTEB, [str(desk.project.root / "weights" / "tiny")]


def test_mteb_reads_the_results_and_evaluates_the_data_set_as_a_task(read_back):
    """With the code of the cards, and on the model that the leaderboard calls `tiny`."""
    desk = read_back.desk
    kept, score = json.loads(read_back.evaluated[-1])
    board = read_json(desk.results / "leaderboard.json")
    means = {
        row["system"]: row["mean"] for row in board["means"]
        if (row["task"], row["metric"], row["category"]) == ("retrieval", "ndcg@10", None)
    }  # fmt: skip
    rows = {name: rest for name, *rest in kept}
    assert rows.keys() == {f"local/{system['name']}" for system in board["systems"]}
    for system in board["systems"]:
        revision, mean, data = rows[f"local/{system['name']}"]
        assert revision == system["fingerprint"] and data == board["testset"][:40]
        assert mean == pytest.approx(means[system["name"]], abs=1e-5)
    assert score == pytest.approx(means["tiny"], abs=1e-5)


def test_passages_that_were_made_anew_do_not_go_with_the_old_judgements(desk):
    path = desk.domain.chunks / "manifest.json"
    manifest = read_json(path)
    manifest["outputs"]["chunks.jsonl"] = "0" * 64
    path.write_text(json.dumps(manifest))
    (line,) = desk.refusal("dataset", with_documents=True)
    assert "testset: was made from other passages than " in line and line.endswith("make it with: domainbench ingest")
    assert not desk.hub.counts


def test_without_a_test_set_it_says_how_to_make_one(desk):
    shutil.rmtree(desk.domain.testset)
    (line,) = desk.refusal("dataset", with_documents=True)
    assert line.endswith("no test set; make it with: domainbench ingest")
    shutil.rmtree(desk.domain.synthetic)


# --- models ---------------------------------------------------------------------------------------------------------


def test_a_models_card_carries_what_the_leaderboard_measured(desk, tmp_path):
    from huggingface_hub import ModelCard, parse_eval_result_entries

    desk.publish("model", model="tuned", dataset=f"acme/village@{'a' * 40}")
    files = desk.files("model")
    (tmp_path / "README.md").write_bytes(files["README.md"])
    card = ModelCard.load(tmp_path / "README.md")
    board = read_json(desk.results / "leaderboard.json")
    means = {(row["task"], row["metric"]): row["mean"] for row in board["means"]
             if row["system"] == "tuned" and row["category"] is None}  # fmt: skip
    found = {(row.task_name, row.metric_type): row for row in card.data.eval_results}
    assert len(found) == len(means)
    retrieval = found["VillageRetrieval", "ndcg_at_10"]
    assert retrieval.metric_value == pytest.approx(means["retrieval", "ndcg@10"], abs=1e-5)
    assert found["VillageReranking", "mrr_at_10"].metric_value == pytest.approx(means["reranking", "mrr@10"], abs=1e-5)
    assert (retrieval.dataset_type, retrieval.dataset_revision) == ("acme/village", "a" * 40)
    assert (retrieval.dataset_name, retrieval.task_type) == ("Village", "text-retrieval")
    assert card.data.license == "apache-2.0" and card.data.model_name == "tuned"
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/VillageRetrieval.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("acme/village", "VillageRetrieval", "a" * 40)
    assert entry.value == pytest.approx(100 * means["retrieval", "ndcg@10"], abs=1e-3)


def test_a_licence_is_written_as_the_hub_knows_it(desk):
    card = desk.domain.model("tuned") / "README.md"
    card.write_text(card.read_text().replace("license: apache-2.0\n", "license: other\nlicense_name: of-the-base\n", 1))
    for licence, expected in (("CC-BY-4.0 ", ("cc-by-4.0", None)), ("My own terms", ("other", "my-own-terms"))):
        desk.publish("model", model="tuned", licence=licence)
        head = yaml.safe_load(desk.files("model")["README.md"].decode().split("---\n")[1])
        assert (head["license"], head.get("license_name")) == expected


def test_without_a_data_set_on_the_hub_its_name_is_the_domains(desk):
    lines = desk.publish("model", model="tuned")
    head = yaml.safe_load(desk.files("model")["README.md"].decode().split("---\n")[1])
    assert {row["dataset"]["type"] for row in head["model-index"][0]["results"]} == {"village"}
    assert ".eval_results/VillageRetrieval.yaml" not in desk.files("model")
    assert any(line.startswith("left out: .eval_results/") for line in lines)


def test_figures_of_another_state_of_the_model_are_not_its_own(desk):
    other = desk.domain.model("tuned") / "config.json"
    other.write_text(other.read_text().replace("{", '{"_name_or_path": "/home/somebody/models/tiny",', 1))
    notes = Notes()
    desk.publish("model", model="tuned", notes=notes)
    assert b"model-index" not in desk.files("model")["README.md"]
    assert any("measured another state of it" in line for line in notes.lines)
    assert b"somebody" not in desk.files("model")["config.json"]
    assert json.loads(desk.files("model")["config.json"])["model_type"] == "bert"


def test_a_model_that_is_not_in_the_leaderboard_goes_without_figures(desk):
    notes = Notes()
    (desk.results / "leaderboard.json").unlink()
    desk.publish("model", model="linear", notes=notes)
    assert any("no evaluation results" in line and "no leaderboard" in line for line in notes.lines)


@pytest.mark.parametrize(("model", "told"), [
    (None, "name the model's spec with --model"),
    ("bm25", "its source is 'bm25'; only a model that was tuned here"),
    ("tiny", "weights/tiny: has no README.md"),
    ("tunde", "did you mean 'tuned'?"),
])  # fmt: skip
def test_what_is_no_tuned_model_is_refused(desk, model, told):
    (line,) = desk.refusal("model", model=model)
    assert told in line


def test_a_base_that_is_not_here_is_not_fetched_to_list_files(desk):
    (desk.project.specs_folder / "far.yaml").write_text("hub: some/encoder\n")
    place = desk.domain.model("linear").relative_to(desk.project.root)
    (desk.project.specs_folder / "onfar.yaml").write_text(f"base: far\nadapter: {place}\n")
    notes = Notes()
    lines = desk.publish("model", model="onfar", dry_run=True, notes=notes)
    assert not desk.hub.counts and any(line.endswith("  linear_adapter.safetensors") for line in lines)
    assert any("the card gets no evaluation results" in line for line in notes.lines)


def encoding(desk):
    lines = []
    for name in ("tuned", "linear"):
        (code,) = snippets(desk.files("model", f"acme/{name}")["README.md"])
        assert f'"acme/{name}"' in code and "path/of/this/folder" not in code
        show = "\nprint('vectors', model.encode_query('a').round(4).tolist())\n"
        lines += [code, show, code.replace(f"acme/{name}", str(desk.domain.model(name))), show]
    return "".join(lines), []


def test_models_load_from_the_hub_as_their_cards_say(read_back):
    found = [line for line in read_back.encoded if line.startswith("vectors")]
    assert len(found) == 4 and found[0] == found[1] and found[2] == found[3]


# --- the Space ------------------------------------------------------------------------------------------------------


def test_a_space_has_the_page_without_passages(desk):
    desk.publish("space")
    files = desk.files("space")
    assert files.keys() == {"README.md", "index.html"}
    head = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    assert (head["sdk"], head["app_file"]) == ("static", "index.html")
    assert PASSAGE in (desk.results / "leaderboard.html").read_text() and PASSAGE not in files["index.html"].decode()
    desk.publish("space", with_documents=True)
    assert PASSAGE in desk.files("space")["index.html"].decode()


def test_without_a_page_it_says_how_to_make_one(desk):
    (desk.results / "leaderboard.html").unlink()
    (line,) = desk.refusal("space")
    assert line.endswith("leaderboard.html: no page; make it with: domainbench leaderboard")


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_the_address_last_and_the_token_never(desk, command, hub_module):
    done = command(desk.hub, desk.project, "publish", "results", "--to", "acme/board", "--message", "as of today")
    assert done.code == 0, done.err
    assert done.out[-1] == f"{desk.hub.address}/datasets/acme/board"
    repository = desk.hub.repository("dataset", "acme/board")
    assert repository.private and repository.head.message == "as of today"
    desk.hub.fail("commit", status=403, message="no")
    refused = command(desk.hub, desk.project, "publish", "model", "--to", "acme/m", "--model", "tuned", HF_DEBUG="1")
    assert refused.code == 2 and "Traceback" not in refused.all
    assert [line for line in refused.err.splitlines() if line.startswith("error: ")] == [
        "error: acme/m: HTTP 403: this token may not write here; it needs the right to write, and the account a place in it (no)"
    ]
    assert hub_module.TOKEN not in done.all + refused.all
    for path in desk.project.root.rglob("*"):
        assert not path.is_file() or hub_module.TOKEN.encode() not in path.read_bytes(), path


def test_a_kill_in_the_middle_of_an_upload_loses_nothing(desk, hub_environment):
    from threading import Event

    gate = Event()
    words = [sys.executable, "-c", PROGRAM, "--project", str(desk.project.root), "publish", "model", "--to", "acme/m",
             "--model", "linear"]  # fmt: skip
    # Three large files; the third upload waits until its process is gone.
    desk.hub.fail("put", first=3, hold=gate, reset=True)
    environment = hub_environment(desk.hub.address)
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert desk.hub.reached.wait(60)
        while len(desk.hub.objects) < 2:
            assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    repository = desk.hub.repository("model", "acme/m")
    assert len(repository.commits) == 1 and not repository.files
    gate.set()
    desk.hub.faults.clear()
    before = desk.hub.counts["put"]
    assert subprocess.run(words, env=environment, capture_output=True, timeout=100).returncode == 0
    assert desk.hub.counts["put"] - before == 1
    assert len(repository.commits) == 2 and "model.safetensors" in repository.files
