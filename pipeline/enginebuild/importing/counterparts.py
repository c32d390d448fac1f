"""What vLLM's arguments are called in TensorRT-LLM, and the other way round, as data: counterparts.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from enginebuild.engines.vllm.values import readable_int
from enginebuild.importing.draft import Path as Place
from enginebuild_cache import Json

_FILE = Path(__file__).parent / "counterparts.json"
Kind = Literal["int", "float", "bool", "list"]
#: A mode; with an engine behind Triton its server's keys are others.
Where = Literal["pytorch", "engine", "triton"]


@dataclass(frozen=True, slots=True)
class Pair:
    """`vllm` is a place in engine.args; those of the other's modes, and of Triton, lie in engine.

    `words`: values of vLLM → of the other. `to_trtllm` and `to_vllm` say in what a number differs there.
    """

    vllm: Place
    places: Mapping[Where, Place]
    kind: Kind | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    to_trtllm: str = ""
    to_vllm: str = ""

    def forward(self, value: Json) -> Json:
        """vLLM's value as TensorRT-LLM's, None where it has none."""
        if self.words:
            return self.words.get(str(value))
        if self.kind == "int":
            number = readable_int(value) if isinstance(value, str) else value
            return number if isinstance(number, int) and number > 0 else None
        return value

    def backward(self, value: Json) -> Json:
        """TensorRT-LLM's value as vLLM's, None where it has none."""
        if self.words:
            return next((ours for ours, theirs in self.words.items() if theirs == value), None)
        return value


@cache
def pairs() -> tuple[Pair, ...]:
    """Every pair, in the order in which settings are carried."""
    return tuple(_pair(entry) for entry in _document()["pairs"])


def alone() -> Mapping[str, str]:
    """Arguments that vLLM alone has, and what to do instead."""
    reasons: Mapping[str, str] = _document()["alone"]
    return reasons


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


def _pair(entry: Mapping[str, Any]) -> Pair:
    modes: tuple[Where, ...] = ("pytorch", "engine", "triton")
    return Pair(
        tuple(entry["vllm"].split(".")),
        {mode: tuple(entry[mode].split(".")) for mode in modes if mode in entry},
        entry.get("kind"),
        entry.get("words", {}),
        entry.get("to_trtllm", ""),
        entry.get("to_vllm", ""),
    )
