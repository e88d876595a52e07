"""Asking within the stage: renewals over several runs, errors of the journal, the keys of all requests."""

import pytest

from benchmark.console import SILENT, Notes
from benchmark.errors import BenchError
from benchmark.llm.asking import Asker
from benchmark.llm.journal import export_replay, open_journal
from benchmark.llm.model import ChatRequest, Message
from benchmark.project import Domain, Project
from benchmark.specs import DomainSpec, Endpoint, LLMSpec, RerankingTask


class Stage:
    """A domain whose stage asks a real server."""

    def __init__(self, server, folder):
        self.server, self.folder = server, folder
        spec = DomainSpec(title="D", reranking=RerankingTask(base="tiny"), beir=".")
        self.domain = Domain("d", spec, folder, folder)
        self.llm = LLMSpec(endpoint=Endpoint(base_url=server.url, model="m", retries=0))

    def asker(self, fresh=False):
        return Asker(Project(self.folder), self.domain, SILENT, fresh)

    def run(self, wanted, fresh=False):
        """How many requests a whole run of the stage sends."""
        before = len(self.server.bodies)
        with self.asker(fresh) as asker:
            asker.ask(self.llm, wanted, "questions")
            asker.finish()
        return len(self.server.bodies) - before


@pytest.fixture
def stage(serve, tmp_path):
    return Stage(serve(), tmp_path)


def requests(count, word="q"):
    return [ChatRequest((Message("user", f"{word}{i}"),)) for i in range(count)]


def keys_of(wanted, identity):
    return [request.key(identity) for request in wanted]


@pytest.mark.parametrize("fresh", [False, True])
def test_a_renewal_that_was_killed_ends_with_the_run_that_completes_it(stage, fresh):
    wanted = requests(4)
    assert stage.run(wanted) == 4
    stage.server.reply = lambda body: "new" if body["messages"][0]["content"] < "q2" else (401, {}, {})
    with pytest.raises(BenchError, match="401"):
        stage.run(wanted, fresh=True)
    stage.server.reply = lambda body: "new"
    assert 2 <= stage.run(wanted, fresh=fresh) <= 4  # what the first run of the renewal has got is kept
    assert stage.run(wanted) == 0
    assert stage.run(wanted, fresh=True) == 4  # the renewal is over, and this is another one
    assert stage.run(wanted, fresh=True) == 4


@pytest.mark.parametrize("spoilt", ["PRAGMA query_only = 1", "DROP TABLE answers"])
def test_a_journal_that_fails_while_the_stage_works_ends_in_one_line(stage, spoilt):
    def spoil(asker):
        with asker:
            asker.ask(stage.llm, requests(1), "questions")
            asker.journal._connection.execute(spoilt)
            asker.ask(stage.llm, requests(3), "questions")

    with pytest.raises(BenchError, match=r"journal\.sqlite: the journal of answers cannot be used: ") as caught:
        spoil(stage.asker())
    assert len(caught.value.problems) == 1


def test_other_errors_leave_it_as_they_are_and_the_journal_is_closed(stage):
    asker = stage.asker()
    with pytest.raises(ZeroDivisionError), asker:
        journal = asker.journal
        raise ZeroDivisionError
    with pytest.raises(Exception, match="closed"):
        journal.journalled("k")


def test_all_keys_that_were_asked_for_are_remembered(stage, tmp_path):
    other = LLMSpec(endpoint=Endpoint(base_url=stage.server.url, model="other"))
    one, two = requests(3), requests(2, "p")
    with stage.asker() as asker:
        assert asker.keys == []
        asker.ask(stage.llm, [one[2], one[0], one[2]], "questions")
        asker.ask(stage.llm, one, "questions")
        asker.ask(other, two, "judge")
        first, second = f"{stage.server.url}#m", f"{stage.server.url}#other"
        assert asker.keys == [*keys_of([one[2], one[0], one[1]], first), *keys_of(two, second)]
        keys = asker.keys
    with open_journal(stage.domain.journal) as journal:
        assert export_replay(journal, tmp_path / "journal.jsonl", keys) == 5


def test_what_an_endpoint_refuses_is_told_once(serve, tmp_path):
    refusal = {"error": {"message": "Unsupported value: 'temperature' does not support 0.7", "param": "temperature"}}
    stage = Stage(serve(lambda body: (400, {}, refusal) if "temperature" in body else "fine"), tmp_path)
    notes = Notes()
    with Asker(Project(tmp_path), stage.domain, notes) as asker:
        answers = asker.ask(stage.llm, requests(6), "questions").answers
    assert all(answer.text == "fine" for answer in answers)
    assert len([line for line in notes.lines if "refuses temperature; asked without" in line]) == 1
