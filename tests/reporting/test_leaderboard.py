"""The leaderboard from kept runs: figures, refusals, bytes, and the check of what was committed."""

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from benchmark import stats
from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.files import write_text
from benchmark.reporting.board import TASKS, Leaderboard, Question, Settings
from benchmark.reporting.by_ranx import load_ranx
from benchmark.reporting.compact import dump_compact
from benchmark.reporting.compare import with_statistics
from benchmark.reporting.leaderboard import check_leaderboard, make_leaderboard, read_leaderboard
from benchmark.reporting.metrics import Metric, metrics_for
from benchmark.reporting.pages import leaderboard_markdown
from benchmark.reporting.render import headline_table, sentence
from benchmark.reporting.systems import System, kind_of
from benchmark.reporting.terminal import leaderboard_table
from benchmark.specs import ModelSpec

NDCG = Metric("ndcg", 10)


def make(lab):
    return make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)


def files(lab) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(lab.domain.results.glob("leaderboard.*"))}


# --- figures --------------------------------------------------------------------------------------------------------


def test_figures_follow_from_the_runs(lab, kit):
    board = make(lab)
    assert [system.name for system in board.systems] == list(lab.benchmark.compared)
    assert len(board.means) == 2 * 9 * 4 * 5
    assert len(board.comparisons) == 2 * 9 * 4 * 4
    for task in TASKS:
        skill = json.loads((lab.domain.run(task, kit.TUNED) / "manifest.json").read_text())["facts"]["scores"]
        for metric in board.metrics:
            assert board.mean(task, kit.TUNED, metric).mean == pytest.approx(skill[metric.mteb_key(100)], abs=1e-5)
    row = board.comparison("retrieval", kit.TUNED)
    tuned, base = (board.scores["retrieval"][name][NDCG] for name in (kit.TUNED, kit.BASE))
    gaps = stats.differences(tuned, base)
    assert (row.n, row.wins + row.losses + row.ties) == (160, 160)
    assert row.difference == pytest.approx(np.mean(tuned) - np.mean(base))
    assert (row.low, row.high) == pytest.approx(stats.bootstrap_interval(gaps, resamples=1000))
    assert row.p == pytest.approx(stats.sign_flip_test(tuned, base, permutations=2000))
    assert row.detectable == pytest.approx(stats.minimum_detectable(gaps))
    assert row.low < row.difference < row.high
    assert row.verdict == "better"


def test_categories_are_means_over_their_own_queries(made, kit):
    board = read_leaderboard(made.domain)
    assert board.categories == {"core": 70, "jargon": 65, "edge": 25}
    scores = board.scores["retrieval"][kit.DOTTED][NDCG]
    edge = board.mean("retrieval", kit.DOTTED, NDCG, "edge")
    assert edge.n == 25
    assert edge.mean == pytest.approx(np.mean(scores[-25:]))
    weighted = (
        sum(board.mean("retrieval", kit.DOTTED, NDCG, name).mean * n for name, n in board.categories.items()) / 160
    )
    assert weighted == pytest.approx(board.mean("retrieval", kit.DOTTED).mean)


def test_holm_is_applied_family_by_family(made):
    board = read_leaderboard(made.domain)
    for task in TASKS:
        for metric in board.metrics:
            rows = [row for row in board.comparisons if row.task == task and row.metric == metric]
            for family in ([r for r in rows if r.category is None], [r for r in rows if r.category is not None]):
                assert len(family) in (4, 12)
                assert [row.corrected_p for row in family] == pytest.approx(stats.holm([row.p for row in family]))
    assert all((row.corrected_p < 0.05) == (row.verdict != "not shown") for row in board.comparisons)
    assert {row.verdict for row in board.comparisons} == {"better", "worse", "not shown"}
    assert any(row.p < 0.05 <= row.corrected_p for row in board.comparisons), "the correction must matter here"


def test_another_system_changes_no_other_figure(lab, kit):
    names = [name for name in kit.SYSTEMS if name not in (kit.BASE, kit.FUSED)]
    fewer = make(lab.with_benchmark(models=names))
    more = make(lab)
    for old in fewer.comparisons:
        new = more.comparison(old.task, old.system, old.metric, old.category)
        unchanged = ("n", "difference", "low", "high", "p", "wins", "losses", "ties")
        assert [getattr(old, key) for key in unchanged] == pytest.approx([getattr(new, key) for key in unchanged])
        assert old.corrected_p <= new.corrected_p + 1e-12


def synthetic(scores: dict[str, list[float]], categories: list[str] | None = None) -> Leaderboard:
    """A leaderboard with the same scores for every metric and task."""
    metrics = metrics_for("ndcg@10", 100)
    n = len(next(iter(scores.values())))
    settings = Settings("base", "ndcg@10", 100, 1000, 1000, 0.05, 0)
    return with_statistics(
        Leaderboard(
            domain="d", title="D", task_names={"retrieval": "DRetrieval", "reranking": "DReranking"}, testset="t",
            settings=settings, metrics=metrics,
            systems=tuple(System(name, "kind", "", "", None, None, None, "") for name in scores),
            queries=tuple(Question(f"q{i}", (categories or ["core"] * n)[i]) for i in range(n)),
            scores={task: {name: dict.fromkeys(metrics, row) for name, row in scores.items()} for task in TASKS},
        )
    )  # fmt: skip


def test_equal_perfect_and_empty_systems():
    rng = np.random.default_rng(0)
    base = rng.random(60).tolist()
    board = synthetic({"base": base, "same": base, "perfect": [1.0] * 60, "empty": [0.0] * 60})
    same, perfect, empty = (board.comparison("retrieval", name) for name in ("same", "perfect", "empty"))
    assert (same.difference, same.low, same.high, same.p, same.ties, same.detectable) == (0, 0, 0, 1, 60, None)
    assert [row.verdict for row in (same, perfect, empty)] == ["not shown", "better", "worse"]
    assert board.mean("retrieval", "perfect").low == 1
    assert "cannot tell the two apart" in sentence(board, "same")
    assert "-0.000" not in leaderboard_markdown(board)


def test_one_query_is_blank_where_there_is_not_enough_data():
    board = synthetic({"base": [0.0], "rival": [1.0]})
    row = board.comparison("retrieval", "rival")
    assert (row.difference, row.low, row.high, row.p, row.verdict) == (1, None, None, 1, "not shown")
    assert "| `rival` | kind | 1.000 | +1.000 |  | 1.0000 | not shown | 1 / 0 / 0 | 1 |" in headline_table(
        board, "retrieval"
    )


def test_the_ceiling_of_reranking_is_told(made, kit):
    text = (made.domain.results / "leaderboard.md").read_text()
    best = max(read_leaderboard(made.domain).mean("reranking", n, Metric("recall", 100)).mean for n in kit.SYSTEMS)
    assert 0.5 < best < 1
    assert f"The candidates hold {100 * best:.1f} % of the relevant passages" in text
    assert "the same as in retrieval" not in text
    assert "for `base`, `rival` on every question the same as in retrieval" in leaderboard_markdown(
        synthetic({"base": [0.0, 1.0], "rival": [1.0, 1.0]})
    )


def test_only_the_baseline():
    board = synthetic({"base": [0.5, 1.0]})
    assert board.comparisons == ()
    assert "`base` (baseline) | kind | 0.750 |" in headline_table(board, "retrieval")


def test_small_groups_carry_a_mark(made):
    text = leaderboard_markdown(read_leaderboard(made.domain))
    assert "edge (n = 25 †)" in text
    assert "core (n = 70)" in text
    assert "- †: fewer than 30 questions" in text


def test_sentences_say_the_figures_and_the_verdict(made, kit):
    board = read_leaderboard(made.domain)
    tuned, dotted = sentence(board, kit.TUNED), sentence(board, kit.DOTTED)
    row = board.comparison("retrieval", kit.TUNED)
    assert tuned.startswith(f"Tuning (`{kit.TUNED}`) raised nDCG@10 from ")
    assert f"({row.difference:+.3f}, 95 % interval {row.low:+.3f} to {row.high:+.3f}, n = 160, corrected p = " in tuned
    assert tuned.endswith(": **better**.")
    assert "**not shown**. This is no proof of equality" in dotted
    assert f"about {board.comparison('retrieval', kit.DOTTED).detectable:.3f} or more" in dotted


def test_thirty_systems(tmp_path, kit):
    lab = kit.make_lab(tmp_path / "p", {"core": 20}, n_chunks=30)
    names = [f"model-{i:02d}.v1" for i in range(30)]
    for place, name in enumerate(names):
        write_text(lab.project.specs_folder / f"{name}.yaml", "bm25: {}\n")
        for task in TASKS:
            lab.evaluate(name, task, lab.scores(0.1 * place, 1))
    board = make(lab.with_benchmark(baseline=names[0], models=names))
    assert len({board.mean("retrieval", name).mean for name in names}) > 15
    assert len([row for row in board.comparisons if row.category is None and row.metric == NDCG]) == 2 * 29
    assert "`model-29.v1`" in leaderboard_markdown(board)


def test_ranx_compares_alike(made, kit):
    """ranx's own comparison, on the kept runs: the same means, wins, losses and ties."""
    from benchmark.reporting.inputs import read_evaluated

    class Named(dict):
        """A run with a name, for which numba need not compile anything as it does for `ranx.Run`."""

    board, evaluated = read_leaderboard(made.domain), read_evaluated(made.domain, made.benchmark)
    runs = []
    for name in (kit.BASE, kit.TUNED):
        kept = evaluated.runs["retrieval"][name]
        runs.append(Named({q: {hit.chunk: 100.0 - r for r, hit in enumerate(kept[q])} for q in made.qrels}))
        runs[-1].name = name
    report = load_ranx().compare(made.qrels, runs, metrics=["ndcg@10", "mrr@10"], stat_test="student")
    row = board.comparison("retrieval", kit.TUNED)
    assert report.results[kit.TUNED]["ndcg@10"] == pytest.approx(board.mean("retrieval", kit.TUNED).mean, abs=1e-9)
    table = report.win_tie_loss[(kit.TUNED, kit.BASE)]["ndcg@10"]
    assert (table["W"], table["T"], table["L"]) == (row.wins, row.ties, row.losses)


# --- refusals -------------------------------------------------------------------------------------------------------


def refused(lab) -> str:
    with pytest.raises(BenchError) as error:
        make(lab)
    assert not list(lab.domain.results.glob("leaderboard.*"))
    return str(error.value)


def test_all_missing_runs_are_named_with_the_command(empty_lab, kit):
    empty_lab.evaluate(kit.BASE, "retrieval", empty_lab.scores(1, 1))
    said = refused(empty_lab)
    assert len(said.splitlines()) == 9
    assert f"runs/reranking/{kit.BASE}: no finished reranking run of '{kit.BASE}'" in said
    assert f"runs/retrieval/{kit.DOTTED}: no finished" in said
    assert said.count("domainbench evaluate") == 9


def test_a_run_without_its_manifest_is_unfinished(lab, kit):
    (lab.domain.run("retrieval", kit.TUNED) / "manifest.json").unlink()
    assert f"no finished retrieval run of '{kit.TUNED}'" in refused(lab)


def test_no_test_set(lab):
    shutil.rmtree(lab.domain.testset)
    assert "no test set; make it with: domainbench ingest" in refused(lab)


def test_runs_of_another_test_set_are_refused(lab, kit):
    lab.evaluate(kit.TUNED, "retrieval", lab.scores(2, 1), edit=lambda facts: {**facts, "testset": "0" * 64})
    lab.evaluate(kit.DOTTED, "reranking", lab.scores(2, 1), edit=lambda facts: {**facts, "testset": "0" * 64})
    said = refused(lab)
    assert said.count("another test set than the present one; run again: domainbench evaluate") == 2


def test_a_changed_test_set_refuses_every_run(lab):
    from benchmark.provenance import Stage, run_stage

    def build(folder):
        write_text(folder / "queries.jsonl", (lab.domain.testset / "queries.jsonl").read_text().replace("core", "edge"))
        write_text(folder / "qrels.tsv", (lab.domain.testset / "qrels.tsv").read_text())
        return {}

    run_stage(Stage("testset", 2), lab.domain.testset, inputs={}, settings={}, build=build, reporter=SILENT)
    assert refused(lab).count("another test set") == 10


def test_runs_over_other_passages_or_candidates_are_refused(lab, kit):
    skill = lab.scores(2, 1)
    lab.evaluate(kit.TUNED, "retrieval", skill, chunks="0" * 64)
    lab.evaluate(kit.DOTTED, "reranking", skill, chunks="0" * 64, candidates="0" * 64)
    lab.evaluate(kit.LEXICAL, "reranking", skill, candidates="0" * 64)
    told = refused(lab).splitlines()
    anew = "make it anew with: domainbench evaluate"
    assert [line.partition("runs/")[2] for line in told] == [
        f"retrieval/{kit.TUNED}: was made over other passages; {anew}",
        f"reranking/{kit.DOTTED}: was made over other passages; {anew}",
        f"reranking/{kit.LEXICAL}: was made over other candidates; {anew}",
    ]


def keep_more_passages(domain):
    """The same test set over one passage more, as a new document without questions leaves it."""
    from benchmark.provenance import Stage, run_stage

    old = (domain.chunks / "chunks.jsonl").read_text()
    more = json.dumps({**json.loads(old.splitlines()[0]), "id": "new.md#0"})

    def build(folder):
        write_text(folder / "chunks.jsonl", f"{old}{more}\n")
        return {}

    run_stage(Stage("ingest", 2), domain.chunks, inputs={}, settings={}, build=build, reporter=SILENT)


def test_a_corpus_that_grew_refuses_every_run_and_page(made):
    from benchmark.reporting.page.runs import read_manifests

    board = read_leaderboard(made.domain)
    keep_more_passages(made.domain)
    with pytest.raises(BenchError) as error:
        make(made)
    assert len(error.value.problems) == str(error.value).count("was made over other passages") == 10
    with pytest.raises(BenchError) as error:
        read_manifests(made.domain, board)
    assert len(error.value.problems) == str(error.value).count("was made over other passages") == 5
    shutil.rmtree(made.domain.chunks)
    with pytest.raises(BenchError, match="was made over other passages"):
        make(made)


def test_general_runs_over_other_passages_are_refused(lab, kit):
    with_set = kit.add_general(lab, "everyday", kit.SYSTEMS)
    assert make(with_set).general is not None
    for path in lab.domain.results.glob("leaderboard.*"):
        path.unlink()
    keep_more_passages(with_set.project.domain("everyday"))
    said = refused(with_set)
    assert len(said.splitlines()) == said.count("everyday/runs/retrieval/") == said.count("over other passages") == 5


def test_scores_that_mteb_reported_otherwise_are_told(lab, kit):
    def edit(facts):
        facts["scores"]["ndcg_at_10"] += 0.00003
        facts["scores"]["hit_rate_at_1"] = 0.5
        return facts

    lab.evaluate(kit.DOTTED, "retrieval", lab.scores(1, 2), edit=edit, model=None)
    said = refused(lab)
    assert len(said.splitlines()) == 2
    assert f"runs/retrieval/{kit.DOTTED}: mteb reported ndcg@10 " in said
    assert "mteb reported hit_rate@1 0.50000, the kept run gives " in said


def test_an_edited_run_is_refused(lab, kit):
    path = lab.domain.run("reranking", kit.LEXICAL) / "run.trec"
    write_text(path, path.read_text().replace(" 1 ", " 2 ", 1))
    assert f"runs/reranking/{kit.LEXICAL}/run.trec: was edited after its evaluation" in refused(lab)


def test_a_run_in_anothers_folder_is_refused(lab, kit):
    shutil.rmtree(lab.domain.run("retrieval", kit.DOTTED))
    shutil.copytree(lab.domain.run("retrieval", kit.LEXICAL), lab.domain.run("retrieval", kit.DOTTED))
    assert f"is a run of '{kit.LEXICAL}', not of '{kit.DOTTED}'" in refused(lab)


def test_a_model_tuned_anew_between_its_runs_is_refused(lab, kit):
    lab.evaluate(kit.TUNED, "reranking", lab.scores(2, 3), model="another fingerprint")
    assert "was made with another model than retrieval's" in refused(lab)


def test_a_run_of_another_depth_is_refused(lab):
    assert refused(lab.with_benchmark(top_k=50)).count("holds the first 100 passages, the benchmark asks for 50") == 10


def test_queries_that_the_test_set_lacks_are_refused(lab, kit):
    lab.evaluate(kit.TUNED, "retrieval", lab.scores(2, 1), ghost="ghost")
    assert "1 queries not in the test set (the first: ghost)" in refused(lab)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"path": "/home/anna/models/mine"}, "bi-encoder mine"),
        ({"path": "/home/anna/models/mine/"}, "bi-encoder mine"),
        ({"path": "C:\\Users\\anna\\mine"}, "bi-encoder mine"),
        ({"path": "weights/mine"}, "bi-encoder weights/mine"),
        ({"api": {"base_url": "http://anna.intern.example:8080/v1", "model": "org/name"}}, "bi-encoder org/name"),
    ],
)
def test_a_kind_tells_nothing_of_the_machine(spec, told):
    assert kind_of(ModelSpec(**spec), None) == told


def test_unknown_main_metric(lab):
    assert "did you mean 'ndcg@10'" in refused(lab.with_benchmark(main_metric="ndgc@10"))


def test_a_query_that_mteb_left_out_counts_as_zero(lab, kit):
    scores = lab.scores(1.9, 11)
    for query in list(scores)[:16]:
        del scores[query]
    lab.evaluate(kit.TUNED, "retrieval", scores)
    reported = json.loads((lab.domain.run("retrieval", kit.TUNED) / "manifest.json").read_text())["facts"]["scores"]
    board = make(lab)
    assert board.mean("retrieval", kit.TUNED).mean == pytest.approx(reported["ndcg_at_10"] * 144 / 160, abs=1e-5)
    assert board.mean("retrieval", kit.TUNED).n == 160
    assert board.scores["retrieval"][kit.TUNED][NDCG][:16] == [0.0] * 16


# --- files ----------------------------------------------------------------------------------------------------------


def test_json_holds_every_score_in_full_precision_and_no_path(made, kit, tmp_path):
    board = read_leaderboard(made.domain)
    text = (made.domain.results / "leaderboard.json").read_text()
    value = json.loads(text)
    assert value["scores"]["retrieval"][kit.TUNED]["ndcg@10"] == board.scores["retrieval"][kit.TUNED][NDCG]
    assert len(value["scores"]["reranking"]) == 5
    assert str(tmp_path) not in text
    assert with_statistics(board) == board


def test_csv_is_tidy(made, kit):
    board = read_leaderboard(made.domain)
    rows = list(csv.DictReader(io.StringIO((made.domain.results / "leaderboard.csv").read_text())))
    assert len(rows) == len(board.means)
    first = next(r for r in rows if r["model"] == kit.TUNED and r["metric"] == "ndcg@10" and r["group"] == "overall")
    assert first["difference"] == f"{board.comparison('retrieval', kit.TUNED).difference:.6f}"
    worse = next(r for r in rows if r["model"] == kit.LEXICAL and r["verdict"] == "worse")
    assert worse["difference"].startswith("-")
    base = next(r for r in rows if r["model"] == kit.BASE)
    assert base["difference"] == base["verdict"] == base["p"] == ""


def test_hostile_category_and_model_description(tmp_path, kit):
    lab = kit.make_lab(tmp_path / "p", {"=cmd()|x": 30, "<b>jargon</b>": 10}, n_chunks=60)
    write_text(lab.project.specs_folder / f"{kit.DOTTED}.yaml", 'hub: a/b\ndescription: "<script>|`=1`"\n')
    kit.evaluate_all(lab)
    make(lab)
    md, table = (lab.domain.results / f"leaderboard.{suffix}" for suffix in ("md", "csv"))
    assert "<b>" not in md.read_text()
    assert "=cmd()\\|x (n = 30)" in md.read_text()
    categories = {row["category"] for row in csv.DictReader(io.StringIO(table.read_text()))}
    assert categories == {"", "'=cmd()|x", "<b>jargon</b>"}


def test_the_terminal_shows_names_literally(made, kit):
    board = read_leaderboard(made.domain)
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(leaderboard_table(board))
    console.print(leaderboard_table(replace(board, title="[red]x"), "reranking"))
    text = console.export_text()
    assert "VillageRetrieval, 160 questions" in text
    assert "VillageReranking" in text
    for name in kit.SYSTEMS:
        assert name in text
    assert "not shown" in text and "better" in text and "worse" in text


def test_names_stay_whole_in_a_narrow_terminal(made, kit):
    table = leaderboard_table(read_leaderboard(made.domain), narrow=True)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    text = console.export_text()
    assert kit.TUNED in text and kit.DOTTED in text and "p (Holm)" not in text and "better" in text


def test_compact_json():
    value = {"a": [1, 2.5, None], "b": [{"x": 1}, {"x": []}], "c": {}, "d": "é"}
    text = dump_compact(value)
    assert json.loads(text) == value
    assert text.splitlines()[1:4] == ['  "a": [1, 2.5, null],', '  "b": [', '    {"x": 1},']
    with pytest.raises(ValueError, match="JSON"):
        dump_compact([float("nan")])


# --- the check ------------------------------------------------------------------------------------------------------


def checkout(lab) -> None:
    """Leave only what is committed."""
    for name in ("runs", "chunks", "testset"):
        shutil.rmtree(lab.domain.results / name)


def edit(lab, name, old, new):
    path = lab.domain.results / name
    text = path.read_text()
    assert old in text
    write_text(path, text.replace(old, new, 1))


def differences(lab) -> list[str]:
    with pytest.raises(BenchError) as error:
        check_leaderboard(lab.domain, lab.benchmark)
    return list(error.value.problems)


def test_the_check_needs_no_run(made):
    checkout(made)
    before = files(made)
    check_leaderboard(made.domain, made.benchmark)
    assert files(made) == before


def test_an_edited_verdict_is_found(made, kit):
    checkout(made)
    edit(made, "leaderboard.md", "not shown |", "**better** |")
    (line,) = differences(made)
    assert "leaderboard.md:" in line
    assert "domainbench leaderboard" in line


def test_an_edited_score_is_found_everywhere_it_counts(made, kit):
    board = read_leaderboard(made.domain)
    checkout(made)
    path = made.domain.results / "leaderboard.json"
    value = json.loads(path.read_text())
    row = value["scores"]["retrieval"][kit.TUNED]["ndcg@10"]
    row[row.index(0.0)] = 1.0
    write_text(path, dump_compact(value) + "\n")
    lines = differences(made)
    assert any(
        f"retrieval, {kit.TUNED}, ndcg@10, overall: mean is {board.mean('retrieval', kit.TUNED).mean}" in line
        for line in lines
    )
    assert any("leaderboard.md:" in line for line in lines)


def test_an_edited_figure_is_found(made, kit):
    board = read_leaderboard(made.domain)
    p = board.comparison("retrieval", kit.LEXICAL).corrected_p
    edit(made, "leaderboard.json", f'"corrected_p": {p}', '"corrected_p": 0.5')
    lines = differences(made)
    assert any("corrected_p is 0.5, its scores give" in line for line in lines)


def test_a_csv_that_lost_a_line_is_found(made):
    path = made.domain.results / "leaderboard.csv"
    write_text(path, "".join(path.read_text().splitlines(keepends=True)[:-1]))
    (line,) = differences(made)
    assert "leaderboard.csv:361: differs" in line


def test_a_page_of_another_leaderboard_is_found(made, kit):
    checkout(made)
    edit(made, "leaderboard.html", '"wins":', '"wins" :')
    check_leaderboard(made.domain, made.benchmark)
    edit(made, "leaderboard.html", '"verdict":"better"', '"verdict":"worse"')
    assert [line for line in differences(made) if "leaderboard.html: holds another leaderboard" in line]
    (made.domain.results / "leaderboard.html").unlink()
    assert differences(made)[0].endswith("leaderboard.html: no such file")


def test_rows_that_are_gone_are_told(made):
    path = made.domain.results / "leaderboard.json"
    value = json.loads(path.read_text())
    del value["comparisons"][0], value["means"][3]
    write_text(path, dump_compact(value) + "\n")
    lines = differences(made)
    assert any("has 287 rows where its scores give 288" in line for line in lines)


def test_another_benchmark_file_is_told(made, kit):
    lines = differences(made.with_benchmark(alpha=0.01, seed=3, models=[kit.TUNED]))
    assert any("made with alpha 0.05, the benchmark file says 0.01" in line for line in lines)
    assert any("made with seed 0, the benchmark file says 3" in line for line in lines)
    assert any("compares" in line for line in lines)


def test_many_differences_are_counted_not_listed(made):
    path = made.domain.results / "leaderboard.json"
    value = json.loads(path.read_text())
    for row in value["means"]:
        row["n"] = 1
    write_text(path, dump_compact(value) + "\n")
    lines = differences(made)
    assert len(lines) == 21
    assert "more differences" in lines[-1]


@pytest.mark.parametrize(("change", "said"), [
    (lambda value: value.update(format="x"), "its format is 'x'"),
    (lambda value: value.pop("scores"), "not a leaderboard"),
    (lambda value: value.update(surprise=1), "not a leaderboard"),
    (lambda value: value["scores"]["retrieval"]["base"].pop("map"), "retrieval, base, map: 160 scores are expected"),
    (lambda value: value["scores"]["retrieval"]["base"]["map"].append(0.5), "160 scores are expected"),
    (lambda value: value["scores"]["retrieval"]["base"]["map"].__setitem__(0, 1.5), "lies outside 0..1"),
    (lambda value: value["scores"]["retrieval"]["base"]["map"].__setitem__(0, float("nan")), "lies outside 0..1"),
    (lambda value: value["metrics"].pop(), "its metrics are not those of its settings"),
    (lambda value: value["systems"].clear(), "no systems"),
    (lambda value: value["settings"].update(main_metric="nope@3"), "no such metric"),
])  # fmt: skip
def test_a_broken_leaderboard_is_one_clear_line(made, change, said):
    path = made.domain.results / "leaderboard.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(BenchError) as error:
        check_leaderboard(made.domain, made.benchmark)
    assert len(error.value.problems) == 1
    assert said in str(error.value)


def test_no_leaderboard(lab):
    with pytest.raises(BenchError, match=r"leaderboard\.json: no such file"):
        check_leaderboard(lab.domain, lab.benchmark)
