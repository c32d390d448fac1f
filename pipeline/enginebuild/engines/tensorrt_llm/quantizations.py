"""Which quantization runs where: method, KV cache, mode, GPU and version, as data with sources
(quantizations.json).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from enginebuild.engines.tensorrt_llm.versions import Mode, releases
from enginebuild.engines.words import listed

_FILE = Path(__file__).parent / "quantizations.json"
_NEWEST = "1.3.0rc3"  # the version that the tables are of


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


def methods(mode: Mode) -> tuple[str, ...]:
    """Every method that the table knows of."""
    return tuple(_document()[mode]["weights"])


def supported(
    method: str | None,
    kv_cache_dtype: str | None,
    mode: Mode,
    compute_capability: str | None,
    version: str = _NEWEST,
) -> str | None:
    """Why a GPU cannot run a model that is quantized so, None if it can; the text continues a sentence.

    `method` and `kv_cache_dtype` None: not quantized. `compute_capability` (`9.0`) None: any GPU that there
    is. Raises KeyError for an unknown method, dtype or version.
    """
    found = gpu_reason(compute_capability, version) if compute_capability else None
    if found is None and method is not None:
        found = weights_reason(method, mode, compute_capability, version)
    if found is None and kv_cache_dtype is not None:
        found = kv_cache_reason(kv_cache_dtype, mode, compute_capability, version)
    return found


def gpu_reason(compute_capability: str, version: str) -> str | None:
    """Why a version knows no such GPU, whatever the quantization."""
    row = _document()["gpus"].get(compute_capability, {})
    place = list(releases()).index
    late = "until" in row and place(version) > place(row["until"])
    early = "from" in row and place(version) < place(row["from"])
    return str(row["why"]) if late or early else None


def gpu_hint(compute_capability: str) -> str:
    """Which versions know a GPU that some do not."""
    row = _document()["gpus"][compute_capability]
    return (
        f"{row['until']} was the last that does"
        if "until" in row
        else f"{row['from']} was the first that does"
    )


def weights_reason(method: str, mode: Mode, compute_capability: str | None, version: str) -> str | None:
    return _reason("weights", method, mode, compute_capability, version)


def kv_cache_reason(dtype: str, mode: Mode, compute_capability: str | None, version: str) -> str | None:
    return _reason("kv_cache", dtype, mode, compute_capability, version)


def _reason(
    part: Literal["weights", "kv_cache"],
    word: str,
    mode: Mode,
    compute_capability: str | None,
    version: str,
) -> str | None:
    gpus = _gpus(_document()[mode][part][word], version)
    if compute_capability is None or compute_capability in gpus:
        return None if gpus else _nowhere(mode)
    return f"it needs compute capability {_or(gpus)}" if gpus else _nowhere(mode)


def _nowhere(mode: Mode) -> str:
    if mode == "engine":
        return "no script of TensorRT-LLM makes such a checkpoint for an engine"
    return "TensorRT-LLM's PyTorch backend runs it on no GPU"


def _gpus(row: Mapping[str, Any], version: str) -> list[str]:
    place = list(releases()).index
    later = [gpu for gpu, since in row.get("since", {}).items() if place(version) >= place(since)]
    return sorted([*row["gpus"], *later], key=lambda gpu: [int(part) for part in gpu.split(".")])


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{listed(words[:-1])} or {words[-1]}"


def model_reason(method: str, mode: Mode, architecture: str) -> str | None:
    """Why engine mode cannot build a model of this architecture with this method; None if nothing is known
    against it.
    """
    row = _document()["models"].get(method) if mode == "engine" else None
    if row is None or architecture in row["architectures"]:
        return None
    return f"engines with {method} are made of {_or(row['architectures'])} alone"
