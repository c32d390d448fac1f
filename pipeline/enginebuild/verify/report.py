"""The result of a verification, as a value and as the document that travels with the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from enginebuild.verify.tasks import task_lines
from enginebuild_cache import Json

REPORT_VERSION = 1
REPORT_FILE = "report.json"
PLOT_FILE = "plot.svg"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked. `problem` says what is wrong, empty if nothing is; `text` is the answer."""

    name: str
    problem: str = ""
    text: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.problem

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "passed": self.passed,
            "problem": self.problem or None,
            "text": self.text,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class Start:
    """`seconds` from the container's start to its first completion; `memory_peak` in bytes, if known."""

    seconds: float
    memory_peak: int | None = None

    def to_json(self) -> dict[str, Json]:
        return {"seconds": round(self.seconds, 3), "memory_peak": self.memory_peak}


@dataclass(frozen=True)
class Report:
    """`model` is what the server calls it; `gpus` are names. `quality`, `performance`: numbers, if measured.

    `problems` are those of quality and performance; a check has its own.
    """

    image: str
    model: str
    gpus: tuple[str, ...]
    start: Start
    checks: tuple[Check, ...]
    quality: Mapping[str, Json] | None = None
    performance: Sequence[Mapping[str, Json]] | None = None
    problems: tuple[str, ...] = ()
    finished: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """Everything that is wrong, a line each."""
        wrong = [f"{check.name}: {check.problem}" for check in self.checks if not check.passed]
        return (*wrong, *self.problems)

    def to_json(self) -> dict[str, Json]:
        return {
            "version": REPORT_VERSION,
            "image": self.image,
            "passed": not self.failures,
            "problems": list(self.problems),
            "model": self.model,
            "gpus": list(self.gpus),
            "start": self.start.to_json(),
            "smoke": [check.to_json() for check in self.checks],
            "quality": None if self.quality is None else dict(self.quality),
            "performance": None if self.performance is None else [dict(row) for row in self.performance],
            "finished": self.finished,
        }


def summary(report: Mapping[str, Json]) -> list[str]:
    """A report's document in lines for people; what it lacks is left out."""
    smoke, start = _entries(report.get("smoke")), _object(report.get("start"))
    passed = sum(1 for check in smoke if check.get("passed"))
    gpus = report.get("gpus")
    where = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else "no GPU"
    lines = [f"{'passed' if report.get('passed') else 'failed'} {report.get('finished')}, {where}"]
    lines.append(f"smoke: {passed} of {len(smoke)} checks")
    started = f"start: first completion after {_number(start.get('seconds'))} s"
    if isinstance(peak := start.get("memory_peak"), int):
        started += f", {peak / 1e9:.1f} GB of memory"
    lines.append(started)
    quality = _object(report.get("quality"))
    if numbers := {name: value for name, value in quality.items() if name != "tasks"}:
        lines.append("quality: " + ", ".join(f"{name} {_number(value)}" for name, value in numbers.items()))
    lines += task_lines(_entries(quality.get("tasks")))
    return lines + [_performance(row) for row in _entries(report.get("performance"))]


def _performance(row: Mapping[str, Json]) -> str:
    return (
        f"performance: {row.get('concurrency')} at a time, first token {_number(row.get('ttft_ms'))} ms, "
        f"each further {_number(row.get('tpot_ms'))} ms (p{row.get('percentile')}), "
        f"{_number(row.get('output_throughput'))} tokens/s"
    )


def _number(value: Json) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.4g}"
    return "?" if value is None else str(value)


def _entries(value: Json) -> list[dict[str, Json]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
