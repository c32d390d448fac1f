"""What was measured: medians, paired ratios, and the limits that are kept or not."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.images.meter import Cost

#: All that is compared is compared with this contender's push of the same round and case.
REFERENCE = "known"

Field = Callable[[Cost], float]


@dataclass(frozen=True, slots=True)
class Run:
    """One push. `round` counts from 0."""

    contender: str
    case: str
    round: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Result:
    """All runs, and the circumstances: date, command, machine, versions, sizes."""

    runs: tuple[Run, ...]
    circumstances: Mapping[str, str]

    def of(self, contender: str, case: str) -> list[Cost]:
        return [run.cost for run in self.runs if (run.contender, run.case) == (contender, case)]

    def median(self, contender: str, case: str, field: Field) -> float | None:
        """None if this was not run."""
        values = [field(cost) for cost in self.of(contender, case)]
        return statistics.median(values) if values else None

    def ratio(self, contender: str, case: str, field: Field, reference: str = REFERENCE) -> float | None:
        """The median of the pairs' ratios, contender / reference; None without a pair."""
        pairs = {run.round: run.cost for run in self.runs if (run.contender, run.case) == (reference, case)}
        ratios = [
            field(run.cost) / field(pairs[run.round])
            for run in self.runs
            if (run.contender, run.case) == (contender, case) and run.round in pairs
        ]
        return statistics.median(ratios) if ratios else None

    def write(self, path: Path) -> None:
        runs = [
            {"contender": run.contender, "case": run.case, "round": run.round, **asdict(run.cost)}
            for run in self.runs
        ]
        path.write_text(
            json.dumps({"circumstances": dict(self.circumstances), "runs": runs}, indent=1) + "\n"
        )

    @classmethod
    def read(cls, path: Path) -> Result:
        """Raises OSError, ValueError, KeyError or TypeError for what `write` did not write."""
        value = json.loads(path.read_text())
        runs = []
        for run in value["runs"]:
            contender, case, number = run.pop("contender"), run.pop("case"), run.pop("round")
            runs.append(Run(contender, case, number, Cost(**run)))
        return cls(tuple(runs), value["circumstances"])


@dataclass(frozen=True, slots=True)
class Limit:
    """A promise and what was measured of it; `measured` is None if that was not run."""

    promise: str
    measured: float | None
    kept: bool | None
    unit: str = "×"

    @property
    def shown(self) -> str:
        return "not run" if self.measured is None else f"{self.measured:.2f} {self.unit}"


def wall(cost: Cost) -> float:
    return cost.wall


def cpu(cost: Cost) -> float:
    return cost.cpu


def limits(result: Result) -> list[Limit]:
    """The promises of this benchmark, each with what was measured."""
    return [*_far(result), *_near(result), *_small(result), *_thrifty(result)]


def _far(result: Result) -> Iterator[Limit]:
    """How many times less than others a first push costs; of buildah the better way counts."""
    rivals: tuple[tuple[str, tuple[str, ...], float], ...] = (
        ("`docker build` + push", ("docker",), 10),
        ("the best buildah way", ("buildah-bud", "buildah-commit"), 6),
        ("olot + skopeo", ("olot",), 3),
    )
    for title, names, least in rivals:
        for what, field in (("processor time", cpu), ("wall time", wall)):
            ratios = [result.ratio(name, "first", field) for name in names]
            best = min((ratio for ratio in ratios if ratio is not None), default=None)
            promise = f"first push: {what} at least {least:g} × less than {title}"
            yield Limit(promise, best, None if best is None else best >= least)


def _near(result: Result) -> Iterator[Limit]:
    """How close to the floor a first push comes."""
    for name, title, most in (("known", "digests known", 1.1), ("hashed", "digests taken in the pass", 1.35)):
        ratio = result.ratio(name, "first", wall, "sendfile")
        promise = f"first push, {title}: wall time at most {most:g} × the floor"
        yield Limit(promise, ratio, None if ratio is None else ratio <= most)


def _small(result: Result) -> Iterator[Limit]:
    """Pushes after small changes."""
    for case, title, most in (("unchanged", "unchanged push", 0.5), ("config", "1 KB config changed", 1.0)):
        seconds = result.median(REFERENCE, case, wall)
        kept = None if seconds is None else seconds <= most
        yield Limit(f"{title}: at most {most:g} s", seconds, kept, "s")


def _thrifty(result: Result) -> Iterator[Limit]:
    """Memory, the disk, and what travels when one shard is another one."""
    memory = _most(result.of(REFERENCE, "first"), lambda cost: cost.memory / 1e6)
    yield Limit("peak memory below 100 MB", memory, None if memory is None else memory < 100, "MB")
    written = _most(result.of(REFERENCE, "first"), lambda cost: cost.written / 1e6)
    promise = "no layer written: less than 1 MB to the disk, records and locks"
    yield Limit(promise, written, None if written is None else written < 1, "MB")
    whole = result.median(REFERENCE, "first", lambda cost: cost.received)
    changed = result.median(REFERENCE, "shard", lambda cost: cost.received)
    share = changed / whole if whole and changed is not None else None
    promise = "one of four shards changed: a quarter of the bytes travels"
    yield Limit(promise, share, None if share is None else share < 0.26, "of all")


def _most(costs: Sequence[Cost], field: Field) -> float | None:
    return max(map(field, costs), default=None)
