"""The journal: keys, kills, replay and renewal."""

import json
import re
import signal
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.llm.budget import Spent
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.forms import form
from benchmark.llm.journal import ask, export_replay, open_journal
from benchmark.llm.model import UNLIMITED, Answer, Answered, ChatRequest, Failure, Message, Price, usage_facts
from benchmark.llm.prompts import Prompts
from benchmark.specs import Endpoint

GRADE = form(
    "grade",
    {
        "type": "object", "additionalProperties": False, "required": ["grade", "why"],
        "properties": {"grade": {"type": "integer"}, "why": {"type": "string"}},
    },
)  # fmt: skip


class Scripted:
    """A language model that counts what it is asked and can be told to fail."""

    identity = "scripted"
    price = Price(1.0, 2.0)

    def __init__(self, failing=()):
        self.asked, self.failing = [], set(failing)

    def answers(self, requests, meter=UNLIMITED):
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
        {"form": GRADE},
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


def test_failures_that_were_tolerated_are_tolerated_in_every_run(places):
    model = Scripted(failing=["q3", "q7"])
    for asked in (100, 2, 2):
        model.asked.clear()
        done = asked_by(model, requests(100), places)
        assert done.failures == {"broken": 2} and len(model.asked) == asked
    with pytest.raises(BenchError, match="2 of 39 requests failed"):
        asked_by(model, requests(39), places)


RUN = """\
from pathlib import Path
from benchmark.console import SILENT
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.forms import form
from benchmark.llm.journal import ask, open_journal
from benchmark.llm.model import ChatRequest, Message
from benchmark.specs import Endpoint

model = EndpointLanguageModel(Endpoint(base_url={url!r}, model="m", concurrency=3))
shape = form("n", {{"type": "object", "required": ["n"], "properties": {{"n": {{"type": "string"}}}}}})
with open_journal(Path({journal!r})) as journal:
    ask(model, [ChatRequest((Message("user", f"q{{i}}"),), form=shape) for i in range(30)], journal, SILENT)
"""


def in_form(body):
    """Every third first attempt lacks the form, some in a fence; a repair has it."""
    first = body["messages"][0]["content"]
    if int(first[1:]) % 3 == 0 and len(body["messages"]) == 1:
        return f"It is {first}."
    return ("```json\n%s\n```" if first.endswith("1") else "%s") % json.dumps({"n": f"ü {first}"})


@pytest.mark.parametrize("moment", [1, 9, 22, 32])
def test_killed_in_the_middle_a_rerun_asks_only_for_what_is_missing(places, serve, start, tmp_path, moment):
    server = serve(in_form, delay=0.02)
    process = start(RUN.format(url=server.url, journal=str(places[0])))
    while len(server.bodies) < moment and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stderr
    time.sleep(0.1)  # requests that were on their way
    before = len(server.bodies)
    model = EndpointLanguageModel(Endpoint(base_url=server.url, model="m", concurrency=3))
    shape = form("n", {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}}})
    wanted = [ChatRequest((Message("user", f"q{i}"),), form=shape) for i in range(30)]
    done = asked_by(model, wanted, places)
    assert [answer.text for answer in done.answers] == [
        json.dumps({"n": f"ü q{i}"}, ensure_ascii=False) for i in range(30)
    ]
    assert [answer.output_tokens for answer in done.answers] == [5 if i % 3 else 10 for i in range(30)]
    # 30 first attempts and 10 repairs; only what was on its way at the kill (3, and as many that were answered but not
    # yet committed) is asked again.
    assert 40 <= len(server.bodies) <= 40 + 6 and before >= moment
    after = len(server.bodies)
    asked_by(model, wanted, places)
    assert len(server.bodies) == after

    keys = [request.key(model.identity) for request in wanted]
    undisturbed = tmp_path / "other.sqlite", tmp_path / "other.jsonl"
    asked_by(model, wanted, undisturbed)
    for where in (places, undisturbed):
        with open_journal(*where) as journal:
            assert export_replay(journal, where[1], keys) == 30
    assert places[1].read_bytes() == undisturbed[1].read_bytes()


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
        def answers(self, requests, meter=UNLIMITED):
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


def fresh_run(model, wanted, places, fresh=True):
    return [answer and answer.text for answer in asked_by(model, wanted, places, fresh=fresh).answers]


class Renewed(Scripted):
    """Says something else than before."""

    def answers(self, requests, meter=UNLIMITED):
        for place, result in super().answers(requests, meter):
            yield Answered(place, replace(result, text="new " + result.text) if isinstance(result, Answer) else result)


def test_a_renewal_that_reaches_nobody_loses_no_answer(places):
    class Unreachable(Scripted):
        def answers(self, requests, meter=UNLIMITED):
            raise BenchError("nobody there")

    wanted = requests(4)
    keys = [request.key("scripted") for request in wanted]
    old = fresh_run(Scripted(), wanted, places, fresh=False)
    for fresh in (True, False):  # a renewal that was begun goes on, with or without the word
        with pytest.raises(BenchError, match="nobody there"):
            asked_by(Unreachable(), wanted, places, fresh=fresh)
    with open_journal(*places) as journal:
        assert [journal.journalled(key).text for key in keys] == old
        assert export_replay(journal, places[1], keys) == 4
        journal.renewed(keys)
    assert fresh_run(Unreachable(), wanted, places, fresh=False) == old


def test_an_old_answer_is_replaced_by_a_new_one_and_by_nothing_else(places):
    wanted = requests(40)
    keys = [request.key("scripted") for request in wanted]
    fresh_run(Scripted(), wanted, places, fresh=False)
    with open_journal(*places) as journal:
        export_replay(journal, places[1], keys)
    new = fresh_run(Renewed(failing=["q7"]), wanted, places)
    assert new[6:9] == ["new re: q6", None, "new re: q8"]  # neither the journal nor the replay file steps in
    with open_journal(*places) as journal:
        journal.renewed(keys)
    assert fresh_run(Scripted(), wanted, places, fresh=False)[6:9] == ["new re: q6", "re: q7", "new re: q8"]


def test_a_journal_with_the_tables_of_before_goes_on_with_its_renewal(places):
    model, wanted = Scripted(), requests(3)
    asked_by(model, wanted, places)
    with open_journal(*places) as journal:
        export_replay(journal, places[1], [request.key("scripted") for request in wanted])
        journal.renew([request.key("scripted") for request in wanted])
    with sqlite3.connect(places[0]) as old:
        old.execute("DROP TABLE awaiting")
        old.execute("DELETE FROM answers")  # as a renewal began before
    old.close()
    done = asked_by(Scripted(), wanted, places)
    assert done.sources["asked"] == 3 and done.sources["replay"] == 0


def test_a_journal_that_is_held_by_another_run_is_named(places):
    def held():
        with open_journal(*places) as journal:
            journal._connection.execute("PRAGMA busy_timeout = 20")
            other = sqlite3.connect(places[0])
            other.execute("BEGIN IMMEDIATE")
            try:
                ask(Scripted(), requests(2), journal, SILENT)
            finally:
                other.close()

    with pytest.raises(BenchError, match=r"journal\.sqlite: the journal of answers cannot be used: database is locked"):
        held()


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


def formed(server, count, **settings):
    model = EndpointLanguageModel(Endpoint(base_url=server.url, model="m", retries=0))
    return model, [ChatRequest((Message("user", f"q{i}"),), form=GRADE, **settings) for i in range(count)]


FINE = '{"why": "it says so", "grade": 3}'
KEPT = '{"grade": 3, "why": "it says so"}'


def test_a_repair_shows_the_model_its_answer_and_what_is_wrong(places, serve):
    server = serve(lambda body: FINE if len(body["messages"]) == 3 else '```json\n{"grade": "high"}\n```')
    model, wanted = formed(server, 2)
    done = asked_by(model, wanted, places)
    assert done.answers == (Answer(KEPT, 20, 10),) * 2  # the tokens of both attempts
    assert done.sources == {"asked": 2, "repaired": 2, "journal": 0, "replay": 0, "failed": 0}
    first, answer, again = server.bodies[-1]["messages"]
    assert first["content"] in {"q0", "q1"}
    assert answer == {"role": "assistant", "content": '```json\n{"grade": "high"}\n```'}
    assert again["role"] == "user" and again["content"].startswith(Prompts().text("repair") + "\n")
    assert "'why' is a required property" in again["content"]
    with open_journal(*places) as journal:
        assert journal.journalled(wanted[0].key(model.identity)) == done.answers[0]
        assert journal.spent(model.identity) == Spent(4, 40, 20, 0)
    again = asked_by(model, wanted, places)
    assert again.answers == done.answers and again.sources["journal"] == 2 and len(server.bodies) == 4


def test_a_repair_that_fails_is_counted_with_its_cause_and_not_kept(places, serve):
    def reply(body):
        number = int(body["messages"][0]["content"][1:])
        if number == 4:
            return 200, {}, server.completion(body, FINE[:9], "length")
        if number == 5 and len(body["messages"]) == 3:
            return 500, {}, {"error": {"message": "oops"}}
        return {1: "no", 2: "never", 3: '{"grade": "x", "why": ""}', 5: "no"}.get(number, FINE)

    server = serve(reply)
    model, wanted = formed(server, 100)
    done = asked_by(model, wanted, places)
    assert [place for place, answer in enumerate(done.answers) if answer is None] == [1, 2, 3, 4, 5]
    assert done.failures == {
        "HTTP 500 (in a repair)": 1, "cut off at max_tokens": 1, "not the form: no JSON object": 2,
        "not the form: type of grade": 1,
    }  # fmt: skip
    assert done.sources["repaired"] == 0 and done.sources["failed"] == 5 and len(server.bodies) == 105
    cut = [body for body in server.bodies if body["messages"][0]["content"] == "q4"][-1]["messages"]
    assert "cut off" in cut[-1]["content"]
    with open_journal(*places) as journal:
        assert journal.spent(model.identity) == Spent(104, 1040, 520, 0)
    server.reply = lambda body: FINE
    done = asked_by(model, wanted, places)
    assert done.sources["asked"] == 5 and [len(body["messages"]) for body in server.bodies[105:]] == [1] * 5


def test_a_user_words_the_repair(places, serve, tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "repair.txt").write_text("Noch einmal {0} %s:")
    server = serve(lambda body: FINE if len(body["messages"]) == 3 else "hm {} %s")
    model, wanted = formed(server, 1)
    asked_by(model, wanted, places, prompts=Prompts(tmp_path / "prompts"))
    assert server.bodies[1]["messages"][2]["content"].startswith("Noch einmal {0} %s:\n")


def test_an_entry_without_the_form_is_missing(places, serve):
    server = serve(lambda body: FINE)
    model, wanted = formed(server, 2)
    keys = [request.key(model.identity) for request in wanted]
    with open_journal(*places) as journal:
        for key in keys:
            journal.put(key, model.identity, Answer('{"grade": 3}', 1, 1))
    places[1].write_text(json.dumps({"key": keys[0], "text": KEPT, "input_tokens": 1, "output_tokens": 1}) + "\n")
    done = asked_by(model, wanted, places)
    assert [answer.text for answer in done.answers] == [KEPT, KEPT] and server.asked == ["q1"]
    assert (done.sources["replay"], done.sources["asked"]) == (1, 1)


def test_who_counts_failures_may_tolerate_more(places):
    model = Scripted(failing=[f"q{i}" for i in range(0, 60, 4)])
    with pytest.raises(BenchError, match="15 of 60 requests failed"):
        asked_by(model, requests(60), places)
    found = asked_by(model, requests(60), places, tolerated=1.0)
    assert found.answers.count(None) == 15 and found.sources["failed"] == 15


def test_one_failure_of_few_is_tolerated(places):
    assert asked_by(Scripted(failing=["q1"]), requests(3), places).failures == {"broken": 1}
    with pytest.raises(BenchError, match="2 of 15 requests failed"):
        asked_by(Scripted(failing=["q3", "q4"]), [replace(request, sample=1) for request in requests(15)], places)


def test_requests_without_a_result_have_failed(places):
    class Silent(Scripted):
        def answers(self, requests, meter=UNLIMITED):
            yield from list(super().answers(requests))[:-1]

    assert asked_by(Silent(), requests(4), places).failures == {"no result": 1}


class Watching:
    """A reporter that keeps labels and words."""

    def __init__(self):
        self.labels, self.updates = [], []

    @contextmanager
    def progress(self, *, total, label):
        self.labels.append((total, label))
        yield lambda done, word: self.updates.append((done, word))


def test_the_screen_shows_the_purpose_and_the_rate(places, serve):
    server, watching = serve(lambda body: FINE), Watching()
    model, wanted = formed(server, 3)
    with open_journal(*places) as journal:
        ask(model, wanted, journal, watching, purpose="questions")
        server.usage = False
        ask(model, [replace(request, sample=1) for request in wanted], journal, watching)
    assert watching.labels == [(3, f"questions ({server.url}#m)"), (3, f"asking ({server.url}#m)")]
    assert [done for done, _ in watching.updates] == [1, 2, 3] * 2
    assert all(re.fullmatch(r"[\d,]+ tokens/s", word) for _, word in watching.updates[:3])
    assert [word for _, word in watching.updates[3:]] == [""] * 3


def test_one_answer_of_unknown_length_does_not_hide_the_rate(places, serve):
    def reply(body):
        completion = server.completion(body, "fine")
        if body["messages"][0]["content"] == "q1":
            del completion["usage"]
        return 200, {}, completion

    server, watching = serve(reply), Watching()
    model = EndpointLanguageModel(Endpoint(base_url=server.url, model="m", concurrency=1))
    with open_journal(*places) as journal:
        ask(model, requests(4), journal, watching)
    assert all(re.fullmatch(r"[\d,]+ tokens/s", word) for _, word in watching.updates)


def test_a_broken_character_is_kept_as_a_question_mark(places, serve):
    server = serve(lambda body: "half \ud800 of a pair")
    model = EndpointLanguageModel(Endpoint(base_url=server.url, model="m"))
    assert asked_by(model, requests(1), places).answers[0].text == "half ? of a pair"
    assert asked_by(model, requests(1), places).sources["journal"] == 1


def test_commits_reach_the_file_itself_while_it_is_written(places, monkeypatch):
    from benchmark.llm import journal as module

    monkeypatch.setattr(module, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with open_journal(*places) as journal:
        journal.put("k", "m", Answer("a text that is easy to find", 1, 1))
        assert b"a text that is easy to find" in places[0].read_bytes()
