"""How long a step takes where no record tells: a small model, each figure of it with its source. Pure.

The figures are data, durations.json. None of them is a promise: `spread` says by what factor either way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from enginebuild.recipe.gpu import Gpu, catalogue

_FILE = Path(__file__).with_suffix(".json")

Kind = Literal[
    "download",
    "copy",
    "upload",
    "layout",
    "docker",
    "pack",
    "quantize",
    "convert",
    "compile",
    "serve",
    "validate",
    "small",
]


@dataclass(frozen=True, slots=True)
class Work:
    """What a step has to do, as far as its time depends on it.

    `size`: bytes that are moved, or of the weights that are read. `parameters`: those that work on each
    token. `tokens`: that go through the model while it is calibrated. `gpu` None: on a CPU. `ranks` are
    compiled `workers` at a time, or serve together. `starts`: of a server, `compiling` of which begin without
    a compile cache; `generated`: tokens that it is asked for, one after another. `method` names what two
    steps must agree in for one's time to say something of the other's.
    """

    kind: Kind
    size: int = 0
    parameters: int = 0
    tokens: int = 0
    algorithm: str = ""
    gpu: Gpu | None = None
    ranks: int = 1
    workers: int = 1
    starts: int = 1
    compiling: int = 0
    generated: int = 0
    compressed: bool = False
    method: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the model knows of one kind of work. `said` names the source in a few words."""

    values: Mapping[str, float]
    spread: float
    said: str
    source: str
    passes: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""

    def __getitem__(self, name: str) -> float:
        return self.values[name]


@dataclass(frozen=True, slots=True)
class Modelled:
    """Seconds, right within a factor of `spread` either way, and by whose figures."""

    seconds: float
    figures: Figures

    @property
    def spread(self) -> float:
        return self.figures.spread


@cache
def figures() -> Mapping[str, Figures]:
    """The figures of durations.json, by kind; a server's are those of a GPU, and `serve on a CPU`."""
    return {name: _figures(entry) for name, entry in _document()["kinds"].items()}


@cache
def spreads() -> Mapping[str, float]:
    """How far a record may be off: of the `same work`, `scaled` by size, or of `size unknown`."""
    return {name: entry["spread"] for name, entry in _document()["history"].items()}


def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return document


def _figures(entry: Mapping[str, Any]) -> Figures:
    numbers = {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}
    passes, reference = entry.get("passes", {}), entry.get("reference_gpu", "")
    return Figures(numbers, numbers["spread"], entry["said"], entry["source"], passes, reference)


def modelled(work: Work) -> Modelled:
    """How long it takes by the figures of its kind."""
    known = figures()["serve on a CPU" if work.kind == "serve" and work.gpu is None else work.kind]
    return Modelled(_FORMULAS.get(work.kind, _moved)(work, known), known)


def _moved(work: Work, known: Figures) -> float:
    return work.size / known["rate"]


def _started(_work: Work, known: Figures) -> float:
    return known["start"]


def _packed(work: Work, known: Figures) -> float:
    return known["start"] + work.size / known["compressing" if work.compressed else "rate"]


def _converted(work: Work, known: Figures) -> float:
    return known["start"] + work.size / known["rate"]


def _quantized(work: Work, known: Figures) -> float:
    """Read and written once; calibrated, each token goes through every parameter: two operations."""
    operations = 2.0 * work.parameters * work.tokens * known.passes.get(work.algorithm, 1)
    speed = known["cpu_flops"] if work.gpu is None else work.gpu.tflops["fp16"] * 1e12 * known["efficiency"]
    return known["start"] + work.size / known["rate"] + operations / speed


def _compiled(work: Work, known: Figures) -> float:
    """`workers` ranks at a time, each with its share of the weights."""
    rounds = math.ceil(work.ranks / work.workers)
    return rounds * (known["start"] + work.size / work.ranks / known["rate"])


def _served(work: Work, known: Figures) -> float:
    """The image goes into the Docker Engine, the server starts, and it writes one token after another."""
    bandwidth = known["bandwidth"] if work.gpu is None else work.gpu.bandwidth_gb_s * 1e9
    token = work.size / work.ranks / (bandwidth * known["decoding"])
    start = known["start"] + known["capture"] + work.size / known["rate"]
    unpacked = work.size / figures()["docker"]["rate"]
    return unpacked + work.starts * start + work.compiling * known["compile"] + work.generated * token


_FORMULAS: Mapping[Kind, Callable[[Work, Figures], float]] = {
    "pack": _packed,
    "quantize": _quantized,
    "convert": _converted,
    "compile": _compiled,
    "serve": _served,
    "validate": _started,
    "small": _started,
}


def reference_gpu() -> Gpu:
    """The GPU of which the times of quantizers are published; stands in where a recipe names none."""
    return catalogue()[figures()["quantize"].reference]
