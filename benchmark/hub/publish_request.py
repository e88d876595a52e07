"""What a user asks `domainbench publish` for."""

import re
from dataclasses import dataclass

from benchmark.errors import BenchError
from benchmark.project import Domain

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_UNSAID = frozenset({"", "unknown", "none", "other", "?", "n/a"})


@dataclass(frozen=True)
class Request:
    """The command's options.

    Attributes:
        to: The repository, `organisation/name`.
        model: The spec of the model to publish.
        dataset: The repository that the test set was published to, `organisation/name` or with `@commit`.
        public: Whether anybody may see it.
        dry_run: Whether only to list what would be sent.
        with_documents: Whether text of documents may be sent.
        synthetic: Whether the synthetic training set goes with the test set.
        licence: Of what is sent, where domain.yaml does not say it or says another.
        message: Of the commit.
    """

    to: str
    model: str | None = None
    dataset: str | None = None
    public: bool = False
    dry_run: bool = False
    with_documents: bool = False
    synthetic: bool = False
    licence: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        name, _, revision = (self.dataset or "").partition("@")
        for option, value in (("--to", self.to), ("--dataset", name)):
            if (value or option == "--to") and not _ID.fullmatch(value):
                raise BenchError(f"{option}: {value!r} is no repository; organisation/name is expected")
        if revision and not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise BenchError(f"--dataset: {revision!r} is no commit (40 hex digits)")

    def licence_of(self, domain: Domain) -> str | None:
        """The documents' licence; None where nobody has said one."""
        said = self.licence if self.licence is not None else domain.spec.licence
        return None if said.strip().lower() in _UNSAID else said.strip()

    def documents_licence(self, domain: Domain, what: str) -> str:
        """The licence under which text of documents is sent.

        Args:
            domain: Whose documents.
            what: What holds their text.

        Raises:
            BenchError: The user has not said that it may be sent, or there is no licence; in one line what is missing.
        """
        licence = self.licence_of(domain)
        missing = [] if self.with_documents else ["--with-documents, which says that it may be sent"]
        if licence is None:
            missing.append(f"a licence (in tasks/{domain.name}/domain.yaml, or --licence)")
        if missing or licence is None:
            raise BenchError(f"{what} holds the documents' text; missing: {', and '.join(missing)}")
        return licence
