"""The seven columns: mined from the passages and the kept questions, or written by a language model."""

import json
import random
from dataclasses import astuple, replace

import pytest

from benchmark.console import SILENT
from benchmark.llm.asking import Asker
from benchmark.llm.prompts import Prompts
from benchmark.records import Chunk
from benchmark.specs import Endpoint, GenerateSpec, LLMSpec
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import Mined
from benchmark.synthesis.rag_columns import COLUMNS, nearest_first, rag_rows

MOORINGS = (
    "The harbour office is open on every day of the week. A mooring is let for one whole season. "
    "The berth holder pays the harbour office before the first of April."
)
SPEED = (
    "Inside the breakwater no boat goes faster than three knots. The harbour office is open on every day of the week. "
    "Rescue craft on a call are exempt from it."
)
VISITORS = "A visitor may stay in an empty berth for three nights. The fee is paid before the visitor leaves again."
TABLE = "| a | b |\n| 1 | 2 |"


def chunk(number, document, text):
    return Chunk(f"{document}#{number}", document, "Harbour", (), -1, -1, text)


CHUNKS = [
    chunk(0, "a.md", MOORINGS), chunk(1, "a.md", SPEED), chunk(0, "b.md", VISITORS), chunk(0, "c.md", TABLE),
]  # fmt: skip


def draft(text, place, origin="llm", answer=""):
    return Draft(text, place, origin, CHUNKS[place].full_text, answer=answer)


DRAFTS = [
    draft("By when is the mooring paid?", 0),
    draft("How long is a mooring let?", 0, answer="A mooring is let for one whole season."),
    draft("Inside the breakwater no boat", 1, "span"),
    draft("How fast may a boat go inside the breakwater?", 1),
    draft("Which craft may go faster?", 1),
    draft("How long may a visitor stay in a berth?", 2, "imported", "Three nights."),
]
NEGATIVES = [[3, 1, 2], [2], [0], [2, 0], [0], []]


@pytest.fixture
def fill(project, serve):
    """Make rows; a language model answers from `fill.said`."""
    server = serve(lambda body: json.dumps(fill.said(body["messages"][1]["content"])))
    domain = project.domain("village")

    def fill(drafts=DRAFTS, negatives=NEGATIVES, who="mined", prompts=None):
        llm = LLMSpec(endpoint=Endpoint(base_url=server.url, model="m"))
        spec = GenerateSpec(llm=llm, retriever="tiny", rag_columns=who)
        with Asker(project, domain, SILENT) as asker:
            rag = rag_rows(CHUNKS, drafts, Mined(negatives=negatives), spec, asker, prompts or Prompts())
            fill.facts = asker.facts
        return rag

    fill.server = server
    return fill


def test_every_question_gets_the_seven_columns_from_what_was_mined(fill):
    rag = fill()
    assert COLUMNS == (
        "context", "question", "response", "positive_retrieval", "negative_retrieval", "positive_reranking",
        "negative_reranking",
    )  # fmt: skip
    assert [row.question for row in rag.rows] == [DRAFTS[place].text for place in (0, 1, 3, 4)]
    first, second, third, fourth = rag.rows
    assert astuple(first) == (
        CHUNKS[0].full_text,
        "By when is the mooring paid?",
        "A mooring is let for one whole season.",  # "mooring" is rarer than what other sentences share
        "By when is the mooring paid?",
        "How fast may a boat go inside the breakwater?",  # the table, a closer negative, has no question
        "The harbour office is open on every day of the week.",
        "Inside the breakwater no boat goes faster than three knots.",
    )  # fmt: skip
    assert second.response == DRAFTS[1].answer and second.positive_reranking != second.response
    assert second.negative_retrieval == "How long may a visitor stay in a berth?"
    assert second.negative_reranking.startswith("The fee is paid before")
    assert third.response == "Inside the breakwater no boat goes faster than three knots."
    # A sentence that the passage itself has is no negative.
    assert fourth.negative_reranking in MOORINGS and fourth.negative_reranking not in SPEED
    assert rag.facts() == {
        "rows": 4, "responses": {"sentence": 3, "written": 1}, "left_out": {"negative_retrieval": 1},
    }  # fmt: skip


def test_a_negative_question_is_never_one_about_the_context(fill):
    twin = replace(DRAFTS[3], text="How long is a Mooring let")  # of chunk 1, asked about chunk 0 as well
    rag = fill([DRAFTS[0], DRAFTS[1], twin], [[1], [1], [0]])
    own = {row.context: {other.question for other in rag.rows if other.context == row.context} for row in rag.rows}
    assert rag.rows and all(row.negative_retrieval not in own[row.context] for row in rag.rows)
    assert rag.left_out["negative_retrieval"] == 2  # chunk 1 has no other question
    # Without negatives that were asked about, the nearest passage of the document stands in.
    rag = fill([DRAFTS[0], DRAFTS[3]], [[3, 2], [3, 2]])
    assert [row.negative_retrieval for row in rag.rows] == [DRAFTS[3].text, DRAFTS[0].text]


class Looked(list):
    """A list that counts how often it is looked into."""

    looks = 0

    def __getitem__(self, place):
        self.looks += 1
        return super().__getitem__(place)


def test_neighbours_come_by_their_distance_and_only_as_many_as_are_wanted():
    rng = random.Random(0)
    for _ in range(200):
        places = sorted(rng.sample(range(30), rng.randint(0, 12)))
        place = rng.choice([*places, rng.randint(0, 30)])
        expected = sorted(places, key=lambda other: (abs(other - place), other))
        assert list(nearest_first(places, place)) == expected
    many = Looked(range(100_000))
    assert next(nearest_first(many, 70_000)) == 70_000 and many.looks < 30


def test_what_cannot_be_filled_is_left_out_and_counted(fill):
    drafts = [draft("What is a?", 3), draft("What is b?", 3, answer="Two."), DRAFTS[0], DRAFTS[3]]
    rag = fill(drafts, [[0], [0], [3], [0]])
    assert [row.question for row in rag.rows] == [DRAFTS[3].text]
    assert rag.left_out == {"response": 1, "positive_reranking": 1, "negative_reranking": 1}
    assert fill([DRAFTS[2]], [[0]]).rows == []


def test_a_language_model_writes_the_columns_on_demand(fill):
    def said(asked):
        if "How fast" in asked:
            return {"negative_retrieval": " ", "positive_reranking": "a b", "negative_reranking": "c d"}
        if "Which craft" in asked:
            same = "which craft may go faster"
            return {"negative_retrieval": same, "positive_reranking": "a b", "negative_reranking": "c d"}
        return {"negative_retrieval": "Who\nasks {x}?", "positive_reranking": "Alike %s.", "negative_reranking": "Not."}

    fill.said = said
    rag = fill(who="written")
    assert [row.question for row in rag.rows] == [DRAFTS[place].text for place in (0, 1, 5)]
    assert rag.rows[2].response == "Three nights." and rag.rows[2].negative_retrieval == "Who asks {x}?"
    assert {row.positive_reranking for row in rag.rows} == {"Alike %s."}
    assert rag.left_out == {"negative_retrieval": 2} and fill.facts["rag columns"]["asked"] == 5
    asked = fill.server.asked[0]
    assert "<passage-" in asked and "\n\nQuestion: " in asked
    assert Prompts().text("rag_columns") == fill.server.bodies[0]["messages"][0]["content"]
    before = len(fill.server.bodies)
    assert fill(who="written").rows == rag.rows and len(fill.server.bodies) == before


def test_an_answer_that_never_comes_is_counted(fill):
    fill.said = lambda asked: (
        {"something": "else"}
        if "By when" in asked
        else {"negative_retrieval": "Who?", "positive_reranking": "Alike.", "negative_reranking": "Not."}
    )
    many = [draft(f"How long is a mooring of kind {number} let?", 0) for number in range(24)]
    rag = fill([DRAFTS[0], *many], [[1]] * 25, who="written")
    assert len(rag.rows) == 24 and rag.left_out == {"answer of the language model": 1}
