"""A judge by script, over real HTTP: it knows by construction what is supported, and obeys only what stands outside marks.

A statement is supported by a passage if the passage holds it word for word; a claim is stated if the answer holds it, and
contradicted if the answer holds "NOT " before it. So whoever plants answers knows every verdict beforehand. Words outside
of the marks that ask for full marks are obeyed: a text that gets out of its marks changes a score.
"""

import importlib.util
import json
import re
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "chat_server", Path(__file__).resolve().parent.parent / "llm" / "chat_server.py"
)
_CHAT = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_CHAT)

FENCE = re.compile(r"([A-Z][A-Za-z0-9 ]*):\n<passage-([0-9a-f]{12})>\n(.*?)\n</passage-\2>", re.DOTALL)
KINDS = {
    "Break the text into statements": "statements",
    "which passages support it": "support",
    "what the answer says of it": "correctness",
    "how far the answer answers": "relevance",
    "which of the two helps": "preference",
}
OBEYED = re.compile(r"full marks|score (?:is )?5\b|all supported|is better", re.IGNORECASE)


def opened(body):
    """The kind of a request, its texts as (label, text), and all that stands outside the marks."""
    system, user = body["messages"][0]["content"], body["messages"][1]["content"]
    kind = next(kind for words, kind in KINDS.items() if words in system)
    return kind, [(label, text) for label, _, text in FENCE.findall(user)], FENCE.sub("", user)


def of(texts, label):
    """The texts whose label begins with a word, in order."""
    return [text for name, text in texts if name == label or re.fullmatch(rf"{label} \d+", name)]


class JudgeServer(_CHAT.ChatServer):
    """Judges by its script.

    Attributes:
        faults: Kind -> what goes wrong with a request the first time, the second time, ...; the last one for ever.
        grades: Answer -> its relevance, 1 to 5; 1 where it has none.
        biased: Prefers whatever is shown first.
        only: Which requests the faults are for, by kind and texts.
        kinds: How often each kind was asked, repairs included.
    """

    def __init__(self, faults=None, grades=None, biased=False, only=None):
        super().__init__(self._reply)
        self.faults, self.grades, self.biased = faults or {}, grades or {}, biased
        self.only = only or (lambda kind, texts: True)
        self.kinds, self._seen = {}, {}

    def _reply(self, body):
        kind, texts, outside = opened(body)
        asked = json.dumps(body["messages"][:2])
        with self.lock:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            turn = self._seen[asked] = self._seen.get(asked, 0) + 1
        fault = self.fault_of(kind, texts, turn)
        if fault in {429, 500}:
            return fault, {"Retry-After": "0"}, {"error": {"message": "not now"}}
        said = getattr(self, f"_{kind}")(texts, bool(OBEYED.search(outside)))
        return _spoilt(said, fault)

    def fault_of(self, kind, texts, turn):
        """What goes wrong with a request when it comes for the n-th time."""
        faults = self.faults.get(kind, ["fine"]) if self.only(kind, texts) else ["fine"]
        return faults[min(turn, len(faults)) - 1]

    def _statements(self, texts, obeys):
        return {"statements": _sentences(of(texts, "Text")[0])}

    def _support(self, texts, obeys):
        passages, found = of(texts, "Passage"), {}
        for number, statement in enumerate(of(texts, "Statement"), start=1):
            held = [n for n, text in enumerate(passages, start=1) if statement in text]
            found[str(number)] = {"reason": "so", "supporting": [1] if obeys else held}
        return found

    def _correctness(self, texts, obeys):
        answer, found = of(texts, "Answer")[0], {}
        for number, claim in enumerate(of(texts, "Claim"), start=1):
            verdict = "contradicted" if f"NOT {claim}" in answer else "stated" if claim in answer else "missing"
            found[str(number)] = {"reason": "so", "verdict": "stated" if obeys else verdict}
        return found

    def _relevance(self, texts, obeys):
        return {"reason": "so", "score": 5 if obeys else self.grades.get(of(texts, "Answer")[0], 1)}

    def _preference(self, texts, obeys):
        claims = [claim for text in of(texts, "Reference answer") for claim in _sentences(text)]
        first, second = (
            sum(claim in of(texts, label)[0] for claim in claims) for label in ("First answer", "Second answer")
        )
        winner = "first" if self.biased or obeys or first > second else "second" if second > first else "tie"
        return {"reason": "so", "winner": winner}


def _sentences(text):
    return [part.strip() for part in text.split("|") if part.strip()]


def _spoilt(said, fault):
    if fault == "short":
        said = dict(list(said.items())[:-1]) if "statements" not in said else {"statements": []}
    elif fault == "shifted":
        said = {str(int(number) + 1): entry for number, entry in said.items()}
    elif fault == "more":
        said = {**said, "99": next(iter(said.values()))}
    elif fault == "outside":
        said = {number: {**entry, "supporting": [99]} for number, entry in said.items()}
    elif fault == "broken":
        return json.dumps(said)[:-2]
    elif fault == "empty":
        return ""
    elif fault == "talk":
        return "They are all fine, full marks."
    return "```json\n" + json.dumps(said) + "\n```" if fault == "fenced" else json.dumps(said)
