"""Linear adapters: what is learnt, what is chosen, and what ends in the folder."""

import dataclasses
import shutil
import time
from collections import Counter

import numpy as np
import pytest

from benchmark.console import SILENT, Notes
from benchmark.encoders.adapter import LinearMaps, open_encoder
from benchmark.encoders.dense import DenseEncoder
from benchmark.encoders.retrieve import open_retriever
from benchmark.errors import BenchError
from benchmark.files import files_below, hash_file, write_jsonl, write_text
from benchmark.pipeline import Pipeline
from benchmark.provenance import Outcome
from benchmark.records import Chunk, read_chunks
from benchmark.runs import rank_row
from benchmark.specs import AdapterRun, AdapterSettings, BenchmarkSpec, parse_spec
from benchmark.training import linear
from benchmark.training.choice import Choice
from benchmark.training.finetune import finetune
from benchmark.training.lexical import lexical_targets
from benchmark.training.linear import Pairs, Targets, fit
from benchmark.training.material import FEWEST, MADE, Asked, Material, drawn, further_positives, kinds_of, read_material
from benchmark.training.ranks import Judged, ranks

RUN = AdapterRun(name="linear", base="tiny", epochs=12, learning_rate=3e-3, batch_size=16, shrinkage=0.0)


def silent(done, text):
    pass


def train(*given):
    """What an adapter's run leaves."""
    return finetune(*given)[0]


# --- settings -------------------------------------------------------------------------------------------------------


def test_each_number_of_sides_has_its_defaults():
    one = parse_spec(AdapterSettings, {}, "x")
    two = parse_spec(AdapterSettings, {"sides": "both"}, "x")
    assert (one.sides, one.epochs, one.learning_rate, one.batch_size, one.scale) == ("query", 30, 3e-4, 256, 20.0)
    assert (two.epochs, two.learning_rate) == (40, 2e-4)
    assert parse_spec(AdapterSettings, {"sides": "both", "epochs": 5}, "x").epochs == 5


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hard_negatives": 3}, "unknown key 'hard_negatives'"),
        ({"side": "both"}, "unknown key 'side'; did you mean 'sides'?"),
        ({"sides": "three"}, "'sides'"),
        ({"sides": ["both"]}, "'sides'"),
        ({"shrinkage": -1.0}, "'shrinkage'"),
        ({"epochs": 3.5}, "'epochs'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(more, said):
    with pytest.raises(BenchError) as error:
        parse_spec(AdapterRun, {"name": "x", "base": "tiny", **more}, "b.yaml")
    assert said in str(error.value)
    assert len(error.value.problems) == 1


def test_a_run_has_the_defaults_of_its_sides_and_tells_all_of_its_settings():
    bare = AdapterRun(name="x", base="b", sides="both")
    assert (bare.epochs, bare.learning_rate, bare.kind) == (40, 2e-4, "adapter")
    assert set(RUN.effective) == {"name", "kind", "base", "max_pairs", *AdapterSettings.model_fields}
    assert AdapterRun.model_validate_json(RUN.model_dump_json(exclude_unset=True)) == RUN


# --- training on vectors --------------------------------------------------------------------------------------------


def unit(array):
    array = np.asarray(array, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def make_pairs(n=120, documents=60, dimensions=12, seed=0, noise=0.1):
    """Queries that are their documents turned by one rotation: the identity finds little, a matrix finds all."""
    rng = np.random.default_rng(seed)
    found = unit(rng.normal(size=(documents, dimensions)))
    turn = np.linalg.qr(np.eye(dimensions) + 0.5 * rng.normal(size=(dimensions, dimensions)))[0]
    own = rng.integers(0, documents, n)
    queries = unit(found[own] @ turn.T + noise * rng.normal(size=(n, dimensions)))
    return Pairs(queries, found, own, [()] * n, np.zeros(documents, dtype=bool))


def settings(**more):
    return AdapterSettings.model_validate({"epochs": 40, "learning_rate": 0.02, "shrinkage": 0.0, **more})


def judged(pairs):
    names = [f"c{number}" for number in range(len(pairs.documents))]
    return Judged(pairs.queries, pairs.documents, [[int(row)] for row in pairs.positives], names)


@pytest.mark.parametrize("sides", ["query", "both"])
def test_it_learns_what_a_matrix_can_say_also_for_queries_it_never_saw(sides):
    pairs, fresh = make_pairs(400), judged(make_pairs(400, noise=0.12))
    fitted = fit(pairs, settings(sides=sides), 0, silent)
    before = fresh.quality(LinearMaps.identity(12, both=False)).ndcg.mean()
    assert before < 0.5
    assert fresh.quality(fitted.maps).ndcg.mean() > 0.9
    assert fitted.losses[-1] < fitted.losses[0] * 0.5
    assert (fitted.maps.document is None) == (sides == "query")
    assert fitted.epoch == len(fitted.losses) == 40


def test_a_seed_decides_everything():
    pairs = make_pairs()
    first, again, other = (fit(pairs, settings(sides="both", batch_size=16), seed, silent).maps for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.query, again.query)
    np.testing.assert_array_equal(first.document, again.document)
    assert not np.array_equal(first.query, other.query)


def test_it_starts_at_the_identity_and_shrinkage_holds_it_there():
    pairs = make_pairs()
    still = fit(pairs, settings(epochs=1, learning_rate=1e-9, sides="both"), 0, silent).maps
    np.testing.assert_allclose(still.query, np.eye(12), atol=1e-6)
    np.testing.assert_allclose(still.document, np.eye(12), atol=1e-6)
    free, held, tight = (fit(pairs, settings(shrinkage=s), 0, silent).maps.distance for s in (0.0, 5.0, 100.0))
    assert free > 1.5 * held > 3 * tight


def gradients(pairs, made, block=None, monkeypatch=None):
    """Loss and gradients of one batch of all queries, away from the start."""
    import torch

    if block is not None:
        width = made.batch_size + 2 * pairs.queries.shape[1]
        monkeypatch.setattr(linear, "BLOCK_BYTES", block * 4 * width)
    learner = linear._Learner(pairs, made)
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for away in learner._away.values():
            away += 0.1 * torch.randn(away.shape, generator=drawn)
    loss = learner._loss(np.arange(len(pairs.queries)))
    loss.backward()
    return float(loss.detach()), [away.grad.numpy().copy() for away in learner._away.values()]


def test_the_loss_is_cross_entropy_over_the_whole_corpus():
    import torch

    pairs = make_pairs(20, documents=15)
    loss, _ = gradients(pairs, settings(scale=20.0, shrinkage=2.0))
    drawn = torch.Generator().manual_seed(0)
    away = 0.1 * torch.randn((12, 12), generator=drawn)
    queries = torch.nn.functional.normalize(torch.from_numpy(pairs.queries) @ (torch.eye(12) + away).T, dim=1)
    logits = 20.0 * queries @ torch.from_numpy(pairs.documents).T
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(pairs.positives))
    assert loss == pytest.approx(float(expected + 2.0 * away.square().sum() / 12), rel=1e-5)


def shared_out(pairs, weight, depth=6, seed=3):
    """Shares of some candidates for each query, `weight` in all."""
    rng = np.random.default_rng(seed)
    open_rows = np.flatnonzero(~pairs.left_out)
    rows = np.array([rng.permutation(np.setdiff1d(open_rows, also))[:depth] for also in pairs.also])
    shares = rng.random(rows.shape).astype(np.float32)
    return Targets(rows, weight * shares / shares.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("sides", ["query", "both"])
def test_blocks_of_candidates_change_nothing_and_bound_what_is_held(monkeypatch, sides, taught):
    pairs = make_pairs(30, documents=50)
    also = [[(int(row) + 1) % 50, (int(row) + 7) % 50] for row in pairs.positives]
    left_out = np.zeros(50, dtype=bool)
    left_out[[3, 44]] = True
    left_out[pairs.positives] = False
    pairs = Pairs(pairs.queries, pairs.documents, pairs.positives, also, left_out)
    pairs = dataclasses.replace(pairs, targets=shared_out(pairs, 0.6) if taught else None)
    made = settings(sides=sides, batch_size=64)
    loss, grads = gradients(pairs, made)
    seen = []
    original = linear._Learner._sums_of

    def spy(self, queries, start, stop, hidden, taught):
        seen.append(stop - start)
        return original(self, queries, start, stop, hidden, taught)

    monkeypatch.setattr(linear._Learner, "_sums_of", spy)
    in_blocks, block_grads = gradients(pairs, made, 7, monkeypatch)
    assert max(seen) == 7
    assert len(seen) >= 8
    assert in_blocks == pytest.approx(loss, rel=1e-5)
    assert len(grads) == (1 if sides == "query" else 2)
    for one, other in zip(grads, block_grads, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_loss_with_a_teacher_is_cross_entropy_with_its_shares_and_the_own_passage():
    import torch

    pairs = make_pairs(25, documents=40)
    targets = shared_out(pairs, 0.7)
    loss, _ = gradients(dataclasses.replace(pairs, targets=targets), settings())
    drawn = torch.Generator().manual_seed(0)
    expected = np.zeros((25, 40), dtype=np.float32)
    np.put_along_axis(expected, targets.rows, targets.shares, axis=1)
    expected[np.arange(25), pairs.positives] += 0.3
    away = 0.1 * torch.randn((12, 12), generator=drawn)
    queries = torch.nn.functional.normalize(torch.from_numpy(pairs.queries) @ (torch.eye(12) + away).T, dim=1)
    logits = 20.0 * queries @ torch.from_numpy(pairs.documents).T
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(expected))), rel=1e-4)


def test_a_lexical_target_holds_what_both_bm25_and_the_base_rank_high():
    chunks = [Chunk(f"c{i}", "d", "", (), -1, -1, text) for i, text in enumerate(
        ["the queen bee leaves the hive", "a hive in spring", "rye flour and water", "a clock of chess", "flour for bread"]
    )]  # fmt: skip
    documents = unit(np.eye(5, 6) + 0.1)
    queries = unit(documents[[0, 2]] + 0.05)
    left_out = np.array([False, False, False, True, False])
    pairs = Pairs(queries, documents, np.array([0, 2]), [[], [4]], left_out)
    targets = lexical_targets(pairs, ["queen bee hive", "rye flour"], chunks, np.array([0.75, 0.25], dtype=np.float32))
    dense = np.zeros((2, 5))
    np.put_along_axis(dense, targets.rows, targets.shares, axis=1)
    np.testing.assert_allclose(dense.sum(axis=1), [0.75, 0.25], rtol=1e-5)
    assert dense[:, 3].tolist() == [0, 0]
    assert dense[1, 4] == 0
    assert dense[0].argsort()[::-1][:2].tolist() == [0, 1]
    assert dense[1].argmax() == 2


def test_further_positives_and_documents_left_out_are_no_negatives():
    """A second copy of each query's own document and three strangers, all hidden: as if they were not there."""
    plain = make_pairs(20, documents=20)
    plain = Pairs(plain.queries, plain.documents, np.arange(20), [()] * 20, plain.left_out)
    loss, grads = gradients(plain, settings())
    more = np.vstack([plain.documents, plain.documents, unit(np.eye(12)[:3])])
    others = [[20 + row for row in range(20)] for _ in range(20)]
    left_out = np.arange(43) >= 40
    hidden_loss, hidden_grads = gradients(Pairs(plain.queries, more, np.arange(20), others, left_out), settings())
    assert hidden_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(hidden_grads[0], grads[0], atol=1e-6)
    shown = Pairs(plain.queries, more, np.arange(20), [()] * 20, left_out)
    assert gradients(shown, settings())[0] > loss + 0.1
    in_part = Pairs(plain.queries, more, np.arange(20), others, np.zeros(43, dtype=bool))
    assert gradients(in_part, settings())[0] > loss + 1e-4


def test_the_best_epoch_is_kept_and_ten_without_a_better_one_end_it():
    values = iter([0.1, 0.5, 0.9, *[0.2] * 50])
    seen = []

    def score(maps):
        seen.append(maps)
        return next(values)

    fitted = fit(make_pairs(), settings(epochs=50), 0, silent, score)
    assert fitted.epoch == 3
    assert len(fitted.losses) == 13
    np.testing.assert_array_equal(fitted.maps.query, seen[2].query)
    assert not np.array_equal(fitted.maps.query, seen[-1].query)


# --- ranks ----------------------------------------------------------------------------------------------------------


def test_ranks_are_trec_evals_with_its_ties(monkeypatch):
    from benchmark.training import ranks as module

    rng = np.random.default_rng(0)
    documents = unit(rng.integers(-1, 2, size=(40, 4)) + 0.01)  # many are equal
    queries = unit(rng.normal(size=(25, 4)))
    ids = [f"d{number}" for number in rng.permutation(40)]  # d10 comes before d9
    relevant = [[int(row) for row in rng.choice(40, size=3, replace=False)] for _ in queries]
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7 * 4 * 40)
    found = ranks(queries, documents, relevant, ids)
    ties = 0
    for start in range(0, 25, 7):
        for number, row in enumerate(queries[start : start + 7] @ documents.T, start):
            order = [hit.chunk for hit in rank_row(row, ids, 40)]
            assert [order.index(ids[column]) + 1 for column in relevant[number]] == found[number].tolist()
            ties += len(row) - len(set(row.tolist()))
    assert ties > 50


def test_scores_are_those_of_pytrec_eval():
    import pytrec_eval

    pairs = make_pairs(30)
    relevant = [sorted({int(row), (int(row) + 1) % 60}) for row in pairs.positives]
    names = [f"c{number}" for number in range(60)]
    quality = Judged(pairs.queries, pairs.documents, relevant, names).quality(LinearMaps.identity(12, both=True))
    run = {
        f"q{number}": {hit.chunk: hit.score for hit in rank_row(row, names, 10)}
        for number, row in enumerate(pairs.queries @ pairs.documents.T)
    }
    qrels = {f"q{number}": {names[column]: 1 for column in row} for number, row in enumerate(relevant)}
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recip_rank"}).evaluate(run)
    np.testing.assert_allclose(quality.ndcg, [expected[f"q{n}"]["ndcg_cut_10"] for n in range(30)], atol=1e-6)
    np.testing.assert_allclose(quality.mrr, [expected[f"q{n}"]["recip_rank"] for n in range(30)], atol=1e-6)


# --- what is read ---------------------------------------------------------------------------------------------------


def chunk(number, text, title="Harbour rules"):
    return Chunk(f"c{number}", f"d{number}", title, (), -1, -1, text)


def test_twins_and_equal_queries_are_further_positives():
    chunks = [
        chunk(0, "the same words"),
        chunk(1, "other words"),
        chunk(2, "the  same\nwords", "Elsewhere"),
        chunk(3, "x"),
    ]
    asked = [Asked("a", (0,), "span"), Asked("b", (1,), "span"), Asked("b", (3,), "span"), Asked("c", (3,), "span")]
    assert further_positives(Material(chunks, asked, [], [])) == [[2], [3], [1], []]


def asked_often(*groups):
    """So many queries of each (number, origin, type), all on the first passage."""
    return [
        Asked(f"{origin} {number}", (0,), origin, kind) for count, origin, kind in groups for number in range(count)
    ]


def test_kinds_are_origins_types_of_written_ones_and_names():
    asked = asked_often((40, "llm", "question"), (30, "llm", "edge"), (29, "llm", "keywords"), (50, "span", ""))
    asked[-1] = Asked("harbour RULES and more", (0,), "span")
    asked.append(Asked("no title", (1,), "span"))
    chunks = [chunk(0, "x"), chunk(1, "y", "")]
    kinds = {
        kind.name: kind.rows.tolist() for kind in kinds_of(Material(chunks, [], asked, asked_often((3, "llm", ""))))
    }
    assert kinds == {
        "llm": [*range(99)], "span": [*range(99, 150)], "llm: question": [*range(40)], "llm: edge": [*range(40, 70)],
        "with title": [148], "without title": [*range(148)], MADE: [150, 151, 152],
    }  # fmt: skip


def test_origins_with_few_queries_are_looked_at_together():
    asked = asked_often((FEWEST, "span", ""), (3, "heading", ""), (FEWEST - 1, "acronym", ""), (2, "llm", "question"))
    kinds = {kind.name: len(kind.rows) for kind in kinds_of(Material([chunk(0, "x", "")], [], asked, []))}
    assert kinds == {"span": FEWEST, "acronym, heading, llm (few of each)": FEWEST + 4}


def test_written_questions_are_those_of_language_models_and_people():
    asked = asked_often((2, "span", ""), (1, "llm", "edge"), (1, "lexical", ""), (2, "imported", ""))
    assert Material([chunk(0, "x")], [], asked, []).written.tolist() == [2, 4, 5]


def test_a_drawn_part_keeps_the_proportions_of_the_kinds():
    asked = asked_often((500, "span", ""), (300, "llm", "edge"), (100, "llm", "keywords"), (100, "acronym", ""))
    made = [Asked(f"Harbour rules: {item.text}", item.relevant, item.origin, item.type) for item in asked[:400]]
    material = Material([chunk(0, "x")], [], asked, made)
    rows = drawn(material, 100, 0)
    some = material.only(rows)
    counts = Counter((item.origin, item.type) for item in some.development)
    assert counts == {("span", ""): 50, ("llm", "edge"): 30, ("llm", "keywords"): 10, ("acronym", ""): 10}
    texts = {item.text for item in asked[:400]} & {item.text for item in some.development}
    assert {item.text for item in some.made} == {f"Harbour rules: {text}" for text in texts}
    assert 30 < len(texts) < 50
    assert [item.text for item in some.judged] == [material.judged[row].text for row in rows]
    assert rows.tolist() == sorted(set(rows.tolist())) == drawn(material, 100, 0).tolist()
    assert rows.tolist() != drawn(material, 100, 1).tolist()
    assert drawn(material, 1000, 0).tolist() == list(range(1400))


# --- the stage ------------------------------------------------------------------------------------------------------


def write_synthetic(domain, copies=6):
    """Queries in the generate stage's format: words of each chunk; the last document is the development split's."""
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    held_out = chunks[-1].document
    rows = []
    for number, item in enumerate(chunks):
        words = item.text.split()
        for copy in range(copies):
            start = (copy * 3) % max(1, len(words) - 5)
            rows.append(
                {"id": f"span-{number}-{copy}", "text": " ".join(words[start : start + 5]), "chunk": item.id,
                 "document": item.document, "origin": "span", "type": "", "positive_text": item.full_text,
                 "split": "dev" if item.document == held_out else "train"}
            )  # fmt: skip
    domain.synthetic.mkdir(parents=True, exist_ok=True)
    write_jsonl(domain.synthetic / "queries.jsonl", rows)
    held = [row for row in rows if row["split"] == "dev"]
    write_jsonl(
        domain.synthetic / "dev_queries.jsonl",
        ({name: row[name] for name in ("id", "text", "origin", "type")} for row in held),
    )
    lines = [f"{row['id']}\t{row['chunk']}\t1\n" for row in held]
    write_text(domain.synthetic / "dev_qrels.tsv", "query-id\tcorpus-id\tscore\n" + "".join(lines))
    return Outcome(domain.synthetic, False, {"outputs": {"rows": str(len(rows))}})


@pytest.fixture
def ready(project):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    pipeline.chunks()
    return project, pipeline.domain, write_synthetic(pipeline.domain)


def always(share):
    """A choice that keeps this share, whatever the development split says."""
    return lambda base, mixtures, kinds, counted, seed, written: Choice(
        share, "told to", counted, False, {0.0: 0.1, **dict.fromkeys(mixtures, 0.2)}, {}
    )


@pytest.mark.parametrize("sides", ["query", "both"])
def test_an_adapter_emits_a_spec_and_a_model_that_agree(ready, monkeypatch, sides):
    from sentence_transformers import SentenceTransformer

    project, domain, synthetic = ready
    monkeypatch.setattr("benchmark.training.adapter.choose", always(1.0))
    (project.root / "weights" / "tiny" / "LICENSE").write_text("Do as you please.\n")
    run = RUN.model_copy(update={"sides": sides})
    outcome = train(project, domain, run, 0, synthetic, SILENT)
    spec = project.model_spec("linear")
    assert (spec.source, spec.base, spec.adapter) == ("adapter", "tiny", "results/village/models/linear")
    assert spec.provenance["base"] == "tiny"
    assert spec.dimensions == 32
    facts = outcome.facts
    assert facts["pairs"] == sum(row.count('"train"') for row in (domain.synthetic / "queries.jsonl").open())
    assert facts["sides"] == sides
    assert 1 <= facts["best_epoch"] <= facts["epochs"] <= 12
    assert facts["distance_from_identity"] > 0.01

    texts = ["queen of the hive", "a berth"]
    adapted = open_encoder(project, "linear")
    plain = SentenceTransformer(str(outcome.folder), device="cpu")
    np.testing.assert_allclose(adapted.encode(texts, "document"), plain.encode_document(texts), atol=1e-5)
    np.testing.assert_allclose(adapted.encode(texts, "query"), plain.encode_query(texts), atol=1e-5)
    base = open_encoder(project, "tiny").encode(texts, "document")
    assert np.array_equal(adapted.encode(texts, "document"), base) == (sides == "query")
    assert (outcome.folder / "LICENSE").read_text() == "Do as you please.\n"
    assert train(project, domain, run, 0, synthetic, SILENT).skipped


def test_the_corpus_is_encoded_once_for_base_and_adapters(ready, monkeypatch):
    project, domain, synthetic = ready
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    asked = []
    original = DenseEncoder.encode

    def spy(self, texts, role, *more):
        asked.append((role, len(texts)))
        return original(self, texts, role, *more)

    monkeypatch.setattr(DenseEncoder, "encode", spy)
    for name, sides in (("linear", "query"), ("linear2", "both")):
        train(project, domain, RUN.model_copy(update={"name": name, "sides": sides}), 0, synthetic, SILENT)
        open_retriever(project, domain, name, chunks).run({"q": "queen"}, 3)
    assert [count for role, count in asked if role == "document" and count > 1] == [len(chunks)]
    assert len([count for role, count in asked if role == "query" and count > 1]) == 2  # training and development


def test_the_card_says_what_was_done(ready, monkeypatch):
    project, domain, synthetic = ready
    (project.specs_folder / "tiny.yaml").write_text("path: weights/tiny\nmax_length: 96\nlicence: Apache-2.0\n")
    outcome = train(project, domain, RUN, 0, synthetic, SILENT)
    card = (outcome.folder / "README.md").read_text()
    facts = outcome.facts
    for part in ("license: apache-2.0", "# linear", "`tiny`", "Village", "CC0-1.0", "encode_query", "InfoNCE, scale 20",
                 f"{facts['pairs']} synthetic queries", f"{facts['development']['before']['ndcg@10']:.4f}",
                 f"{facts['development']['after']['ndcg@10']:.4f}", facts["choice"]["why"][:20]):  # fmt: skip
        assert part in card
    assert project.model_spec("linear").licence == "Apache-2.0"


def test_the_base_stays_where_the_choice_says_so(ready, monkeypatch):
    project, domain, synthetic = ready
    monkeypatch.setattr("benchmark.training.adapter.choose", always(0.0))
    heard = Notes()
    outcome = train(project, domain, RUN, 0, synthetic, heard)
    assert outcome.facts["choice"]["chosen"] == "base"
    assert outcome.facts["development"]["after"] == outcome.facts["development"]["before"]
    assert any("base: told to" in line for line in heard.lines)
    chunks = read_chunks(domain.chunks / "chunks.jsonl")
    queries = {"q1": "queen of the hive", "q2": "a berth"}
    found = [open_retriever(project, domain, name, chunks).run(queries, 5) for name in ("tiny", "linear")]
    assert [[hit.chunk for hit in hits] for hits in found[0].values()] == [
        [hit.chunk for hit in hits] for hits in found[1].values()
    ]


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in files_below(folder)
        if path.name != "manifest.json"
    }


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_bytes(ready, start):
    project, domain, synthetic = ready
    run = RUN.model_copy(update={"sides": "both"})
    code = f"""
    import time
    from pathlib import Path
    import benchmark.training.adapter as module
    from benchmark.console import SILENT
    from benchmark.project import Project
    from benchmark.provenance import Outcome
    from benchmark.specs import AdapterRun
    from benchmark.training.finetune import finetune
    write = module.write_model
    def slow(target, *more):
        write(target, *more)
        (Path({str(project.root)!r}) / "written").touch()
        time.sleep(60)
    module.write_model = slow
    project = Project(Path({str(project.root)!r}))
    domain = project.domain("village")
    run = AdapterRun.model_validate_json({run.model_dump_json(exclude_unset=True)!r})
    finetune(project, domain, run, 0, Outcome(domain.synthetic, False, {synthetic.manifest!r}), SILENT)
    """
    mark = project.root / "written"
    process = start(code)
    while not mark.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert mark.exists(), process.stderr
    assert not domain.model("linear").exists()
    assert "linear" not in project.spec_names

    first = tree(train(project, domain, run, 0, synthetic, SILENT).folder)
    emitted = (project.specs_folder / "linear.yaml").read_bytes()
    assert any(name.endswith("safetensors") for name in first)
    shutil.rmtree(domain.model("linear"))
    shutil.rmtree(domain.results.parent / ".vectors")
    assert tree(train(project, domain, run, 0, synthetic, SILENT).folder) == first
    assert (project.specs_folder / "linear.yaml").read_bytes() == emitted


def test_passages_of_the_development_split_are_no_candidates(ready):
    project, domain, synthetic = ready
    material = read_material(domain, None, 0)
    held_out = {row for asked in material.development for row in asked.relevant}
    assert held_out
    facts = train(project, domain, RUN, 0, synthetic, SILENT).facts
    assert facts["candidates"] == len(material.chunks) - len(held_out)
    assert not held_out & {row for asked in material.training for row in asked.relevant}


def test_queries_that_name_the_document_are_made_where_the_split_has_too_few(ready):
    _, domain, _ = ready
    material = read_material(domain, None, 0)
    assert len(material.made) == len(material.development)
    title = material.chunks[material.made[0].relevant[0]].title
    assert material.made[0].text == f"{title}: {material.development[0].text}"


def test_at_most_so_many_pairs_are_drawn_by_the_seed(ready):
    _, domain, _ = ready
    assert len(read_material(domain, 10, 0).training) == 10
    assert read_material(domain, 10, 0).training == read_material(domain, 10, 0).training
    assert read_material(domain, 10, 0).training != read_material(domain, 10, 1).training


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda folder: (folder / "queries.jsonl").unlink(),
            "queries.jsonl: no such file; make it with: domainbench g",
        ),
        (lambda folder: (folder / "queries.jsonl").write_text(""), "queries.jsonl: holds no training queries"),
        (lambda folder: (folder / "dev_queries.jsonl").write_text(""), "raise 'development_share' under 'generate'"),
    ],
)
def test_missing_data_say_what_to_do(ready, edit, said):
    project, domain, synthetic = ready
    edit(domain.synthetic)
    with pytest.raises(BenchError) as error:
        train(project, domain, RUN, 0, synthetic, SILENT)
    assert said in str(error.value)
    assert not domain.model("linear").exists()


def test_too_little_memory_says_what_to_lower(ready, monkeypatch):
    import torch

    project, domain, synthetic = ready

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("benchmark.training.adapter.fit", fail)
    with pytest.raises(BenchError, match=r"lower batch_size \(now 16\)"):
        train(project, domain, RUN, 0, synthetic, SILENT)


def test_a_base_that_gives_nothing_but_vectors_will_do(ready, monkeypatch):
    """Say, one behind an API: no weights, no tokenizer."""
    project, domain, synthetic = ready

    class Words:
        name, fingerprint = "words", "f" * 64

        def encode(self, texts, role, reporter=SILENT, label=""):
            rng = np.random.default_rng(0)
            table = {word: rng.normal(size=16) for word in sorted({w for text in texts for w in text.split()})}
            return unit([np.sum([table[word] for word in text.split()], axis=0) for text in texts])

    monkeypatch.setattr("benchmark.training.adapter.open_encoder", lambda *_: Words())
    folder = train(project, domain, RUN, 0, synthetic, SILENT).folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "linear_adapter.safetensors",
        "manifest.json",
        "trained_chunks.json",
    ]
    assert "The base's weights are not in this folder" in (folder / "README.md").read_text()
    assert LinearMaps.load(folder / "linear_adapter.safetensors", "test").dimensions == 16


def test_from_documents_to_a_leaderboard(project):
    """The generate stage's real files, and the adapter beside its base on the test set."""
    spec = parse_spec(
        BenchmarkSpec,
        {
            "domains": ["village"],
            "generate": {
                "retriever": "tiny", "questions_per_chunk": 0, "pseudo": {"per_chunk": 6},
                "filters": {"off": ["round_trip"], "near_duplicate": 1.0, "leak_similarity": 1.0},
                "negatives": {"margin": 1.0},
            },
            "finetune": [{"name": "linear", "kind": "adapter", "base": "tiny", "epochs": 3}],
            "baseline": "tiny", "models": ["linear"], "bootstrap": 1000, "permutations": 1000,
        },
        "test",
    )  # fmt: skip
    board = Pipeline(project, project.domain("village"), spec, SILENT).run()
    system = next(system for system in board.systems if system.name == "linear")
    assert system.tuned_from == "tiny"
    assert system.kind == "linear adapter on tiny"
