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


TARGETS: tuple[Target, ...] = ("vllm", "engine", "pytorch")


@dataclass(frozen=True, slots=True)
class Method:
    """`groups`: weights share scales in groups of a size that can be chosen. `calibrated`: needs texts; for
    the targets in `otherwise` it is the other way round. `why_not` says why it needs none. The tools in
    `either` make it with texts and, simpler, without. For the targets in `by_channel` there are no groups.
    """

    name: str
    groups: bool = False
    calibrated: bool = False
    why_not: str = ""
    otherwise: tuple[Target, ...] = ()
    either: tuple[str, ...] = ()
    by_channel: tuple[Target, ...] = ()

    def needs_texts(self, served: Target | None) -> bool:
        return self.calibrated != (served in self.otherwise)


_WHILE_SERVING = "activations are scaled while serving"
_WEIGHTS_ALONE = "the weights alone decide the scales"

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("fp8", calibrated=True),
        Method(
            "fp8_per_channel_per_token",
            why_not=_WHILE_SERVING,
            # quantize.py reads texts for all but weights alone, and downloads some if it is given none.
            otherwise=("engine",),
        ),
        Method("fp8_block_scales", why_not=_WHILE_SERVING),
        # Without texts llm-compressor rounds to the nearest, with them it smooths and runs GPTQ.
        Method("w8a8_int8", calibrated=True, either=("llm-compressor",)),
        Method("w8a16", why_not=_WEIGHTS_ALONE),
        Method(
            "w4a16",
            groups=True,
            why_not=_WEIGHTS_ALONE,
            # --weight_only_precision int4, --qformat int4_wo: a scale per channel, no option for groups.
            by_channel=("engine",),
        ),
        Method("w4a16_awq", groups=True, calibrated=True),
        Method(
            "w4a16_gptq",
            groups=True,
            calibrated=True,
            # convert_checkpoint.py takes GPTQ's checkpoints, and quantize.py makes none.
            otherwise=("engine",),
            why_not="for mode engine the model is one that GPTQ has quantized already",
        ),
        Method("w4a8_awq", groups=True, calibrated=True),
        Method("nvfp4", calibrated=True),
        Method("mxfp4", why_not=_WHILE_SERVING),
    )
}

TOOLS = ("quantize.py", "modelopt", "llm-compressor")
#: Tools that scale a KV cache with texts or, for its whole range, without.
KV_CACHE_EITHER = ("modelopt",)


def target(engine_type: str, mode: str | None) -> Target:
    if engine_type == "vllm":
        return "vllm"
    return "pytorch" if mode == "pytorch" else "engine"


#: Who reads the quantized checkpoint, as messages say it.
READERS: Mapping[Target, str] = {
    "vllm": "vLLM",
    "engine": "trtllm-build",
    "pytorch": "TensorRT-LLM's PyTorch backend",
}


@dataclass(frozen=True, slots=True)
class Made:
    """What one tool makes that a target can read."""

    methods: tuple[str, ...]
    kv_cache_dtypes: tuple[str, ...]


#: The first tool of each target is its default.
SUPPORTED: Mapping[Target, Mapping[str, Made]] = {
    "vllm": {
        "llm-compressor": Made(
            (
                "fp8",
                "fp8_per_channel_per_token",
                "fp8_block_scales",
                "w8a8_int8",
                "w8a16",
                "w4a16",
                "w4a16_awq",
                "w4a16_gptq",
                "nvfp4",
                "mxfp4",
            ),
            ("fp8",),
        ),
        # vLLM 0.33 refuses ModelOpt's INT8 and INT4_AWQ checkpoints when it reads their configuration.
        "modelopt": Made(("fp8", "fp8_per_channel_per_token", "nvfp4"), ("fp8",)),
    },
    "engine": {
        "quantize.py": Made(
            (
                "fp8",
                "fp8_per_channel_per_token",
                "w8a8_int8",
                "w8a16",
                "w4a16",
                "w4a16_awq",
                "w4a16_gptq",
                "w4a8_awq",
                "nvfp4",
            ),
            ("fp8", "int8"),
        ),
    },
    "pytorch": {
        "modelopt": Made(
            (
                "fp8",
                "fp8_per_channel_per_token",
                "fp8_block_scales",
                "w4a16_awq",
                "w4a8_awq",
                "nvfp4",
            ),
            ("fp8", "nvfp4"),
        ),
        # compressed-tensors: NVIDIA/TensorRT-LLM#10796, #14468.
        "llm-compressor": Made(("fp8_per_channel_per_token", "fp8_block_scales", "nvfp4"), ("fp8",)),
    },
}


def default_tool(served: Target) -> str:
    return next(iter(SUPPORTED[served]))


def excluded_by_default(tool: str) -> tuple[str, ...] | None:
    """The modules that keep their precision. quantize.py has no such option and leaves lm_head by itself."""
    return None if tool == "quantize.py" else ("lm_head",)
