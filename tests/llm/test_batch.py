"""OpenAI's Batch API against a real HTTP server: what is sent, what is remembered, what a kill costs."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.llm import batch as batches
from benchmark.llm.batch import BatchLanguageModel
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.forms import form
from benchmark.llm.journal import ask, open_journal
from benchmark.llm.local import LocalLanguageModel
from benchmark.llm.model import Answer, ChatRequest, Failure, Message, Price
from benchmark.llm.opening import open_llm
from benchmark.project import Project
from benchmark.specs import Budget, Endpoint, LLMSpec, LocalModel

KEY = "sk-very-secret-0123456789"
GRADE = form(
    "grade",
    {
        "type": "object", "additionalProperties": False, "required": ["grade"],
        "properties": {"grade": {"type": "integer"}},
    },
)  # fmt: skip


@pytest.fixture
def begin():
    """Start batch servers that end with the test."""
    spec = importlib.util.spec_from_file_location("batch_server", Path(__file__).parent / "batch_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    servers = []

    def start(*args, **options):
        servers.append(module.BatchServer(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "results" / "batches.json"


def spec_at(url, **settings):
    return Endpoint(base_url=url, model="m1", batch=True, **{"retries": 0, "timeout": 5.0, **settings})


def model_at(url, ledger, reporter=SILENT, pause=lambda seconds: None, **settings):
    return BatchLanguageModel(spec_at(url, **settings), ledger, reporter, pause)


def requests(count, **settings):
    return [ChatRequest((Message("user", f"q{i}"),), **settings) for i in range(count)]


def open_batches(ledger):
    return json.loads(ledger.read_text())["batches"]


def test_everything_goes_in_one_batch_with_its_parameters(begin, ledger, monkeypatch):
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    server, notes, pauses = begin(ends=None), Notes(), []

    def pause(seconds):
        pauses.append(seconds)
        assert [entry["batch"] for entry in open_batches(ledger)] == ["batch_1"]  # known before it is waited for
        server.ends = "completed" if len(pauses) == 12 else None

    settings = {"api_key_env": "TEST_LLM_KEY", "parameters": {"seed": 1}}
    model = model_at(server.url, ledger, notes, pause, **settings)
    wanted = requests(3, temperature=0.3, max_tokens=7, stop=("x",), form=GRADE)
    found = dict(model.answers(wanted))
    assert found == {i: Answer(f"answer to q{i}", 10, 5) for i in range(3)}
    assert [line["custom_id"] for line in server.lines("batch_1")] == [r.key(model.identity) for r in wanted]
    line = server.lines("batch_1")[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["response_format"]["json_schema"]["schema"] == GRADE.as_dict
    assert {k: v for k, v in line["body"].items() if k != "response_format"} == {
        "model": "m1", "messages": [{"role": "user", "content": "q0"}], "temperature": 0.3, "stop": ["x"],
        "max_completion_tokens": 7, "seed": 1,
    }  # fmt: skip
    assert open_batches(ledger) == [] and set(server.keys) == {f"Bearer {KEY}"} and KEY not in ledger.read_text()
    assert pauses[0] == 1.0 and pauses == sorted(pauses) and max(pauses) == 60.0
    assert notes.lines == [
        "batch_1: 3 requests, in progress; this may take a day, stop it at will and run again",
        "batch_1: 3 requests, completed",
    ]


@pytest.mark.parametrize(("structured", "sent"), [("json_object", {"type": "json_object"}), ("text", None)])
def test_forms_are_asked_for_as_configured(begin, ledger, structured, sent):
    server = begin()
    list(model_at(server.url, ledger, structured=structured).answers(requests(1, form=GRADE)))
    assert server.lines("batch_1")[0]["body"].get("response_format") == sent


def test_identity_is_the_endpoints_and_the_price_is_half(ledger):
    spec = spec_at("http://h/v1", usd_per_million_input=1.0, usd_per_million_output=3.0, parameters={"seed": 1})
    model = BatchLanguageModel(spec, ledger)
    assert model.identity == EndpointLanguageModel(spec).identity and model.price == Price(0.5, 1.5)
    assert model_at("http://h/v1", ledger).price == Price(None, None)


def test_many_requests_are_split(begin, ledger, monkeypatch):
    server = begin()
    monkeypatch.setattr(batches, "_MOST_REQUESTS", 4)
    found = dict(model_at(server.url, ledger).answers(requests(10) + requests(2)))
    assert sorted(found) == list(range(10))  # a key goes once into a batch, as the API wants it
    assert [len(server.lines(name)) for name in server.batches] == [4, 4, 2]
    monkeypatch.setattr(batches, "_MOST_BYTES", 2 * len(server.files["file-1"]) // 4 + 1)
    list(model_at(server.url, ledger).answers(requests(5, sample=1)))
    assert [len(server.lines(name)) for name in list(server.batches)[3:]] == [2, 2, 1]


def test_failed_lines_fail_alone(begin, ledger):
    said = {
        "q1": (400, {"error": {"message": "too  warm"}}), "q2": "!rate_limit", "q3": None, "q4": " ",
        "q5": (200, {"choices": []}),
    }  # fmt: skip
    server, notes = begin(lambda body: said.get(body["messages"][-1]["content"], "fine")), Notes()
    found = dict(model_at(server.url, ledger, notes).answers(requests(7)))
    assert found[0] == found[6] == Answer("fine", 10, 5)
    assert found[1] == Failure("HTTP 400") and found[2] == Failure("rate limit")
    assert found[3] == Failure("no result in the batch") and found[4] == Failure("empty answer", 10, 5)
    assert found[5] == Failure("not an OpenAI-compatible answer")
    assert "batch_1: a request failed: HTTP 400: too warm" in notes.lines


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("expired", "batch expired"),
        ("cancelled", "batch expired"),
        ("failed", "the batch failed: Enqueued token limit"),
    ],
)
def test_a_batch_that_ends_badly_is_sent_anew_by_the_next_run(begin, ledger, tmp_path, ends, reason):
    server = begin(ends=ends)
    server.answered = 4
    kept = 0 if ends == "failed" else 4
    with open_journal(tmp_path / "journal.sqlite") as journal:
        with pytest.raises(BenchError, match=rf"mostly: {reason}\); {kept} answers are kept"):
            ask(model_at(server.url, ledger), requests(10), journal, SILENT)
        assert open_batches(ledger) == []
        server.ends = "completed"
        done = ask(model_at(server.url, ledger), requests(10), journal, SILENT)
    assert done.sources["asked"] == 10 - kept == len(server.lines("batch_2"))
    assert [answer.text for answer in done.answers] == [f"answer to q{i}" for i in range(10)]


RUN = """\
import sys
from pathlib import Path
from benchmark.console import SILENT, Notes
from benchmark.llm.batch import BatchLanguageModel
from benchmark.llm.journal import ask, open_journal
from benchmark.llm.model import ChatRequest, Message
from benchmark.specs import Endpoint
import time

model = BatchLanguageModel(Endpoint(base_url=sys.argv[1], model="m1", batch=True), Path(sys.argv[2]), SILENT,
                           lambda seconds: time.sleep(0.05))
with open_journal(Path(sys.argv[3])) as journal:
    ask(model, [ChatRequest((Message("user", f"q{i}"),)) for i in range(6)], journal, SILENT)
"""


def test_killed_while_it_waits_a_rerun_takes_up_the_batch(begin, ledger, tmp_path):
    server = begin(ends=None)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    journal_file = tmp_path / "journal.sqlite"
    process = subprocess.Popen([sys.executable, str(script), server.url, str(ledger), str(journal_file)])
    while server.asked.count("GET /batches/batch_1") < 3 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    server.ends = "completed"
    with open_journal(journal_file) as journal:
        done = ask(model_at(server.url, ledger), requests(8), journal, SILENT)
    assert [answer.text for answer in done.answers] == [f"answer to q{i}" for i in range(8)]
    assert [len(server.lines(name)) for name in server.batches] == [6, 2]  # only what is new was sent
    assert open_batches(ledger) == []


def test_killed_while_its_results_are_taken_it_takes_them_again(begin, ledger):
    server = begin()
    model = model_at(server.url, ledger)
    stream = model.answers(requests(3))
    next(stream)
    stream.close()
    assert len(open_batches(ledger)) == 1
    assert len(dict(model.answers(requests(3)))) == 3 and len(server.batches) == 1
    assert open_batches(ledger) == []


@pytest.mark.parametrize("begun", [True, False])
def test_killed_while_it_begins_a_batch_it_looks_for_it(begin, ledger, begun):
    server = begin(ends=None)
    with pytest.raises(ZeroDivisionError):
        list(model_at(server.url, ledger, pause=lambda seconds: 1 / 0).answers(requests(3)))
    state = json.loads(ledger.read_text())
    state["batches"][0]["batch"] = ""  # as it is written before the endpoint has told the id
    ledger.write_text(json.dumps(state))
    if not begun:
        server.batches.clear()
    server.ends = "completed"
    assert len(dict(model_at(server.url, ledger).answers(requests(3)))) == 3
    assert len(server.batches) == 1 and open_batches(ledger) == []
    assert server.asked.count("POST /files") == (1 if begun else 2)


def test_batches_of_others_are_left_alone(begin, ledger):
    server = begin(ends=None)
    with pytest.raises(ZeroDivisionError):
        list(model_at(server.url, ledger, pause=lambda seconds: 1 / 0).answers(requests(3)))
    server.ends = "completed"
    list(model_at(server.url, ledger).answers(requests(2, sample=1)))
    other = BatchLanguageModel(spec_at(server.url).model_copy(update={"model": "m2"}), ledger)
    list(other.answers(requests(3)))
    assert [entry["batch"] for entry in open_batches(ledger)] == ["batch_1"] and len(server.batches) == 3


def test_results_that_nobody_wants_now_wait_for_a_later_run(begin, ledger, tmp_path):
    server = begin(lambda body: None if body["messages"][-1]["content"] == "q9" else "fine", ends=None)
    wanted = requests(10)
    with open_journal(tmp_path / "journal.sqlite") as journal:
        with pytest.raises(ZeroDivisionError):
            ask(model_at(server.url, ledger, pause=lambda seconds: 1 / 0), wanted, journal, SILENT)
        server.ends = "completed"
        model = model_at(server.url, ledger)
        assert all(ask(model, wanted[:4], journal, SILENT).answers)
        # What has no result is not waited for.
        assert open_batches(ledger)[0]["keys"] == [request.key(model.identity) for request in wanted[4:9]]
        assert all(ask(model, wanted[:9], journal, SILENT).answers) and len(server.batches) == 1
    assert open_batches(ledger) == []


def test_what_was_taken_before_a_stop_is_not_taken_again(begin, ledger):
    server = begin()
    model = model_at(server.url, ledger)
    stream = model.answers(requests(3))
    taken = [next(stream).place, next(stream).place]
    stream.close()  # whoever asks may not have kept the second
    assert [entry["keys"] for entry in open_batches(ledger)] == [
        [request.key(model.identity) for place, request in enumerate(requests(3)) if place != taken[0]]
    ]
    assert len(dict(model.answers([requests(3)[place] for place in range(3) if place != taken[0]]))) == 2
    assert open_batches(ledger) == [] and len(server.batches) == 1


def test_results_that_are_gone_are_said_to_be_and_what_helps(begin, ledger):
    server = begin(ends=None)
    with pytest.raises(ZeroDivisionError):
        list(model_at(server.url, ledger, pause=lambda seconds: 1 / 0).answers(requests(2)))
    server.ends = "completed"
    output = server.ended("batch_1")["output_file_id"]
    content = server.files.pop(output)
    with pytest.raises(
        BenchError, match=rf"{output}.*batch_1, is gone; take batch_1 out of .*batches\.json.*once more"
    ):
        list(model_at(server.url, ledger).answers(requests(2)))
    server.files[output] = b"<html>try later</html>"
    with pytest.raises(BenchError, match=f"{output} holds no results of a batch"):
        list(model_at(server.url, ledger).answers(requests(2)))
    server.files[output] = content  # nothing was forgotten meanwhile
    assert len(dict(model_at(server.url, ledger).answers(requests(2)))) == 2 and len(server.batches) == 1


def test_a_model_says_that_one_round_must_do(ledger):
    assert model_at("http://h/v1", ledger).one_round
    assert not getattr(EndpointLanguageModel(spec_at("http://h/v1")), "one_round", False)


HTML = {"Content-Type": "text/html"}
ODD = [(HTML, b"<html>hello</html>"), ({}, b"{}"), ({}, b"{"), ({}, b"[]"), ({}, b"null"), ({}, b'{"id": 3}')]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("path", ["/files", "/batches", "/batches/batch_1"])
def test_odd_replies_are_one_line_and_forget_nothing(begin, ledger, path, odd):
    server = begin()
    server.odd = {path: odd}
    for _ in range(2):  # the second time, a batch may have to be found again
        with pytest.raises(BenchError, match="does not answer like OpenAI's Batch API") as caught:
            list(model_at(server.url, ledger).answers(requests(2)))
        assert "\n" not in str(caught.value)
        if path == "/batches" and odd[1] in (b"{}", b'{"id": 3}'):
            break  # an empty list of batches is one
    server.odd = {}
    assert len(dict(model_at(server.url, ledger).answers(requests(2)))) == 2 and open_batches(ledger) == []


def test_settings_of_the_environment_that_cannot_be_used_are_named(begin, ledger, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(BenchError, match=r"ALL_PROXY.*SOCKS"):
        list(model_at(begin().url, ledger).answers(requests(1)))
    monkeypatch.delenv("ALL_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(BenchError, match=r"SSL_CERT_FILE.*No such file"):
        list(model_at(begin().url, ledger).answers(requests(1)))
    monkeypatch.undo()
    with pytest.raises(BenchError, match="is no address"):
        list(model_at("http://127.0.0.1:port/v1", ledger).answers(requests(1)))


def test_the_budget_decides_before_anything_is_sent(begin, ledger, tmp_path):
    server = begin(ends=None)
    with open_journal(tmp_path / "journal.sqlite") as journal:

        def asked(calls, pause=lambda seconds: None):
            model = model_at(server.url, ledger, pause=pause)
            return ask(model, requests(5), journal, SILENT, budget=Budget(calls=calls))

        with pytest.raises(ZeroDivisionError):
            asked(3, pause=lambda seconds: 1 / 0)
        assert len(server.lines("batch_1")) == 3
        server.ends = "completed"
        # What is on its way will be paid for: it is taken even where the budget has become smaller.
        with pytest.raises(BenchError, match=r"3 of 2 calls spent\); 3 of 5 requests"):
            asked(2)
        assert list(server.batches) == ["batch_1"] and journal.spent(f"{server.url}#m1").calls == 3
        assert all(asked(5).answers) and len(server.lines("batch_2")) == 2


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((401, {"error": {"message": f"Incorrect API key: {KEY}"}}), "TEST_LLM_KEY"),
        ((404, {"error": {"message": "no such path"}}), "no Batch API"),
        ((429, {"error": {"message": "x", "code": "insufficient_quota"}}), "quota is used up"),
        ((400, {"error": {"message": f"bad {KEY}"}}), r"HTTP 400: bad \*\*\*"),
        ((500, {"error": {"message": "oops"}}), "HTTP 500"),
    ],
)
def test_refusals_are_one_line_without_the_key(begin, ledger, monkeypatch, refusal, said):
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    server = begin()
    server.refusal = refusal
    with pytest.raises(BenchError, match=said) as caught:
        list(model_at(server.url, ledger, api_key_env="TEST_LLM_KEY").answers(requests(3)))
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_key_a_host_a_batch_and_a_ledger_that_are_not_there(begin, ledger, monkeypatch):
    monkeypatch.delenv("TEST_LLM_KEY", raising=False)
    with pytest.raises(BenchError, match="TEST_LLM_KEY is not set"):
        list(model_at("http://127.0.0.1:9/v1", ledger, api_key_env="TEST_LLM_KEY").answers(requests(1)))
    with pytest.raises(BenchError, match="cannot be reached"):
        list(model_at("http://127.0.0.1:9/v1", ledger).answers(requests(1)))
    server = begin(ends=None)
    with pytest.raises(ZeroDivisionError):
        list(model_at(server.url, ledger, pause=lambda seconds: 1 / 0).answers(requests(1)))
    server.batches.clear()
    with pytest.raises(BenchError, match=r"does not know batch_1.*batches\.json"):
        list(model_at(server.url, ledger).answers(requests(1)))
    for broken in ("[]", '{"batches": 3}', '{"batches": [{"model": "m"}]}', "{"):
        ledger.write_text(broken)
        with pytest.raises(BenchError, match=r"batches\.json"):
            list(model_at(server.url, ledger).answers(requests(1)))


def test_a_form_is_repaired_in_a_second_batch_and_a_kill_in_between_costs_nothing(begin, ledger, tmp_path):
    def reply(body):
        return '{"grade": 2}' if len(body["messages"]) == 3 or body["messages"][0]["content"] == "q0" else "two"

    server = begin(reply)

    def stop_at_the_second(seconds):
        raise KeyboardInterrupt

    with open_journal(tmp_path / "journal.sqlite") as journal:
        wanted = requests(3, form=GRADE)
        reply_of_first, server.reply = server.reply, lambda body: setattr(server, "ends", None) or reply(body)
        with pytest.raises(KeyboardInterrupt):
            ask(model_at(server.url, ledger, pause=stop_at_the_second), wanted, journal, SILENT)
        assert [len(server.lines(name)) for name in server.batches] == [3, 2]
        server.reply, server.ends = reply_of_first, "completed"
        done = ask(model_at(server.url, ledger), wanted, journal, SILENT)
    assert len(server.batches) == 2 and open_batches(ledger) == []
    assert done.answers == (Answer('{"grade": 2}', 10, 5), *[Answer('{"grade": 2}', 20, 10)] * 2)


def test_a_configuration_opens_the_right_model(ledger, tmp_path):
    project = Project(tmp_path)
    spec = LLMSpec(endpoint=spec_at("http://h/v1"))
    assert isinstance(open_llm(spec, project, ledger), BatchLanguageModel)
    with pytest.raises(BenchError, match="batch"):
        open_llm(spec, project)
    plain = LLMSpec(endpoint=spec_at("http://h/v1").model_copy(update={"batch": False}))
    assert isinstance(open_llm(plain, project), EndpointLanguageModel)
    assert isinstance(open_llm(LLMSpec(local=LocalModel(path="weights/tiny")), project), LocalLanguageModel)
