"""Whose a container or an image is: a label, or a tag where an image's bytes have no room for one, that tells
a killed run's from those of a run that is at work.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

LABEL = "enginebuild.run"
_TAG = re.compile(r"[0-9a-f]{12}-(?P<host>.+)-(?P<process>[0-9]+)-(?P<began>[0-9]+|_)\Z")
#: What a tag has no room for (OCI distribution spec: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}).
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9._-]")


def myself() -> str:
    """Host, process and when it began (in the kernel's ticks; numbers of processes are used again)."""
    return f"{os.uname().nodename} {os.getpid()} {_began(os.getpid())}"


def is_gone(owner: str) -> bool:
    """True if the process is one of this host and runs no more."""
    host, _, rest = owner.partition(" ")
    number, _, began = rest.partition(" ")
    if host != os.uname().nodename or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _began(int(number)) != began


def tag(digest: str) -> str:
    """The tag of an image that is there for this run alone; `digest` is the image's in short."""
    return f"{digest}-{'-'.join(_NOT_IN_TAGS.sub('_', word) for word in myself().split())}"


def owner_in(name: str) -> str:
    """The owner that the tag of an image's name tells; empty for every other name."""
    found = _TAG.match(name.rpartition(":")[2])
    return f"{found['host']} {found['process']} {found['began'].replace('_', '?')}" if found else ""


def _began(process: int) -> str:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no Linux: the number alone must do
        return "?"
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5), after the name in parentheses
