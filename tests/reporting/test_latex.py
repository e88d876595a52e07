"""The headline for a paper."""

import re

from benchmark.escape import tex
from benchmark.reporting.latex import leaderboard_latex
from benchmark.reporting.leaderboard import read_leaderboard


def test_every_model_its_figures_and_nothing_that_is_not_shown(made):
    board = read_leaderboard(made.domain)
    text = leaderboard_latex(board)
    tables = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL)
    assert len(tables) == 3
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)&", line.strip().removesuffix("\\\\"))] for line in
            tables[0].strip().split("\n")]  # fmt: skip
    assert [row[0].replace("\\", "") for row in rows] == [system.name for system in board.ranked("retrieval")]
    for row in rows:
        found = board.comparison("retrieval", row[0].replace("\\", ""))
        assert row[-1] == ("baseline" if found is None else found.verdict)
        assert ("textbf" in row[1]) == (found is not None and found.verdict == "better")
        assert ("textit" in row[1]) == (found is not None and found.verdict == "worse")


def test_small_categories_carry_the_mark_and_its_note(made):
    from dataclasses import replace

    board = read_leaderboard(made.domain)
    text = leaderboard_latex(board)
    assert r"Model & core (n = 70) & jargon (n = 65) & edge (n = 25 \dag{}) \\" in text
    assert text.count(r"\dag{}: fewer than 30 questions: an example rather than a finding.}") == 1
    large = replace(board, queries=tuple(question for question in board.queries if question.category != "edge"))
    assert large.categories == {"core": 70, "jargon": 65}
    assert r"\dag" not in leaderboard_latex(large)


def test_a_double_quote_needs_no_font_encoding():
    assert tex('a "b" †') == r"a ''b'' \dag{}"


def test_hostile_names_stay_text(made, kit):
    from dataclasses import replace

    board = read_leaderboard(made.domain)
    text = leaderboard_latex(replace(board, title=r"\input{/etc/passwd} 50 % & $x$ #1 ~ ^"))
    assert r"\input{" not in text
    assert r"\textbackslash{}input\{/etc/passwd\} 50 \% \& \$x\$ \#1" in text
