"""How fast a model is fetched, next to `hf download` from the same server on loopback; and memory.

    python benchmarks/download.py                 2 GiB in 4 files, 5 pairs, about two minutes
    python benchmarks/download.py --size 512 --pairs 9

Both are whole processes into empty caches, in turns. `hf download` writes and renames; enginebuild also
digests every byte, checks it and syncs it to the disk. Exit code 1 if the median of the paired ratios is
below 0.9 or more than 150 MB of memory were needed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
FILES = 4
LOWEST_RATIO = 0.9
MOST_MEMORY = 150_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall seconds, CPU seconds, peak memory in bytes."""

    seconds: float
    cpu: float
    memory: int


def write_checkpoint(folder: Path, mebibytes: int) -> int:
    """A true checkpoint of random bytes. Returns its weights' size in bytes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    block = random.Random(0).randbytes(1 << 20)
    each = mebibytes // FILES
    for number in range(1, FILES + 1):
        entry = {"dtype": "U8", "shape": [each << 20], "data_offsets": [0, each << 20]}
        header = json.dumps({f"layer.{number}": entry}).encode()
        with (folder / f"model-{number:05}-of-{FILES:05}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for count in range(each):
                file.write(bytes([number, count % 256]) + block[2:])
    return FILES * (each << 20)


def measure(command: Sequence[str], environment: dict[str, str]) -> Run:
    """Raises SystemExit if the command fails."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=TESTS, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def pairs(root: Path, endpoint: str, count: int) -> list[tuple[Run, Run]]:
    """(enginebuild, hf download), each first in turn."""

    def environment(home: Path) -> dict[str, str]:
        return os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }

    def ours() -> Run:
        cache = root / "cache"
        command = [sys.executable, "-m", "parts.hub_fetch", str(cache), "hf://org/name"]
        try:
            return measure(command, environment(root / "empty"))
        finally:
            shutil.rmtree(cache)

    def theirs() -> Run:
        hf = str(Path(sys.executable).with_name("hf"))
        try:
            return measure([hf, "download", "org/name"], environment(root / "home"))
        finally:
            shutil.rmtree(root / "home")

    measured = []
    for number in range(count):
        order: list[Callable[[], Run]] = [ours, theirs] if number % 2 else [theirs, ours]
        runs = {run: run() for run in order}
        measured.append((runs[ours], runs[theirs]))
    return measured


def show(measured: list[tuple[Run, Run]], size: int) -> bool:
    """Print the table; True if the limits are kept."""
    print("pair  enginebuild MiB/s  hf download MiB/s  ratio  CPU s      memory MB")
    ratios = []
    for number, (ours, theirs) in enumerate(measured, 1):
        ratios.append(theirs.seconds / ours.seconds)
        rates = f"{size / ours.seconds / 2**20:17.0f}  {size / theirs.seconds / 2**20:17.0f}"
        memory = f"{ours.memory / 1e6:.0f} {theirs.memory / 1e6:.0f}"
        print(f"{number:4}  {rates}  {ratios[-1]:5.2f}  {ours.cpu:4.1f} {theirs.cpu:4.1f}  {memory}")
    ratio, most = statistics.median(ratios), max(ours.memory for ours, _ in measured)
    print(f"median ratio {ratio:.2f} (at least {LOWEST_RATIO})")
    print(f"most memory {most / 1e6:.0f} MB (at most {MOST_MEMORY / 1e6:.0f})")
    return ratio >= LOWEST_RATIO and most <= MOST_MEMORY


def main() -> int:
    parser = argparse.ArgumentParser(description="compare downloads with hf download")
    parser.add_argument("--size", type=int, default=2048, help="MiB of weights")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = write_checkpoint(root / "hub/org/name", options.size)
        command = [sys.executable, "-m", "parts.hub_server", str(root / "hub")]
        server = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            endpoint = server.stdout.readline().strip()
            pairs(root, endpoint, 1)  # the server digests its files once, and both programs come into memory
            kept = show(pairs(root, endpoint, options.pairs), size)
        finally:
            server.kill()
            server.wait()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
