"""Which ready-made corpus a domain names, if any."""

from benchmark.domain.beir import BeirFolder
from benchmark.domain.hub import HubSet
from benchmark.domain.ready_made import ReadyMade
from benchmark.files import shown
from benchmark.project import Domain


def open_ready_made(domain: Domain) -> ReadyMade | None:
    """The corpus of a domain with `beir` or `hub`; None for one with documents and questions.

    Nothing is read or fetched before it is asked for.
    """
    if domain.spec.hub is not None:
        return HubSet(domain.spec.hub, shown(domain.folder / "domain.yaml"))
    return BeirFolder(domain) if domain.spec.beir is not None else None
