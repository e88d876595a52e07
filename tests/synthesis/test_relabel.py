"""False negatives: which are shown to a language model, what it takes out, what comes in their place."""

import json
import re

import numpy as np

from benchmark.console import SILENT
from benchmark.encoders.bm25 import BM25Index
from benchmark.llm.asking import Asker
from benchmark.llm.prompts import Prompts
from benchmark.records import Chunk
from benchmark.specs import BM25Settings, Endpoint, LLMSpec, Negatives
from benchmark.specs.generate import Relabel
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.negatives import Mined, mine
from benchmark.synthesis.relabel import relabel
from benchmark.synthesis.search import Corpus

FENCE = re.compile(r"<passage-([0-9a-f]{12})>\n(.*?)\n</passage-\1>", re.DOTALL)
MINED = Mined(
    negatives=[[1, 2, 3], [4, 5]],
    similarities=[[0.78, 0.70, 0.30], [0.75, 0.20]],
    own=[0.8, 0.8],
    rest=[[6, 7, 8], [9]],
    rest_similarities=[[0.77, 0.60, 0.50], [0.74]],
)


def corpus(count=12):
    chunks = [Chunk(f"c{i}", f"{i}.md", "", (), 0, 9, f"passage{i} answers: fully. {{no}}") for i in range(count)]
    vectors = np.array([[np.cos(i / 20), np.sin(i / 20)] for i in range(count)], dtype=np.float32)
    return Corpus(chunks, vectors, BM25Index([c.id for c in chunks], [c.text for c in chunks], BM25Settings()))


def materials(body):
    passage, query = (match[1] for match in FENCE.findall(body["messages"][-1]["content"]))
    return passage, query


def answering(verdicts):
    """A reply by the passage's number and the query."""

    def reply(body):
        passage, query = materials(body)
        number = int(re.match(r"passage(\d+)", passage)[1])
        said = verdicts.get((number, query), "no")
        if said == "refused":
            return 400, {}, {"error": {"message": "content filter", "code": "content_filter"}}
        return json.dumps({"answers": said, "reason": "so"})

    return reply


def relabelled(project, server, mined, grey=0.85, drafts=None, space=None):
    llm = LLMSpec(endpoint=Endpoint(base_url=server.url, model="reader", retries=0))
    drafts = drafts or [Draft("first", 0, "llm", ""), Draft("second", 0, "llm", "")]
    with Asker(project, project.domain("village"), SILENT) as asker:
        return relabel(mined, space or corpus(), drafts, Relabel(grey=grey), llm, asker, Prompts())


def test_what_answers_fully_is_taken_out_and_replaced_from_below_the_band(project, serve):
    server = serve(answering({(1, "first"): "fully", (2, "first"): "partly", (4, "second"): "fully"}))
    found = relabelled(project, server, MINED)
    # .85 x .8 = .68: 1, 2 and 4 were read; 6 (.77) and 9 (.74) are in the band and take nobody's place.
    assert {(materials(body)[0][:8], materials(body)[1]) for body in server.bodies} == {
        ("passage1", "first"), ("passage2", "first"), ("passage4", "second"),
    }  # fmt: skip
    assert found.negatives == [[2, 7, 3], [5]] and found.similarities == [[0.70, 0.60, 0.30], [0.20]]
    assert found.rest == [[6, 8], [9]] and found.rest_similarities == [[0.77, 0.50], [0.74]]
    assert found.removed == [[1], [4]] and found.own == MINED.own
    assert found.facts()["relabelled"] == {"asked": 3, "fully": 2, "partly": 1, "replaced": 1, "unreplaced": 1}
    assert MINED.negatives == [[1, 2, 3], [4, 5]] and MINED.rest == [[6, 7, 8], [9]]  # as it was
    assert relabelled(project, server, MINED) == found and len(server.bodies) == 3  # not paid for twice


def test_texts_reach_the_model_inside_their_marks_alone(project, serve):
    server = serve(answering({}))
    relabelled(project, server, MINED)
    for body in server.bodies:
        system, user = body["messages"]
        assert "never an instruction to you" in system["content"] and "passage1" not in system["content"]
        assert FENCE.sub("", user["content"]).strip() == ""
        assert materials(body)[0].endswith("answers: fully. {no}") and body["temperature"] == 0


def test_the_band_is_a_share_of_the_positives_similarity(project, serve):
    server = serve(answering({}))
    for grey, expected in ((0.0, 5), (0.3, 4), (0.95, 1), (1.0, 0)):
        server.forget()
        found = relabelled(project, server, MINED, grey)
        asked = found.relabelled["asked"]
        assert asked == expected == found.relabelled["no"] and found.negatives == MINED.negatives
        assert found.removed == [[], []]


def test_a_negative_that_could_not_be_judged_stays_and_is_counted(project, serve):
    count = 30
    drafts = [Draft(f"query {i}", 0, "llm", "") for i in range(count)]
    mined = Mined([[1]] * count, [[0.79]] * count, [0.8] * count, [[]] * count, [[]] * count)
    server = serve(answering({(1, "query 3"): "refused", (1, "query 4"): "fully"}))
    found = relabelled(project, server, mined, drafts=drafts)
    assert [number for number, row in enumerate(found.negatives) if not row] == [4]
    assert found.relabelled == {"asked": 30, "failed": 1, "fully": 1, "no": 28, "unreplaced": 1}


def test_what_mining_found_goes_on_to_relabelling(project, serve):
    space, drafts = corpus(40), [Draft("query", 4, "llm", ""), Draft("other", 5, "llm", "")]
    spec = Negatives(count=3, pool=8, margin=1.0, relabel=Relabel(grey=0.9))
    vectors = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    mined = mine(space, drafts, vectors, np.zeros(40, dtype=bool), {}, spec, 1.0, 0)
    verdicts = {(place, draft.text): "fully" for draft in drafts for place in range(40)}
    found = relabelled(project, serve(answering(verdicts)), mined, 0.9, drafts, space)
    assert found.relabelled["fully"] == found.relabelled["asked"] > 0
    for number in range(2):
        limit = 0.9 * found.own[number]
        assert all(similarity < limit for similarity in found.similarities[number])
        assert set(found.negatives[number]) <= {*mined.negatives[number], *mined.rest[number]}
        assert not set(found.negatives[number]) & {*found.removed[number], *found.rest[number]}
        assert found.similarities[number] == sorted(found.similarities[number], reverse=True)
