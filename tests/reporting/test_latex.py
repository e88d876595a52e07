"""The headline for a paper."""

import re

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


def test_hostile_names_stay_text(made, kit):
    from dataclasses import replace

    board = read_leaderboard(made.domain)
    text = leaderboard_latex(replace(board, title=r"\input{/etc/passwd} 50 % & $x$ #1 ~ ^"))
    assert r"\input{" not in text
    assert r"\textbackslash{}input\{/etc/passwd\} 50 \% \& \$x\$ \#1" in text
