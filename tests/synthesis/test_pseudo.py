"""Queries cut from the text: sentences, acronyms, removed sentences, titles, and sameness for a seed."""

from benchmark.records import Chunk
from benchmark.specs import GenerateSpec
from benchmark.synthesis.acronyms import find_acronyms, long_form, swapped
from benchmark.synthesis.pseudo import pseudo_drafts, sentences

TEXT = """\
The conditional prepayment rate (CPR) says how much of a pool is prepaid in a year.
It rises when rates fall, e.g. after a cut by the central bank of half a point.

- A seasoned pool reacts less to rates than a new one does.
| 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |

A lender who sees the CPR climb reinvests at a lower yield than before."""


def chunk(number, text=TEXT, title="Prepayments", headings=("Speed",), document="a.md"):
    return Chunk(f"c{number}", document, title, headings, 0, len(text), text)


def spec(**settings):
    return GenerateSpec(questions_per_chunk=0, retriever="tiny", **settings)


def many(count=60):
    topics = ["mortgage", "harbour", "starter", "queen", "tariff", "glacier"]
    return [
        chunk(
            i,
            f"The {topics[i % 6]} number {i} is due on the first day of the month of the year. "
            f"A late {topics[i % 6]} costs {i} percent of its value for each week that passes. "
            f"Nobody inspects a {topics[i % 6]} of class {i} without a written order from the office.",
            headings=(f"Part {i}",),
        )
        for i in range(count)
    ]


def test_sentences_stand_where_they_say_and_tables_are_none():
    found = sentences(TEXT)
    assert [sentence.text.split()[0] for sentence in found] == ["The", "It", "A", "A"]
    assert found[1].text.endswith("half a point.")  # "e.g." ends no sentence
    assert found[2].text.startswith("A seasoned")  # the list mark is gone
    for sentence in found:
        assert TEXT[sentence.start : sentence.end].split()[-1] == sentence.text.split()[-1]


def test_acronyms_are_found_and_swapped_both_ways():
    assert find_acronyms([TEXT, "Letters of credit (see Annex) and (2024)."]) == {"CPR": "conditional prepayment rate"}
    assert long_form("WBS", "a form of whole-business securitization") == "whole-business securitization"
    acronyms = {"CPR": "conditional prepayment rate"}
    assert swapped("the CPR climbs", acronyms) == "the conditional prepayment rate climbs"
    assert swapped("a Conditional Prepayment Rate of 5", acronyms) == "a CPR of 5"
    assert swapped("CPR is the conditional prepayment rate", acronyms) is None


def test_every_source_is_cut_and_the_sentence_leaves_most_positives():
    drafts = pseudo_drafts([chunk(0), *many()], spec(title_share=0.0), seed=1)
    assert {draft.source for draft in drafts} == {"heading", "acronym", "sentence", "span"}
    acronym = next(draft for draft in drafts if draft.source == "acronym")
    assert "conditional prepayment rate" in acronym.text
    heading = next(draft for draft in drafts if draft.source == "heading")
    assert heading.text == "Speed" and heading.positive == TEXT  # without its heading
    cut = [draft for draft in drafts if draft.source == "sentence"]
    removed = [draft for draft in cut if draft.text not in " ".join(draft.positive.split())]
    assert 0.5 < len(removed) / len(cut) < 0.9  # 7 of 10
    assert all(draft.positive.startswith("Prepayments - ") for draft in cut)
    spans = [draft for draft in drafts if draft.source == "span"]
    assert all(4 <= len(draft.text.split()) <= 12 for draft in spans)


def test_a_share_begins_with_the_title():
    for share, low, high in ((0.0, 0.0, 0.0), (0.5, 0.35, 0.65), (1.0, 1.0, 1.0)):
        drafts = pseudo_drafts(many(), spec(title_share=share), seed=1)
        titled = sum(draft.text.startswith("Prepayments: ") for draft in drafts)
        assert low <= titled / len(drafts) <= high


def test_the_same_for_a_seed_whatever_else_is_in_the_corpus():
    corpus = many()
    assert pseudo_drafts(corpus, spec(), seed=3) == pseudo_drafts(corpus, spec(), seed=3)
    assert pseudo_drafts(corpus, spec(), seed=3) != pseudo_drafts(corpus, spec(), seed=4)
    assert pseudo_drafts(corpus[:5], spec(), seed=3) == [
        d for d in pseudo_drafts(corpus, spec(), seed=3) if d.chunk < 5
    ]


def test_no_more_than_asked_for_and_a_heading_only_once():
    drafts = pseudo_drafts([chunk(0), chunk(1), chunk(2, headings=(), document="b.md")], spec(), seed=0)
    for number in range(3):
        assert sum(draft.chunk == number for draft in drafts) <= 4
    assert [draft.chunk for draft in drafts if draft.source == "heading"] == [0, 2]
