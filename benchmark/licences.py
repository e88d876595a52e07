"""Licences in the words of the Hugging Face Hub."""

import re
from typing import Final

_OF_THE_HUB: Final = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-bloom-rail-1.0", "bigscience-openrail-m",
    "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0",
    "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m", "ecl-2.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "gemma", "gfdl", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "llama2", "llama3", "llama3.1", "llama3.2",
    "llama3.3", "mit", "mpl-2.0", "odbl", "odc-by", "openrail", "openrail++", "osl-3.0", "pddl", "unlicense", "zlib",
})  # fmt: skip
"""Licences that the Hub knows by name, of models and of data sets, most of them SPDX identifiers in lower case."""
_UNSAID: Final = frozenset({"", "unknown", "none", "other", "?", "n/a"})


def is_unsaid(licence: str) -> bool:
    """Whether words about a licence name none."""
    return licence.strip().lower() in _UNSAID


def hub_licence(licence: str) -> dict[str, str]:
    """The lines on the licence at the head of a card.

    >>> hub_licence("Apache-2.0"), hub_licence("My own"), hub_licence("unknown")
    ({'license': 'apache-2.0'}, {'license': 'other', 'license_name': 'my-own'}, {'license': 'unknown'})
    """
    if is_unsaid(licence):
        return {"license": "unknown"}
    plain = licence.strip().lower()
    if plain in _OF_THE_HUB:
        return {"license": plain}
    name = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")
    return {"license": "other", **({"license_name": name} if name else {})}
