"""`generate` from every kind of source through the command, its dry run, its prompts, and a kill in the middle."""

import json
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.cli.main import run_app
from benchmark.files import iter_jsonl

BENCHMARK = """\
domains: [village]
generate:
  retriever: tiny
  filters: {{near_duplicate: 1.0, leak_similarity: 1.0, off: [round_trip]}}
  negatives: {{margin: 1.0, count: 2, near_duplicate: 1.0}}
{more}
finetune:
  - {{name: tuned, kind: bi-encoder, base: tiny, batch_size: 8, mini_batch_size: 8, max_length: 48}}
baseline: tiny
models: [tuned]
"""
WORDS = [
    "harbour",
    "berth",
    "lantern",
    "crust",
    "hive",
    "clock",
    "draw",
    "queen",
    "spring",
    "steam",
    "rye",
    "flour",
    "season",
    "visitor",
    "breakwater",
]


def write(project, more):
    (project.root / "benchmark.yaml").write_text(BENCHMARK.format(more=more), encoding="utf-8")


def run(project, *words):
    return run_app(["--project", str(project.root), *words])


def writer(body):
    """An endpoint that follows the forms that it is asked for: topics, passages, questions, grades."""
    form = body["response_format"]["json_schema"]
    asked = body["messages"][-1]["content"]
    turn = sum(map(ord, asked))
    if form["name"] == "questions":
        count = form["schema"]["properties"]["questions"]["minItems"]
        texts = [
            f"Which {WORDS[(turn + i) % 15]} goes with the {WORDS[(turn * 7 + i) % 15]} {turn}?" for i in range(count)
        ]
        return json.dumps({"questions": [{"question": text, "answer": "That one."} for text in texts]})
    if "topics" in form["schema"]["properties"]:
        return json.dumps({"topics": [f"{word} care in {len(asked)} steps" for word in WORDS[:12]]})
    topic = asked.split()[turn % 5]
    text = " ".join(f"{WORDS[(turn + i * i) % 15]} {topic}" for i in range(30))
    return json.dumps({"title": f"On {WORDS[turn % 15]} {turn}", "text": f"{text}."})


def endpoint(server):
    return f"  llm: {{endpoint: {{base_url: '{server.url}', model: m}}}}\n"


def queries(project):
    return list(iter_jsonl(project.root / "results" / "village" / "synthetic" / "queries.jsonl"))


def test_a_dry_run_tells_calls_tokens_and_money_and_asks_nobody(project, serve, capsys):
    server = serve(writer)
    write(project, endpoint(server) + "  pair_scores: {teacher: llm}\n")
    assert run(project, "generate", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "questions (" in said and " calls" in said and "money unknown" in said
    assert "pair scores" in said and "at most" in said
    assert server.bodies == [] and not (project.root / "results" / "village" / "synthetic").exists()
    priced = f"  llm: {{endpoint: {{base_url: '{server.url}', model: m, usd_per_million_input: 1, usd_per_million_output: 2}}}}\n"
    write(project, priced)
    assert run(project, "generate", "--dry-run") == 0
    assert "at most $" in capsys.readouterr().out


def test_a_dry_run_before_the_passages_are_written(project, serve, capsys):
    server = serve(writer)
    write(
        project,
        endpoint(server) + "  source:\n    prompt: {description: House rules of a village harbour, passages: 40}\n",
    )
    assert run(project, "generate", "--dry-run") == 0
    assert "about 40 calls" in capsys.readouterr().out and server.bodies == []
    # Passages of another description do not count.
    source = project.root / "results" / "village" / "source"
    source.mkdir(parents=True)
    (source / "manifest.json").write_text('{"stage": "source", "fingerprint": "old"}', encoding="utf-8")
    assert run(project, "generate", "--dry-run") == 0
    assert "about 40 calls" in capsys.readouterr().out and server.bodies == []


def test_a_dry_run_counts_questions_that_came_with_a_data_set(project, serve, capsys):
    server = serve(writer)
    rows = [{"context": f"All about the {word}.", "question": f"What of the {word}?"} for word in WORDS]
    pq.write_table(pa.Table.from_pylist(rows), project.root / "rag.parquet")
    write(project, endpoint(server) + "  questions_per_chunk: 0\n  pseudo: {per_chunk: 0}\n  pair_scores: {teacher: llm}\n"
          "  source: {dataset: {path: rag.parquet, columns: rag}}\n")  # fmt: skip
    assert run(project, "generate", "--dry-run") == 0
    assert f"at most {3 * len(WORDS)} calls" in capsys.readouterr().out and server.bodies == []


def test_prompts_can_be_copied_and_edited(project, serve, capsys):
    server = serve(writer)
    folder = project.root / "prompts"
    assert run(project, "prompts", str(folder)) == 0
    assert "prompts copied" in capsys.readouterr().out
    (folder / "question_system.txt").write_text("Write in the manner of an old sailor.", encoding="utf-8")
    write(project, endpoint(server) + "  prompts: prompts\n")
    assert run(project, "generate") == 0
    assert server.bodies[0]["messages"][0]["content"].startswith("Write in the manner of an old sailor.")
    assert "`question_system` (edited)" in (project.root / "results/village/synthetic/README.md").read_text()
    (folder / "question_sistem.txt").write_text("x", encoding="utf-8")
    capsys.readouterr()
    assert run(project, "generate") == 2
    assert "did you mean 'question_system'" in capsys.readouterr().err


def test_a_column_of_a_table_is_cut_and_trained_on(project):
    rows = [{"name": f"Manual {i}", "body": f"The {a} of the {b} is cleaned twice a year with warm water and soap. "
             f"Whoever leaves the {b} open in the rain pays for the new {a} at the end of the season."}
            for i, (a, b) in enumerate((a, b) for a in WORDS[:6] for b in WORDS[6:9])]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), project.root / "manuals.parquet")
    write(project, "  questions_per_chunk: 0\n  source: {dataset: {path: manuals.parquet, text: body, title: name}}\n")
    assert run(project, "finetune") == 0
    made = queries(project)
    assert made and any(row["text"].startswith("Manual ") for row in made)
    assert (project.root / "results/village/synthetic/passages.jsonl").is_file()
    assert (project.specs_folder / "tuned.yaml").is_file()


def test_a_data_set_of_the_seven_columns_is_read(project, capsys):
    rows = [{"context": f"Passage {i} about the {word} and how the {word} is kept over the winter in the shed.",
             "question": f"How is the {word} kept in winter {i}?", "response": "In the shed.",
             "positive_retrieval": f"How is the {word} kept in winter {i}?", "negative_retrieval": "Who sells it?",
             "positive_reranking": "It is kept in the shed.", "negative_reranking": "It is sold."}
            for i, word in enumerate(WORDS)]  # fmt: skip
    rows[3]["response"] = ""
    pq.write_table(pa.Table.from_pylist(rows), project.root / "rag.parquet")
    write(project, "  questions_per_chunk: 0\n  pseudo: {per_chunk: 0}\n"
          "  source: {dataset: {path: rag.parquet, columns: rag}}\n")  # fmt: skip
    assert run(project, "finetune") == 0
    assert {row["origin"] for row in queries(project)} == {"imported"} and len(queries(project)) == len(WORDS) - 1
    facts = json.loads((project.root / "results/village/source/manifest.json").read_text())["facts"]
    assert "response" in json.dumps(facts)  # what was dropped, and for which column


def test_passages_can_be_written_from_a_description_alone(project, serve):
    server = serve(writer)
    # No documents and no questions: nothing but a description.
    for name in ("questions.jsonl", "documents"):
        (project.root / "tasks" / "village" / name).rename(project.root / name)
    write(project, endpoint(server) + "  questions_per_chunk: 2\n  source:\n    prompt: {description: House rules of a "
          "village harbour with bees and bread, passages: 8, words: 60}\n")  # fmt: skip
    assert run(project, "finetune") == 0
    made = queries(project)
    assert made and {row["origin"] for row in made} >= {"llm"}
    asked = len(server.bodies)
    assert run(project, "generate") == 0 and len(server.bodies) == asked


def test_a_budget_stops_cleanly_and_a_higher_one_goes_on(project, serve, capsys):
    server = serve(writer)

    def budget(calls):
        write(project, endpoint(server).replace("model: m}", f"model: m}}, budget: {{calls: {calls}}}"))

    budget(2)
    assert run(project, "generate") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "2 of 2 calls" in line and "'budget'" in line and len(server.bodies) == 2
    assert not (project.root / "results" / "village" / "synthetic").exists()
    budget(200)
    assert run(project, "generate") == 0
    asked = server.asked
    assert len(asked) == len(set(asked)) > 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("  questions_per_chunk: 0\n  source: {dataset: {path: gone.parquet}}\n", "gone.parquet"),
        ("  questions_per_chunk: 0\n  examples: gone.jsonl\n", "gone.jsonl"),
        ("  questions_per_chunk: 0\n  prompts: nowhere\n", "nowhere"),
        ("  questions_per_chunk: 0\n  mix: {types: {riddle: 1}}\n", "riddle"),
        ("  questions_per_chunk: 0\n  filters: {off: [rond_trip]}\n", "round_trip"),
        ("  questions_per_chunk: 0\n  pair_scores: {teacher: cross-encoder, model: tiny}\n", "no cross-encoder"),
        ("  questions_per_chunk: 0\n  negatives: {cross_encoder: tine}\n", "tine"),
    ],
)
def test_mistakes_are_one_line_and_code_2(project, capsys, more, told):
    text = BENCHMARK.format(more=more)
    for key in ("filters", "negatives"):
        if f"  {key}: {{" in more:
            lines = [line for line in text.splitlines() if not (line.startswith(f"  {key}:") and line not in more)]
            text = "\n".join(lines)
    (project.root / "benchmark.yaml").write_text(text, encoding="utf-8")
    assert run(project, "generate") == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
    assert not (project.root / "results" / "village" / "synthetic").exists()


def test_killed_at_any_point_it_ends_with_the_same_bytes(project, serve, start_command):
    server = serve(writer, delay=0.02)
    write(project, endpoint(server) + "  filters: {near_duplicate: 1.0, leak_similarity: 1.0, off: [round_trip]}\n")
    text = (project.root / "benchmark.yaml").read_text().splitlines()
    del text[3]  # the first of the two `filters`
    (project.root / "benchmark.yaml").write_text("\n".join(text), encoding="utf-8")
    for wanted in (1, 3):
        child = start_command(project, "generate")
        while child.poll() is None and len(server.bodies) < wanted:
            time.sleep(0.005)
        child.kill()
    assert run(project, "generate") == 0
    folder = project.root / "results" / "village"
    made = {path.name: path.read_bytes() for path in (folder / "synthetic").iterdir() if path.name != "manifest.json"}
    for path in [*(folder / "synthetic").iterdir(), *folder.glob("journal.sqlite*")]:
        path.unlink()
    assert run(project, "generate") == 0
    assert made == {p.name: p.read_bytes() for p in (folder / "synthetic").iterdir() if p.name != "manifest.json"}
