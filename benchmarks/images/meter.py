"""What a contender costs: wall time, processor time, bytes written, bytes the registry received, memory.

The figures are the kernel's. Of the client: the resource usage of its ended processes (wait4 adds what their
own ended children used). Of daemons and the registry, which go on: the growth of /proc/PID/stat and
/proc/PID/io over a process and all that descend from it. Bytes written are those to block devices
(`write_bytes`): a tmpfs is not counted, and what a daemon's writes caused in kernel threads is not either.
Peaks of memory below that of the benchmark itself, some 30 MB, show as that.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_BLOCK = 512  # bytes of one unit of ru_oublock, which the kernel makes from write_bytes


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run, and what is to be added to its environment."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes of one push. `read`: by system calls of the client, sockets included.

    `received`: by system calls of the registry, so what came over its sockets and what it read of its own.
    `memory`: of the largest of the client's processes, at its peak.
    """

    wall: float
    client: float
    daemons: float
    registry: float
    read: int
    written: int
    registry_written: int
    received: int
    memory: int

    @property
    def cpu(self) -> float:
        """Processor seconds of all that took part."""
        return self.client + self.daemons + self.registry


class CommandFailedError(Exception):
    """A contender's command ended with an error; the message ends with what it said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have used since they began: processor seconds, bytes read by calls, bytes written."""

    cpu: float = 0.0
    read: int = 0
    written: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.read + other.read, self.written + other.written)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu - other.cpu, self.read - other.read, self.written - other.written)


def usage_of(pids: Sequence[int]) -> Usage:
    """Of these processes, all that descend from them, and their children that have ended."""
    total = Usage()
    for pid in _with_descendants(pids):
        with contextlib.suppress(OSError):  # one that ends meanwhile is in its parent's figures next time
            total += _usage(pid)
    return total


def measure(commands: Sequence[Command], daemons: Sequence[int], registry: Sequence[int]) -> Cost:
    """Run the commands one after the other. Raises CommandFailedError."""
    os.sync()  # what was written before is not to be paid by these
    # A child's peak begins with that of the process that it was forked from: ours is forgotten first.
    Path("/proc/self/clear_refs").write_text("5")
    before = usage_of(daemons), usage_of(registry)
    client, memory, begun = Usage(), 0, time.perf_counter()
    read = _own_read()
    for command in commands:
        used, peak = _run(command)
        client, memory = client + used, max(memory, peak)
    wall = time.perf_counter() - begun
    read = _own_read() - read
    served, stored = usage_of(daemons) - before[0], usage_of(registry) - before[1]
    return Cost(
        wall,
        client.cpu,
        served.cpu,
        stored.cpu,
        read,
        client.written + served.written,
        stored.written,
        stored.read,
        memory,
    )


def _run(command: Command) -> tuple[Usage, int]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **command.environment},
            cwd=command.folder,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")[-3000:]
            raise CommandFailedError(f"{' '.join(command.argv)[:300]}: exit {process.returncode}\n{text}")
    usage = Usage(used.ru_utime + used.ru_stime, 0, used.ru_oublock * _BLOCK)
    return usage, used.ru_maxrss * 1024


def _own_read() -> int:
    """Bytes read by this process and by its children that have ended, which are added to it then."""
    return _io(os.getpid())["rchar"]


def _with_descendants(pids: Sequence[int]) -> list[int]:
    found, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting.extend(map(int, children.read_text().split()))
    return found


def _usage(pid: int) -> Usage:
    # The name, in parentheses, may hold anything; utime is field 14 of proc(5), the 12th behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    io = _io(pid)
    return Usage(ticks / _TICK, io["rchar"], io["write_bytes"])


def _io(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(count) for name, _, count in (line.partition(": ") for line in lines)}
