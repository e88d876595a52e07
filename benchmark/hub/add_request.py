"""What a user who adds a model has said."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from benchmark.specs.models import Kind


@dataclass(frozen=True)
class AddRequest:
    """What the user wants.

    Attributes:
        repository: `organisation/name`; an address of the Hub's page will do.
        revision: A commit, branch or tag; `main` by default.
        name: Of the spec; the model's by default.
        kind: Where the model's files do not say.
        retriever: The first stage before a reranker; the benchmark file's baseline by default.
        code: Whether it may run code of its own.
        pickled: Whether its weights may come from pickled files.
        compare: Whether it takes part in every benchmark file.
        force: Whether a file of this name may be replaced.
    """

    repository: str
    revision: str | None = None
    name: str | None = None
    kind: Kind | None = None
    retriever: str | None = None
    code: bool = False
    pickled: bool = False
    compare: bool = True
    force: bool = False

    def command(self, more: Iterable[str] = ()) -> str:
        """The command line of this request, with further options.

        >>> AddRequest("org/model", kind="sparse").command(["--pickled"])
        'domainbench add org/model --kind sparse --pickled'
        """
        given = {"revision": self.revision, "name": self.name, "kind": self.kind, "retriever": self.retriever}
        switches = {
            "--trust-remote-code": self.code, "--pickled": self.pickled, "--no-compare": not self.compare,
            "--force": self.force,
        }  # fmt: skip
        words = [word for key, value in given.items() if value is not None for word in (f"--{key}", value)]
        words += [switch for switch, on in switches.items() if on]
        words += [switch for switch in more if switch not in words]
        return shlex.join(["domainbench", "add", self.repository, *words])
