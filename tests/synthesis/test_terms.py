"""Terms and acronyms of a corpus, those of one chunk, and which of them were asked about."""

import random

import pytest

from benchmark.files import iter_jsonl
from benchmark.records import Chunk
from benchmark.synthesis.acronyms import capitals, find_acronyms
from benchmark.synthesis.draft import Draft
from benchmark.synthesis.phrases import c_values, frequent_phrases
from benchmark.synthesis.terms import Matcher, Term, coverage, find_terms, own_terms

TEXTS = [
    "The weighted average life (WAL) of a note falls when prepayments rise. A pass-through certificate pays monthly.",
    "Weighted average lives differ. Pass-through certificates have no maturity, and an event of default is rare.",
    "WAL and OC are quoted together. An event of default ends the revolving period.",
    "IMPORTANT NOTICE OF OC\nThe OC test is met. It is not a promise, and NOT a rating. The revolving period ends.",
    "It is NOT paid; it is late. Information technology (IT) is outsourced, it says. The event is not a default.",
    "Denial of service (DoS) does harm. What does it do? Do not do it.",
]


def chunk(number, text, title="T", headings=()):
    return Chunk(f"c{number}", "d", title, headings, -1, -1, text)


CHUNKS = [chunk(i, text) for i, text in enumerate(TEXTS)]


def draft(text, origin="llm"):
    return Draft(text, 0, origin, "passage")


def test_the_published_example_of_c_values():
    # Frantzi et al. 2000, section 2.3: the terms around "basal cell carcinoma", the longest first.
    counts = {
        ("adenoid", "cystic", "basal", "cell", "carcinoma"): 5, ("cystic", "basal", "cell", "carcinoma"): 11,
        ("ulcerated", "basal", "cell", "carcinoma"): 7, ("recurrent", "basal", "cell", "carcinoma"): 5,
        ("circumscribed", "basal", "cell", "carcinoma"): 3, ("basal", "cell", "carcinoma"): 984,
    }  # fmt: skip
    values = c_values(counts)
    assert values["adenoid", "cystic", "basal", "cell", "carcinoma"] == pytest.approx(11.61, abs=0.01)
    assert values["cystic", "basal", "cell", "carcinoma"] == pytest.approx(12.0)
    # The five inside "adenoid cystic basal cell carcinoma" are not counted a second time for "cystic ...".
    assert values["basal", "cell", "carcinoma"] == pytest.approx(1551.36, abs=0.01)


def test_a_phrase_that_stands_only_inside_a_longer_one_is_none():
    texts = ["Net cash flow sweep rises.", "A net cash flow sweep is due.", "Some cash is due."]
    assert list(frequent_phrases(texts)) == ["net cash flow sweep"]


def test_phrases_break_at_punctuation_and_do_not_end_in_small_words_or_numbers():
    texts = ["Rates fall. Prices of the 30 bonds rise", "Rates fall; prices of the 30 bonds rise"]
    assert set(frequent_phrases(texts)) == {"rate fall", "bond rise"}


def test_the_corpus_gives_acronyms_with_expansions_and_terms():
    terms = {term.text: term for term in find_terms(CHUNKS)}
    assert terms["WAL"][1:4] == ("acronym", "weighted average life", 2)
    assert terms["OC"][1:4] == ("acronym", "", 2)
    assert terms["event of default"][1:4] == ("term", "", 2)
    assert terms["revolving period"].chunks == 2 and terms["pass-through certificate"].chunks == 2
    assert not {"NOT", "IMPORTANT", "NOTICE", "weighted average life"} & set(terms)
    # "it" and "do" are other words than IT and DoS.
    assert terms["IT"].chunks == 1 and terms["DoS"].chunks == 1


def test_the_highest_score_comes_first():
    terms = find_terms(CHUNKS)
    assert [term.score for term in terms] == sorted((term.score for term in terms), reverse=True)


def test_only_the_best_are_kept_half_of_them_acronyms():
    field = find_terms(CHUNKS, most=4)
    kinds = [term.kind for term in field]
    assert len(kinds) == 4 and kinds.count("acronym") == 2
    assert {term.text for term in field if term.expansion} >= {"WAL"}


def test_nothing_and_chunks_without_terms():
    assert find_terms([]) == ()
    assert find_terms([chunk(0, "A b c."), chunk(1, "...")]) == ()
    assert coverage((), [draft("What?")], []) == []


def test_german_small_words_are_no_ends_of_terms():
    text = "Der Kredit wird von der Bank nicht verlängert. Die variable Verzinsung des"
    chunks = [chunk(0, text + " Kredits steigt."), chunk(1, text + " Darlehens fällt.")]
    terms = {term.text for term in find_terms(chunks)}
    assert "variable Verzinsung" in terms
    assert not any(term.split()[0].lower() in {"der", "die", "von", "des", "nicht"} for term in terms)


def test_the_chunks_own_terms_need_no_other_chunk():
    own = own_terms(
        chunk(0, "A springing maturity helps. The OC test and the WAL (weighted average life) bind.", "Springing maturity"),
        {"OC": "overcollateralization", "WAL": "something else"},
    )  # fmt: skip
    assert own == [("OC", "overcollateralization"), ("WAL", "something else"), ("Springing maturity", "")]
    assert own_terms(chunk(0, "Nothing special is said here, and it is not said twice."), {}) == []
    assert own_terms(chunk(0, "Is IT outsourced, as it seems?"), {}) == []
    assert len(own_terms(chunk(0, "AB AC AD AE AF AG AH AJ AK AL in a row"), {})) == 8
    defined = own_terms(chunk(0, "The weighted average life (WAL) falls."), {"WAL": "wide area lock"})
    assert defined == [("WAL", "weighted average life")]


def test_capitals_leave_out_headings_numerals_and_parts_of_words():
    assert capitals("LIMITS AND FEES\nPart III of the MSR-linked R&D at AT&T, APIs; VPC's; A B. X1 SHA256") == [
        "R&D", "AT&T", "API", "VPC", "SHA256",
    ]  # fmt: skip


def test_a_long_form_does_not_begin_with_an_article():
    assert find_acronyms(["It names the rule of the protocol (TRP) here."]) == {}


def test_coverage_counts_each_term_or_its_expansion_once_a_query():
    field = (
        Term("WAL", "acronym", "weighted average life", 3, 9.0),
        Term("event of default", "term", "", 2, 8.0),
        Term("OC", "acronym", "", 2, 7.0),
        Term("pass-through certificate", "term", "", 2, 6.0),
        Term("IT", "acronym", "information technology", 1, 5.0),
    )
    drafts = [
        draft("How do weighted-average lives and the wal differ?"),
        draft("what are Pass through certificates", "imported"),
        draft("Events of default", "heading"),
        draft("Is it late when it is not paid?"),
        draft("walnut", "span"),
    ]
    rows = coverage(field, drafts, CHUNKS)
    assert [(row["term"], row["questions"], row["queries"]) for row in rows] == [
        ("OC", 0, 0), ("IT", 0, 0), ("event of default", 0, 1), ("WAL", 1, 1), ("pass-through certificate", 1, 1),
    ]  # fmt: skip
    assert rows[3] == {
        "term": "WAL", "kind": "acronym", "expansion": "weighted average life", "chunks": 3, "questions": 1, "queries": 1,
    }  # fmt: skip
    assert coverage(field, [draft("Is IT outsourced?")], CHUNKS)[-1]["term"] == "IT"


def test_the_matcher_says_how_a_term_is_written():
    matcher = Matcher([("pass-through certificate",), ("VPC", "virtual private cloud")])
    hits = list(matcher.find("VPCs, Virtual Private Clouds; Pass-through Certificates."))
    assert [(hit.term, hit.text) for hit in hits] == [
        (1, "VPCs"), (1, "Virtual Private Clouds"), (0, "Pass-through Certificates"),
    ]  # fmt: skip


def big(count, seed=0):
    rng = random.Random(seed)
    words = [
        f"{a}{b}{c}" for a in ("ba", "ko", "ri", "ste") for b in ("lan", "mor", "vi") for c in ("t", "sk", "ne", "d")
    ]
    words += ["the", "of", "a", "is", "in", "to", "and", "for", "with", "on"] * 4
    return [chunk(i, " ".join(rng.choices(words, k=90)) + ". Default swap rate rises.") for i in range(count)]


def test_it_is_the_same_every_time():
    chunks = big(2000)
    field = find_terms(chunks)
    assert field == find_terms(chunks) and len(field) == 300
    drafts = [draft(" ".join(one.text.split()[:12])) for one in chunks] * 5
    rows = coverage(field, drafts, chunks)
    assert len(rows) == 300 and sum(row["questions"] for row in rows) > 0


def test_a_real_field(shared):
    rows = iter_jsonl(shared / "aws" / "corpus.jsonl")
    chunks = [chunk(i, row["text"]) for i, row in enumerate(rows)]
    terms = {term.text: term.expansion for term in find_terms(chunks)}
    assert terms["IAM"] == "Identity and Access Management" and terms["ARN"] == "Amazon Resource Name"
    assert {"EC2", "security group", "load balancer", "service-linked role"} <= set(terms)
