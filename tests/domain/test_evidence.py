"""Quotes are found where they stand, and the chunks that hold them."""

import random

import pytest

from benchmark.domain.evidence import Place, Searchable, Span, fold, relevant

TEXT = (
    "The “senior” notes – and only\nthey – are repaid.  Then\u00a0the mezza\u00adnine notes follow… "
    "The senior notes are wrapped by a monoline insurer, whose downgrade ends the reinvestment period early."
)


def test_an_exact_quote_wins():
    assert Searchable(TEXT).find("senior notes are") == [
        Span(TEXT.index("senior notes"), TEXT.index("senior notes") + 16)
    ]


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ('The "senior" notes - and only they - are repaid.', "The “senior” notes – and only\nthey – are repaid."),
        ("Then the mezzanine  notes follow...", "Then\u00a0the mezza\u00adnine notes follow…"),
        ("  repaid.   Then ", "repaid.  Then"),
        ("wrapped\nby a\tmonoline", "wrapped by a monoline"),
    ],
)
def test_a_quote_is_found_but_for_its_typography(quote, found):
    [span] = Searchable(TEXT).find(quote)
    assert TEXT[span.start : span.end] == found


@pytest.mark.parametrize("quote", ["the Senior notes", "senior bonds", "…!"])
def test_other_words_and_other_cases_are_not_found(quote):
    assert Searchable(TEXT).find(quote) == []


def test_all_places_are_found():
    assert Searchable("a-b a–b a-b").find("a-b") == [Span(0, 3), Span(8, 11)]
    assert [s.start for s in Searchable("“x” ‟x”").find('"x"')] == [0, 4]
    assert Searchable("aaa").find("aa") == [Span(0, 2), Span(1, 3)]


def test_folded_offsets_lead_back():
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choices("ab “”–…\n\t\u00ad\u00a0\u200b ", k=rng.randint(1, 40)))
        folded = fold(text)
        back = [folded.original(at) for at in range(len(folded.text))]
        assert back == sorted(back)
        for at, letter in enumerate(folded.text):
            if letter.isalpha():
                assert text[back[at]] == letter
        assert fold(folded.text).text == folded.text


def test_the_nearest_passage():
    text = Searchable(TEXT)
    assert text.nearest("notes are wrapped by one monoline insurer, whose fall") == (
        "notes are wrapped by a monoline insurer, whose downgrade"
    )
    late = (
        "repaid in full. " * 20 + "The trustee of the deal then pays the rest to the holders of the residual interest."
    )
    shown = Searchable(late).nearest(late.replace("holders", "owners"))
    assert shown.startswith("…") and "to the holders of the residual" in shown
    assert text.nearest("zebra crossing") == ""
    assert len(Searchable("word " * 500).nearest("other " + "word " * 300)) == 120
    assert Searchable("").nearest("word") == ""


def test_relevant_chunks():
    places = [Place(0, 100, "a"), Place(100, 200, "b"), Place(200, 700, "c"), Place(700, 1000, "d")]
    assert relevant(Span(10, 20), places) == ("a",)
    assert relevant(Span(100, 200), places) == ("b",)  # touching an end is no overlap
    assert relevant(Span(90, 110), places) == ("a", "b")  # half in each
    assert relevant(Span(89, 110), places) == ("a",)
    assert relevant(Span(0, 1000), places) == ("c", "d")  # at least 200 characters each
    assert relevant(Span(0, 300), places) == ("a",)  # none has half: the largest part, the first of equals
    assert relevant(Span(2000, 2100), places) == ()
    assert relevant(Span(650, 750), [Place(0, 720, "x"), Place(600, 800, "x")]) == ("x",)
