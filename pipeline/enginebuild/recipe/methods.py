"""Quantization methods: what each needs, and with which tool it is made for which engine.

Facts: llm-compressor 0.14.0.1, ModelOpt 0.47.0, vLLM 0.33.0, TensorRT-LLM 1.3.0rc3's quantize.py. Which GPU
and which version of an engine can run a method is the engine's affair (engines/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: Weights that share a scale, where the method has groups and the recipe says nothing.
GROUP_SIZE = 128

#: What makes and serves the quantized model.
Target = Literal["vllm", "engine", "pytorch"]


@dataclass(frozen=True, slots=True)
class Method:
    """`groups`: weights share scales in groups of a size that can be chosen. `calibrated`: needs data.

    `why_not` continues "needs no calibration data: " for the others.
    """

    name: str
    groups: bool = False
    calibrated: bool = False
    why_not: str = ""


_WHILE_SERVING = "activations are scaled while serving"
_WEIGHTS_ALONE = "the weights alone decide the scales"

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("fp8", calibrated=True),
        Method("fp8_per_channel_per_token", why_not=_WHILE_SERVING),
        Method("fp8_block_scales", why_not=_WHILE_SERVING),
        Method("w8a8_int8", calibrated=True),
        Method("w8a16", why_not=_WEIGHTS_ALONE),
        Method("w4a16", groups=True, why_not=_WEIGHTS_ALONE),
        Method("w4a16_awq", groups=True, calibrated=True),
        Method("w4a16_gptq", groups=True, calibrated=True),
        Method("w4a8_awq", groups=True, calibrated=True),
        Method("nvfp4", calibrated=True),
        Method("mxfp4", why_not=_WHILE_SERVING),
    )
}

TOOLS = ("quantize.py", "modelopt", "llm-compressor")


def target(engine_type: str, mode: str | None) -> Target:
    if engine_type == "vllm":
        return "vllm"
    return "pytorch" if mode == "pytorch" else "engine"


_DEFAULT_TOOLS: Mapping[Target, str] = {
    "vllm": "llm-compressor",
    "engine": "quantize.py",
    "pytorch": "modelopt",
}


def default_tool(engine_type: str, mode: str | None) -> str:
    return _DEFAULT_TOOLS[target(engine_type, mode)]


def excluded_by_default(tool: str) -> tuple[str, ...] | None:
    """The modules that keep their precision. quantize.py has no such option and leaves lm_head by itself."""
    return None if tool == "quantize.py" else ("lm_head",)
