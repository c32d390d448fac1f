"""The families of models that TensorRT-LLM has a convert_checkpoint.py for: families.json (1.3.0rc3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.quantizations import model_reason
from enginebuild.engines.tensorrt_llm.rules import model_problems
from enginebuild.engines.tensorrt_llm.settings import Settings, dtype_of, options_or_none
from enginebuild.errors import RefusedError
from enginebuild_cache import Json

_FILE = Path(__file__).with_name("families.json")

#: What to do where no engine can be made.
OTHER_WAY = "engine.mode: pytorch loads Hugging Face checkpoints as they are (from TensorRT-LLM 1.0 on)"


@dataclass(frozen=True, slots=True)
class Prequantized:
    """What a model's `quantization_config` says of weights that are quantized already."""

    method: str
    bits: int | None = None
    group_size: int | None = None
    desc_act: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """One convert script, and what it must know of the model. `variant` is gpt's `--gpt_variant`.

    `architecture` is how the model calls itself; `dtype` the recipe's, never `auto`.
    """

    name: str
    folder: str
    architecture: str
    contrib: bool = False
    variant: str | None = None
    dtype: str = "float16"
    prequantized: Prequantized | None = None


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


@cache
def _by_model() -> Mapping[str, tuple[str, str | None]]:
    """Architecture or model type → family and gpt's variant."""
    return {
        model: (name, entry.get("variants", {}).get(model))
        for name, entry in _document()["families"].items()
        for model in (*entry.get("models", ()), *entry.get("variants", {}))
    }


def family_name(architecture: str) -> str | None:
    """Of whose convert script a class is, None for none."""
    return _by_model().get(architecture, (None, None))[0]


def family_of(config: Mapping[str, Json], settings: Settings) -> Family:
    """The family of a model by its config.json: `architectures`, else `model_type`. Raises RefusedError."""
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    words = [word for word in (first, config.get("model_type")) if isinstance(word, str)]
    for each in words:
        if each in _document()["without_script"]:
            raise _without_script(_document()["without_script"][each])
        if each in _by_model():
            return _family(each, config, settings)
    raise _unknown(words)


def _family(model: str, config: Mapping[str, Json], settings: Settings) -> Family:
    name, variant = _by_model()[model]
    entry = _document()["families"][name]
    prequantized = _prequantized(config.get("quantization_config"))
    if prequantized is not None and settings.route == "quantize":
        raise quantized_already(prequantized, settings)
    _check_model(model, settings)
    return Family(
        name=name,
        folder=entry["folder"],
        architecture=model,
        contrib=entry.get("contrib", False),
        variant=variant,
        dtype=dtype_of(settings, config),
        prequantized=prequantized,
    )


def _check_model(architecture: str, settings: Settings) -> None:
    """What the recipe alone could not tell: methods and options that are for some architectures only."""
    method = settings.method
    if method is not None and (reason := model_reason(method, "engine", architecture)):
        raise RefusedError(f"no engine with {method} can be made of {architecture}: {reason}", OTHER_WAY)
    known = options_or_none(settings.version, "build") or {}
    for problem in model_problems(known, settings.build, architecture):
        raise RefusedError(f"engine.build: {problem.message}", problem.hint)


def _prequantized(said: Json) -> Prequantized | None:
    if not isinstance(said, dict):
        return None
    bits, group_size = said.get("bits"), said.get("group_size")
    return Prequantized(
        method=str(said.get("quant_method", "unknown")),
        bits=bits if isinstance(bits, int) else None,
        group_size=group_size if isinstance(group_size, int) else None,
        desc_act=said.get("desc_act") is True,
    )


def quantized_already(source: Prequantized, settings: Settings) -> RefusedError:
    """Why a quantized model is no source for what the recipe asks for."""
    return RefusedError(
        f"the model is quantized already ({source.method}), and an engine "
        f"{'' if settings.method is None else f'with {settings.method} '}cannot be made from it",
        f"name the model it was quantized from; {OTHER_WAY}",
    )


def _without_script(name: str) -> RefusedError:
    return RefusedError(f"TensorRT-LLM has no engine for {name}, in any version", OTHER_WAY)


def _unknown(words: list[str]) -> RefusedError:
    if not words:
        return RefusedError(
            "the model's config.json names neither architectures nor model_type: no convert script is known",
            OTHER_WAY,
        )
    said = words[0] if len(words) == 1 else f"{words[0]} (model_type {words[1]})"
    return RefusedError(
        f"no convert_checkpoint.py of TensorRT-LLM is known to take {said}",
        OTHER_WAY,
    )
