"""What a model says that it was trained on, and whether a domain of the project is among it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmark.errors import BenchError
from benchmark.escape import one_line
from benchmark.hub.registry import Registered
from benchmark.hub.remote import RemoteModel
from benchmark.project import Domain, Project

_TASK_WORDS: Final = re.compile(r"(hardnegatives|retrieval|reranking)+$")
_SHORTEST: Final = 2


@dataclass(frozen=True)
class TrainingData:
    """Declared training data.

    Attributes:
        names: Ids of data sets and names of mteb tasks; None where nobody declares any.
        sources: Who does.
    """

    names: tuple[str, ...] | None
    sources: tuple[str, ...]

    @classmethod
    def of(cls, model: RemoteModel, entry: Registered | None) -> "TrainingData":
        """From the model's card and mteb's registry."""
        card = model.declared.datasets or ()
        tasks = (entry.training if entry else None) or ()
        sources = [*(["model card"] if card else []), *([entry.source] if entry and tasks else [])]
        names = tuple(dict.fromkeys([*card, *tasks]))
        return cls(names or None, tuple(sources))


def seen_domains(project: Project, names: Iterable[str]) -> list[str]:
    """A warning for each domain of the project whose own name, or whose data set's, is among declared training data.

    Names are compared whole, without regard to case, punctuation, owner, and the words that mteb appends to them;
    NanoBEIR's sets count as the sets that they are drawn from. Nothing is concluded from a licence or a description,
    and nothing from silence: most training data are declared by nobody.
    """
    declared: dict[str, str] = {}
    for name in names:
        declared.setdefault(_bare(name), name)
    warnings = []
    for domain in _domains(project):
        for own in _names(domain):
            said = declared.get(_bare(own))
            if said is not None and len(_bare(own)) >= _SHORTEST:
                warnings.append(
                    f"its declared training data name '{one_line(said, 80)}', as domain '{domain.name}' is called "
                    f"({own}): what it scores there may be remembered"
                )
                break
    return warnings


def _domains(project: Project) -> Iterable[Domain]:
    for name in project.domain_names:
        try:
            yield project.domain(name)
        except BenchError:  # told by `domainbench check`
            continue


def _names(domain: Domain) -> Iterable[str]:
    """What a domain, and the data set that it is made of, is called."""
    yield domain.name
    yield domain.task_name
    yield domain.spec.title
    if domain.spec.hub is not None:
        repository = domain.spec.hub.repository
        yield repository
        name = repository.rpartition("/")[2]
        if name.lower().startswith("nano"):
            yield name[4:]


def _bare(name: str) -> str:
    """A name without owner, case, punctuation and the kind of task.

    >>> _bare("mteb/nano-NQ_Retrieval"), _bare("HotpotQAHardNegatives"), _bare("Retrieval")
    ('nanonq', 'hotpotqa', 'retrieval')
    """
    word = re.sub(r"[^a-z0-9]", "", name.strip().rstrip("/").rpartition("/")[2].lower())
    return _TASK_WORDS.sub("", word) or word
