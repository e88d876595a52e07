"""Whether a query is in the wanted language."""

import re
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final

_SURE: Final = 0.9
_ALMOST_NONE: Final = 0.02
_FEWEST_WORDS: Final = 4
_FEWEST_LETTERS: Final = 20
_FEWEST_WIDE: Final = 10
"""Characters of Chinese, Japanese or Korean, which write several words without a space."""
_SURER: Final = 0.99
"""Without lists of small words the letters alone must be surer."""
_PLAIN = re.compile(r"^[^\W\d_]?[^\W\d_A-Z]*(?:['’\-][^\W\d_A-Z]+)*$")
_AROUND = ".,;:!?\"'()[]{}“”‘’«»„¿¡…"


_NAMES: Final[Mapping[str, str]] = {
    "ara": "arabic", "arb": "arabic", "hye": "armenian", "eus": "basque", "cat": "catalan", "ces": "czech",
    "dan": "danish", "nld": "dutch", "eng": "english", "epo": "esperanto", "est": "estonian", "ekk": "estonian",
    "fin": "finnish", "fra": "french", "deu": "german", "ell": "greek", "hin": "hindi", "hun": "hungarian",
    "ind": "indonesian", "gle": "irish", "ita": "italian", "lit": "lithuanian", "nep": "nepali", "npi": "nepali",
    "nor": "norwegian", "nob": "norwegian", "fas": "persian", "pes": "persian", "pol": "polish", "por": "portuguese",
    "ron": "romanian", "rus": "russian", "srp": "serbian", "sot": "sesotho", "spa": "spanish", "swe": "swedish",
    "tam": "tamil", "tur": "turkish", "yid": "yiddish",
}  # fmt: skip
"""ISO 639-3 code -> the name that Snowball's stemmers and bm25s's stop words have for the language."""


class LanguageCheck:
    """Recognises other languages than the wanted one, through lingua's models of letter sequences.

    It objects only where it is sure. Names, acronyms and code, which belong to no language, are not looked at, and
    what is left must be long enough. By its letters alone, "mezzanine tranche attachment detachment" is French and
    many a medical term Latin; so the small words (bm25s's stop words) must be rather the other language's than the
    wanted one's, and Latin is never objected to.

    Args:
        language: ISO 639-3 code and script, e.g. "eng-Latn".

    Attributes:
        known: Whether the language can be recognised; if not, nothing is objected to.
        name: The language's English name, or its code where it is not known.
    """

    def __init__(self, language: str) -> None:
        from lingua import Language

        code = language.partition("-")[0]
        wanted = next((known for known in Language.all() if known.iso_code_639_3.name.lower() == code.lower()), None)
        self._wanted: Any = wanted
        self.known = wanted is not None
        self.name = wanted.name.title() if wanted is not None else code + " (ISO 639-3)"

    def __call__(self, text: str) -> float | None:
        """The confidence (0.9 to 1) that a text is in another language, or None where there is no such certainty."""
        plain = plain_words(text)
        if not self.known or not _long_enough(plain):
            return None
        found = self._detector.compute_language_confidence_values(" ".join(plain))
        confidence = {item.language: float(item.value) for item in found}
        own = confidence.pop(self._wanted, 0.0)
        other = max(confidence, key=lambda language: confidence[language])
        if own >= _ALMOST_NONE or not self._sure([word.lower() for word in plain], other.name, confidence[other]):
            return None
        return confidence[other]

    def _sure(self, words: list[str], other: str, confidence: float) -> bool:
        """Whether letters and small words both say that the language is another one."""
        small, own_small = small_words(other), small_words(self._wanted.name)
        own = sum(word in own_small for word in words)
        if small:
            return confidence >= _SURE and sum(word in small for word in words) > own
        return confidence >= _SURER and own == 0 and other != "LATIN"

    @cached_property
    def _detector(self) -> Any:
        from lingua import LanguageDetectorBuilder

        # The precise mode takes a gigabyte.
        return LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()


def _long_enough(words: list[str]) -> bool:
    wide = sum(character >= "\u2e80" for word in words for character in word)
    return wide >= _FEWEST_WIDE or (len(words) >= _FEWEST_WORDS and sum(map(len, words)) >= _FEWEST_LETTERS)


def snowball_name(language: str) -> str | None:
    """The name of a language among Snowball's stemmers, from its ISO 639-3 code and script; None where it has none.

    >>> snowball_name("deu-Latn"), snowball_name("zho-Hans")
    ('german', None)
    """
    return _NAMES.get(language.partition("-")[0].lower())


@cache
def small_words(language: str) -> frozenset[str]:
    """Stop words of a language by its English name, e.g. "GERMAN", from bm25s; empty where it has no list.

    >>> "nicht" in small_words("GERMAN"), small_words("POLISH")
    (True, frozenset())
    """
    from bm25s import stopwords

    if language in {"CHINESE", "KOREAN"}:  # written without spaces, or joined to the word before
        return frozenset()
    if language == "ENGLISH":
        return frozenset(stopwords.STOPWORDS_EN_PLUS)
    return frozenset(getattr(stopwords, "STOPWORDS_" + language, ()))


def likeliest_small_words(counts: Mapping[str, int]) -> frozenset[str]:
    """The stop words of the language that a text is likeliest to be in: whose stop words it has most of.

    Args:
        counts: Word in small letters -> how often it occurs.
    """
    languages = [name for name in _lists() if small_words(name)]
    held = {name: sum(counts.get(word, 0) for word in small_words(name)) for name in languages}
    best = min(languages, key=lambda name: (-held[name], name))
    return small_words(best) if held[best] else frozenset()


def _lists() -> list[str]:
    from bm25s import stopwords

    others = (name.removeprefix("STOPWORDS_") for name in dir(stopwords) if name.startswith("STOPWORDS_"))
    return sorted({"ENGLISH", *(name for name in others if not name.startswith("EN"))})


def plain_words(text: str) -> list[str]:
    """The words of a text that are no acronyms, numbers or code.

    >>> plain_words("Does the IAM policy allow sts:AssumeRole on us-east-1?")
    ['Does', 'the', 'policy', 'allow', 'on']
    """
    words = (word.strip(_AROUND) for word in text.split())
    return [word for word in words if word and _PLAIN.match(word)]
