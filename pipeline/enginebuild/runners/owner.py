"""Who started a container: a label that tells a killed run's from those of a run that is at work."""

from __future__ import annotations

import os
from pathlib import Path

LABEL = "enginebuild.run"


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


def _began(process: int) -> str:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # no Linux: the number alone must do
        return "?"
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5), after the name in parentheses
