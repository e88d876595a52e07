"""Whose model a tuned one is: its line of bases, their licences, and the files that must travel with it."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmark.licences import is_unsaid
from benchmark.project import Project
from benchmark.specs import ModelSpec
from benchmark.weights import model_folder

_LEGAL: Final = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")
_NO_CHANGES: Final = re.compile(
    r"-nd\b|no[ -]?derivatives|proprietary|all rights reserved|confidential|internal|secret"
)
_NO_TRADE: Final = re.compile(r"-nc\b|non-?commercial|research only")


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from.

    Attributes:
        base: The spec that training started from.
        source: The spec whose weights stand below it; the same one, unless the base is cut or adapted.
        owner: That spec's name.
        hub: The Hub's id of the model that all began with; None where it came from elsewhere.
        licence: Of the base.
    """

    base: ModelSpec
    source: ModelSpec
    owner: str
    hub: str | None
    licence: str

    @classmethod
    def of(cls, project: Project, name: str) -> "Lineage":
        """Follow a base down to its weights, and models that were tuned here further to the model they began with."""
        base = source = project.model_spec(name)
        owner, licence = name, base.licence
        while source.base is not None:
            owner, source = source.base, project.model_spec(source.base)
            licence = source.licence if is_unsaid(licence) else licence
        first, seen = source, {owner}
        while first.hub is None:
            parent = first.base or first.provenance.get("base")
            if not isinstance(parent, str) or parent in seen or parent not in project.spec_names:
                break
            seen.add(parent)
            first = project.model_spec(parent)
        return cls(base, source, owner, first.hub, licence)

    @property
    def where(self) -> str:
        """Where the weights, or the vectors, were taken from."""
        found = self.source.hub or self.source.package or self.source.path
        return found or (self.source.api.model if self.source.api else self.owner)

    def copy_legal(self, project: Project, target: Path) -> list[str]:
        """Copy the LICENSE and NOTICE files of the base's folder; returns their names.

        Raises:
            BenchError: The folder of the base is not there.
        """
        if self.source.source not in {"hub", "path", "package"}:
            return []
        folder = model_folder(project, self.owner, self.source)
        found = sorted({path for pattern in _LEGAL for path in folder.glob(pattern) if path.is_file()})
        for path in found:
            shutil.copyfile(path, target / path.name)
        return [path.name for path in found]


def caution(whose: str, licence: str) -> str | None:
    """What stands against passing a tuned model on, in a sentence; None where nothing does as far as is known.

    >>> caution("The base", "MIT")
    >>> caution("The documents", "unknown")
    'The documents: licence unknown. Do not pass this model on before you know that you may.'
    """
    plain = licence.strip().lower()
    if is_unsaid(licence):
        return f"{whose}: licence unknown. Do not pass this model on before you know that you may."
    if _NO_CHANGES.search(plain):
        return f"{whose}: the licence ({licence}) forbids passing on what is derived; a tuned model may be just that."
    if _NO_TRADE.search(plain):
        return f"{whose}: the licence ({licence}) forbids commercial use."
    return None
