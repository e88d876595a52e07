"""`ask`: one question through the command, with real retrievers and a real endpoint."""

import json
import re

import pytest

from benchmark.answers.ask import chosen_pipelines
from benchmark.cli.main import app, run_app
from benchmark.errors import BenchError

QUESTION = "How many minutes does a loaf bake with steam?"


@pytest.fixture(autouse=True, scope="module")
def commands():
    """The command under its name, wherever it is registered."""
    from benchmark.cli.answer import ask

    if "ask" not in {command.callback.__name__ for command in app.registered_commands}:
        app.command()(ask)


def reader(body):
    given = re.findall(r"^<passage-\w+>\nid: (\S+)$", body["messages"][1]["content"], re.MULTILINE)
    if "cup" in body["messages"][1]["content"].rsplit("Question: ", 1)[1]:
        return json.dumps({"answer": "", "citations": [], "answerable": False})
    answer = f"[bold]Fifty[/bold] minutes, says {given[0]}."
    return json.dumps({"answer": answer, "citations": [given[1], "the rule book"], "answerable": True})


def write(project, url="", more=""):
    answers = f"answers:\n  top_k: 2\n  llm: {{endpoint: {{base_url: '{url}', model: m}}}}\n" if url else ""
    text = f"domains: [village]\nbaseline: tiny\nmodels: [bm25]\n{answers}{more}"
    (project.root / "benchmark.yaml").write_text(text, encoding="utf-8")


def run(project, *words):
    return run_app(["--project", str(project.root), *words])


def test_an_answer_with_its_sources(project, serve, capsys):
    server = serve(reader)
    write(project, server.url)
    assert run(project, "ask", QUESTION, "--pipeline", "B") == 0
    out = capsys.readouterr().out
    assert "B: bm25" in out and "[bold]Fifty[/bold] minutes" in out  # no markup of ours
    assert "Sourdough bread - Baking" in out and "bread.md, score " in out and "crust stays supple" in out
    assert "Cites [2]" in out and "Cites what it was not given: the rule book" in out
    assert re.search(r"\[2\]\* ", out) and not re.search(r"\[1\]\* ", out)
    assert len(server.bodies) == 1 and "\nid: bread.md#" in server.asked[0]
    assert run(project, "ask", QUESTION, "-p", "bm25") == 0 and len(server.bodies) == 1  # the journal has it


def test_two_pipelines_stand_side_by_side_where_there_is_room(project, serve, capsys, monkeypatch):
    server = serve(reader)
    write(project, server.url)
    monkeypatch.setenv("COLUMNS", "140")
    assert run(project, "ask", QUESTION, "--pipeline", "A", "--pipeline", "b") == 0
    out = capsys.readouterr().out
    assert any("A: tiny" in line and "B: bm25" in line for line in out.splitlines())
    monkeypatch.setenv("COLUMNS", "80")
    assert run(project, "ask", QUESTION, "--pipeline", "B", "--pipeline", "A") == 0
    out = capsys.readouterr().out
    assert not any("A: tiny" in line and "B: bm25" in line for line in out.splitlines())
    assert out.index("B: bm25") < out.index("A: tiny")


def test_the_passages_are_those_of_the_kept_run(project, serve, capsys):
    server = serve(reader)
    write(project, server.url, "top_k: 10\n")
    assert run(project, "evaluate") == 0
    domain = project.domain("village")
    kept = [line.split()[2] for line in (domain.run("retrieval", "tiny") / "run.trec").read_text().splitlines()
            if line.startswith("q2 ")][:2]  # fmt: skip
    assert run(project, "ask", "How quickly may a dinghy travel behind the sea wall?") == 0
    assert re.findall(r"^id: (\S+)$", server.asked[0], re.MULTILINE) == kept  # A, the baseline, by default


def test_a_declined_question_says_so(project, serve, capsys):
    server = serve(reader)
    write(project, server.url)
    assert run(project, "ask", "Who won the cup?", "-p", "B") == 0
    out = capsys.readouterr().out
    assert "The passages do not answer this question." in out and "It says that" in out and "Cites" not in out


def test_without_answers_the_passages_are_shown(project, capsys):
    write(project)
    assert run(project, "ask", QUESTION, "-p", "B") == 0
    told = capsys.readouterr()
    assert "Sourdough bread - Baking" in told.out and "'answers' section" in told.err
    assert not (project.domain("village").journal).exists()


def test_text_of_documents_is_no_markup_and_no_terminal_code(project, capsys):
    path = project.root / "tasks" / "village" / "documents" / "evil.md"
    path.write_text("# The [red]cup[/red]\n\nWho won the cup? [link=http://evil]nobody[/link] \x1b[2J[/] at all.\n")
    write(project)
    assert run(project, "ask", "Who won the cup, nobody at all?", "-p", "B") == 0
    out = capsys.readouterr().out
    assert "[link=http://evil]nobody[/link]" in out and "[red]cup[/red]" in out and "\x1b[2J" not in out


def test_a_failure_is_shown_with_the_passages(project, serve, capsys):
    server = serve(lambda body: "no JSON here")
    write(project, server.url)
    assert run(project, "ask", QUESTION, "-p", "B") == 0
    out = capsys.readouterr().out
    assert "no answer: not the form" in out and "Sourdough bread - Baking" in out


def test_mistakes_are_one_line(project, serve, capsys):
    server = serve(reader)
    write(project, server.url)
    assert run(project, "ask", QUESTION, "-p", "C", "-p", "bm52") == 2
    error = capsys.readouterr().err
    assert "--pipeline C" in error and "A = tiny, B = bm25" in error and "did you mean 'bm25'" in error
    assert run(project, "ask", "  ") == 2 and "the question is empty" in capsys.readouterr().err
    assert run(project, "ask", QUESTION, "--domain", "vilage") == 2
    assert "did you mean 'village'" in capsys.readouterr().err
    write(project, "http://127.0.0.1:9/v1")
    text = (project.root / "benchmark.yaml").read_text().replace("model: m", "model: m, retries: 0")
    (project.root / "benchmark.yaml").write_text(text)
    assert run(project, "ask", QUESTION) == 2
    assert "127.0.0.1:9" in next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert server.bodies == []


def test_a_spec_that_is_not_compared_may_be_named(project):
    write(project)
    spec = project.benchmark(project.root / "benchmark.yaml")
    assert chosen_pipelines(project, spec, ["all-minilm-l6-v2", "a", "A"]) == ["all-minilm-l6-v2", "tiny"]
    (project.specs_folder / "b.yaml").write_text((project.specs_folder / "bm25.yaml").read_text())
    assert chosen_pipelines(project, spec, ["b", "B"]) == ["b", "bm25"]
    with pytest.raises(BenchError, match="or one of A = tiny, B = bm25"):
        chosen_pipelines(project, spec, ["Z"])


def test_the_budget_counts_questions_of_both_commands(project, serve, capsys):
    server = serve(reader)
    write(project, server.url)
    path = project.root / "benchmark.yaml"
    path.write_text(path.read_text().replace("model: m}}", "model: m}, budget: {calls: 1}}"))
    assert run(project, "ask", QUESTION) == 0
    assert run(project, "ask", "Why does a bee family leave its home?") == 2
    assert "1 of 1 calls" in capsys.readouterr().err and len(server.bodies) == 1
    assert not (project.domain("village").answers / "manifest.json").exists()
