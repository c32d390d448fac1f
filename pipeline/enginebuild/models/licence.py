"""Licences by the names that model cards use, and which of them ask to be read before a model is served.

The names are those of the Hub (https://huggingface.co/docs/hub/repositories-licenses, November 2026); a card
that says `other` names its own. What is not known to be a common open licence counts as a maker's own.
"""

from __future__ import annotations

import re

#: Licences that let anybody use, change and sell, at most under the same licence.
_OPEN = frozenset(
    (
        "afl-3.0", "agpl-3.0", "apache-2.0", "apple-ascl", "artistic-2.0", "bsd", "bsd-2-clause",
        "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
        "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
        "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl",
        "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "lppl-1.3c", "mit",
        "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openmdw-1.0", "openmdw-1.1", "osl-3.0",
        "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
    )
)  # fmt: skip
_NOT_COMMERCIAL = re.compile(r"(?:^|[-_ .])nc(?:$|[-_ .])|non-?commercial|research|apple-amlr", re.IGNORECASE)


def licence_warning(licence: str | None) -> str | None:
    """What to look at before a model is served; None for an open licence, and where none is named."""
    if licence is None or licence.lower() in _OPEN:
        return None
    if _NOT_COMMERCIAL.search(licence):
        return f"the model's licence is {licence}, which by its name allows no commercial use"
    return f"the model's licence is {licence}, which has terms of its own"
