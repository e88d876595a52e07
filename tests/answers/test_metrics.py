"""Metrics without a language model against their sources' figures, and where they do not apply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.answer_records import Answered, Asked
from benchmark.answers.metrics import (
    answer_in_context,
    citation_valid,
    exact_match,
    metrics_of,
    normalised,
    rouge_l,
    token_f1,
)

ASKED = Asked("q", "How long?", "core", "A loaf bakes for fifty minutes.", True, ("bread.md#1",))
ANSWERED = Answered("q", "bm25", ("bread.md#1",), "For fifty minutes.", ("bread.md#1",))
PASSAGES = ["Baking A loaf of one kilogram bakes for fifty minutes."]
words = st.text(alphabet="ab c", max_size=30)


def test_squad_normalisation():
    assert normalised("  An  Apple, the tree: a (small) one! ") == "apple tree small one"
    assert exact_match("The Eiffel Tower!", "eiffel tower") == 1.0 and exact_match("Eiffel", "eiffel tower") == 0.0


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [  # evaluate-v1.1.py and evaluate-v2.0.py of SQuAD give these
        ("Denver Broncos", "the Denver Broncos", 1.0),
        ("the broncos of Denver", "Denver Broncos", 0.8),
        ("red red car", "red car", 0.8),
        ("Carolina", "Denver Broncos", 0.0),
        ("", "Denver", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_token_f1(answer, reference, f1):
    assert token_f1(answer, reference) == pytest.approx(f1)


ROUGE = [  # what rouge-score 0.1.2 gives: RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    ("The quick brown dog jumps on the log.", "The quick brown fox jumps over the lazy dog", 0.588235294118),
    ("police killed the gunman", "the gunman police killed", 0.5),
    (
        "before the first of April",
        "The berth holder pays the harbour office before the first of April.",
        0.588235294118,
    ),
    ("It is 1,5 kg; rye_flour", "1.5 kg of rye flour", 0.769230769231),
    ("testing one two", "testing", 0.5),
    ("", "testing one", 0.0),
    ("one two", "three four", 0.0),
]


@pytest.mark.parametrize(("answer", "reference", "score"), ROUGE)
def test_rouge_l_gives_the_figures_of_rouge_score(answer, reference, score):
    assert rouge_l(answer, reference) == pytest.approx(score, abs=1e-9)


@given(words, words)
def test_comparisons_are_shares_and_symmetric(one, two):
    for metric in (token_f1, rouge_l):
        assert 0 <= metric(one, two) <= 1 and metric(one, two) == pytest.approx(metric(two, one))
    assert rouge_l(one, one) == float(bool(one.split()))


def test_rouge_l_keeps_letters_beyond_a_to_z():
    assert rouge_l("größe", "große") == 0.0 and rouge_l("Größe", "größe") == 1.0


def test_answer_in_context_counts_content_words():
    assert answer_in_context("It bakes for fifty minutes", PASSAGES) == 1.0
    assert answer_in_context("It bakes for sixty minutes", PASSAGES) == pytest.approx(2 / 3)
    assert answer_in_context("It bakes for fifty minutes", []) == 0.0
    assert answer_in_context("the", ["the loaf"]) == 1.0 and answer_in_context("...", PASSAGES) is None
    assert answer_in_context("nicht der Ofen", ["Ofen"], "deu-Latn") == 1.0
    assert answer_in_context("nicht der Ofen", ["Ofen"], "pol-Latn") == pytest.approx(1 / 3)


def test_citation_valid():
    assert citation_valid(("a", "b"), ()) == 1.0 and citation_valid(("a",), ("x",)) == 0.5
    assert citation_valid((), ("x",)) == 0.0 == citation_valid((), ())


def metrics(asked=ASKED, answered=ANSWERED):
    return metrics_of(asked, answered, PASSAGES, "eng-Latn")


def changed(row, **values):
    from dataclasses import replace

    return replace(row, **values)


def test_only_what_applies_is_there():
    names = {"exact_match", "token_f1", "rouge_l", "answer_in_context", "citation_valid", "declined_rightly"}
    assert metrics().keys() == names
    assert metrics()["token_f1"] == pytest.approx(0.75) and metrics()["answer_in_context"] == 1.0
    assert metrics(changed(ASKED, reference="")).keys() == {"citation_valid", "declined_rightly"}
    assert metrics(answered=changed(ANSWERED, text="", failure="timeout")) == {}


def test_declining():
    declined = changed(
        ANSWERED, text="A loaf bakes for fifty minutes? The passages do not say.", cited=(), declined=True
    )
    found = metrics(answered=declined)
    # An answer that declines answers nothing, whatever words of the reference it uses.
    assert (found["token_f1"], found["exact_match"], found["rouge_l"], found["declined_rightly"]) == (0, 0, 0, 0)
    assert "citation_valid" not in found
    unanswerable = changed(ASKED, answerable=False, reference="")
    assert metrics(unanswerable, declined) == {"declined_rightly": 1.0}
    assert metrics(unanswerable) == {"citation_valid": 1.0, "declined_rightly": 0.0}
