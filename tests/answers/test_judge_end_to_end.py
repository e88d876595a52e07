"""From kept runs to answers and verdicts, by the commands: what a judge is shown is what the answers were made from."""

import importlib.util
import json
import re
from pathlib import Path

from benchmark.cli.main import run_app
from benchmark.files import read_json
from benchmark.reporting.answers import check_answers, read_board
from benchmark.reporting.answers_board import JUDGED

_SPEC = importlib.util.spec_from_file_location("judge_server", Path(__file__).with_name("judge_server.py"))
script = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(script)


class Both(script.JudgeServer):
    """Writes answers and judges them: each answer is the first line of the best passage's text, and cites it."""

    def _reply(self, body):
        if body["model"] == "judge":
            return super()._reply(body)
        user = body["messages"][1]["content"]
        if "cup" in user.rsplit("Question: ", 1)[1]:
            return json.dumps({"answer": "", "citations": [], "answerable": False})
        number, text = re.search(r"<passage-\w+>\nid: (\S+)\n(.*?)\n</passage-", user, re.DOTALL).groups()
        line = text.split("\n")[1]
        return json.dumps({"answer": line, "citations": [number], "answerable": True})


def write(project, server, judge):
    (project.root / "benchmark.yaml").write_text(
        "domains: [village]\nbaseline: tiny\nmodels: [bm25]\ntop_k: 10\nadded: false\nanswers:\n"
        f"  llm: {{endpoint: {{base_url: '{server.url}', model: writer}}}}\n{judge}"
    )


def run(project, *words):
    return run_app(["--project", str(project.root), *words])


def test_answers_are_made_and_judged_by_the_commands(project, capsys):
    server = Both()
    try:
        write(project, server, "")
        assert run(project, "evaluate") == run(project, "answer") == run(project, "judge") == 0
        domain = project.domain("village")
        assert "no judge is named" in capsys.readouterr().err
        assert not set(read_board(domain).scores) & set(JUDGED) and server.kinds == {}

        write(project, server, f"  judge: {{llm: {{endpoint: {{base_url: '{server.url}', model: judge}}}}}}\n")
        assert run(project, "judge", "--dry-run") == 0 and server.kinds == {}
        assert run(project, "judge") == 0
    finally:
        server.close()
    spec = project.benchmark(project.root / "benchmark.yaml")
    board = check_answers(domain, spec)
    facts = read_json(domain.judged / "manifest.json")["facts"]
    assert (board.generator, board.judge) == (facts["generator"], f"{server.url}#judge")
    assert board.generator == f"{server.url}#writer"
    for pipeline in ("tiny", "bm25"):
        # Every answer is a line of the passage that it cites; the question on the cup is rightly declined.
        for metric in ("faithfulness", "citation_precision", "citation_recall"):
            row = board.mean(pipeline, metric)
            assert (row.n_scored, row.n_failed, row.mean) == (8, 0, 1.0), metric
        unanswerable = next(row for row in board.groups if (row.group, row.pipeline, row.metric) == (
            "unanswerable", pipeline, "correctness"))  # fmt: skip
        assert (unanswerable.n_scored, unanswerable.mean) == (1, 1.0)
    assert board.preferences[0].n == 8
    said = capsys.readouterr().out
    assert "judge: support" in said and "results/village/answers.md" in said

    assert run(project, "leaderboard") == run(project, "leaderboard", "--check") == 0
    assert "the committed figures of the answers follow from their scores" in capsys.readouterr().out
    page = domain.results / "answers.md"
    page.write_text(page.read_text().replace("1.000", "0.900"))
    assert run(project, "leaderboard", "--check") == 2
    assert "answers.md: differs from what the scores give" in capsys.readouterr().err


def test_what_is_missing_is_told_in_a_line(project, capsys):
    server = Both()
    server.close()
    write(project, server, f"  judge: {{llm: {{endpoint: {{base_url: '{server.url}', model: judge}}}}}}\n")
    assert run(project, "judge") == 2
    error = capsys.readouterr().err
    assert "domainbench answer" in error and "Traceback" not in error
    assert not (project.domain("village").results / "answers.json").exists()
