"""Cross-encoders: losses, negatives of a first stage, looks at the development split, and a kill in the middle."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.dense import open_cross_encoder
from benchmark.encoders.pairs import PairScorer, logits
from benchmark.errors import BenchError
from benchmark.files import write_jsonl, write_text
from benchmark.project import Project
from benchmark.records import Chunk, Hit
from benchmark.specs import CrossEncoderRun
from benchmark.specs.finetune import Lora
from benchmark.training.crossencoder import _data, _loss, _train
from benchmark.training.job import Job
from benchmark.training.labelled import NEGATIVES, Barred, first_stage_rows, training_rows, training_table
from benchmark.training.looks import Looks
from benchmark.training.loop import last_checkpoint
from benchmark.training.material import Asked, Material, read_material
from benchmark.training.ranking import Candidates, development_candidates, graded, open_first_stage
from benchmark.training.train import train_run

WORDS = [
    "amber", "basalt", "cedar", "dune", "ember", "fjord", "granite", "harbour", "island", "jungle", "kettle", "lantern",
    "meadow", "needle", "orchard", "pepper", "quarry", "river", "saddle", "timber", "umbrella", "valley", "walnut", "yard",
]  # fmt: skip
HELD_OUT = 6
RUN = CrossEncoderRun(
    name="cross", base="tiny", first_stage="bm25", depth=2, hard_negatives=1, epochs=10.0, batch_size=12,
    mini_batch_size=12, learning_rate=2e-2, max_length=32, patience=200,
)  # fmt: skip


def write_words(project, name="village"):
    """Each word has a passage that says yes and one that says no; BM25 cannot tell them apart and puts no first."""
    domain = project.domain(name)
    chunks = [
        Chunk(f"{mark}-{word}", f"{word}-{mark}.md", "", (), 0, 30, f"{said} {word} it is")
        for word in WORDS
        for mark, said in (("a", "yes"), ("b", "no"))
    ]
    write_jsonl(domain.chunks / "chunks.jsonl", (chunk.to_json() for chunk in chunks))
    train, dev = WORDS[:-HELD_OUT], WORDS[-HELD_OUT:]
    queries = [
        {"id": word, "text": f"question {word}", "chunk": f"a-{word}", "document": f"{word}-a.md", "origin": "span",
         "type": "", "split": "dev" if word in dev else "train", "positive_text": f"yes {word} it is"}
        for word in WORDS
    ]  # fmt: skip
    write_jsonl(domain.synthetic / "queries.jsonl", queries)
    write_jsonl(
        domain.synthetic / "dev_queries.jsonl",
        [{"id": word, "text": f"question {word}", "origin": "span", "type": ""} for word in dev],
    )
    lines = "".join(f"{word}\ta-{word}\t1\n" for word in dev)
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + lines)
    rows = [
        {"anchor": f"question {word}", "positive": f"{said} {word} it is", "label": label, "score": score}
        for word in train
        for said, label, score in (("yes", 1.0, 0.9), ("no", 0.0, 0.2))
    ]
    pq.write_table(pa.Table.from_pylist(rows), domain.synthetic / "pairs_train.parquet")
    return domain


@pytest.fixture
def domain(project):
    return write_words(project)


def make_project(root, tiny_model, max_length=96):
    """A project with the words' domain and nothing else, for what several tests look at."""
    project = Project(root)
    write_text(
        root / "tasks" / "village" / "domain.yaml",
        "title: Words\nlicence: CC0-1.0\nreranking: {base: bm25, depth: 3}\nchunking: {tokenizer: tiny, max_tokens: 64, min_tokens: 8}\n",
    )
    shutil.copytree(tiny_model, root / "weights" / "tiny")
    write_text(root / "model_specs" / "tiny.yaml", f"path: weights/tiny\nmax_length: {max_length}\n")
    write_text(root / "model_specs" / "bm25.yaml", "bm25: {}\n")
    write_words(project)
    return project


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_model):
    """A project in which `RUN` has been trained, and what it left."""
    project = make_project(tmp_path_factory.mktemp("tuned") / "project", tiny_model)
    return project, trained(project)


def job(project, run=RUN, seed=0, reporter=SILENT):
    return Job(project, project.domain("village"), run, seed, "data", reporter)


def trained(project, run=RUN, **more):
    given = job(project, run, **more)
    return train_run(given, given.domain.model(run.name))


def with_(**settings):
    return RUN.model_copy(update=settings)


def opened(project, folder):
    return open_cross_encoder(folder, project.model_spec("tiny"), "test")


PAIRS = [("question timber", "yes timber it is"), ("question timber", "no timber it is")]


# --- losses ---------------------------------------------------------------------------------------------------------


def test_the_first_stage_is_put_right(tuned):
    _, outcome = tuned
    found = outcome.facts["development"]
    assert found["first_stage"] == "bm25" and found["candidate_recall"] == 1.0
    assert found["before"] == pytest.approx({"ndcg@10": 1 / np.log2(3), "mrr@10": 0.5})
    assert found["after"] == {"ndcg@10": 1.0, "mrr@10": 1.0}
    assert outcome.facts["pairs"] == 36 and outcome.facts["negatives"] == 18
    assert "bm25" in (outcome.folder / "README.md").read_text()


def test_a_model_of_labels_gives_probabilities_everywhere(tuned):
    project, outcome = tuned
    own = opened(project, outcome.folder).predict(PAIRS, show_progress_bar=False)
    assert own[0] > 0.8 and own[1] < 0.2
    write_text(project.specs_folder / "labels.yaml", f"path: {outcome.folder}\nkind: cross-encoder\nmax_length: 96\n")
    np.testing.assert_allclose(PairScorer(project, "labels", SILENT, "")(PAIRS), own, atol=1e-5)


def test_a_model_of_scores_gives_scores_everywhere(project, domain):
    from torch.nn import Identity

    # Every passage that says yes is an answer: the order is right when the scores are, whatever is asked.
    lines = "".join(f"{word}\ta-{other}\t1\n" for word in WORDS[-HELD_OUT:] for other in WORDS)
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + lines)
    outcome = trained(project, with_(loss="mse", first_stage=None, depth=48, epochs=20.0, learning_rate=1e-2))
    model = opened(project, outcome.folder)
    assert isinstance(model.activation_fn, Identity)
    np.testing.assert_allclose(model.predict(PAIRS, show_progress_bar=False), [0.9, 0.2], atol=0.15)
    write_text(project.specs_folder / "scores.yaml", f"path: {outcome.folder}\nkind: cross-encoder\n")
    np.testing.assert_allclose(PairScorer(project, "scores", SILENT, "")(PAIRS), [0.9, 0.2], atol=0.15)


def test_a_model_of_lists_orders(project, domain):
    outcome = trained(project, with_(loss="lambda"))
    assert outcome.facts["development"]["after"] == {"ndcg@10": 1.0, "mrr@10": 1.0}
    scores = opened(project, outcome.folder).predict(PAIRS, show_progress_bar=False)
    assert scores[0] > scores[1] + 0.5


@pytest.mark.parametrize(("given", "weight"), [(None, 3.0), (1.5, 1.5)])
def test_the_weight_of_relevant_pairs(project, domain, given, weight):
    from datasets import Dataset

    rows = Dataset.from_dict({"label": [1.0, 0.0, 0.0, 0.0]})
    model = opened(project, project.root / "weights" / "tiny")
    assert float(_loss(model, with_(pos_weight=given), rows).pos_weight) == weight


def test_lists_hold_both_kinds_of_passages(project, domain):
    rows = training_rows(domain, RUN, 0)
    table = training_table(rows, with_(loss="lambda")).to_list()
    assert len(table) == len(WORDS) - HELD_OUT
    for row in table:
        word = row["query"].split()[1]
        assert dict(zip(row["docs"], row["labels"], strict=True)) == {f"yes {word} it is": 1.0, f"no {word} it is": 0.0}
    alone = rows.filter(lambda row: row["label"] == 1.0)
    with pytest.raises(BenchError, match="loss: lambda needs queries with a relevant and an irrelevant passage"):
        training_table(alone, with_(loss="lambda"))


def test_scores_that_are_not_there_are_told(project, domain):
    path = domain.synthetic / "pairs_train.parquet"
    pq.write_table(pq.read_table(path).drop(["score"]), path)
    with pytest.raises(BenchError, match=r"pairs_train.parquet: has no column 'score', which loss: mse learns"):
        trained(project, with_(loss="mse", first_stage=None))


def test_a_batch_larger_than_memory_is_gone_through_in_parts(project, domain):
    """Gradients add up to those of the whole batch, so that only rounding tells the two apart."""
    import torch

    found = []
    for size in (12, 3):
        run = with_(batch_size=12, mini_batch_size=size, epochs=1.0, learning_rate=1e-3, patience=50, name=f"by{size}")
        model = open_untrained(project)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        data = data_of(project, run)
        work = domain.results / f"work{size}"
        work.mkdir()
        facts = _train(job(project, run), model, data, work)
        found.append((facts, logits(model, PAIRS, SILENT)))
    assert found[0][0]["steps"] == found[1][0]["steps"] == 3
    assert found[0][0]["final_loss"] == pytest.approx(found[1][0]["final_loss"], rel=0.02)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=5e-3)


def open_untrained(project):
    import torch

    torch.manual_seed(0)
    return opened(project, project.root / "weights" / "tiny")


def data_of(project, run):
    return _data(job(project, run))


def test_checkpointed_activations_change_nothing(project, domain):
    few = with_(epochs=1.0)
    plain = trained(project, few).facts
    again = trained(project, few.model_copy(update={"name": "saving", "gradient_checkpointing": True})).facts
    assert again["final_loss"] == pytest.approx(plain["final_loss"], rel=1e-3)
    assert again["development"] == plain["development"]


# --- negatives ------------------------------------------------------------------------------------------------------


class Ranked:
    """A first stage that finds the same for everybody."""

    def __init__(self, chunks):
        self.chunks, self.asked = chunks, {}

    def run(self, queries, depth, candidates=None):
        self.asked.update(queries)
        return {query: [Hit(chunk, -float(i)) for i, chunk in enumerate(self.chunks[:depth])] for query in queries}


def make_material(training, development=(), chunks=30, twins=(), headings=None):
    rows = [
        Chunk(f"c{i}", f"d{i // 3}", "", tuple((headings or {}).get(i, ())), 0, 9, f"text {dict(twins).get(i, i)}")
        for i in range(chunks)
    ]
    ask = [Asked(f"q{number}", (row,), "span") for number, row in enumerate(training)]
    return Material(rows, ask, [Asked(f"dev{row}", (row,), "span") for row in development], [])


def test_what_may_answer_a_query_is_never_its_negative():
    material = make_material(
        [4, 9, 20], [25, 9], twins=[(28, 4)], headings={9: ("a",), 11: ("a",), 10: ("b",), 0: ("a",)}
    )
    barred = Barred(material)
    assert barred.of(0) == {4, 3, 5, 28, 25}
    assert barred.of(1) == {9, 10, 11, 25}  # 8 is of another document, as is 0 of the same heading
    assert barred.of(2) == {20, 19, 25}  # 9 is asked for in training as well


def synthetic_rows(domain, material):
    rows = [{"split": "train", "positive_text": f"cut {number}"} for number, _ in enumerate(material.training)]
    write_jsonl(domain.synthetic / "queries.jsonl", rows)


def test_negatives_are_drawn_from_the_first_stages_hits(project, domain):
    material = make_material([4, 9, 20], [25])
    synthetic_rows(domain, material)
    run, first = with_(depth=8, hard_negatives=3), Ranked([f"c{i}" for i in (4, 9, 5, 25, 0, 12, 13, 14, 15, 16)])
    rows, facts = first_stage_rows(job(project, run), material, first)
    assert first.asked == {"0": "q0", "1": "q1", "2": "q2"}
    assert facts == {"queries": 3, "negatives": 9, "queries_short_of_negatives": 0}
    of = {number: [row for row in rows.to_list() if row["anchor"] == f"q{number}"] for number in range(3)}
    hits = {f"text {i}" for i in (4, 9, 5, 0, 12, 13, 14)}  # the first 8 without what development asks for
    own = {0: {4, 5}, 1: {9}, 2: set()}
    for number, group in of.items():
        assert [row["positive"] for row in group if row["label"] == 1.0] == [f"cut {number}"]
        negatives = [row["positive"] for row in group if row["label"] == 0.0]
        assert len(set(negatives)) == 3
        assert set(negatives) <= hits - {f"text {i}" for i in own[number]}
    again, _ = first_stage_rows(job(project, run), material, first)
    assert again.to_list() == rows.to_list()
    other, _ = first_stage_rows(job(project, run, seed=1), material, first)
    assert sorted(row["positive"] for row in other.to_list()) != sorted(row["positive"] for row in rows.to_list())


def test_few_hits_and_few_pairs(project, domain):
    material = make_material([4, 9, 20])
    synthetic_rows(domain, material)
    first = Ranked(["c0", "c12"])
    rows, facts = first_stage_rows(job(project, with_(hard_negatives=0)), material, first)
    assert NEGATIVES == 4 and len(rows) == 9
    assert facts == {"queries": 3, "negatives": 6, "queries_short_of_negatives": 3}
    _, few = first_stage_rows(job(project, with_(hard_negatives=1, max_pairs=4)), material, first)
    assert few["queries"] == 2
    with pytest.raises(BenchError, match="none of the first 2 hits of bm25 may be a negative; raise 'depth'"):
        first_stage_rows(job(project, RUN), make_material([0, 0]), Ranked(["c0", "c1"]))


# --- development ----------------------------------------------------------------------------------------------------


def test_grades_are_the_fields_own():
    assert graded(["a"], {"a"}) == (1.0, 1.0)
    assert graded([], {"a"}) == (0.0, 0.0)
    ndcg, mrr = graded([f"x{i}" for i in range(10)] + ["a"], {"a"})
    assert (ndcg, mrr) == (0.0, 0.0)
    ndcg, mrr = graded(["x", "a", "b"], {"a", "b", "c"})
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg == pytest.approx((1 / np.log2(3) + 1 / np.log2(4)) / ideal)
    assert mrr == 0.5


def test_recall_is_the_ceiling_and_what_was_not_found_scores_nothing():
    hits = [[Hit("a", 2.0), Hit("b", 1.0)], [Hit("a", 2.0), Hit("b", 1.0)]]
    found = Candidates(
        "bm25", 2, "all", {"a": "A", "b": "B", "c": "C"}, ["q", "r"], hits, [frozenset("b"), frozenset("bc")]
    )
    assert found.recall == 0.75
    assert found.pairs == [("q", "A"), ("q", "B"), ("r", "A"), ("r", "B")]
    assert found.before.mrr.tolist() == [0.5, 0.5]
    perfect = found.reranked(np.array([0, 1, 0, 1], dtype=np.float32))
    assert perfect.ndcg[0] == 1.0 and perfect.ndcg[1] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert found.fused(np.array([0, 1, 0, 1], dtype=np.float32), [1.0, 0.0]).mrr.tolist() == [0.5, 0.5]
    assert found.fused(np.array([0, 1, 0, 1], dtype=np.float32), [0.4, 0.6]).mrr.tolist() == [1.0, 1.0]


def test_looks_go_to_queries_with_something_to_gain():
    hits = [[Hit(f"c{i}", -float(i)) for i in range(40)] for _ in range(100)]
    relevant = [frozenset({f"c{row}"}) for row in range(100)]
    found = Candidates("bm25", 40, "all", {f"c{i}": "" for i in range(40)}, ["q"] * 100, hits, relevant)
    looked = found.looked_at(15, 0)
    assert len(looked.queries) == 15 and {len(row) for row in looked.hits} == {20}
    assert all(int(next(iter(wanted))[1:]) < 20 for wanted in looked.relevant)
    assert looked.relevant == found.looked_at(15, 0).relevant != found.looked_at(15, 1).relevant
    assert len(found.looked_at(60, 0).queries) == 20


def written_material(count):
    asked = [Asked(f"w{i}", (i % 30,), "llm") for i in range(count)] + [
        Asked(f"s{i}", (i % 30,), "span") for i in range(90)
    ]
    base = make_material([0])
    return Material(base.chunks, base.training, asked, [])


@pytest.mark.parametrize(("count", "written"), [(49, False), (50, True)])
def test_written_queries_decide_where_there_are_enough(project, count, written):
    first = Ranked([f"c{i}" for i in range(30)])
    found = development_candidates(written_material(count), first_stage(first), 10, 0)
    assert all(query.startswith("w") for query in found.queries) == written
    assert found.words == ("written development queries" if written else "development queries of every origin")
    assert len(found.queries) == (50 if written else 139)


def test_a_deep_first_stage_is_asked_fewer_queries(project):
    first = Ranked([f"c{i}" for i in range(30)])
    material = written_material(120)
    few, again, other = (development_candidates(material, first_stage(first), 100, seed).queries for seed in (0, 0, 1))
    assert len(few) == 30 and few == again != other


def first_stage(retriever):
    from benchmark.training.ranking import FirstStage

    return FirstStage("first", retriever)


def test_without_a_first_stage_the_base_searches_or_bm25(project, domain, cross_encoder):
    material = read_material(domain, None, 0)
    assert open_first_stage(job(project, with_(first_stage=None)), material).name == "tiny"
    assert open_first_stage(job(project, with_(first_stage=None, base="ce")), material).name == "BM25"
    assert open_first_stage(job(project, RUN), material).name == "bm25"


# --- looks ----------------------------------------------------------------------------------------------------------


class Weights:
    """A module of one number, whose score is looked up by it."""

    def __init__(self, scores):
        import torch

        self.module = torch.nn.Linear(1, 1, bias=False)
        self.scores = scores
        self.asked = []

    def at(self, step):
        import torch

        with torch.no_grad():
            self.module.weight.fill_(float(step))

    def score(self):
        step = int(self.module.weight.item())
        self.asked.append(step)
        return self.scores[step]


def go(model, folder, upto, start=0, every=1, patience=2, new_head=True):
    looks = Looks(model.module, model.score, folder, every, patience, new_head=new_head)
    for step in range(start + 1, upto + 1):
        model.at(step)
        looks.look(step)
        if looks.over(step):
            break
    return looks, step


def test_the_best_look_is_kept_and_the_peak_ends_training(tmp_path):
    model = Weights([0.0, 0.2, 0.5, 0.5, 0.4, 0.9])
    looks, stopped = go(model, tmp_path, 5)
    assert (looks.best, stopped, model.asked) == (3, 4, [1, 2, 3, 4])  # of equals the last; the 0.9 is never seen
    looks.restore()
    assert model.module.weight.item() == 3.0
    assert [path.name for path in tmp_path.glob("best*")] == ["best-3.safetensors"]


def test_a_model_that_was_good_already_changes_only_for_a_gain(tmp_path):
    model = Weights([0.4, 0.5, 0.5, 0.5])
    looks, stopped = go(model, tmp_path, 3, new_head=False)
    looks.restore()
    assert (looks.best, stopped, model.module.weight.item()) == (1, 3, 1.0)


def test_a_resumed_training_ends_where_the_other_one_did(tmp_path):
    scores = [0.0, 0.2, 0.5, 0.3, 0.4, 0.9]
    straight, stopped = go(Weights(scores), tmp_path / "a", 5) if (tmp_path / "a").mkdir() is None else None
    (tmp_path / "b").mkdir()
    for kill in (1, 2, 3, 4):
        go(Weights(scores), tmp_path / "b", kill)
        model = Weights(scores)
        looks, end = go(model, tmp_path / "b", 5, start=0)  # the checkpoint was before the first look
        looks.restore()
        assert (looks.best, end, model.module.weight.item()) == (straight.best, stopped, 2.0)
        assert looks.scores == straight.scores
        assert model.asked == list(range(kill + 1, 5))
        for path in (tmp_path / "b").iterdir():
            path.unlink()


def test_every_few_steps_and_at_the_end(tmp_path):
    from types import SimpleNamespace

    model = Weights([0.1] * 20)
    looks = Looks(model.module, model.score, tmp_path, 4, 50, new_head=False)
    callback = looks.callback()
    state = SimpleNamespace(global_step=0, max_steps=10, is_world_process_zero=True)
    control = SimpleNamespace(should_training_stop=False, should_save=True)
    callback.on_train_begin(None, state, control)
    for step in range(1, 11):
        state.global_step = step
        callback.on_step_end(None, state, control)
    assert list(looks.scores) == [0, 4, 8, 10]
    assert (control.should_training_stop, control.should_save) == (False, True)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_training_stops_after_its_peak_and_keeps_it(project, domain):
    facts = trained(project, with_(epochs=40.0, patience=4)).facts
    looks = {look["step"]: look["ndcg@10"] for look in facts["looks"]}
    assert facts["steps"] == max(looks) < 40 * 3
    best = [step for step, score in looks.items() if score == max(looks.values())]
    assert facts["best_step"] == best[-1]
    assert sum(step > best[0] for step in looks) == 4
    assert facts["development"]["after"]["ndcg@10"] == pytest.approx(max(looks.values()))


@pytest.fixture
def spoilt(tuned):
    """A good reranker and pairs with turned labels: project, what made it good, and a run that makes it bad."""
    project, good = tuned
    write_text(project.specs_folder / "good.yaml", f"path: {good.folder}\nkind: cross-encoder\nmax_length: 96\n")
    path = project.domain("village").synthetic / "pairs_train.parquet"
    kept, rows = path.read_bytes(), pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([{**row, "label": 1.0 - row["label"]} for row in rows]), path)
    yield project, good, with_(name="spoilt", base="good", first_stage=None, hard_negatives=0)
    path.write_bytes(kept)
    shutil.rmtree(project.domain("village").model("spoilt"), ignore_errors=True)


def test_a_reranker_that_training_would_spoil_stays_as_it_was(spoilt):
    project, good, run = spoilt
    outcome = trained(project, run.model_copy(update={"patience": 2}))
    assert (outcome.facts["best_step"], outcome.facts["steps"]) == (0, 2)
    assert outcome.facts["development"]["first_stage"] == "BM25"
    assert weights_of(outcome.folder) == weights_of(good.folder)


def test_nothing_to_rerank_is_told_and_trained_all_the_same(project, domain):
    lines = "".join(f"{word}\tb-{WORDS[0]}\t1\n" for word in WORDS[-HELD_OUT:])
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + lines)
    heard = Notes()
    facts = trained(project, with_(epochs=1.0), reporter=heard).facts
    assert "looks" not in facts and facts["steps"] == 3
    assert facts["development"]["candidate_recall"] == 0.0
    assert any("bm25 finds no development query's passage; no early stopping" in line for line in heard.lines)


def test_low_rank_updates_are_merged_and_the_new_head_is_trained(tuned, project, domain):
    from safetensors.torch import load_file

    outcome = trained(project, with_(name="low", lora=Lora(r=4, alpha=8)))
    assert set(load_file(outcome.folder / "model.safetensors")) == set(load_file(tuned[1].folder / "model.safetensors"))
    assert outcome.facts["development"]["after"]["ndcg@10"] > outcome.facts["development"]["before"]["ndcg@10"]
    own = logits(opened(project, outcome.folder), PAIRS, SILENT)
    assert own[0] > own[1]
    head = load_file(outcome.folder / "model.safetensors")["classifier.weight"]
    assert not np.allclose(head, open_untrained(project).state_dict()["0.model.classifier.weight"])


def weights_of(folder):
    return next(folder.rglob("model.safetensors")).read_bytes()


def killed(start_doomed, project, run):
    """Train in another process that is killed after its first checkpoint; what it has looked at."""
    code = f"""
    from pathlib import Path
    from benchmark.console import SILENT
    from benchmark.project import Project
    from benchmark.specs import CrossEncoderRun
    from benchmark.training.job import Job
    from benchmark.training.train import train_run
    project = Project(Path({str(project.root)!r}))
    run = CrossEncoderRun.model_validate_json({run.model_dump_json(exclude_unset=True)!r})
    domain = project.domain("village")
    train_run(Job(project, domain, run, 0, "data", SILENT), domain.model(run.name))
    """
    domain = project.domain("village")
    work = domain.results / "models" / f".{run.name}.checkpoints"
    start_doomed(code)
    assert last_checkpoint(work) is not None and not domain.model(run.name).exists()
    return json.loads((work / "looks.json").read_text())["looks"]


def end_of(project, run):
    """The same training in this process: facts, weights, and what was said."""
    heard = Notes()
    outcome = trained(project, run, reporter=heard)
    (outcome.folder / "manifest.json").unlink()
    return outcome.facts, weights_of(outcome.folder), " ".join(heard.lines)


def test_killed_in_the_middle_the_best_weights_are_still_those_of_the_best_look(spoilt, start_doomed):
    project, _, run = spoilt
    run = run.model_copy(update={"epochs": 5.0})
    seen = killed(start_doomed, project, run)
    facts, weights, said = end_of(project, run)
    assert "goes on from step" in said
    looks = [{"step": look["step"], "score": look["ndcg@10"]} for look in facts["looks"]]
    assert looks[: len(seen)] == seen and len(looks) > len(seen)
    assert facts["best_step"] < 5 < facts["steps"] == 15
    assert end_of(project, run)[:2] == (facts, weights)
    assert looks[-1]["score"] < 0.8 < facts["development"]["after"]["ndcg@10"]


def test_killed_in_the_middle_low_rank_updates_and_head_go_on(project, domain, start_doomed):
    run = CrossEncoderRun.model_validate(
        {**RUN.model_dump(exclude_unset=True), "epochs": 3.0, "lora": {"r": 4, "alpha": 8}}
    )
    killed(start_doomed, project, run)
    facts, weights, said = end_of(project, run)
    assert "goes on from step" in said
    assert end_of(project, run)[:2] == (facts, weights)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(project, domain):
    seen = []
    for seed in (0, 0, 1):
        outcome = trained(project, with_(epochs=2.0), seed=seed)
        seen.append(weights_of(outcome.folder))
        (outcome.folder / "manifest.json").unlink()
    assert seen[0] == seen[1] != seen[2]
