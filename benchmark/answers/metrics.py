"""What can be said of an answer without a language model, each from 0 to 1.

`exact_match` and `token_f1` are SQuAD's (Rajpurkar et al., arXiv 1606.05250; the normalisation is that of its script
`evaluate-v1.1.py`, an answer that declines counts as empty as in `evaluate-v2.0.py`, arXiv 1806.03822). `rouge_l` is
the F-measure of the longest common subsequence of words (Lin, "ROUGE", ACL 2004), as the package rouge-score computes
it without its stemmer; that package drops every letter beyond a to z, which these words do not.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Final

from benchmark.answer_records import Answered, Asked

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_WORD: Final = re.compile(r"[^\W_]+")
_LISTS: Final = {
    "dan": "DANISH", "nld": "DUTCH", "eng": "EN_PLUS", "fra": "FRENCH", "deu": "GERMAN", "ita": "ITALIAN",
    "nob": "NORWEGIAN", "nno": "NORWEGIAN", "nor": "NORWEGIAN", "por": "PORTUGUESE", "rus": "RUSSIAN", "spa": "SPANISH",
    "swe": "SWEDISH", "tur": "TURKISH",
}  # fmt: skip
"""ISO 639-3 -> bm25s's list of stop words."""


def metrics_of(asked: Asked, answered: Answered, passages: Sequence[str], language: str) -> dict[str, float]:
    """Every metric that applies; none of them does where there is no answer.

    Args:
        asked: The question; without a reference, or where it is unanswerable, nothing is compared with one.
        answered: The answer.
        passages: The texts that were handed over.
        language: The domain's, e.g. "eng-Latn".
    """
    if answered.failure:
        return {}
    found = {"declined_rightly": float(answered.declined != asked.answerable)}
    if not answered.declined:
        found["citation_valid"] = citation_valid(answered.cited, answered.invented)
    if asked.answerable and asked.reference:
        said = "" if answered.declined else answered.text
        found["exact_match"] = exact_match(said, asked.reference)
        found["token_f1"] = token_f1(said, asked.reference)
        found["rouge_l"] = rouge_l(said, asked.reference)
        held = answer_in_context(asked.reference, passages, language)
        found |= {} if held is None else {"answer_in_context": held}
    return dict(sorted(found.items()))


def normalised(text: str) -> str:
    """SQuAD's normalisation: small letters, no ASCII punctuation, no English articles, single spaces.

    >>> normalised("The  harbour-master's Fee.")
    'harbourmasters fee'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, reference: str) -> float:
    """1 where both are the same after SQuAD's normalisation, else 0."""
    return float(normalised(answer) == normalised(reference))


def token_f1(answer: str, reference: str) -> float:
    """SQuAD's F1 over the words of both, as bags.

    >>> token_f1("the fifty minutes", "about fifty minutes")
    0.8
    """
    said, wanted = normalised(answer).split(), normalised(reference).split()
    if not said or not wanted:
        return float(said == wanted)
    return _f1(sum((Counter(said) & Counter(wanted)).values()), len(said), len(wanted))


def rouge_l(answer: str, reference: str) -> float:
    """F-measure of the longest common subsequence of the words of both.

    >>> round(rouge_l("police killed the gunman", "the gunman police killed"), 2)
    0.5
    """
    said, wanted = words_of(answer), words_of(reference)
    return _f1(_longest_common(said, wanted), len(said), len(wanted))


def _f1(common: int, said: int, wanted: int) -> float:
    return 2 * common / (said + wanted) if common else 0.0


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, start=1):
            above = row[place]
            row[place] = before + 1 if word == other else max(above, row[place - 1])
            before = above
    return row[-1]


def answer_in_context(reference: str, passages: Sequence[str], language: str = "eng-Latn") -> float | None:
    """The share of the reference's content words that stand in the passages: what a model could have answered from.

    Content words are its distinct words without stop words (bm25s's list for the language; where there is none, or
    nothing else is left, all words). None where the reference has no word. A word counts where it stands in any of
    the passages in the same form, so that a translated or reworded reference has less than all of its words there
    even when the passages answer it.

    >>> answer_in_context("It bakes for fifty minutes.", ["A loaf bakes fifty minutes.", "Rye."])
    1.0
    """
    words = set(words_of(reference))
    wanted = words - _stop_words(language.partition("-")[0]) or words
    if not wanted:
        return None
    held = {word for passage in passages for word in words_of(passage)}
    return len(wanted & held) / len(wanted)


def citation_valid(cited: Sequence[str], invented: Sequence[str]) -> float:
    """The share of the citations that lead to a passage which was handed over; 0 where nothing is cited."""
    return len(cited) / (len(cited) + len(invented)) if cited else 0.0


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, in small letters.

    >>> words_of("Größe: 3,5 m_2")
    ['größe', '3', '5', 'm', '2']
    """
    return _WORD.findall(text.lower())


@cache
def _stop_words(language: str) -> frozenset[str]:
    from bm25s import stopwords

    return frozenset(getattr(stopwords, "STOPWORDS_" + _LISTS[language])) if language in _LISTS else frozenset()
