"""Which quantized checkpoint runs where: method, tool, engine, its version and the GPU, as data with sources.

vLLM's is compatibility.json; TensorRT-LLM's own table stands in engines/tensorrt_llm, and a Hugging Face
checkpoint is for its mode pytorch. `least` is the least compute capability that loads it, `native` the least
that computes in it (below, weights are unpacked to 16 bits first), `below` the first that does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from enginebuild.engines.tensorrt_llm.quantizations import supported
from enginebuild_cache import Json

EngineName = Literal["vllm", "tensorrt_llm"]

#: Instead of a compute capability: vLLM's build for the CPU.
CPU = "cpu"


@cache
def _table() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(
        (files("enginebuild.quantizers") / "compatibility.json").read_text(encoding="utf-8")
    )
    return document


def refusal(
    method: str,
    tool: str,
    engine: EngineName,
    engine_version: str,
    compute_capability: str | None,
    kv_cache_dtype: str | None = None,
) -> str | None:
    """Why such a checkpoint cannot be served, as one sentence with what to take instead; None if it can.

    `compute_capability` is a GPU's (`9.0`), CPU, or None for a machine that nobody named. Raises KeyError for
    a method that the tool does not make.
    """
    if engine == "tensorrt_llm":
        reason = supported(method, kv_cache_dtype, "pytorch", compute_capability, engine_version)
        return None if reason is None else f"{method}: {reason}"
    row = _row(method, tool)
    found = _refused(row) or _too_old(row, method, tool, engine_version)
    found = found or _by_machine(row, method, compute_capability)
    if found is None and kv_cache_dtype is not None:
        found = _refused(_table()["vllm"]["kv_cache"][kv_cache_dtype])
    return found


def fallback(method: str, tool: str, engine: EngineName, compute_capability: str | None) -> str | None:
    """That a GPU which loads the checkpoint does not compute in it, as one sentence; None if it does."""
    if engine != "vllm" or compute_capability in (None, CPU):
        return None
    native = _row(method, tool).get("native")
    if native is None or _number(str(compute_capability)) >= _number(native):
        return None
    return (
        f"{method} on compute capability {compute_capability} saves memory and no time: weights are unpacked "
        f"to 16 bits before they are multiplied; {native} and above compute in it"
    )


def sources(method: str, tool: str) -> tuple[str, ...]:
    """Where the row for vLLM comes from."""
    return tuple(_table()["sources"][name] for name in _row(method, tool)["source"])


def methods(tool: str, engine: Literal["vllm"] = "vllm") -> tuple[str, ...]:
    """The methods that vLLM takes as the tool makes them, on some GPU."""
    return tuple(name for name, row in _table()[engine][tool].items() if "refused" not in row)


def _row(method: str, tool: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = _table()["vllm"][tool][method]
    return row


def _refused(row: Mapping[str, Any]) -> str | None:
    return f"{row['refused']}; take {row['instead']}" if "refused" in row else None


def _too_old(row: Mapping[str, Json], method: str, tool: str, version: str) -> str | None:
    since = row.get("since")
    if since is None or _number(version) >= _number(str(since)):
        return None
    return f"vLLM {version} does not read {method} as {tool} makes it; {since} is the first that does"


def _by_machine(row: Mapping[str, Any], method: str, capability: str | None) -> str | None:
    if capability is None:
        return None
    if capability == CPU:
        return f"{row['cpu']}; take fp8_per_channel_per_token, w8a8_int8 or w4a16" if "cpu" in row else None
    if _number(capability) < _number(row["least"]):
        return f"vLLM runs {method} from compute capability {row['least']} on, and the GPU has {capability}"
    if "below" in row and _number(capability) >= _number(row["below"]):
        return (
            f"vLLM has no {method} for compute capability {row['below']} and above, and the GPU has "
            f"{capability}; take {row['instead']}"
        )
    return None


def _number(text: str) -> tuple[int, ...]:
    """A version or a compute capability for comparing; what follows the numbers (.post1) does not count."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
