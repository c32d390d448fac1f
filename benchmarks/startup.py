"""How instant the command line feels: process time (user + system) of `--help` and a fully cached quickstart.

    python benchmarks/startup.py [--runs 11]

Process time, because wall time on a busy machine says more of the machine. The median of the runs counts;
the first run of each is left out (it fills the page cache). Exit code 1 if a median is above its limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"
COMMAND = Path(sys.executable).with_name("enginebuild")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: `process` (user + system) and `wall` time in seconds, peak `rss` in bytes."""

    process: float
    wall: float
    rss: int


def measure(argv: Sequence[str | Path], environment: Mapping[str, str], folder: Path) -> Cost:
    """Run a command to its end. Raises CalledProcessError with what it said if it fails."""
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, stdout=said, stderr=said, env=dict(environment), cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)  # collected here, not by subprocess
        if process.returncode:
            said.seek(0)
            raise subprocess.CalledProcessError(process.returncode, list(map(str, argv)), said.read())
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Each number's own median."""
    return Cost(
        statistics.median(c.process for c in costs),
        statistics.median(c.wall for c in costs),
        int(statistics.median(c.rss for c in costs)),
    )


def copy_quickstart(folder: Path) -> Path:
    """The quickstart in a folder of its own, so that a measurement leaves the checkout as it was."""
    for source in RECIPES.glob("quickstart*"):
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / source.name)
    return folder / "quickstart.yaml"


def main() -> int:
    """Print the table; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="enginebuild-startup-") as scratch:
        folder = Path(scratch)
        environment = {
            "PATH": os.defpath,
            "HOME": scratch,
            "ENGINEBUILD_CACHE": str(folder / "cache"),
            "CI": "1",
        }
        quickstart = copy_quickstart(folder)
        commands: dict[str, tuple[float, list[str | Path]]] = {
            "--help": (0.15, [COMMAND, "--help"]),
            "run quickstart.yaml, cached": (0.40, [COMMAND, "run", quickstart]),
        }
        print(
            f"{'enginebuild …':<30}{'process s':>10}{'limit':>8}{'wall s':>9}{'RSS MB':>9}   median of {runs}"
        )
        broken = 0
        for name, (limit, argv) in commands.items():
            cost = median([measure(argv, environment, folder) for _ in range(runs + 1)][1:])
            verdict = "" if cost.process <= limit else "   ABOVE THE LIMIT"
            numbers = f"{cost.process:>10.3f}{limit:>8.2f}{cost.wall:>9.3f}{cost.rss / 1e6:>9.1f}"
            print(f"{name:<30}{numbers}{verdict}")
            broken += bool(verdict)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
