"""A program that reserves GPUs of a made-up machine: `python -m parts.gpu_holder COUNT SECONDS LOG GPUS`.

It writes to LOG when it has them and before it gives them back, and to standard output what it is told.
With SECONDS `-` it keeps them until its standard input ends.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from enginebuild.events import Event
from enginebuild.execution import GpuNeed
from enginebuild.runners.machine import Gpu, Machine
from enginebuild.runners.reservation import reserved

MIB = 1 << 20


def machine(count: int) -> Machine:
    """GPUs that differ in nothing but their names."""
    return Machine(tuple(gpu(str(number)) for number in range(count)))


def gpu(index: str, free: int | None = 22563 * MIB) -> Gpu:
    uuid = f"GPU-00000000-0000-4000-8000-00000000000{index}"
    return Gpu(index, uuid, "NVIDIA L4", "8.9", 23034 * MIB, free, "590.44.01")


def main(count: int, seconds: str, log: Path, gpus: int) -> None:
    def told(event: Event) -> None:
        print(event, flush=True)

    with reserved(GpuNeed(count), f"of {count}", lambda: machine(gpus), told) as found:
        indices = ",".join(each.index for each in found)
        _note(log, f"has {os.getpid()} {indices}")
        print(f"has {indices}", flush=True)
        if seconds == "-":
            sys.stdin.read()
        else:
            time.sleep(float(seconds))
        _note(log, f"gives {os.getpid()} {indices}")


def _note(log: Path, line: str) -> None:
    """One write: several programs have one log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
