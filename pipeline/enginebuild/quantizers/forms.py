"""What each quantizer makes of a method: the tool's own name for it, what it needs, what it leaves in files.

From llm-compressor 0.14.0.1 (compressed-tensors 0.19.0, `PRESET_SCHEMES`) and ModelOpt 0.47.0
(`modelopt.torch.quantization`), run on the CPU; dtypes and tensor names as found in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ToolName = Literal["llm-compressor", "modelopt"]
Calibrates = Literal["never", "optionally", "always"]
Grain = Literal["tensor", "channel", "group", "block"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A quantizer. `versions` are the distributions that the step is keyed on and the program asks for."""

    name: ToolName
    versions: Mapping[str, str]
    script: str
    kv_cache_dtypes: tuple[str, ...]


TOOLS: Mapping[ToolName, Tool] = {
    "llm-compressor": Tool(
        "llm-compressor",
        {"llmcompressor": "0.14.0.1", "compressed-tensors": "0.19.0", "transformers": "5.17.0"},
        "llm_compressor_ptq.py",
        ("fp8",),
    ),
    "modelopt": Tool(
        "modelopt",
        {"nvidia-modelopt": "0.47.0", "transformers": "5.17.0"},
        "modelopt_ptq.py",
        ("fp8", "nvfp4"),
    ),
}


@dataclass(frozen=True, slots=True)
class Form:
    """A method as one tool makes it.

    `algorithm` is used with calibration data; without, weights are rounded to the nearest. `bits` per weight.
    `declared` is what the configuration calls it (compressed-tensors' format, ModelOpt's quant_algo).
    `weight` and `scale` are the names of a layer's tensors in the files, `dtype` the weight's there. `group`
    is the size of groups or blocks, None for none.
    """

    scheme: str
    calibrates: Calibrates
    algorithm: str
    bits: int
    grain: Grain
    dtype: str
    declared: str
    weight: str = "weight"
    group: int | None = None
    scale: str = "weight_scale"

    @property
    def adjustable(self) -> bool:
        """Whether a recipe may say another group size; nvfp4's 16, mxfp4's 32 and FP8's blocks are fixed."""
        return self.grain == "group" and self.group == 128


#: compressed-tensors' form for whole numbers of few bits: eight of 4 bits, or four of 8, in an int32.
_PACKED = ("pack-quantized", "weight_packed")
_FLOAT = "float-quantized"


# fmt: off
_LLM_COMPRESSOR = {
    "fp8": Form("FP8", "always", "minmax", 8, "tensor", "F8_E4M3", _FLOAT),
    "fp8_per_channel_per_token": Form("FP8_DYNAMIC", "never", "minmax", 8, "channel", "F8_E4M3", _FLOAT),
    "fp8_block_scales": Form("FP8_BLOCK", "never", "minmax", 8, "block", "F8_E4M3", _FLOAT, group=128),
    "w8a8_int8": Form("W8A8", "optionally", "smoothquant+gptq", 8, "channel", "I8", "int-quantized"),
    "w8a16": Form("W8A16", "never", "minmax", 8, "channel", "I32", *_PACKED),
    "w4a16": Form("W4A16", "never", "minmax", 4, "group", "I32", *_PACKED, 128),
    "w4a16_awq": Form("W4A16_ASYM", "always", "awq", 4, "group", "I32", *_PACKED, 128),
    "w4a16_gptq": Form("W4A16", "always", "gptq", 4, "group", "I32", *_PACKED, 128),
    "nvfp4": Form("NVFP4", "always", "minmax", 4, "group", "U8", "nvfp4-pack-quantized", "weight_packed", 16),
    "mxfp4": Form("MXFP4", "never", "minmax", 4, "group", "U8", "mxfp4-pack-quantized", "weight_packed", 32),
}

_MODELOPT = {
    "fp8": Form("FP8_DEFAULT_CFG", "always", "max", 8, "tensor", "F8_E4M3", "FP8"),
    "fp8_per_channel_per_token": Form(
        "FP8_PER_CHANNEL_PER_TOKEN_CFG", "never", "max", 8, "channel", "F8_E4M3", "FP8_PER_CHANNEL_PER_TOKEN"
    ),
    "fp8_block_scales": Form(
        "FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG", "never", "max", 8, "block", "F8_E4M3", "FP8_PB_WO", group=128
    ),
    "w8a8_int8": Form(
        "INT8_SMOOTHQUANT_CFG", "always", "smoothquant", 8, "channel", "I8", "W8A8_SQ_PER_CHANNEL"
    ),
    "w8a16": Form("INT8_WEIGHT_ONLY_CFG", "never", "max", 8, "channel", "I8", "W8A16"),
    "w4a16": Form(
        "INT4_BLOCKWISE_WEIGHT_ONLY_CFG", "never", "max", 4, "group", "U8", "W4A16_AWQ", group=128
    ),
    "w4a16_awq": Form("INT4_AWQ_CFG", "always", "awq", 4, "group", "U8", "W4A16_AWQ", group=128),
    "w4a8_awq": Form("W4A8_AWQ_BETA_CFG", "always", "awq", 4, "group", "U8", "W4A8_AWQ", group=128),
    "nvfp4": Form("NVFP4_DEFAULT_CFG", "always", "max", 4, "group", "U8", "NVFP4", group=16),
    "mxfp4": Form("MXFP4_DEFAULT_CFG", "never", "max", 4, "group", "U8", "MXFP4", group=32),
}
# fmt: on

FORMS: Mapping[ToolName, Mapping[str, Form]] = {"llm-compressor": _LLM_COMPRESSOR, "modelopt": _MODELOPT}

#: Stay as they are whatever a recipe says: routers of mixtures of experts and vision towers (ModelOpt's own
#: list, configs/ptq/units/default_disabled_quantizers; vLLM has no quantized routers).
NEVER_QUANTIZED = (
    "*.mlp.gate",
    "*.block_sparse_moe.gate",
    "*.shared_expert_gate",
    "*router*",
    "*embed_vision*",
    "*vision_tower*",
    "*visual*",
    "*vision_model*",
    "*multi_modal_projector*",
)
