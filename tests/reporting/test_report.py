"""The report: what it says, that nothing in the data can break it, and that its bytes stay the same."""

import json
import re
import shutil
import struct
import zlib

import pytest
from markdown_it import MarkdownIt

from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.files import write_text
from benchmark.records import read_chunks, read_testset
from benchmark.reporting.changes import changes
from benchmark.reporting.leaderboard import check_leaderboard, make_leaderboard, read_leaderboard, write_page
from benchmark.reporting.plots import write_plots
from benchmark.reporting.render import sentence
from benchmark.reporting.report import make_report
from benchmark.runs import read_run

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table"])
PLOTS = ["scores", "differences", "queries", "categories", "reranking"]


def make(lab) -> str:
    board = read_leaderboard(lab.domain)
    return make_report(lab.project, lab.domain, lab.benchmark, board, SILENT).read_text()


def kept(lab) -> str:
    """The report as it was made before the test."""
    return (lab.domain.results / "report.md").read_text()


def plain(text: str) -> str:
    """What a reader sees."""
    tokens = [child for token in PARSER.parse(text) for child in token.children or [token]]
    return "\n".join(token.content for token in tokens if token.content)


def pixels(path) -> tuple[int, int, bytes]:
    """Width, height and the decompressed pixel rows of a PNG file, and that its chunks hold no time and no text."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    place, data, kinds = 8, b"", []
    while place < len(raw):
        length, kind = struct.unpack(">I4s", raw[place : place + 8])
        kinds.append(kind)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", raw[place + 8 : place + 16])
        if kind == b"IDAT":
            data += raw[place + 8 : place + 8 + length]
        place += length + 12
    assert not {b"tEXt", b"tIME", b"iTXt", b"zTXt"} & set(kinds)
    return width, height, zlib.decompress(data)


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_regenerating_gives_the_same_bytes(made):
    folder = made.domain.results

    def written() -> dict[str, bytes]:
        found = [*folder.glob("leaderboard.*"), folder / "report.md", *folder.glob("plots/*")]
        return {path.name: path.read_bytes() for path in sorted(found)}

    first = written()
    assert set(first) == {
        *(f"leaderboard.{suffix}" for suffix in ("json", "md", "csv", "tex", "html")), "report.md",
        *(f"{name}.png" for name in PLOTS),
    }  # fmt: skip
    for path in (*folder.glob("leaderboard.*"), folder / "report.md", *folder.glob("plots/*")):
        path.unlink()
    board = make_leaderboard(made.project, made.domain, made.benchmark, SILENT)
    make_report(made.project, made.domain, made.benchmark, board, SILENT)
    write_page(made.project, made.domain, made.benchmark, board)
    assert written() == first


def test_the_users_matplotlibrc_changes_nothing(made, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30}):
        plots = write_plots(read_leaderboard(made.domain), tmp_path / "plots")
        assert matplotlib.rcParams["font.size"] == 30
    assert [plot.file for plot in plots] == [f"{name}.png" for name in PLOTS]
    for plot in plots:
        assert (tmp_path / "plots" / plot.file).read_bytes() == (made.domain.results / "plots" / plot.file).read_bytes()


def test_plots_show_something_and_follow_the_figures(made):
    folder = made.domain.results / "plots"
    first = {name: pixels(folder / f"{name}.png") for name in PLOTS}
    for width, height, rows in first.values():
        assert width == 1200 and height > 300
        assert len(set(rows)) > 50, "a blank picture"
    board = read_leaderboard(made.domain)
    changed = board.scores["retrieval"][board.baseline.name][board.main]
    changed[:40] = [1.0] * 40
    write_text(folder / "old.png", "stale")
    write_plots(board, folder)
    assert sorted(path.stem for path in folder.iterdir()) == sorted(PLOTS), "a stale picture"
    assert pixels(folder / "queries.png") != first["queries"]


# --- content --------------------------------------------------------------------------------------------------------


def test_verdicts_come_first_in_plain_words(made, kit):
    text = kept(made)
    board = read_leaderboard(made.domain)
    first = text.split("## In short")[1].split("## ")[0]
    assert first.strip().startswith(f"- {sentence(board, kit.TUNED)}")
    for name in kit.SYSTEMS:
        assert (f"`{name}`" in first) == (name != kit.BASE or "`base`" in first)
    assert "Tuning (`village-tuned`) raised nDCG@10" in first
    assert "**not shown**" in first and "**worse**" in first


def test_data_funnel_and_training_come_from_the_manifests(made):
    text = kept(made)
    seen = plain(text)
    assert "12 documents (licence: CC0-1.0) in 60 passages" in text
    assert "160 questions (core 70, jargon 65, edge 25)" in text
    assert "left out of the retrieval scores: 1." in text
    assert "| kept: llm | 600 |" in text and "| near duplicate | 1550 | 40 | 1510 |" in text
    assert "<i>round trip</i>" in seen and "<i>" not in text
    assert "| development: before: ndcg@10 | 0.5 |" in text
    assert "| final loss | 0.1235 |" in text
    assert "| epochs | 1 |" in text


def test_without_tuning_the_sections_are_left_out(made):
    assert "## Fine-tuning" in kept(made)
    shutil.rmtree(made.domain.synthetic)
    text = make(made.with_benchmark(generate=None, finetune=[]))
    assert "## Fine-tuning" not in text
    assert "## Synthetic training data" not in text


def test_method_and_limits_say_the_settings(made, kit):
    text = kept(made)
    board = read_leaderboard(made.domain)
    detectable = board.comparison("retrieval", kit.TUNED).detectable
    assert "drawn anew, with repetition, 1,000 times" in text
    assert "2,000 times" in text
    assert f"a true difference of about {detectable:.3f} in nDCG@10" in text
    assert "not independent of each other" in text
    assert "under 0.05" in text


def test_every_picture_is_there(made):
    text = kept(made)
    pictures = re.findall(r"!\[[^\]]+\]\((\S+)\)", text)
    assert sorted(pictures) == sorted(f"plots/{name}.png" for name in PLOTS)
    assert all((made.domain.results / picture).is_file() for picture in pictures)


def test_questions_that_gained_and_lost_most(made, kit):
    board = read_leaderboard(made.domain)
    testset = read_testset(made.domain.testset)
    passages = {chunk.id: chunk for chunk in read_chunks(made.domain.chunks / "chunks.jsonl")}
    before, after = (read_run(made.domain.run("retrieval", name) / "run.trec") for name in (kit.BASE, kit.TUNED))
    found = changes(board, kit.TUNED, testset, passages, before, after)
    old, new = (board.scores["retrieval"][name][board.main] for name in (kit.BASE, kit.TUNED))
    gaps = sorted(b - a for a, b in zip(old, new, strict=True))
    assert [change.after - change.before for change in found.gained] == pytest.approx(gaps[:-6:-1])
    assert [change.after - change.before for change in found.lost] == pytest.approx(gaps[:5])
    first = found.gained[0]
    relevant = made.qrels[first.query.id]
    assert before[first.query.id][first.rank_before - 1].chunk in relevant
    assert all(hit.chunk not in relevant for hit in before[first.query.id][: first.rank_before - 1])
    assert first.top_after.relevant and not first.top_before.relevant
    assert first.relevant.startswith("Title | ")


def test_a_question_without_hits_is_told(made, kit):
    scores = made.scores(1.9, 11)
    board = read_leaderboard(made.domain)
    base = board.scores["retrieval"][kit.BASE][board.main]
    best = max(range(160), key=lambda place: base[place])
    del scores[f"q{best}"]
    made.evaluate(kit.TUNED, "retrieval", scores)
    make_leaderboard(made.project, made.domain, made.benchmark, SILENT)
    text = make(made)
    assert "rank 1 before, not among the first 100 after" in text
    assert "ranked first after: nothing" in text


def test_equal_systems_have_nothing_to_show(made, kit):
    for task in ("retrieval", "reranking"):
        made.evaluate(kit.DOTTED, task, made.scores(1.0, 4))
        made.evaluate(kit.BASE, task, made.scores(1.0, 4))
    lab = made.with_benchmark(models=[kit.DOTTED])
    make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    text = make(lab)
    assert text.count("\nNone.\n") == 2
    assert "cannot tell the two apart" in text


def test_only_the_baseline(made, kit):
    lab = made.with_benchmark(models=[kit.BASE])
    make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    text = make(lab)
    assert "Only the baseline was measured" in text
    assert text.count("![") == 3


# --- hostile text ---------------------------------------------------------------------------------------------------


def test_text_of_documents_and_questions_stays_text(made, kit):
    text = kept(made)
    tokens = PARSER.parse(text)
    flat = [child for token in tokens for child in token.children or [token]]
    html = [token.content.strip() for token in flat if token.type in {"html_block", "html_inline"}]
    assert all(re.fullmatch("<!--[^<>]*-->", comment) for comment in html)
    marks = [comment for comment in html if "passages" in comment]
    assert marks == ["<!-- passages -->", "<!-- /passages -->"]
    links = {token.attrs["href"] for token in flat if token.type == "link_open"}
    assert links == {"#method", "leaderboard.md", "leaderboard.csv", "leaderboard.json"}
    assert kit.HOSTILE in plain(text), "a question is shown as it was asked"
    assert "49" not in re.findall(r"alert\(1\).{0,60}", text)[0], "the template engine ran the text"


def test_tables_keep_their_columns(made):
    for name in ("report.md", "leaderboard.md"):
        text = (made.domain.results / name).read_text()
        blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
        assert blocks
        for block in blocks:
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1, block
        tables = sum(token.type == "table_open" for token in PARSER.parse(text))
        assert tables == len(blocks)


def test_a_dollar_sign_is_no_formula(tmp_path, kit):
    lab = kit.make_lab(tmp_path / "p", {r"$\frac{a}$ and $b$": 12, "core": 9}, n_chunks=20)
    kit.evaluate_all(lab)
    board = make_leaderboard(lab.project, lab.domain, lab.benchmark, SILENT)
    assert len(write_plots(board, tmp_path / "plots")) == 5


# --- check ----------------------------------------------------------------------------------------------------------


def test_a_report_that_tells_another_verdict_is_found(made, kit):
    check_leaderboard(made.domain, made.benchmark)
    path = made.domain.results / "report.md"
    write_text(path, path.read_text().replace("**not shown**", "**better**"))
    with pytest.raises(BenchError) as error:
        check_leaderboard(made.domain, made.benchmark)
    (line,) = error.value.problems
    assert f"report.md: its verdict on '{kit.DOTTED}' is not the leaderboard's" in line


def test_the_report_holds_no_path_of_this_machine(made, tmp_path):
    assert str(tmp_path) not in kept(made)


def test_stages_in_other_surroundings_are_told_apart(made, kit):
    path = made.domain.run("retrieval", kit.TUNED) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["device"] = "cuda (NVIDIA H200)"
    path.write_text(json.dumps(manifest))
    text = make(made)
    assert f"- evaluate {kit.TUNED} (retrieval): Python" in text
    assert "on cuda (NVIDIA H200);" in text
