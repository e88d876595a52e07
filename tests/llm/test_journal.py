"""The journal: keys, kills, replay and renewal."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.journal import ask, export_replay, open_journal
from benchmark.llm.model import Answer, Answered, ChatRequest, Failure, Message, Price, usage_facts
from benchmark.specs import Endpoint


class Scripted:
    """A language model that counts what it is asked and can be told to fail."""

    identity = "scripted"
    price = Price(1.0, 2.0)

    def __init__(self, failing=()):
        self.asked, self.failing = [], set(failing)

    def answers(self, requests):
        for place, request in enumerate(requests):
            text = request.messages[-1].content
            self.asked.append(text)
            yield Answered(place, Failure("broken") if text in self.failing else Answer(f"re: {text}", 3, 2))


def requests(count):
    return [ChatRequest((Message("user", f"q{i}"),)) for i in range(count)]


@pytest.fixture
def places(tmp_path):
    return tmp_path / "results" / "journal.sqlite", tmp_path / "journal.jsonl"


def asked_by(model, wanted, places, **options):
    with open_journal(*places) as journal:
        return ask(model, wanted, journal, SILENT, **options)


def test_nothing_is_asked_twice(places):
    model = Scripted()
    first = asked_by(model, requests(3), places)
    again = asked_by(model, requests(5) + requests(5), places)
    assert model.asked == ["q0", "q1", "q2", "q3", "q4"]
    assert again.answers[:3] == first.answers and again.answers[5:] == again.answers[:5]
    assert (again.sources["asked"], again.sources["journal"]) == (2, 3)
    assert again.usage == {"input_tokens": 15, "output_tokens": 10, "usd": (15 * 1.0 + 10 * 2.0) / 1e6}


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("system", "s"), Message("user", "q0"))},
        {"messages": (Message("assistant", "q0"),)},
        {"prefill": "The"},
        {"background": (Message("user", ""),)},
        {"context_weight": 0.5},
        {"temperature": 0.71},
        {"max_tokens": 255},
        {"stop": ("x",)},
        {"schema": "other/1"},
        {"sample": 1},
    ],
)
def test_everything_that_can_change_an_answer_is_in_the_key(change):
    request = requests(1)[0]
    assert replace(request, **change).key("m") != request.key("m")
    assert request.key("m") == requests(1)[0].key("m") != request.key("other model")


def test_failures_and_empty_answers_are_never_kept(places):
    model = Scripted(failing=["q7"])
    first = asked_by(model, requests(40), places)
    assert first.answers[7] is None and first.failures == {"broken": 1} and first.sources["failed"] == 1
    model.failing.clear()
    again = asked_by(model, requests(40), places)
    assert model.asked[40:] == ["q7"] and again.answers[7].text == "re: q7"
    with open_journal(*places) as journal, pytest.raises(ValueError, match="empty"):
        journal.put("k", "m", Answer(" \n", 1, 1))


def test_many_failures_stop_the_stage_and_keep_the_answers(places):
    model = Scripted(failing=["q1", "q2"])
    with pytest.raises(BenchError, match=r"2 of 10 requests failed \(mostly: broken\); 8 answers are kept"):
        asked_by(model, requests(10), places)
    model.failing.clear()
    assert asked_by(model, requests(10), places).sources["asked"] == 2


RUN = """\
import sys
from pathlib import Path
from benchmark.console import SILENT
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.journal import ask, open_journal
from benchmark.llm.model import ChatRequest, Message
from benchmark.specs import Endpoint

model = EndpointLanguageModel(Endpoint(base_url=sys.argv[1], model="m", concurrency=3))
with open_journal(Path(sys.argv[2])) as journal:
    ask(model, [ChatRequest((Message("user", f"q{i}"),)) for i in range(60)], journal, SILENT)
"""


def test_killed_in_the_middle_a_rerun_asks_only_for_what_is_missing(places, serve, tmp_path):
    server = serve(delay=0.02)
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(RUN))
    process = subprocess.Popen([sys.executable, str(script), server.url, str(places[0])])
    while len(server.bodies) < 25 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(0.1)  # requests that were on their way
    before = len(server.bodies)
    assert 25 <= before < 60
    model = EndpointLanguageModel(Endpoint(base_url=server.url, model="m", concurrency=3))
    done = asked_by(model, requests(60), places)
    assert [answer.text for answer in done.answers] == [f"answer to q{i}" for i in range(60)]
    # Only what was under way at the kill (3 at most, and 1 answered but not yet committed) is asked again.
    assert 60 - before <= done.sources["asked"] <= 60 - before + 4
    assert len(server.bodies) == before + done.sources["asked"]
    asked_by(model, requests(60), places)
    assert len(server.bodies) == before + done.sources["asked"]


def test_a_replay_file_answers_without_a_model(places):
    model = Scripted()
    keys = [request.key(model.identity) for request in requests(4)]
    asked_by(model, requests(3), places)
    with open_journal(*places) as journal:
        assert export_replay(journal, places[1], keys) == 3
    rows = [json.loads(line) for line in places[1].read_text().splitlines()]
    assert [row["key"] for row in rows] == sorted(keys[:3])
    assert set(rows[0]) == {"key", "text", "input_tokens", "output_tokens"}
    places[0].unlink()
    silent = Scripted()
    replayed = asked_by(silent, requests(3), places)
    assert silent.asked == [] and replayed.sources["replay"] == 3
    assert [answer.text for answer in replayed.answers] == ["re: q0", "re: q1", "re: q2"]


def test_fresh_asks_anew_once_even_when_it_is_interrupted(places):
    model = Scripted()
    wanted = requests(4)
    keys = [request.key(model.identity) for request in wanted]
    asked_by(model, requests(5), places)
    with open_journal(*places) as journal:
        export_replay(journal, places[1], keys)

    class Interrupted(Scripted):
        def answers(self, requests):
            yield from list(super().answers(requests))[:2]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked_by(Interrupted(), wanted, places, fresh=True)
    for fresh in (True, False):  # with or without the word, it goes on with the two that are missing
        model = Scripted()
        done = asked_by(model, wanted, places, fresh=fresh)
        assert model.asked == (["q2", "q3"] if fresh else []) and done.sources["replay"] == 0
    with open_journal(*places) as journal:
        assert journal.journalled(requests(5)[4].key(model.identity))  # other answers were left alone
        journal.renewed(keys)
    model = Scripted()
    asked_by(model, wanted, places, fresh=True)
    assert model.asked == ["q0", "q1", "q2", "q3"]


def test_broken_files_are_named(places):
    places[0].parent.mkdir(parents=True)
    places[0].write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(BenchError, match=r"journal\.sqlite"), open_journal(*places):
        pass
    places[0].unlink()
    places[1].write_text('{"key": "a", "text": ""}\n{"key": 1}\n')
    with pytest.raises(BenchError) as caught, open_journal(*places):
        pass
    assert [line.split(":")[1] for line in caught.value.problems] == ["1", "2"]


def test_money_that_is_not_known_is_not_zero():
    answers = [Answer("a", 1_000_000, 500_000)]
    assert usage_facts(answers, Price(None, 2.0))["usd"] == "unknown"
    assert usage_facts([*answers, Answer("b", None, 3)], Price(1.0, 2.0)) == {
        "input_tokens": "unknown", "output_tokens": 500_003, "usd": "unknown",
    }  # fmt: skip
    assert usage_facts(answers, Price(1.0, 2.0))["usd"] == 2.0
