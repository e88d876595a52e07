"""The OpenAI-compatible client against a real HTTP server: what is sent, what is retried, what is said."""

import socket

import pytest

from benchmark.errors import BenchError
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.model import Answer, ChatRequest, Failure, Message
from benchmark.specs import Endpoint, parse_spec

KEY = "sk-very-secret-0123456789"


def model_at(url, **settings):
    return EndpointLanguageModel(Endpoint(base_url=url, model="m1", **{"retries": 2, "timeout": 5.0, **settings}))


def requests(count, **settings):
    return [ChatRequest((Message("system", "be brief"), Message("user", f"q{i}")), **settings) for i in range(count)]


class Waits:
    """In place of the event that is waited on between tries: notes how long, and does not wait."""

    def __init__(self):
        self.seconds = []

    def wait(self, seconds):
        self.seconds.append(seconds)
        return False

    def set(self):
        """Nobody waits for it."""

    def clear(self):
        """As `set`."""


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
        ask_all(model, requests(1))
    assert KEY not in str(caught.value) and "***" in str(caught.value)


def test_a_key_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("TEST_LLM_KEY", raising=False)
    with pytest.raises(BenchError, match="TEST_LLM_KEY is not set"):
        ask_all(model_at("http://127.0.0.1:9/v1", api_key_env="TEST_LLM_KEY"), requests(1))


def test_a_dead_endpoint_is_found_out_by_the_first_request():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    tries = []
    model = model_at(url, retries=20)
    once = model._once
    model._once = lambda *args: tries.append(1) or once(*args)
    with pytest.raises(BenchError, match="cannot be reached"):
        ask_all(model, requests(50))
    assert len(tries) == 1


def test_an_unknown_host_and_an_unknown_model_are_one_line(serve):
    with pytest.raises(BenchError, match=r"no-such-host\.invalid.*cannot be reached"):
        ask_all(model_at("http://no-such-host.invalid/v1"), requests(2))
    server = serve(lambda body: error(404, "The model `m1` does not exist"))
    with pytest.raises(BenchError, match="no model 'm1'"):
        ask_all(model_at(server.url), requests(2))


def test_retry_after_is_honoured_and_a_long_one_ends_the_run(serve):
    slow = {"error": {"message": "slow down"}}
    turns = iter([(429, {"Retry-After": "7"}, slow), (500, {}, slow), "fine"])
    server = serve(lambda body: next(turns))
    model = model_at(server.url)
    model._stop = Waits()
    assert ask_all(model, requests(1))[0].text == "fine"
    asked_to, own = model._stop.seconds
    assert (
        7 <= asked_to <= 10.5 and 1 <= own <= 1.5
    )  # never shorter than asked; spread, so that not all come back at once
    assert len(server.bodies) == 3
    server.reply = lambda body: (429, {"Retry-After": "3600"}, {"error": {"message": "slow down"}})
    with pytest.raises(BenchError, match="3600 s"):
        ask_all(model_at(server.url), requests(1))


def test_what_stays_broken_fails_alone(serve):
    def reply(body):
        if body["messages"][-1]["content"] == "q2":
            return (503, {"Retry-After": "0"}, {"error": {"message": "overloaded"}})
        return {"q3": "  ", "q4": error(400, "content filter")}.get(body["messages"][-1]["content"], "fine")

    server = serve(reply)
    found = ask_all(model_at(server.url), requests(6))
    assert [place for place, result in found.items() if isinstance(result, Answer)] and len(found) == 6
    assert found[2] == Failure("HTTP 503") and server.asked.count("q2") == 3
    assert found[3] == Failure("empty answer")
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
