"""What may be spent: decided beforehand, added up over runs, told in one line; and the estimate of a dry run."""

import sqlite3
import threading
import time
from contextlib import contextmanager

import pytest

from benchmark.console import SILENT
from benchmark.errors import BenchError
from benchmark.llm.budget import BudgetMeter, Paid, Spent, cost_of, input_tokens_of
from benchmark.llm.endpoint import EndpointLanguageModel
from benchmark.llm.estimate import estimate
from benchmark.llm.forms import form
from benchmark.llm.journal import ask, open_journal
from benchmark.llm.model import UNLIMITED, Answer, ChatRequest, Failure, Message, Price
from benchmark.specs import Budget, Endpoint, LLMSpec

WHOLE = form("whole", {"type": "object", "required": ["n"]})


def request_of(characters, max_tokens=100, **settings):
    return ChatRequest((Message("user", "x" * characters),), max_tokens=max_tokens, **settings)


def requests(count, **settings):
    return [ChatRequest((Message("user", f"q{i}"),), **settings) for i in range(count)]


def model_at(url, **settings):
    return EndpointLanguageModel(
        Endpoint(base_url=url, model="m", **{"usd_per_million_input": 1.0, "usd_per_million_output": 2.0, **settings})
    )


@pytest.fixture
def journal(tmp_path):
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


# --- the meter ------------------------------------------------------------------------------------------------------


def test_the_worst_case_of_all_that_is_under_way_must_fit():
    meter = BudgetMeter(Budget(tokens=330), Price(None, None), Spent(1, 50, 50))
    wanted = [request_of(40, sample=i) for i in range(3)]  # 10 tokens in, 100 out at most
    assert [meter.reserve(request) for request in wanted] == [True, True, False]
    meter.settle(wanted[0], Answer("x", 10, 5))
    assert meter.spent == Spent(2, 60, 55)
    assert meter.reserve(wanted[2]) is False  # 115 spent, 110 under way, 110 wanted
    meter.settle(wanted[1], Failure("broken"))
    assert meter.spent == Spent(2, 60, 55)  # it was not paid for
    assert meter.reserve(wanted[2]) and meter.refused == 2


@pytest.mark.parametrize(
    ("budget", "fits", "told"),
    [
        (Budget(calls=3), 2, "1 of 3 calls spent"),
        (Budget(usd=0.01), 1, "$0.003 of $0.01 spent"),
        (Budget(usd=0.0), 0, "$0.003 of $0.00 spent"),
        (Budget(calls=9, tokens=6200), 1, "2,000 of 6,200 tokens, 1 of 9 calls spent"),
    ],
)
def test_each_kind_of_budget_holds_back(budget, fits, told):
    meter = BudgetMeter(budget, Price(1.0, 2.0), Spent(1, 1000, 1000))
    wanted = [request_of(4000, max_tokens=2000, sample=i) for i in range(5)]  # 3,000 tokens, $0.005
    assert sum(meter.reserve(request) for request in wanted) == fits
    assert meter.told() == told


def test_many_threads_share_one_budget():
    meter = BudgetMeter(Budget(calls=50), Price(0.0, 0.0), Spent())
    started = []

    def work():
        for i in range(100):
            request = request_of(4, sample=i)
            if meter.reserve(request):
                started.append(i)
                meter.settle(request, Answer("x", 1, 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 50 and meter.spent.calls == 50


def test_what_is_not_told_is_estimated_and_counted_as_unknown():
    request = request_of(40, form=WHOLE)
    assert input_tokens_of(request) == 10 + -(-len(WHOLE.schema) // 4)
    assert cost_of(request_of(40), Answer("y" * 20, None, None)) == Spent(1, 10, 5, 1)
    assert cost_of(request_of(40), Answer("y" * 20, 12, None)) == Spent(1, 12, 5, 1)
    assert cost_of(request_of(40), Failure("lost", None, None)) == Spent(1, 10, 100, 1)
    assert cost_of(request_of(40), Failure("empty answer", 12, 3)) == Spent(1, 12, 3, 0)
    assert cost_of(request_of(40), Failure("HTTP 400")) == Spent()


def test_each_lost_try_counts_as_much_as_it_may_have_cost():
    request = request_of(40)  # 10 tokens in, 100 out at most
    assert cost_of(request, Answer("y", 12, 3, lost=2)) == Spent(3, 32, 203, 2)
    assert cost_of(request, Failure("HTTP 400", lost=1)) == Spent(1, 10, 100, 1)
    assert cost_of(request, Failure("no answer", None, None, lost=1)) == Spent(2, 20, 200, 2)
    meter = BudgetMeter(Budget(calls=4), Price(None, None), Spent())
    assert meter.reserve(request)
    meter.settle(request, Answer("y", 12, 3, lost=2))
    assert meter.reserve(request) and not meter.reserve(request)


def test_a_meter_without_a_budget_counts_and_lets_everything_through():
    meter = BudgetMeter(None, Price(None, None), Spent(1, 1, 1))
    for _ in range(1000):
        assert meter.reserve(request_of(4000, max_tokens=100_000))
    meter.settle(request_of(4000, max_tokens=100_000), Answer("x", 5, 7))
    assert meter.spent == Spent(2, 6, 8) and meter.refused == 0 and meter.told() == "2 calls, no budget"


def test_dollars_that_are_known_stay_whatever_tokens_cost_today():
    # Of 3,000 tokens in and 2,000 out, 1,000 and 1,000 were paid for with $0.5; the rest counts at today's price.
    meter = BudgetMeter(Budget(usd=0.51), Price(1.0, 2.0), Spent(3, 3000, 2000), Paid(0.5, 1000, 1000))
    assert meter.told() == "$0.50 of $0.51 spent"
    assert meter.reserve(request_of(4000, max_tokens=2000)) and not meter.reserve(request_of(4000, max_tokens=2000))


def test_a_price_that_is_not_known_cannot_be_limited_in_dollars():
    endpoint = Endpoint(base_url="http://h/v1", model="m", usd_per_million_input=1.0)
    with pytest.raises(ValueError, match="needs 'usd_per_million_input'"):
        LLMSpec(endpoint=endpoint, budget=Budget(usd=1.0))


# --- asking within a budget -----------------------------------------------------------------------------------------


def test_a_budget_stops_cleanly_and_a_higher_one_goes_on(serve, journal):
    server = serve()  # 10 tokens in and 5 out for each answer
    model, wanted = model_at(server.url), requests(10, max_tokens=50)
    with pytest.raises(BenchError) as caught:
        ask(model, wanted, journal, SILENT, budget=Budget(tokens=150))
    assert str(caught.value) == (
        f"{model.identity}: the budget is reached (105 of 150 tokens spent); 7 of 10 requests are answered and kept; "
        "raise 'budget' in the benchmark file and run again to go on"
    )
    # What was set aside for a request is given back when it cost less: no further one would have fitted.
    assert len(server.bodies) == 7 and journal.spent(model.identity) == Spent(7, 70, 35, 0)
    with pytest.raises(BenchError, match=r"105 of 150 tokens spent\); 7 of 10"):  # spent is spent, over all runs
        ask(model, wanted, journal, SILENT, budget=Budget(tokens=150))
    assert len(server.bodies) == 7
    done = ask(model, wanted, journal, SILENT, budget=Budget(usd=1.0))
    assert all(done.answers) and done.sources["asked"] == 3 and len(server.bodies) == 10
    assert journal.spent(model.identity) == Spent(10, 100, 50, 0)
    assert journal.spent("another model") == Spent()
    # A budget that is used up is no obstacle where nothing is left to ask.
    assert ask(model, wanted, journal, SILENT, budget=Budget(calls=1)).sources["journal"] == 10


def test_calls_and_money_are_never_exceeded(serve, journal):
    server = serve(delay=0.002)
    model = model_at(server.url, concurrency=8)
    with pytest.raises(BenchError, match=r"9 of 9 calls spent\); 9 of 40"):
        ask(model, requests(40), journal, SILENT, budget=Budget(calls=9))
    assert len(server.bodies) == 9
    with pytest.raises(BenchError, match=r"\$0\.0\d+ of \$0\.00075 spent"):
        ask(model, requests(40), journal, SILENT, budget=Budget(usd=0.00075))
    spent = journal.spent(model.identity)
    assert spent.calls > 9 and model.price.cost(spent.input_tokens, spent.output_tokens) <= 0.00075
    assert len(server.bodies) == spent.calls


def test_failures_and_repairs_are_paid_for(serve, journal):
    server = serve(lambda body: " " if body["messages"][0]["content"] == "q0" else "no JSON")
    model = model_at(server.url, concurrency=1)
    with pytest.raises(
        BenchError, match=r"11 of 11 calls spent\); 0 of 9.*kept \(3 failed, mostly: not the form: no JSON"
    ):
        ask(model, requests(9, form=WHOLE), journal, SILENT, budget=Budget(calls=11))
    assert journal.spent(model.identity).calls == 11 == len(server.bodies)


def test_a_repair_that_the_budget_holds_back_is_the_next_runs_first(serve, journal):
    server = serve(lambda body: '{"n": 1}' if len(body["messages"]) == 3 else "no JSON")
    model = model_at(server.url)
    with pytest.raises(BenchError, match="0 of 2 requests are answered"):
        ask(model, requests(2, form=WHOLE), journal, SILENT, budget=Budget(calls=2))
    done = ask(model, requests(2, form=WHOLE), journal, SILENT, budget=Budget(calls=4))
    assert [len(body["messages"]) for body in server.bodies] == [1, 1, 3, 3]
    assert done.answers == (Answer('{"n": 1}', 20, 10),) * 2


def test_tokens_that_the_endpoint_does_not_tell_count_for_the_budget(serve, journal):
    server = serve(lambda body: "y" * 80, usage=False)
    model = model_at(server.url)
    with pytest.raises(BenchError, match=r"63 of 70 tokens spent\); 3 of 9"):
        ask(model, requests(9, max_tokens=20), journal, SILENT, budget=Budget(tokens=70))
    assert journal.spent(model.identity) == Spent(3, 3, 60, 3)
    done = ask(model, requests(3, max_tokens=20), journal, SILENT)
    assert done.usage == {"input_tokens": "unknown", "output_tokens": "unknown", "usd": "unknown"}


class Counting(EndpointLanguageModel):
    """An endpoint that counts how often it is turned to."""

    turns, one_round = 0, False

    def answers(self, requests, meter=UNLIMITED):
        self.turns += 1
        return super().answers(requests, meter)


@pytest.mark.parametrize(("one_round", "most"), [(False, 3), (True, 1)])
def test_a_little_room_in_the_budget_is_not_worth_a_round(serve, journal, one_round, most):
    server = serve()
    model = Counting(Endpoint(base_url=server.url, model="m"))
    model.one_round = one_round
    with pytest.raises(BenchError, match="the budget is reached"):
        ask(model, requests(200, max_tokens=50), journal, SILENT, budget=Budget(tokens=200))
    assert 1 <= model.turns <= most and len(server.bodies) >= 3


def test_one_round_holds_first_attempts_and_repairs(serve, journal):
    server = serve(lambda body: '{"n": 1}' if len(body["messages"]) == 3 else "no JSON")
    model = Counting(Endpoint(base_url=server.url, model="m"))
    model.one_round = True
    done = ask(model, requests(20, form=WHOLE), journal, SILENT, budget=Budget(calls=40))
    assert all(done.answers) and model.turns == 2


class StoppedAfter:
    """A reporter that presses Ctrl-C at the first result, as soon as so many more requests are under way."""

    def __init__(self, server, under_way):
        self.server, self.under_way = server, under_way

    @contextmanager
    def progress(self, *, total, label):
        yield self.update

    def update(self, done, word):
        until = time.monotonic() + 10
        while self.server.under_way < self.under_way and time.monotonic() < until:
            time.sleep(0.005)
        raise KeyboardInterrupt


@pytest.mark.parametrize("budget", [None, Budget(tokens=100_000)])
def test_what_was_cancelled_is_counted_as_spent(serve, journal, budget):
    held = threading.Event()

    def reply(body):
        if body["messages"][0]["content"] != "q0":
            held.wait(10)
        return "fine"

    server = serve(reply)
    model = model_at(server.url, concurrency=4)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(model, requests(9, max_tokens=50), journal, StoppedAfter(server, 4), budget=budget)
        assert journal.spent(model.identity) == Spent(5, 10 + 4 * 1, 5 + 4 * 50, 4)
        assert journal.paid(model.identity) == Paid(pytest.approx((14 * 1 + 205 * 2) / 1e6), 14, 205)
    finally:
        held.set()


def test_what_an_error_of_the_whole_run_has_ended_is_counted_as_spent(serve, journal):
    tries = []

    def reply(body):
        if body["messages"][0]["content"] == "q0":
            return "fine"
        tries.append(1)
        if len(tries) == 1:
            time.sleep(0.5)
        return 401, {}, {"error": {"message": "no"}}

    model = model_at(serve(reply).url, concurrency=1, timeout=0.2)
    with pytest.raises(BenchError, match="HTTP 401"):
        ask(model, requests(3, max_tokens=50), journal, SILENT)
    assert len(tries) == 2  # the first of them timed out: it may have been paid for
    assert journal.spent(model.identity) == Spent(2, 10 + 1, 5 + 50, 1)


def test_tries_that_timed_out_count_for_the_budget(serve, journal):
    late = {"q1", "q2"}

    def reply(body):
        if (name := body["messages"][0]["content"]) in late:
            late.discard(name)
            time.sleep(0.6)
        return "fine"

    model = model_at(serve(reply).url, timeout=0.3, concurrency=1)
    done = ask(model, requests(3, max_tokens=50), journal, SILENT, budget=Budget(calls=99))
    assert all(done.answers) and journal.spent(model.identity) == Spent(5, 32, 115, 2)


def test_a_price_of_another_day_changes_nothing_that_was_paid(serve, journal):
    server = serve()
    dear = model_at(server.url, usd_per_million_input=1000.0, usd_per_million_output=1000.0)
    cheap = model_at(server.url, usd_per_million_input=0.0, usd_per_million_output=0.0)
    unknown = model_at(server.url, usd_per_million_input=None)
    ask(dear, requests(2), journal, SILENT)
    assert journal.paid(dear.identity) == Paid(pytest.approx(0.03), 20, 10)
    ask(unknown, requests(3), journal, SILENT)
    assert journal.spent(dear.identity) == Spent(3, 30, 15, 0)
    assert journal.paid(dear.identity) == Paid(pytest.approx(0.03), 20, 10)
    with pytest.raises(BenchError, match=r"\$0\.03 of \$0\.02 spent"):
        ask(cheap, requests(4), journal, SILENT, budget=Budget(usd=0.02))
    assert all(ask(cheap, requests(4), journal, SILENT, budget=Budget(usd=0.031)).answers)


def test_a_journal_that_knows_no_dollars_goes_on(serve, tmp_path):
    path, server = tmp_path / "old.sqlite", serve()
    model = model_at(server.url, usd_per_million_input=1000.0, usd_per_million_output=1000.0)
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE spending (model TEXT PRIMARY KEY, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, "
            "output_tokens INTEGER NOT NULL, unknown_calls INTEGER NOT NULL) WITHOUT ROWID"
        )
        old.execute("INSERT INTO spending VALUES (?, 4, 60, 40, 1)", (model.identity,))
    old.close()
    for _ in range(2):
        with open_journal(path) as journal, pytest.raises(BenchError, match=r"\$0\.10 of \$0\.11 spent"):
            ask(model, requests(1), journal, SILENT, budget=Budget(usd=0.11))
    with open_journal(path) as journal:
        ask(model, requests(1, max_tokens=10), journal, SILENT, budget=Budget(usd=0.12))
        assert journal.spent(model.identity) == Spent(5, 70, 45, 1)
        assert journal.paid(model.identity) == Paid(pytest.approx(0.015), 10, 5)


# --- a model of no use ----------------------------------------------------------------------------------------------


def test_a_model_that_never_has_the_form_is_not_paid_for_to_the_end(serve, journal):
    server = serve(lambda body: "no JSON")
    model = model_at(server.url, concurrency=32)
    with pytest.raises(BenchError) as caught:
        ask(model, requests(500, form=WHOLE), journal, SILENT)
    assert str(caught.value) == (
        f"{model.identity}: stopped after 30 results, of which only 0 are answers (mostly: not the form: no JSON "
        "object); 470 requests are not finished; take another model, a larger 'max_tokens' or other prompts, and run "
        "again"
    )
    assert len(server.bodies) == 60 and journal.spent(model.identity).calls == 60


@pytest.mark.parametrize(
    ("message", "reason"), [({}, "empty answer"), ({"refusal": "I will not."}, "refused by the model")]
)
def test_empty_answers_and_refusals_stop_it_too(serve, journal, message, reason):
    def reply(body):
        useful = int(body["messages"][0]["content"][1:]) % 4 == 0
        return "fine" if useful else (200, {}, server.completion(body, None, **message))

    server = serve(reply)
    with pytest.raises(BenchError, match=f"after 30 results, of which only 8 are answers .mostly: {reason}"):
        ask(model_at(server.url), requests(100), journal, SILENT)
    assert len(server.bodies) == 30


def test_a_model_that_needs_every_repair_is_of_use(serve, journal):
    server = serve(lambda body: '{"n": 1}' if len(body["messages"]) == 3 else "no JSON")
    done = ask(model_at(server.url, concurrency=32), requests(100, form=WHOLE), journal, SILENT)
    assert all(done.answers) and len(server.bodies) == 200


def test_an_endpoint_with_troubles_is_not_taken_for_a_bad_model(serve, journal):
    def reply(body):
        return (
            (500, {}, {"error": {"message": "busy"}}) if 2 <= int(body["messages"][0]["content"][1:]) < 27 else "fine"
        )

    model = model_at(serve(reply).url, concurrency=32, retries=0)
    done = ask(model, requests(500), journal, SILENT)
    assert done.failures == {"HTTP 500": 25} and done.sources["asked"] == 475


def test_results_that_came_in_one_round_are_all_kept_and_few_are_repaired(serve, journal):
    server = serve(lambda body: "no JSON")
    model = Counting(Endpoint(base_url=server.url, model="m", concurrency=32))
    model.one_round = True
    with pytest.raises(BenchError, match="stopped after 30 results"):
        ask(model, requests(100, form=WHOLE), journal, SILENT)
    assert len(server.bodies) == 130 and journal.spent(model.identity).calls == 130


# --- the dry run ----------------------------------------------------------------------------------------------------


def test_an_estimate_counts_what_is_missing_and_asks_nothing(serve, journal):
    server = serve()
    model = model_at(server.url)
    wanted = [request_of(4000, max_tokens=500, sample=i) for i in range(6)]
    ask(model, wanted[:2], journal, SILENT)
    asked = len(server.bodies)
    foreseen = estimate(model, model.price, [*wanted, wanted[5]], journal)
    assert foreseen == estimate(model.identity, model.price, wanted, journal)
    assert (foreseen.calls, foreseen.kept) == (4, 2)
    assert (foreseen.input_tokens, foreseen.output_tokens_most) == (4000, 2000)
    assert foreseen.usd_most == pytest.approx(0.008)
    assert foreseen.line == (
        "4 calls, about 4,000 tokens in, at most 2,000 out, at most $0.01 (2 answers are kept already)"
    )
    assert len(server.bodies) == asked
    done = ask(model, wanted, journal, SILENT)
    assert done.sources["asked"] == foreseen.calls
    assert estimate(model, model.price, wanted, journal).line == "no calls (6 answers are kept already)"


def test_an_estimate_without_a_price_or_a_journal():
    foreseen = estimate("m", Price(1.0, None), requests(3, max_tokens=10), None)
    assert foreseen.usd_most is None
    assert foreseen.line == "3 calls, about 3 tokens in, at most 30 out, money unknown"


def test_an_estimate_says_that_it_foresees_no_repairs(journal):
    formed, free = requests(2, form=WHOLE, max_tokens=10), requests(2, max_tokens=10)
    assert estimate("m", Price(0.0, 0.0), [*formed, *free], None).line.endswith("at most $0.00, without repairs")
    journal.put(formed[0].key("m"), "m", Answer('{"n": 1}', 1, 1))
    assert estimate("m", Price(0.0, 0.0), [formed[0], *free], journal).line.endswith(
        "at most $0.00 (1 answer is kept already)"
    )


def test_an_estimate_knows_that_a_renewal_asks_anew(serve, journal):
    server = serve()
    model, wanted = model_at(server.url), requests(4)
    keys = [request.key(model.identity) for request in wanted]
    ask(model, wanted, journal, SILENT)
    assert estimate(model, model.price, wanted, journal, fresh=True).calls == 4
    journal.renew(keys)
    ask(model, wanted[:1], journal, SILENT)
    assert estimate(model, model.price, wanted, journal, fresh=True).calls == 3  # it was begun, and goes on


def test_an_answer_without_the_form_is_still_to_be_asked_for(journal):
    (wanted,) = requests(1, form=WHOLE)
    journal.put(wanted.key("m"), "m", Answer("no JSON", 1, 1))
    assert estimate("m", Price(0.0, 0.0), [wanted], journal).line.startswith("1 call, ")
