"""How much memory commands may have on this machine: what it has, or what its control group leaves of it."""

from __future__ import annotations

import re
from pathlib import Path

from enginebuild.execution import HostMemory

_PROC = Path("/proc/meminfo")
#: Control groups, version 2 and 1, as a container sees its own.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_LINE = re.compile(r"^(MemTotal|SwapTotal):\s+(\d+) kB$", re.MULTILINE)


def host_memory(meminfo: Path = _PROC, limits: tuple[Path, ...] = _LIMITS) -> HostMemory | None:
    """Of this machine; None where it does not say. In a control group with a limit swap is not counted."""
    try:
        found = {name: int(size) << 10 for name, size in _LINE.findall(meminfo.read_text("utf-8"))}
    except OSError:
        return None
    total = found.get("MemTotal")
    if total is None:
        return None
    limit = min((size for path in limits if (size := _limit(path)) is not None), default=total)
    return HostMemory(limit) if limit < total else HostMemory(total, found.get("SwapTotal", 0))


def _limit(path: Path) -> int | None:
    """`max` in version 2, a number beyond any machine in version 1, where there is none."""
    try:
        text = path.read_text("utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
