"""Queries cut from the text: sentences, acronyms, removed sentences, titles, kinds, BM25 as teacher, one seed."""

import json
import random
import re
from collections import Counter
from hashlib import sha256

import pytest

from benchmark.encoders.bm25 import BM25Index
from benchmark.records import Chunk
from benchmark.specs import BM25Settings, Pseudo
from benchmark.synthesis.acronyms import Swapper, find_acronyms, long_form
from benchmark.synthesis.draft import words_of
from benchmark.synthesis.lexical import LexicalTeacher
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
    return Pseudo(**settings)


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


def varied(count=60):
    """Chunks that each have words of their own, beside those that all share."""
    return [
        chunk(
            i,
            f"The harbour{i} office lets a mooring{i} for one season and not longer than that. "
            f"A berth{i} that stays empty may be let to a visitor{i % 7} who pays quay{i % 5} money.",
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
    swapped = Swapper({"CPR": "conditional prepayment rate"}).swapped
    assert swapped("the CPR climbs") == "the conditional prepayment rate climbs"
    assert swapped("a Conditional Prepayment Rate of 5") == "a CPR of 5"
    assert swapped("CPR is the conditional prepayment rate") is None
    assert swapped("今年CPR上升") == "今年conditional prepayment rate上升"
    assert swapped("今年conditional prepayment rate上升") == "今年CPR上升"


def swapped_one_by_one(text, acronyms):
    """What `Swapper` must give: every expansion sought in turn."""
    for word in re.findall(r"[A-Za-z][A-Za-z&-]+", text):
        if word in acronyms and acronyms[word].lower() not in text.lower():
            return re.sub(rf"\b{re.escape(word)}\b", acronyms[word].replace("\\", ""), text, count=1)
    for short, expansion in acronyms.items():
        pattern = re.compile(rf"\b{re.escape(expansion)}\b", re.IGNORECASE)
        if pattern.search(text) and not re.search(rf"\b{re.escape(short)}\b", text):
            return pattern.sub(short, text, count=1)
    return None


def test_the_index_of_acronyms_swaps_as_seeking_each_one_does():
    rng = random.Random(0)
    parts = [
        "rate", "Rate", "the", "of", "x-ray", "co", "&", "'s", "ﬁnal", "straße", "Kelvin", "Istanbul",
        "ıstanbul", "İZMIR", "Kelvin", "a", "b", "-", "AB", "ABC", "BC", "A&B", "ab,", "r&d",
    ]  # fmt: skip
    outcomes = Counter()
    for _ in range(4000):
        acronyms = {
            rng.choice(["AB", "ABC", "BC", "A&B", "XR", "Rate"]): " ".join(rng.choices(parts, k=rng.randint(1, 3)))
            for _ in range(rng.randint(1, 5))
        }
        text = rng.choice([" ", "-", "_", ", "]).join(rng.choices(parts, k=rng.randint(1, 9)))
        text = rng.choice([text, text.upper(), text.title()])
        expected = swapped_one_by_one(text, acronyms)
        assert Swapper(acronyms).swapped(text) == expected, (text, acronyms)
        outcomes[expected is None] += 1
    assert min(outcomes.values()) > 500


def test_thousands_of_acronyms():
    acronyms = {f"Q{i}": f"quick{i} harbour rate" for i in range(3000)}
    swapper = Swapper(acronyms)
    for i in range(2700, 3000):
        assert swapper.swapped(f"a berth left empty under quick{i} harbour rate") == f"a berth left empty under Q{i}"


def test_every_source_is_cut_and_the_sentence_leaves_most_positives():
    drafts = pseudo_drafts([chunk(0), *many()], spec(title_share=0.0), seed=1)
    assert {draft.origin for draft in drafts} == {"heading", "acronym", "sentence", "span"}
    acronym = next(draft for draft in drafts if draft.origin == "acronym")
    assert "conditional prepayment rate" in acronym.text
    heading = next(draft for draft in drafts if draft.origin == "heading")
    assert heading.text == "Speed" and heading.positive == TEXT  # without its heading
    cut = [draft for draft in drafts if draft.origin == "sentence"]
    removed = [draft for draft in cut if draft.text not in " ".join(draft.positive.split())]
    assert 0.5 < len(removed) / len(cut) < 0.9  # 7 of 10
    assert all(draft.positive.startswith("Prepayments - ") for draft in cut)
    spans = [draft for draft in drafts if draft.origin == "span"]
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
    assert [draft.chunk for draft in drafts if draft.origin == "heading"] == [0, 2]


@pytest.mark.parametrize(
    ("seed", "share", "count", "expected"),
    [
        (0, 0.5, 4, "bec10fa39cdd43584e07d771627c894dfbe1310f1cee6f823596547306f15d3a"),
        (2, 0.0, 2, "334bb48f4068b1292b7038dd49e225ece0022f056cbcd5942ac9a31e84a812b9"),
        (3, 1.0, 20, "669906bd67403248d041167f95f0b7197278169e62a8a270a741e0fc5d26dff0"),
    ],
)
def test_the_default_kinds_give_the_drafts_that_published_results_were_made_with(seed, share, count, expected):
    drafts = pseudo_drafts([chunk(0), *many()], spec(per_chunk=count, title_share=share), seed)
    rows = [[draft.text, draft.chunk, draft.origin, draft.positive] for draft in drafts]
    assert sha256(json.dumps(rows).encode()).hexdigest() == expected


@pytest.mark.parametrize("kind", ["heading", "acronym", "sentence", "span", "lexical"])
def test_each_kind_stands_alone(kind):
    drafts = pseudo_drafts([*varied(20), *(chunk(i) for i in range(20, 30))], spec(kinds=[kind]), seed=1)
    assert drafts and {draft.origin for draft in drafts} == {kind}


def test_kinds_take_turns_in_a_drawn_order():
    drafts = pseudo_drafts(varied(), spec(kinds=["heading", "span", "lexical"], per_chunk=1), seed=1)
    counts = Counter(draft.origin for draft in drafts)
    assert set(counts) == {"heading", "span", "lexical"} and min(counts.values()) > 10
    drafts = pseudo_drafts(varied(), spec(kinds=["heading", "span", "lexical"], per_chunk=3), seed=1)
    assert Counter(draft.origin for draft in drafts) == {"heading": 60, "span": 60, "lexical": 60}


def test_excluded_chunks_give_no_query_and_are_nobodys_positive():
    corpus = varied()
    for kinds in (["heading", "acronym", "sentence", "span"], ["lexical"]):
        whole = pseudo_drafts(corpus, spec(kinds=kinds), seed=1)
        excluded = frozenset({0, 3, 4, 59})
        part = pseudo_drafts(corpus, spec(kinds=kinds), 1, excluded)
        assert not {draft.chunk for draft in part} & excluded
        assert part == [draft for draft in whole if draft.chunk not in excluded]
        assert len(part) < len(whole)
    # The first chunk's words stand once more in the second, shorter one, which BM25 therefore ranks first.
    twins = [chunk(0, f"mooring berth quay {'harbour ' * 9}"), chunk(1, "mooring berth quay"), *many(9)]
    found = pseudo_drafts(twins, spec(kinds=["lexical"], title_share=0.0), 0)
    assert {draft.chunk for draft in found if set(words_of(draft.text)) == {"mooring", "berth", "quay"}} == {1}
    assert not [d for d in pseudo_drafts(twins, spec(kinds=["lexical"]), 0, frozenset({1})) if d.chunk == 1]


def test_lexical_queries_are_telling_words_in_text_order():
    text = "The 2024 varroa mite and the varroa acid of the hive: 17 colonies, and the acid again."
    corpus = [chunk(0, text), *many(40)]
    teacher = LexicalTeacher(corpus)
    telling = teacher.telling(0)
    assert set(telling[:2]) == {"varroa", "acid"}  # twice each
    assert not {"the", "and", "of", "2024", "17"} & set(telling)
    assert {"mite", "hive", "colonies"} <= set(telling)
    drafts = [d for d in pseudo_drafts(corpus, spec(kinds=["lexical"], title_share=0.0), 0) if d.chunk == 0]
    order = list(dict.fromkeys(words_of(text)))
    assert 1 < len(drafts) <= 4 and len({draft.text for draft in drafts}) == len(drafts)
    for draft in drafts:
        words = draft.text.split()
        assert 3 <= len(words) <= 6 and words == sorted(words, key=order.index)
        assert draft.positive == corpus[0].full_text


def test_what_stands_in_most_chunks_tells_nothing_in_any_language():
    corpus = [chunk(i, f"der Hafen und die Mole {word} {word}beck liegt") for i, word in enumerate("abcdefgh")]
    assert all("der" not in (telling := LexicalTeacher(corpus).telling(i)) and "hafen" not in telling for i in range(8))


def test_the_positive_is_the_chunk_that_bm25_ranks_first():
    corpus = [chunk(0), *many(40)]
    index = BM25Index([c.id for c in corpus], [c.full_text for c in corpus], BM25Settings())
    drafts = pseudo_drafts(corpus, spec(kinds=["lexical"]), 0, bm25=index)
    assert drafts == pseudo_drafts(corpus, spec(kinds=["lexical"]), 0)
    for draft in drafts:
        scores = index.scores(draft.text)
        assert scores[draft.chunk] == scores.max() > 0
        assert draft.positive == corpus[draft.chunk].full_text
    titled = [draft for draft in drafts if draft.text.startswith("Prepayments: ")]
    assert 0.35 < len(titled) / len(drafts) < 0.65


def test_lexical_queries_of_a_corpus_without_words_are_none():
    assert pseudo_drafts([chunk(0, "17 42 the"), chunk(1, "1 2 3")], spec(kinds=["lexical"]), 0) == []


CHINESE = "停泊费用必须在四月一日之前向港口办公室支付。如果泊位空置六周以上，管理员可以将其出租给访客！防波堤内的船只航速不得超过三节？"
JAPANESE = "係留料は四月一日までに港湾事務所に支払う必要があります。「空いている\n係留場所は来訪者に貸すことができます。」防波堤の内側ではAWS号も三ノットを超えてはなりません。"
RUSSIAN = "Место сдаётся на один сезон и не дольше. Владелец места платит конторе до первого апреля. По закону А. Петрова место, пустующее шесть недель, можно сдать гостю."
GERMAN = "Öl darf nicht ins Becken gelangen und wird abgeholt. Über den Winter bleibt das Boot an Land. Änderungen teilt der Vorstand den Mitgliedern schriftlich mit."
SPANISH = "El puerto abre todos los días del año. ¿Cuánto tiempo puede quedarse un barco en el amarre? «Hasta tres noches» dice la norma del puerto."
HINDI = "हर नाव का किराया पहली अप्रैल से पहले दिया जाता है। खाली जगह किसी मेहमान को तीन रात के लिए दी जा सकती है।"


@pytest.mark.parametrize(
    ("text", "beginnings"),
    [
        (CHINESE, ["停泊费用", "如果泊位", "防波堤内"]),
        (JAPANESE, ["係留料は", "「空いている係留", "防波堤の"]),
        (RUSSIAN, ["Место сдаётся", "Владелец", "По закону А. Петрова"]),
        (GERMAN, ["Öl darf", "Über den", "Änderungen teilt"]),
        (SPANISH, ["El puerto", "¿Cuánto", "«Hasta"]),
        (HINDI, ["हर नाव", "खाली जगह"]),
    ],
)
def test_sentences_of_other_scripts_end_where_they_end(text, beginnings):
    found = sentences(text)
    assert len(found) == len(beginnings)
    assert all(sentence.text.startswith(begun) for sentence, begun in zip(found, beginnings, strict=True))
    for sentence in found:
        assert "".join(text[sentence.start : sentence.end].split()) == "".join(sentence.text.split())


def test_small_letters_and_footnote_marks_begin_no_sentence():
    text = "La règle vaut pour l'art. étranger et les autres bateaux du port. ² Voir la note."
    assert [sentence.text for sentence in sentences(text)] == [text]


@pytest.mark.parametrize("text", [CHINESE, JAPANESE])
def test_chinese_and_japanese_give_sentences_and_spans_of_letters(text):
    drafts = pseudo_drafts([chunk(i, text, title="", headings=()) for i in range(40)], spec(per_chunk=3), seed=1)
    flat = text.replace("\n", "")
    assert {draft.origin for draft in drafts} == {"sentence", "span"} and len(drafts) == 120
    assert all(draft.text in flat for draft in drafts)
    spans = [draft.text for draft in drafts if draft.origin == "span"]
    assert all(6 <= len(span) <= 28 for span in spans) and len(set(spans)) > 20
    removed = [draft for draft in drafts if draft.text not in draft.positive.replace("\n", "")]
    assert 0.5 < len(removed) / len(drafts) < 0.9


def test_small_words_of_the_language_tell_nothing():
    corpus = [chunk(0, "Der Kredit wird nicht gekündigt, wenn Zinsen fließen."), *many(8)]
    assert "nicht" in LexicalTeacher(corpus).telling(0)
    telling = LexicalTeacher(corpus, language="deu-Latn").telling(0)
    assert {"kredit", "zinsen"} <= set(telling) and not {"nicht", "wenn", "der"} & set(telling)
    drafts = pseudo_drafts(corpus, spec(kinds=["lexical"]), 0, language="deu-Latn")
    assert not [d for d in drafts if d.chunk == 0 and {"nicht", "wenn", "der"} & set(words_of(d.text))]
    assert LexicalTeacher([chunk(0, CHINESE), chunk(1, JAPANESE)], language="zho-Hans").telling(0) == []
