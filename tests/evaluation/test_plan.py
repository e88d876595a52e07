"""The plan of an evaluation: right before, right after, without a model; one bar; failures that lose nothing."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from benchmark.cli.main import run_app
from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError, ModelFailuresError
from benchmark.evaluation.bar import WorkBar
from benchmark.evaluation.evaluate import Evaluator, evaluate_all
from benchmark.evaluation.execute import carry_out
from benchmark.evaluation.plan import make_plan
from benchmark.evaluation.plan_lines import plan_lines, sum_line
from benchmark.evaluation.rates import Rates, per_second
from benchmark.pipeline import Pipeline, release

CHUNKS, QUESTIONS, OTHERS = 11, 8, 1
"""Of the village: its passages, its questions, and those without an answer."""


@pytest.fixture
def made(project):
    """Specs over the village: one with weights, what works on its vectors, a pipeline, and words alone."""
    specs = {
        "twin": "path: weights/tiny\nmax_length: 96\n",
        "cut": "base: tiny\ntruncate_dim: 16\n",
        "mixed": "hybrid: [bm25, tiny]\n",
        "other": "path: weights/tiny\nmax_length: 48\n",
    }
    for name, text in specs.items():
        (project.specs_folder / f"{name}.yaml").write_text(text)
    return project


def evaluator_of(project, **more):
    pipeline = Pipeline(project, project.domain("village"), None, SILENT)
    inputs = {"chunks": pipeline.chunks(), "testset": pipeline.testset()}
    return Evaluator(project, pipeline.domain, inputs, 100, SILENT, **{"reranked": True, **more})


def plan_of(project, *names, **more):
    return make_plan([[evaluator_of(project)]], names, **more)


def works(plan):
    """What is to be computed, by spec and task."""
    return {
        (unit.spec, unit.kind): {(work.model.spec, work.source): work.count for work in unit.works}
        for unit in plan.units
        if unit.to_do
    }


def test_a_new_project_has_everything_to_do_and_shared_vectors_once(made):
    plan = plan_of(made, "tiny", "twin", "cut", "mixed", "bm25", "other")
    found = works(plan)
    assert found["tiny", "candidates"] == {("tiny", "corpus"): CHUNKS, ("tiny", "queries"): QUESTIONS}
    assert found["tiny", "retrieval"] == {("tiny", "unanswerable"): OTHERS}
    own = {("other", "corpus"): CHUNKS, ("other", "queries"): QUESTIONS, ("other", "unanswerable"): OTHERS}
    assert found["other", "retrieval"] == own
    rest = {unit: found[unit] for unit in found if unit[0] in ("twin", "cut", "mixed", "bm25")}
    assert len(rest) == 8 and not any(rest.values()), "their vectors come before, or they have none"
    assert not (made.results / ".vectors").exists()
    assert sum_line(plan) == "in all: 0 of 13 kept, 40 texts to encode; time not known"


def test_what_was_done_is_kept_and_a_change_costs_only_what_it_touches(made):
    evaluate_all(evaluator_of(made), ["tiny", "cut"], SILENT)
    plan = plan_of(made, "tiny", "cut", "mixed")
    assert [unit.kept is not None for unit in plan.units] == [True] * 4 + [False] * 2
    assert not any(works(plan).values())
    assert all(unit.kept.folder == unit.domain.run(unit.kind, unit.spec) for unit in plan.units if unit.kept)
    document = made.root / "tasks" / "village" / "documents" / "bees.md"
    document.write_text(document.read_text().replace("a second box in spring", "a second box in May"))
    assert works(plan_of(made, "tiny", "cut")) == {
        ("tiny", "candidates"): {("tiny", "corpus"): 1},
        **{(name, kind): {} for name in ("tiny", "cut") for kind in ("retrieval", "reranking")},
    }


def test_pairs_are_counted_at_most_and_exactly_where_the_first_stage_is_kept(made, cross_encoder):
    (made.specs_folder / "two.yaml").write_text("retriever: tiny\nreranker: ce\ndepth: 4\n")
    (made.specs_folder / "deep.yaml").write_text("retriever: tiny\nreranker: ce\ndepth: 6\n")
    (made.specs_folder / "kept-order.yaml").write_text("retriever: tiny\nreranker: ce\nweights: [1, 0]\n")
    before = works(plan_of(made, "two", "kept-order"))
    assert before["two", "retrieval"]["ce", "pairs"] == (QUESTIONS + OTHERS) * 4
    assert ("ce", "pairs") not in before["kept-order", "retrieval"], "nothing depends on the scores"
    evaluate_all(evaluator_of(made), ["tiny", "two"], SILENT)
    found = works(plan_of(made, "two", "deep"))
    assert set(found) == {("deep", "retrieval"), ("deep", "reranking")}
    # The two best of ranks five and six are new for each question, but for those that were candidates.
    new = found["deep", "retrieval"].get(("ce", "pairs"), 0)
    assert 0 < new < (QUESTIONS + OTHERS) * 6 - (QUESTIONS + OTHERS) * 4 + 1
    assert found["deep", "reranking"] == {}, "the candidates' pairs were scored for the other pipeline"


def test_models_of_several_entries_a_text(made, splade, colbert):
    expected = {"corpus": CHUNKS, "queries": QUESTIONS, "unanswerable": OTHERS}
    found = works(plan_of(made, "splade", "colbert"))
    for name in ("splade", "colbert"):
        assert found[name, "retrieval"] == {(name, source): count for source, count in expected.items()}
        assert found[name, "reranking"] == {}, "retrieval comes before it"
    evaluate_all(evaluator_of(made), ["splade"], SILENT)
    (made.specs_folder / "mix.yaml").write_text("hybrid: [bm25, splade]\n")
    assert works(plan_of(made, "mix"))["mix", "retrieval"] == {}
    (made.root / "tasks" / "village" / "documents" / "note.md").write_text(
        "# A note\n\nThe harbour office has moved.\n"
    )
    assert works(plan_of(made, "splade", "mix"))["splade", "retrieval"] == {("splade", "corpus"): 1}


def test_a_reranker_that_is_none_cannot_be_done_and_the_plan_says_so(made):
    (made.specs_folder / "two.yaml").write_text("retriever: bm25\nreranker: tiny\n")
    (made.specs_folder / "headless.yaml").write_text("path: weights/tiny\nkind: cross-encoder\n")
    (made.specs_folder / "other.yaml").write_text("retriever: bm25\nreranker: headless\n")
    plan = plan_of(made, "two", "other")
    said = [str(unit.mistake) for unit in plan.units if unit.kind == "retrieval"]
    assert "tiny.yaml: tiny is no cross-encoder" in said[0] and "a head that was never trained" in said[1]
    assert not [unit for unit in plan.to_do if unit.spec in ("two", "other")]


def test_an_api_is_asked_nothing_for_a_plan(made, serve):
    server = serve(lambda body: (500, {}, {}))
    (made.specs_folder / "remote.yaml").write_text(f"api: {{base_url: '{server.url}', model: m}}\n")
    for number in range(70):
        path = made.root / "tasks" / "village" / "documents" / f"note{number}.md"
        path.write_text(f"# Note {number}\n\nThe harbour office has lent out boat {number}.\n")
    reporter = Notes()
    plan = plan_of(made, "remote", rates=Rates(made, measure=True, reporter=reporter))
    assert works(plan)["remote", "retrieval"]["remote", "corpus"] == CHUNKS + 70
    assert "ask the API for at most 81 chunks and 9 questions" in plan_lines(plan)[2]
    assert "and what remote will take" in plan_lines(plan)[-1]
    assert not server.bodies and reporter.lines == ["tiny: measuring how fast it is here"]


def test_a_general_set_is_ranked_once_and_not_reranked(made):
    first, second = evaluator_of(made), evaluator_of(made, reranked=False)
    plan = make_plan([[second], [first]], ["bm25"])
    assert [unit.kind for unit in plan.units] == ["retrieval"]


# --- times ---


def test_seconds_come_from_what_was_measured_before(made):
    plan = plan_of(made, "tiny")
    assert [work.seconds for work in plan.works] == [None] * 3 and plan.seconds == 0
    carry_out(plan, SILENT).all()
    document = made.root / "tasks" / "village" / "documents" / "new.md"
    document.write_text("# Boats\n\nA boat of more than nine metres pays for two berths in summer and in winter.\n")
    again = plan_of(made, "tiny")
    (work,) = again.works
    header = next((made.results / ".vectors").glob("*/header.json"))
    assert work.count == 1
    assert work.seconds == pytest.approx(1 / json.loads(header.read_text())["rates"]["document"])
    assert "under 1 s" in sum_line(again)


def test_an_unknown_model_is_measured_where_it_has_more_to_do_than_a_sample(made):
    reporter = Notes()
    plan = plan_of(made, "tiny", rates=Rates(made, measure=True, reporter=reporter))
    assert not reporter.lines and {work.seconds for work in plan.works} == {None}
    folder = made.root / "tasks" / "village" / "documents"
    for number in range(70):
        (folder / f"note{number}.md").write_text(f"# Note {number}\n\nThe harbour office has lent out boat {number}.\n")
    plan = plan_of(made, "tiny", "other", rates=Rates(made, measure=True, reporter=reporter))
    assert reporter.lines == [f"{name}: measuring how fast it is here" for name in ("tiny", "other")]
    assert all(work.seconds > 0 for work in plan.works)
    assert not (made.results / ".vectors").exists()
    (made.specs_folder / "other.yaml").write_text("path: weights/tiny\nkind: sparse\n")
    plan = plan_of(made, "other", rates=Rates(made, measure=True))
    unknown = {work.model.spec for work in plan.works if work.seconds is None}
    assert unknown == {"other"}, "one that cannot be opened tells so when its turn comes"
    assert sum_line(plan).endswith("and what other will take")


def test_questions_of_an_unknown_speed_take_less_as_they_are_shorter(made):
    carry_out(plan_of(made, "tiny"), SILENT)
    folder = next((made.results / ".vectors").glob("*/header.json"))
    header = json.loads(folder.read_text())
    folder.write_text(json.dumps({**header, "rates": {"document": 10.0}}))
    for path in folder.parent.glob("*.rows"):
        path.unlink()
    evaluator = evaluator_of(made)
    chunks, questions = (sum(map(len, evaluator.texts(which))) for which in ("corpus", "queries"))
    (made.specs_folder / "cut.yaml").write_text("base: tiny\ntruncate_dim: 8\n")
    documents, queries, _ = plan_of(made, "cut").works
    assert documents.seconds == pytest.approx(CHUNKS / 10)
    assert queries.seconds == pytest.approx(CHUNKS / 10 * questions / chunks)
    folder.write_text(json.dumps({**header, "rates": {"document": 10.0, "query": 4.0}}))
    assert plan_of(made, "cut").works[1].seconds == pytest.approx(QUESTIONS / 4)


def test_the_first_group_only_warms_up():
    done = []
    assert per_second(list(range(64)), lambda part: done.append(len(part))) > 0
    assert done == [4, 8, 16, 32, 4]
    assert per_second([], lambda part: None) is None


# --- one bar ---


class Bars(Notes):
    """A reporter that keeps what bars show."""

    def __init__(self):
        super().__init__()
        self.bars, self.places = [], []

    @contextmanager
    def progress(self, *, total, label):
        self.bars.append((label, total))
        yield lambda done, word: self.places.append((done, word))


def test_one_bar_over_everything_that_only_goes_forward(made, cross_encoder):
    (made.specs_folder / "two.yaml").write_text("retriever: tiny\nreranker: ce\ndepth: 4\n")
    reporter = Bars()
    evaluate_all(evaluator_of(made), ["tiny", "two", "bm25"], reporter)
    assert len(reporter.bars) == 1
    places = [done for done, _ in reporter.places]
    assert places == sorted(places) and places[0] >= 0 and places[-1] == reporter.bars[0][1]
    said = {word for _, word in reporter.places}
    assert {"tiny: encoding", "ce: scoring", "village: retrieval with bm25"} <= said
    again = Bars()
    evaluate_all(evaluator_of(made), ["tiny", "two", "bm25"], again)
    assert not again.bars and again.lines == ["nothing to do: everything is kept"]


def test_parts_of_the_bar_weigh_what_they_take(made):
    plan = plan_of(made, "tiny", "other")
    bar, reporter = None, Bars()
    bar = WorkBar(reporter, plan)
    with bar.shown():
        first = plan.to_do[0]
        bar.begin(first)
        with bar.progress(total=4, label="tiny: encoding 11 chunks") as update:
            update(2, "")
        half = reporter.places[-1][0]
        bar.advance(first.works[0], 0.25)
        assert reporter.places[-1][0] == half, "it never goes back"
        bar.end(first)
    # 5.5 of 40 texts, and a twentieth of the mean unit for the rest of each of five units.
    assert half == int(100 * 5.5 / (40 + 40 / 20))


# --- the command ---


@pytest.fixture
def bench(made):
    (made.root / "benchmark.yaml").write_text("domains: [village]\nbaseline: tiny\nmodels: [bm25]\nfinetune: []\n")
    return made


def command(project, *words) -> int:
    try:
        return run_app(["--project", str(project.root), *words])
    finally:
        release()


def break_weights(project, name) -> None:
    """A model that loads, and gives NaN."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = project.root / "weights" / name
    shutil.copytree(project.root / "weights" / "tiny", folder)
    path = next(folder.rglob("model.safetensors"))
    weights = load_file(path)
    key = next(key for key in weights if "word_embeddings" in key)
    weights[key] = weights[key] * float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    (project.specs_folder / f"{name}.yaml").write_text(f"path: weights/{name}\n")


def test_a_dry_run_shows_the_plan_and_does_nothing(bench, capsys):
    assert command(bench, "evaluate", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["domain", "model", "task", "to", "do", "time"]
    first = "village tiny candidates encode 11 chunks and 8 questions time not known"
    assert lines[1].split() == first.split()
    assert lines[-1] == "in all: 0 of 5 kept, 20 texts to encode; time not known"
    assert not (bench.results / ".vectors").exists() and not (bench.results / "village" / "runs").exists()
    assert command(bench, "evaluate") == 0
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"Village{task} {name}" for name in ("tiny", "bm25") for task in ("Retrieval", "Reranking")
    ]
    assert err.index("in all: 0 of 5 kept") < err.index("retrieval with tiny: not there yet")
    assert command(bench, "evaluate", "--dry-run") == 0
    assert capsys.readouterr().out.endswith("nothing to do: everything is kept\n")


def test_a_dry_run_fetches_no_weights(bench, capsys, monkeypatch):
    from benchmark import weights

    monkeypatch.setattr(weights, "snapshot", lambda *_, **__: pytest.fail("the Hub was asked"))
    (bench.specs_folder / "far.yaml").write_text("hub: nobody/nothing-at-all\n")
    (bench.specs_folder / "far-cut.yaml").write_text("base: far\ntruncate_dim: 8\n")
    (bench.root / "benchmark.yaml").write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [far-cut, bm25]\nfinetune: []\n"
    )
    assert command(bench, "evaluate", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("fetch the weights" in line for line in lines) == 2
    assert lines[-1].startswith(
        "in all: 0 of 7 kept, 2 not known before their weights are fetched, 20 texts to encode;"
    )
    assert command(bench, "evaluate", "far", "--dry-run") == 0
    path = bench.root / "tasks" / "village" / "domain.yaml"
    path.write_text(path.read_text().replace("base: tiny", "base: far"))
    assert command(bench, "evaluate", "far", "--dry-run") == 0
    said = capsys.readouterr().out
    assert said.endswith("nothing known to do before weights are fetched for 3 of 3\n")


def test_an_unchanged_evaluation_loads_nothing_heavy(bench):
    assert command(bench, "evaluate") == 0
    code = (
        "import sys; from benchmark.cli.main import run_app;"
        f"code = run_app(['--project', {str(bench.root)!r}, 'evaluate']);"
        "print('LOADED', code, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, *loaded = done.stdout.split("LOADED", 1)[1].split()
    assert code == "0" and "VillageReranking bm25" in done.stdout
    assert not set(loaded) & {"torch", "mteb", "sentence_transformers", "transformers", "datasets", "ranx", "ray"}


def test_a_model_that_fails_loses_no_other_and_the_code_is_1(bench, capsys):
    break_weights(bench, "broken")
    (bench.specs_folder / "gone.yaml").write_text("path: weights/gone\n")
    (bench.root / "benchmark.yaml").write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [broken, gone, bm25]\nfinetune: []\n"
    )
    assert command(bench, "evaluate") == 1
    out, err = capsys.readouterr()
    assert "VillageReranking bm25" in out and "broken" not in out
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2, "each is told once, though it was to be done on two tasks"
    assert "weights/gone: no such folder" in errors[0] and "broken.yaml: gives values that are no numbers" in errors[1]
    assert not bench.domain("village").run("retrieval", "broken").exists()


def test_mistakes_alone_are_the_users_and_the_code_is_2(bench, capsys):
    (bench.specs_folder / "gone.yaml").write_text("path: weights/gone\n")
    assert command(bench, "evaluate", "gone", "--dry-run") == 2
    out, err = capsys.readouterr()
    assert "cannot be done" in out and err.count("error: ") == 1
    assert command(bench, "evaluate", "gone") == 2
    assert command(bench, "evaluate", "gonne") == 2
    assert "did you mean 'gone'?" in capsys.readouterr().err
    assert command(bench, "evaluate", "--threads", "2") == 2
    assert "--address and --threads go with --executor ray" in capsys.readouterr().err
    assert command(bench, "evaluate", "--executor", "slurm") == 2


def test_broken_candidates_stop_reranking_only(bench, capsys):
    break_weights(bench, "broken")
    path = bench.root / "tasks" / "village" / "domain.yaml"
    path.write_text(path.read_text().replace("base: tiny", "base: broken"))
    evaluation = carry_out(plan_of(type(bench)(bench.root), "bm25", "tiny"), SILENT)
    assert [outcome.folder.parent.name for outcome in evaluation.outcomes] == ["retrieval", "retrieval"]
    with pytest.raises(ModelFailuresError) as error:
        evaluation.all()
    assert len(error.value.problems) == 1 and "broken.yaml" in error.value.problems[0]


def test_a_cross_encoder_alone_is_told_before_anything_starts(bench, cross_encoder):
    plan = plan_of(bench, "ce", "bm25")
    assert [unit.mistake is None for unit in plan.units] == [True, False, False, True, True]
    with pytest.raises(BenchError, match=r"ce\.yaml: a cross-encoder ranks nothing by itself"):
        plan.check()
    assert any("cannot be done" in line for line in plan_lines(plan))
