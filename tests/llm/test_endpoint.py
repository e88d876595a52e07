"""The OpenAI-compatible client against a real HTTP server: what is sent, what is retried, what is said."""

import gc
import logging
import socket
import statistics
import threading
import time
import traceback
import warnings

import pytest

from benchmark.errors import BenchError
from benchmark.llm import limits
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.forms import form
from benchmark.llm.model import Answer, ChatRequest, Failure, Message
from benchmark.llm.transport import Transport
from benchmark.specs import Endpoint, parse_spec

KEY = "sk-very-secret-0123456789"


def model_at(url, **settings):
    return EndpointLanguageModel(Endpoint(base_url=url, model="m1", **{"retries": 2, "timeout": 5.0, **settings}))


def requests(count, **settings):
    return [ChatRequest((Message("system", "be brief"), Message("user", f"q{i}")), **settings) for i in range(count)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """Tries follow each other quickly."""
    monkeypatch.setattr(limits, "_FIRST_PAUSE", 0.01)


def ask_all(model, wanted):
    return dict(model.answers(wanted))


def error(status, message, **more):
    return status, {}, {"error": {"message": message, "type": "x", "param": None, "code": None, **more}}


def test_every_request_is_answered_once_with_its_parameters(serve):
    server = serve()
    found = ask_all(model_at(server.url, concurrency=4), requests(9, temperature=0.3, max_tokens=7, prefill="The"))
    assert {place: result.text for place, result in found.items()} == {i: f"answer to q{i}" for i in range(9)}
    assert found[0] == Answer("answer to q0", 10, 5)
    assert sorted(server.asked) == [f"q{i}" for i in range(9)]
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m1", 0.3, 7)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]  # the prefill is not sent


def test_the_key_comes_from_the_environment_and_is_told_to_nobody(serve, monkeypatch):
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    server = serve(lambda body: error(401, f"Incorrect API key provided: {KEY}"))
    model = model_at(server.url, api_key_env="TEST_LLM_KEY")
    with pytest.raises(BenchError) as caught:
        ask_all(model, requests(3))
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "TEST_LLM_KEY" in str(caught.value) and "401" in str(caught.value)
    assert KEY not in str(caught.value) and KEY not in model.identity and "\n" not in str(caught.value)
    assert len(server.bodies) == 1  # one refusal decides

    server.reply = lambda body: error(400, f"bad request with {KEY}")
    with pytest.raises(BenchError) as caught:
        ask_all(model, requests(3))
    assert KEY not in str(caught.value) and "***" in str(caught.value)


def test_a_key_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("TEST_LLM_KEY", raising=False)
    with pytest.raises(BenchError, match="TEST_LLM_KEY is not set"):
        ask_all(model_at("http://127.0.0.1:9/v1", api_key_env="TEST_LLM_KEY"), requests(1))


def test_a_dead_endpoint_is_found_out_by_the_first_request(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    tries, ask = [], Transport.ask
    monkeypatch.setattr(Transport, "ask", lambda *args: tries.append(1) or ask(*args))
    with pytest.raises(BenchError, match="cannot be reached"):
        ask_all(model_at(url, retries=20), requests(50))
    assert len(tries) == 1


def test_an_unknown_host_and_an_unknown_model_are_one_line(serve):
    with pytest.raises(BenchError, match=r"no-such-host\.invalid.*cannot be reached"):
        ask_all(model_at("http://no-such-host.invalid/v1"), requests(2))
    server = serve(lambda body: error(404, "The model `m1` does not exist"))
    with pytest.raises(BenchError, match="no model 'm1'"):
        ask_all(model_at(server.url), requests(2))


@pytest.mark.parametrize("trouble", [error(400, "content filter"), error(413, "too big"), error(503, "busy")])
def test_a_first_request_that_fails_does_so_alone(serve, trouble):
    bad = {"q0", "q1"}
    server = serve(lambda body: trouble if body["messages"][-1]["content"] in bad else "fine", delay=0.02)
    found = ask_all(model_at(server.url, retries=1, concurrency=4), requests(8))
    assert found.pop(0) == found.pop(1) == Failure(f"HTTP {trouble[0]}")
    assert {result.text for result in found.values()} == {"fine"} and len(found) == 6
    alone = server.asked[: server.asked.index("q2") + 1]
    tries = 2 if trouble[0] == 503 else 1
    assert alone == ["q0"] * tries + ["q1"] * tries + ["q2"]

    again = ask_all(model_at(server.url, retries=0), requests(2))  # only those that fail are left
    assert again == dict.fromkeys((0, 1), Failure(f"HTTP {trouble[0]}"))


@pytest.mark.parametrize(
    ("trouble", "settings", "said"),
    [
        (error(422, "no such thing"), {}, "HTTP 422: no such thing"),
        (error(500, "oops"), {"retries": 1}, "HTTP 500: oops, 2 times in a row"),
        (error(429, "slow"), {"deadline": 0.15}, r"HTTP 429, still after 0\.15 s \('deadline'\)"),
    ],
)
def test_the_third_first_request_that_fails_ends_the_run(serve, trouble, settings, said):
    server, got = serve(lambda body: trouble), []
    with pytest.raises(BenchError, match=said):
        for answered in model_at(server.url, **settings).answers(requests(20)):
            got.append(answered.place)
    assert got == [0, 1, 2] and set(server.asked) == {"q0", "q1", "q2"}


@pytest.mark.parametrize("trouble", [error(405, "not here"), error(404, "no model"), error(401, "no")])
def test_trouble_with_the_whole_endpoint_ends_the_run_even_after_a_first_failure(serve, trouble):
    first = error(400, "content filter")
    server = serve(lambda body: first if body["messages"][-1]["content"] == "q0" else trouble)
    with pytest.raises(BenchError, match=f"HTTP {trouble[0]}"):
        ask_all(model_at(server.url), requests(9))
    assert server.asked == ["q0", "q1"]


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        (["late", "broken", "busy", "cut", "fine"], Answer("fine", 10, 5, lost=3)),
        (["busy", "fine"], Answer("fine", 10, 5)),
        (["late", "empty"], Failure("empty answer", 10, 5, lost=1)),
        (["late", "busy", "busy", "busy", "busy"], Failure("HTTP 500", lost=1)),
        (["late", "filter"], Failure("HTTP 400", lost=1)),
        (["busy", "busy", "busy", "late", "late"], Failure("no answer within 0.15 s", None, None, lost=1)),
    ],
)
def test_tries_that_may_have_been_paid_for_are_counted(serve, tries, expected):
    server, left = serve(), list(tries)
    said = {
        "fine": lambda body: "fine",
        "empty": lambda body: "  ",
        "busy": lambda body: error(500, "oops"),
        "filter": lambda body: error(400, "content filter"),
        "broken": lambda body: (200, {}, b'{"choices": ['),
        "cut": server.cut,
        "late": lambda body: time.sleep(20) or "late",
    }
    server.reply = lambda body: "fine" if body["messages"][-1]["content"] == "q0" else said[left.pop(0)](body)
    assert ask_all(model_at(server.url, retries=4, timeout=0.15), requests(2))[1] == expected and not left


def test_retry_after_pauses_all_and_a_long_one_ends_the_run(serve):
    arrived, told, lock = [], [], threading.Lock()

    def reply(body):
        with lock:
            arrived.append(time.monotonic())
            number = len(arrived)
        time.sleep(0.03)
        if number == 9:
            told.append(time.monotonic())
            return 429, {"Retry-After": "1"}, {"error": {"message": "slow down"}}
        return "fine"

    server = serve(reply)
    found = ask_all(model_at(server.url, concurrency=4), requests(30))
    assert {result.text for result in found.values()} == {"fine"} and len(found) == 30
    after = [moment - told[0] for moment in arrived if moment > told[0] + 0.1]
    assert min(after) >= 1.0 and max(after) < 3.0  # nobody came meanwhile
    assert len(after) >= 15

    server.reply = lambda body: (429, {"Retry-After": "3600"}, {"error": {"message": "slow down"}})
    with pytest.raises(BenchError, match=r"HTTP 429, and asks to wait 3600 s.*run again later"):
        ask_all(model_at(server.url), requests(1))
    server.reply = lambda body: (503, {"Retry-After": "3"}, {"error": {"message": "slow down"}})
    with pytest.raises(BenchError, match="HTTP 503, and asks to wait 3 s"):
        ask_all(model_at(server.url, deadline=2.0), requests(1))


def test_many_refusals_for_overload_bring_the_concurrency_down(serve):
    lock, busy, seen, refused = threading.Lock(), [0], [], []

    def reply(body):
        with lock:
            busy[0] += 1
            full = busy[0] > 4
            seen.append(busy[0])
            refused.append(full)
        time.sleep(0.03)
        with lock:
            busy[0] -= 1
        return error(429, "too many requests") if full else "fine"

    server = serve(reply)
    found = ask_all(model_at(server.url, concurrency=32, retries=0), requests(200))
    assert len(found) == 200 and {type(result) for result in found.values()} == {Answer}
    assert max(seen[:40]) >= 10  # it began far above what the server allows
    late = len(seen) // 2
    assert statistics.mean(seen[late:]) <= 5 and max(seen[late:]) <= 9
    assert sum(refused[late:]) < 0.3 * len(refused[late:])


def test_what_stays_broken_fails_alone(serve):
    def reply(body):
        if body["messages"][-1]["content"] == "q2":
            return (503, {"Retry-After": "0"}, {"error": {"message": "overloaded"}})
        return {"q3": "  ", "q4": error(400, "content filter")}.get(body["messages"][-1]["content"], "fine")

    server = serve(reply)
    found = ask_all(model_at(server.url), requests(6))
    assert [place for place, result in found.items() if isinstance(result, Answer)] and len(found) == 6
    assert found[2] == Failure("HTTP 503") and server.asked.count("q2") == 3
    assert found[3] == Failure("empty answer", 10, 5)  # it was paid for
    assert found[4] == Failure("HTTP 400") and server.asked.count("q4") == 1


def test_a_refusal_in_the_middle_hands_on_what_was_paid_for(serve):
    server = serve(delay=0.05)
    server.reply = lambda body: error(401, "revoked") if body["messages"][-1]["content"] == "q5" else "fine"
    got = []
    with pytest.raises(BenchError, match="refused"):
        for answered in model_at(server.url, concurrency=2).answers(requests(40)):
            got.append(answered)
    assert sorted(f"q{place}" for place, _ in got) == sorted(set(server.asked) - {"q5"})
    assert len(server.bodies) <= 9  # the rest was not asked


def test_endpoints_that_want_another_name_for_the_limit(serve):
    wanted = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    server = serve(lambda body: error(400, wanted) if "max_tokens" in body else "fine")
    assert {result.text for result in ask_all(model_at(server.url), requests(3)).values()} == {"fine"}
    assert server.bodies[-1]["max_completion_tokens"] == 256


@pytest.mark.parametrize(
    "reply", [(200, {"Content-Type": "text/html"}, b"<html>hello</html>"), (200, {}, {"unexpected": True})]
)
def test_something_else_than_an_endpoint_is_said_to_be_that(serve, reply):
    server = serve(lambda body: reply)
    with pytest.raises(BenchError, match="does not answer like an OpenAI-compatible endpoint"):
        ask_all(model_at(server.url), requests(3))


def test_tokens_that_are_not_told_are_not_known(serve):
    server = serve(usage=False)
    assert ask_all(model_at(server.url), requests(1))[0] == Answer("answer to q0", None, None)


@pytest.mark.parametrize("url", ["http://me:word@host/v1", "https://host/v1?key=abc", "ftp://host"])
def test_an_address_with_a_secret_is_refused(url):
    with pytest.raises(BenchError, match="base_url"):
        parse_spec(Endpoint, {"base_url": url, "model": "m"}, "benchmark.yaml")


def test_an_endpoint_that_takes_no_schema_is_asked_for_json_then_for_text(serve):
    grade = form("grade", {"type": "object", "properties": {"grade": {"type": "integer"}}})
    accepted = {"json_schema", "json_object", None}

    def reply(body):
        kind = body.get("response_format", {}).get("type")
        return "{}" if kind in accepted else error(400, f"response_format of type '{kind}' is not supported")

    server = serve(reply)
    ask_all(model_at(server.url), requests(1, form=grade))
    assert server.bodies[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "grade", "strict": True, "schema": grade.as_dict},
    }
    for refused, kinds in [("json_schema", ["json_schema", "json_object"]), ("json_object", [None])]:
        accepted.discard(refused)
        server.forget()
        model = model_at(server.url, retries=0)
        assert {result.text for result in ask_all(model, requests(4, form=grade)).values()} == {"{}"}
        asked = [body.get("response_format", {}).get("type") for body in server.bodies]
        assert asked[len(asked) - 4 :] == [kinds[-1]] * 4  # each refusal is met once
        assert len(asked) == 4 + len(accepted ^ {"json_schema", "json_object", None})
    server.forget()
    ask_all(model, [*requests(1), *requests(1, form=grade)])
    assert not any("response_format" in body for body in server.bodies)  # neither for free text, nor forgotten

    with pytest.raises(BenchError, match="HTTP 400: response_format of type 'json_object'"):
        ask_all(model_at(server.url, structured="json_object"), requests(3, form=grade))  # asked for explicitly
    server.forget()
    ask_all(model_at(server.url, structured="text"), requests(1, form=grade))
    assert "response_format" not in server.bodies[0] and len(server.bodies) == 1


def test_requests_refused_at_the_same_time_step_down_once(serve):
    answer = form("answer", {"type": "object"})

    def reply(body):
        time.sleep(0.05)
        if body.get("response_format", {}).get("type") == "json_schema":
            return 422, {}, {"detail": [{"loc": ["body", "response_format", "json_schema"], "msg": "not permitted"}]}
        return "fine"

    server = serve(reply)
    model = model_at(server.url, concurrency=8, retries=0)
    found = ask_all(model, [*requests(1), *requests(8, form=answer)])
    assert {result.text for result in found.values()} == {"fine"}
    kinds = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert kinds == [None] + ["json_schema"] * 8 + ["json_object"] * 8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0.7 with this model."),
        ("stop", "Unsupported parameter: 'stop' is not supported with this model."),
    ],
)
def test_a_parameter_that_is_refused_is_left_out_from_then_on(serve, name, said):
    server = serve(lambda body: error(400, said) if name in body else "fine")
    model = model_at(server.url, retries=0)
    assert {result.text for result in ask_all(model, requests(3, stop=("x",))).values()} == {"fine"}
    assert [name in body for body in server.bodies] == [True, False, False, False]
    assert all("max_tokens" in body for body in server.bodies)


@pytest.mark.parametrize(
    "body",
    [
        {"detail": [{"loc": ["body", "messages", 1], "msg": "bad char", "input": "The water temperature; stop."}]},
        {"detail": [{"loc": ["body", "messages", 1], "msg": "temperature is a bad word"}]},
        {"error": {"message": "bad text", "param": None, "input": "temperature"}},
        {"error": {"message": "bad text: 'temperature'", "param": "messages[1].content"}},
        {"request": "temperature"},
        b"<p>temperature</p>",
    ],
)
def test_the_words_of_a_document_leave_no_parameter_out(serve, body):
    server = serve(lambda asked: (422, {}, body) if asked["messages"][-1]["content"] == "q1" else "fine")
    model = model_at(server.url, concurrency=1)
    found = ask_all(model, requests(4, stop=("x",)))
    assert found[1] == Failure("HTTP 422") and server.asked.count("q1") == 1
    assert all("temperature" in body and "stop" in body for body in server.bodies)
    assert model.left_out == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": [{"loc": ["body", "x"], "msg": "is missing", "input": "secret"}]}, "body.x: is missing"),
        ({"detail": "no such thing"}, "no such thing"),
        ({"error": "no such thing"}, "no such thing"),
        ({"message": "no such thing"}, "no such thing"),
        ([{"error": {"message": "no such thing"}}], "no such thing"),
        ({"input": "secret"}, "no reason given"),
        (b"secret", "no reason given"),
    ],
)
def test_only_the_messages_of_a_refusal_are_told(serve, body, said):
    with pytest.raises(BenchError) as caught:
        ask_all(model_at(serve(lambda asked: (400, {}, body)).url), requests(3))
    assert str(caught.value).endswith(f"HTTP 400: {said}")


def test_what_was_left_out_is_told_once(serve):
    def reply(body):
        for name in ("temperature", "response_format"):
            if name in body:
                return 422, {}, {"detail": [{"loc": ["body", name], "msg": "not permitted"}]}
        return error(400, "use max_completion_tokens, not max_tokens") if "max_tokens" in body else "{}"

    model = model_at(serve(reply).url, concurrency=4)
    found = ask_all(model, requests(6, form=form("any", {"type": "object"})))
    assert {result.text for result in found.values()} == {"{}"}
    assert model.left_out == ("temperature", "json_schema", "json_object")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_what_the_endpoint_said(serve, status):
    server = serve(lambda body: error(status, "Country,  region not supported"))
    with pytest.raises(BenchError, match=rf"refused \(HTTP {status}\): Country, region not supported; it wants a key"):
        ask_all(model_at(server.url), requests(3))


def test_thoughts_that_only_the_total_counts_are_counted(serve):
    server = serve()

    def reply(body):
        counts = {"q0": {"total_tokens": 1016}, "q1": {"total_tokens": 424}, "q2": {}}[body["messages"][-1]["content"]]
        usage = {"prompt_tokens": 20, "completion_tokens": 424, **counts}
        return 200, {}, server.completion(body, "fine") | {"usage": usage}

    server.reply = reply
    found = ask_all(model_at(server.url), requests(3))
    assert [found[place] for place in range(3)] == [
        Answer("fine", 20, 996), Answer("fine", 20, 424), Answer("fine", 20, 424),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["n", "stream", "messages"])
def test_parameters_that_the_client_sets_itself_are_refused(name):
    with pytest.raises(BenchError, match=f"may not set {name}"):
        parse_spec(Endpoint, {"base_url": "http://h", "model": "m", "parameters": {name: 1}}, "benchmark.yaml")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5://me:word@127.0.0.1:1", "ALL_PROXY.*SOCKS"),
        ("ALL_PROXY", "gopher://me:word@127.0.0.1:1", "ALL_PROXY.*not understood"),
        ("ALL_PROXY", "http://me:word@127.0.0.1:port", "ALL_PROXY.*not understood"),
        ("SSL_CERT_FILE", "/nowhere.pem", "SSL_CERT_FILE.*No such file"),
    ],
)
def test_settings_of_the_environment_that_cannot_be_used_are_named(serve, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(BenchError, match=said) as caught:
        ask_all(model_at(serve().url), requests(1))
    assert "word" not in "".join(traceback.format_exception(caught.value)) and "\n" not in str(caught.value)


def test_a_text_that_is_too_long_changes_no_parameter(serve):
    said = "'max_tokens' is too large: 256. This model's maximum context length is 100 tokens."
    server = serve(lambda body: error(400, said) if body["messages"][-1]["content"] == "q1" else "fine")
    found = ask_all(model_at(server.url), requests(3))
    assert found[1] == Failure("HTTP 400") and len(server.bodies) == 3


def test_further_parameters_are_sent_and_told_apart(serve):
    server = serve()
    plain, thinking = model_at(server.url), model_at(server.url, parameters={"reasoning_effort": "low"})
    ask_all(thinking, requests(1))
    assert server.bodies[0]["reasoning_effort"] == "low"
    other = model_at(server.url, parameters={"reasoning_effort": "high"})
    assert len({plain.identity, thinking.identity, other.identity}) == 3
    assert plain.identity == f"{server.url}#m1" and thinking.identity.startswith(plain.identity + "#")


def once_then(odd):
    """Every question meets something odd at its first try."""
    met, lock = set(), threading.Lock()

    def reply(body):
        question = body["messages"][-1]["content"]
        with lock:
            new = question not in met
            met.add(question)
        return odd(body) if new else "fine"

    return reply


def test_what_passes_is_tried_again(serve):
    server = serve()
    broken = (200, {}, b'{"id": "1", "choices": [{"index": 0, "mess')
    for odd in (lambda body: server.cut(body), lambda body: broken, lambda body: error(500, "oh")):
        server.reply = once_then(odd)
        server.forget()
        found = ask_all(model_at(server.url, retries=1), requests(12))
        assert [found[place].text for place in range(12)] == ["fine"] * 12 and len(server.bodies) == 24


@pytest.mark.parametrize(
    ("reason", "odd"),
    [
        ("connection lost", lambda server, body: server.cut(body)),
        ("broken JSON", lambda server, body: (200, {}, b'{"choices": [')),
        ("no answer within 0.2 s", lambda server, body: time.sleep(0.6) or "late"),
        ("not an OpenAI-compatible answer", lambda server, body: (200, {"Content-Type": "text/html"}, b"<p>wait")),
    ],
)
def test_what_does_not_pass_fails_with_its_reason_and_unknown_cost(serve, reason, odd):
    server = serve()
    server.reply = lambda body: odd(server, body) if body["messages"][-1]["content"] == "q3" else "fine"
    found = ask_all(model_at(server.url, retries=1, timeout=0.2), requests(6))
    assert found.pop(3) == Failure(reason, None, None, lost=1)
    assert {result.text for result in found.values()} == {"fine"} and server.asked.count("q3") == 2


def test_stalls_leave_their_connections_behind(serve):
    server = serve(once_then(lambda body: time.sleep(0.5) or "late"))
    found = ask_all(model_at(server.url, retries=6, timeout=0.15, concurrency=4), requests(24))
    assert {getattr(result, "text", result) for result in found.values()} == {"fine"}


def test_being_told_to_wait_counts_for_the_deadline_and_not_as_a_retry(serve):
    server = serve(lambda body: error(429, "slow") if body["messages"][-1]["content"] == "q1" else "fine")
    found = ask_all(model_at(server.url, retries=0, deadline=0.6), requests(4))
    assert found.pop(1) == Failure("HTTP 429, still after 0.6 s") and server.asked.count("q1") >= 4
    assert {result.text for result in found.values()} == {"fine"}
    server.reply = lambda body: "fine" if body["messages"][-1]["content"] == "q0" else time.sleep(1.0) or "late"
    found = ask_all(model_at(server.url, deadline=0.3), requests(2))
    assert found[1] == Failure("no answer within 0.3 s", None, None)
    server.reply = lambda body: error(429, "slow")
    with pytest.raises(BenchError, match=r"HTTP 429, still after 0\.3 s"):
        ask_all(model_at(server.url, deadline=0.3), requests(3))


def test_a_pause_that_a_request_does_not_live_to_see_ends_that_request_alone(serve):
    def reply(body):
        if body["messages"][-1]["content"] == "q1":
            return 429, {"Retry-After": "0.4"}, {"error": {"message": "slow down"}}
        return "fine"

    found = ask_all(model_at(serve(reply).url, concurrency=2, deadline=0.7), requests(8))
    assert found.pop(1) == Failure("HTTP 429, still after 0.7 s")
    assert len(found) == 7 and {result.text for result in found.values()} == {"fine"}


def test_an_endpoint_that_is_lost_in_the_middle_ends_the_run(serve):
    server = serve(lambda body: "fine" if body["messages"][-1]["content"] == "q0" else error(502, "bad gateway"))
    got = []
    with pytest.raises(BenchError, match="HTTP 502, and so for the last 50 requests; run again later"):
        for answered in model_at(server.url, retries=0, concurrency=4).answers(requests(500)):
            got.append(answered)
    assert 50 <= len(got) < 60 and len(server.bodies) == len(got)


@pytest.mark.parametrize(
    "refusal",
    [error(429, "You exceeded your quota", code="insufficient_quota"), error(402, "Insufficient Balance")],
)
def test_a_quota_that_is_used_up_ends_the_run(serve, refusal):
    server = serve(lambda body: refusal if body["messages"][-1]["content"] == "q4" else "fine")
    with pytest.raises(BenchError, match="quota is used up"):
        ask_all(model_at(server.url, concurrency=1), requests(30))
    assert server.asked.count("q4") == 1 and len(server.bodies) <= 6


def test_a_model_may_refuse_or_be_cut_off(serve):
    server = serve()
    replies = {
        "q1": {"text": None, "refusal": "I cannot help with that."},
        "q2": {"text": "", "finish_reason": "content_filter"},
        "q3": {"text": "half an", "finish_reason": "length"},
    }

    def reply(body):
        words = replies.get(body["messages"][-1]["content"], {"text": "fine"})
        return 200, {}, server.completion(body, **words)

    server.reply = reply
    found = ask_all(model_at(server.url), requests(4))
    assert found[1] == found[2] == Failure("refused by the model", 10, 5)
    assert found[3] == Answer("half an", 10, 5, cut_off=True) and not found[0].cut_off


def test_as_many_as_allowed_are_under_way_and_wait_for_a_slow_caller(serve):
    released, gathered = threading.Event(), threading.Event()

    def reply(body):
        """The first is answered at once; the others when as many as allowed are under way together."""
        if body["messages"][-1]["content"] != "q0" and not released.is_set():
            if server.under_way >= 64:
                gathered.set()
            released.wait(60)
        return "fine"

    server = serve(reply)
    stream = model_at(server.url, concurrency=64).answers(requests(200))
    next(stream)
    assert gathered.wait(60)
    released.set()
    until = time.monotonic() + 60
    while server.under_way and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)  # what would be sent too much
    assert len(server.bodies) == 65 and server.at_once == 64  # what is not fetched holds back what comes next
    assert len(list(stream)) == 199 and server.at_once <= 64


class Purse:
    """A meter that lets some requests start."""

    def __init__(self, starts):
        self.starts, self.reserved, self.settled = starts, [], []

    def reserve(self, request):
        if len(self.reserved) >= self.starts:
            return False
        self.reserved.append(request.messages[-1].content)
        return True

    def settle(self, request, result):
        self.settled.append((request.messages[-1].content, result))


def test_one_request_goes_ahead_until_the_endpoint_has_answered_once(serve):
    server = serve(delay=0.3)
    model = model_at(server.url, concurrency=6)
    for at_once in (5, 6):  # one and then the others; all
        assert len(ask_all(model, requests(6))) == 6
        assert sorted(server.asked) == [f"q{i}" for i in range(6)] and server.at_once == at_once
        server.forget()


def test_the_end_of_a_run_waits_for_no_pause(serve):
    def reply(body):
        question = body["messages"][-1]["content"]
        if question == "q1":
            return 429, {"Retry-After": "30"}, {"error": {"message": "slow"}}
        if question == "q2":
            time.sleep(0.2)
            return error(401, "revoked")
        return "fine"

    purse = Purse(99)
    began = time.monotonic()
    with pytest.raises(BenchError, match="refused"):
        dict(model_at(serve(reply).url, concurrency=3).answers(requests(20), purse))
    assert time.monotonic() - began < 25  # not the 30 seconds of the pause
    assert sorted(question for question, _ in purse.settled) == sorted(purse.reserved)


def test_a_meter_that_stops_lets_finish_what_is_under_way(serve):
    server = serve(delay=0.02)
    purse = Purse(7)
    found = dict(model_at(server.url, concurrency=3).answers(requests(20), purse))
    assert sorted(found) == list(range(7)) and sorted(server.asked) == [f"q{i}" for i in range(7)]
    assert sorted(purse.settled) == sorted((f"q{place}", result) for place, result in found.items())
    server.forget()
    assert dict(model_at(server.url).answers(requests(3), Purse(0))) == {} and not server.bodies


def test_what_is_reserved_is_settled_once_when_the_run_fails(serve):
    server = serve(delay=0.05)
    server.reply = lambda body: error(401, "revoked") if body["messages"][-1]["content"] == "q3" else "fine"
    purse = Purse(99)
    with pytest.raises(BenchError, match="refused"):
        dict(model_at(server.url, concurrency=4).answers(requests(40), purse))
    settled = dict(purse.settled)
    assert sorted(question for question, _ in purse.settled) == sorted(purse.reserved) == sorted(server.asked)
    assert settled["q3"] == Failure("stopped")


def test_a_meter_that_breaks_is_not_hidden(serve):
    class Broken(Purse):
        def settle(self, request, result):
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        dict(model_at(serve().url).answers(requests(5), Broken(99)))


def ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("llm", "asyncio", "AnyIO"))]


@pytest.mark.parametrize("taken", [1, 5])
def test_closing_early_stops_everything_and_leaves_nothing_behind(serve, taken):
    quick = {f"q{i}" for i in range(5)}
    server = serve(lambda body: "fine" if body["messages"][-1]["content"] in quick else time.sleep(20) or "late")
    purse = Purse(99)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = model_at(server.url, concurrency=8).answers(requests(60), purse)
        for _ in range(taken):
            next(stream)
        began = time.monotonic()
        stream.close()
        assert time.monotonic() - began < 15  # not the 20 seconds of the answers
        gc.collect()
    assert not ours()
    assert len(server.bodies) <= 1 + 8 + taken
    assert sorted(question for question, _ in purse.settled) == sorted(purse.reserved)
    cancelled = [result for question, result in purse.settled if question not in quick]
    assert {result.reason for result in cancelled} == {"stopped"} and len(cancelled) >= 4
    if taken == 5:
        assert Failure("stopped", None, None) in cancelled  # it was on its way: nobody knows what it costs


def test_an_iterator_that_was_never_begun_starts_nothing(serve):
    server = serve()
    model_at(server.url).answers(requests(3)).close()
    assert dict(model_at(server.url).answers([])) == {}
    assert not server.bodies and not ours()


def test_the_key_stands_in_no_message_log_or_traceback(serve, monkeypatch, caplog):
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server = serve()
    replies = [
        error(400, f"bad {KEY}"),
        error(403, f"no {KEY}"),
        error(404, f"no {KEY}"),
        error(429, KEY, code="insufficient_quota"),
        error(500, f"{KEY} failed"),
        (200, {}, f"<{KEY}>".encode()),
        (422, {}, {"detail": [{"input": KEY}]}),
    ]
    for reply in replies:
        server.reply = lambda body, reply=reply: reply
        with pytest.raises(BenchError) as caught:
            ask_all(model_at(server.url, api_key_env="TEST_LLM_KEY", retries=1), requests(3))
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert KEY not in told and len(caught.value.problems) == 1 and "\n" not in str(caught.value)
    server.reply = lambda body: "fine" if body["messages"][-1]["content"] == "q0" else replies[0]
    found = ask_all(model_at(server.url, api_key_env="TEST_LLM_KEY"), requests(3))
    assert found[1] == Failure("HTTP 400") and KEY not in repr(found)
    assert KEY not in caplog.text
    monkeypatch.setenv("TEST_LLM_KEY", "sk-… copied from a page")
    with pytest.raises(BenchError, match="TEST_LLM_KEY holds characters that no key has"):
        ask_all(model_at(server.url, api_key_env="TEST_LLM_KEY"), requests(1))


def test_text_that_is_no_unicode_and_an_address_that_is_none(serve):
    server = serve()
    request = ChatRequest((Message("user", "broken \ud800 text"),))
    assert dict(model_at(server.url).answers([request]))[0].text == "answer to broken ? text"
    with pytest.raises(BenchError, match="is no address"):
        ask_all(model_at("http://127.0.0.1:port/v1"), requests(1))
