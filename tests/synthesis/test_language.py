"""The language check: sure of other languages, silent on jargon, keywords, code and what it does not know."""

from itertools import islice

import pytest

from benchmark.files import iter_jsonl
from benchmark.synthesis.language import (
    _NAMES,
    LanguageCheck,
    likeliest_small_words,
    plain_words,
    small_words,
    snowball_name,
)

ENGLISH = [
    "IAM role trust policy sts:AssumeRole",
    "kubelet OOM kill eviction threshold",
    "kubectl get pods -n kube-system pending",
    "mezzanine tranche attachment detachment",
    "nginx ingress tls redirect annotation",
    "SOFR floor swap hedge counterparty downgrade",
    "What is the effect of intranasal Zanamivir on laboratory confirmed influenza infection?",
    "Is Amazon EBS encryption available on M3 instances?",
    "de minimis exemption 144A QIB resale",
    "How does hepcidin work in the duodenum?",
]
OTHERS = {
    "deu": "Was passiert, wenn die Rate nicht rechtzeitig bezahlt wird?",
    "fra": "Quelle est la durée du contrat de travail ?",
    "spa": "¿Cuánto tiempo tengo para pagar la multa?",
    "pol": "Jakie są warunki wypowiedzenia umowy kredytowej",
    "jpn": "契約はいつ終了できますか",
}


@pytest.fixture(scope="module")
def english():
    return LanguageCheck("eng-Latn")


@pytest.mark.parametrize("text", ENGLISH)
def test_english_with_jargon_is_english(english, text):
    assert english(text) is None


@pytest.mark.parametrize("code", OTHERS)
def test_another_language_is_objected_to_with_its_confidence(english, code):
    score = english(OTHERS[code])
    assert score is not None and 0.9 <= score <= 1
    assert LanguageCheck(code + "-Zyyy")(OTHERS[code]) is None


def test_the_wanted_language_may_be_another_than_english():
    german = LanguageCheck("deu-Latn")
    assert german.known and german.name == "German"
    assert german("What happens if the instalment is not paid in time?") >= 0.9
    assert german("Kubernetes Cluster Deployment Rollback Timeout") is None
    assert german("Restschuldversicherung Kündigungsfrist Widerruf") is None


def test_short_texts_are_not_judged(english):
    assert english("Was ist das?") is None
    assert english("prix du pain") is None
    assert english("") is None


def test_a_language_that_is_not_known_is_never_objected_to():
    check = LanguageCheck("xyz-Latn")
    assert not check.known and "xyz" in check.name
    assert all(check(text) is None for text in [*ENGLISH, *OTHERS.values()])


def test_peoples_questions_in_english_pass(english, shared):
    for name in ("aws", "covidqa"):
        rows = islice(iter_jsonl(shared / name / "queries.jsonl"), 400)
        assert not [row["text"] for row in rows if english(row["text"])]


def test_code_numbers_and_acronyms_are_left_out():
    assert plain_words("Run `aws s3 cp` with --acl=public, 3.5 GB (via VPN)!") == ["Run", "with", "via"]
    assert plain_words("l'échéance du prêt") == ["l'échéance", "du", "prêt"]


def test_small_words_are_found_by_the_text():
    german = dict.fromkeys(["der", "kredit", "wird", "nicht", "von", "dem", "kunden", "gekündigt"], 1)
    assert likeliest_small_words(german) == small_words("GERMAN")
    assert likeliest_small_words({"the": 9, "of": 3, "die": 1}) == small_words("ENGLISH")
    assert likeliest_small_words({"xyzzy": 1}) == frozenset()


def test_every_language_that_has_a_stemmer_is_known_by_its_code():
    import Stemmer
    from lingua import Language

    own = {"dutch_porter", "porter"}  # second stemmers of a language
    assert set(Stemmer.algorithms()) - own <= set(_NAMES.values())
    codes = {known.iso_code_639_3.name.lower(): known.name.lower() for known in Language.all()}
    others = {"nob": "bokmal", "sot": "sotho"}  # which lingua calls otherwise
    assert all(codes.get(code, name) == others.get(code, name) for code, name in _NAMES.items())
    assert snowball_name("DEU-Latn") == "german" and snowball_name("jpn-Jpan") is None
