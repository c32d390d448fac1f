"""What it costs to bring a model into a registry, next to docker, buildah, olot, and the floors.

    python benchmarks/images                       4 × 256 MiB, 3 rounds: about 15 minutes
    python benchmarks/images --quick               4 × 64 MiB, 1 round: about 3 minutes
    python benchmarks/images --size-mib 1024 --rounds 3 --page     the figures of docs/benchmarks.md

Needs Linux, root (for the Docker Engine of its own) and Debian's docker.io, docker-registry, buildah and
skopeo; olot is installed from PyPI into the user's cache folder. Everybody pushes the same folder, from the
page cache, into an empty registry; a round has each contender once, so that what is compared ran within
minutes. Exit code 1 if a limit is missed (not with --quick: start-up rules small sizes).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.images import page
from benchmarks.images.builders import BUILDERS
from benchmarks.images.circumstances import circumstances
from benchmarks.images.contender import CASES, CHAIN, FLOORS, OURS, Contender, Opened, Round
from benchmarks.images.memory import touch_memory
from benchmarks.images.meter import CommandFailedError, measure
from benchmarks.images.result import Result, Run, limits
from benchmarks.images.services import MissingError, registry
from benchmarks.images.subject import MAKERS, SHARDS, Subject

ALL = (*OURS, *FLOORS, *BUILDERS)
OPTIONAL = frozenset({"buildkit"})
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"

#: A cache trusts no time of a file that was written within its clock's grain, and would read it again.
_GRAIN = 3.0  # seconds


class Benchmark:
    """Rounds of pushes. `folder`: on a disk. `blobs`: where registries keep theirs."""

    def __init__(self, options: argparse.Namespace, folder: Path, blobs: Path) -> None:
        self._options = options
        self._folder = folder
        self._blobs = blobs
        self._number = 0

    def runs(self, contenders: Sequence[Contender]) -> Iterator[Run]:
        """Every push, as it ends. Raises MissingError and CommandFailedError."""
        for kind, make in MAKERS.items():
            cases = CHAIN if kind == "sharded" else (kind,)
            wanted = tuple(case for case in cases if case in self._options.cases)
            if not wanted:
                continue
            subject = make(self._folder / kind / "model", self._options.size_mib)
            time.sleep(_GRAIN)
            for number in range(self._options.rounds):
                shift = number % len(contenders)
                for contender in (*contenders[shift:], *contenders[:shift]):
                    yield from self._round(contender, subject, wanted, number)
            shutil.rmtree(self._folder)
            self._folder.mkdir()

    def _round(
        self, contender: Contender, subject: Subject, wanted: Sequence[str], number: int
    ) -> Iterator[Run]:
        cases = [case for case in wanted if case in contender.cases]
        if not cases:
            return
        with self._opened(contender, subject) as (opened, pids):
            if self._options.blobs == "tmpfs":
                touch_memory(self._blobs, 2 * subject.size)
            for case in cases:
                self._prepare(subject, case)
                yield Run(contender.name, case, number, measure(opened.commands(), opened.daemons, pids))
        subject.restore()

    @contextmanager
    def _opened(self, contender: Contender, subject: Subject) -> Iterator[tuple[Opened, tuple[int, ...]]]:
        self._number += 1
        kept = subject.folder.parent / "kept" / contender.name
        kept.mkdir(parents=True, exist_ok=True)
        folder = subject.folder.parent / f"round-{self._number}"
        folder.mkdir()
        blobs = self._blobs / str(self._number)
        try:
            with (
                registry(blobs, self._options.registry) as running,
                contender.open(Round(folder, kept, subject, running)) as opened,
            ):
                yield opened, (running.pid,)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(blobs, ignore_errors=True)

    def _prepare(self, subject: Subject, case: str) -> None:
        token = f"{self._number}-{case}"
        if case == "config":
            subject.change_config(token)
        elif case == "shard":
            subject.change_shard(token)
            time.sleep(_GRAIN)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="compare ways to bring a model into a registry",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    names = [contender.name for contender in ALL]
    default = [name for name in names if name not in OPTIONAL]
    parser.add_argument("--size-mib", type=int, default=None, help=f"MiB of each of {SHARDS} shards (256)")
    parser.add_argument("--rounds", type=int, default=None, help="how often everybody pushes (3)")
    parser.add_argument("--quick", action="store_true", help="64 MiB and one round, unless they are given")
    parser.add_argument(
        "--contenders", nargs="+", choices=names, default=default, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES)
    )
    parser.add_argument(
        "--registry", default="docker-registry", help="a program of distribution's, or standin"
    )
    parser.add_argument(
        "--blobs", choices=("tmpfs", "disk"), default="tmpfs", help="where the registry keeps its blobs"
    )
    parser.add_argument("--work-dir", type=Path, help="a folder on a disk (the system's for temporary files)")
    parser.add_argument("--result", type=Path, help="write the runs to this file, as JSON")
    parser.add_argument("--show", type=Path, nargs="+", metavar="RESULT", help="show these, measure nothing")
    parser.add_argument("--page", action="store_true", help="write tables and plot into docs/")
    options = parser.parse_args()
    options.size_mib = options.size_mib or (64 if options.quick else 256)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def shown(run: Run) -> str:
    """A line for a terminal."""
    cost = run.cost
    bytes_ = "  ".join(
        f"{name} {getattr(cost, name) / 1e6:,.0f} MB" for name in ("read", "written", "received", "memory")
    )
    parts = f"{cost.client:.2f} + {cost.daemons:.2f} + {cost.registry:.2f}"
    return (
        f"{run.round} {run.case:<12} {run.contender:<14} {cost.wall:7.2f} s  "
        f"CPU {cost.cpu:7.2f} s = {parts}  {bytes_}"
    )


def measured(options: argparse.Namespace) -> Result:
    """Everything, with a line on standard error per push. Raises MissingError and CommandFailedError."""
    words = sys.argv[1:]
    size = (
        f"{SHARDS} × {options.size_mib} MiB of random bytes and small JSON files, medians of {options.rounds}"
    )
    known = circumstances(words, size=size, registry=options.registry, blobs=options.blobs)
    contenders = [contender for contender in ALL if contender.name in options.contenders]
    runs = []
    fast = Path("/dev/shm") if options.blobs == "tmpfs" else options.work_dir
    with (
        tempfile.TemporaryDirectory(prefix="enginebuild-images-", dir=options.work_dir) as folder,
        tempfile.TemporaryDirectory(prefix="enginebuild-images-", dir=fast) as blobs,
    ):
        (Path(folder) / "work").mkdir()
        for run in Benchmark(options, Path(folder) / "work", Path(blobs)).runs(contenders):
            runs.append(run)
            print(shown(run), file=sys.stderr, flush=True)
            if options.result is not None:  # hours of measuring do not go with a failure at their end
                Result(tuple(runs), known).write(options.result)
    return Result(tuple(runs), known)


def main() -> int:
    options = parsed()
    if options.show is not None:
        return report([Result.read(path) for path in options.show], options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services end and folders go, too
    if os.geteuid() != 0 and {"docker", "buildkit"} & set(options.contenders):
        print("a Docker Engine of one's own needs root; or leave docker out (--contenders)", file=sys.stderr)
        return 2
    try:
        result = measured(options)
    except (MissingError, CommandFailedError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.result is not None:
        result.write(options.result)
    return report([result], options)


def report(results: Sequence[Result], options: argparse.Namespace) -> int:
    """Print the tables, and write the page if asked for; the plot is the first's. Returns the exit code."""
    text = "\n\n".join(page.tables(result, ALL) for result in results)
    print(text)
    if options.page:
        page.insert(PAGE, text)
        PLOT.write_text(page.plot(results[0], ALL))
    missed = any(limit.kept is False for result in results for limit in limits(result))
    return int(missed and not options.quick)


if __name__ == "__main__":
    sys.exit(main())
