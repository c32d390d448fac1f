"""Bits of a weight for each method, and what a config.json says of weights that are quantized already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from enginebuild.models.config import Config
from enginebuild.models.parts import Kind
from enginebuild_cache import Json

BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}

#: What quantizers take, where nothing is excluded.
_LINEAR: frozenset[Kind] = frozenset(("attention", "mlp", "experts", "shared_experts", "draft"))

#: Words in patterns of excluded modules, by kind. What names a router or a norm excludes nothing more.
_NAMES: Mapping[Kind, str] = {
    "attention": r"self_attn|attention\b",
    "mlp": r"(?<!\w)mlp(?!\.(?:router|gate\b|shared|experts))",
    "experts": r"(?<!shared_)experts?\b",
    "shared_experts": r"shared_expert",
}


@dataclass(frozen=True, slots=True)
class Quantized:
    """`bits` per weight with its scales; `group`: input widths that share a scale must be multiples of it.

    `method` is the recipe's word for it where there is one.
    """

    method: str
    bits: float
    kinds: frozenset[Kind] = _LINEAR
    group: int | None = None
    #: The width of output blocks that share a scale.
    rows: int | None = None

    def bytes_of(self, count: int) -> float:
        return count * self.bits / 8


def method_bits(method: str, group: int | None) -> float:
    """Bits of a weight by the recipe's methods: the number itself, and its share of the scales.

    FP8 and INT8 have a scale per row or tensor (nothing to count) or, in blocks, a float32 per 128 × 128.
    4 bits have 16 per group, AWQ and GPTQ a zero point of 4 bits as well; NVFP4 8 bits per 16 weights, MXFP4
    8 per 32.
    """
    if method == "nvfp4":
        return 4 + 8 / 16
    if method == "mxfp4":
        return 4 + 8 / 32
    if method in ("w4a16_awq", "w4a16_gptq"):
        return 4 + 20 / (group or 128)
    if method.startswith("w4"):
        return 4 + 16 / (group or 128)
    return 8 + 32 / (128 * 128) if method == "fp8_block_scales" else 8


def of_method(method: str, group: int | None) -> Quantized:
    """What a recipe's quantization makes of a model: every linear layer but lm_head."""
    size = {"nvfp4": 16, "mxfp4": 32, "fp8_block_scales": 128}.get(method, group)
    return Quantized(
        method, method_bits(method, group), _LINEAR, size, 128 if method == "fp8_block_scales" else None
    )


def stored_quantization(config: Config) -> Quantized | None:
    """How a checkpoint is quantized, None for one that is not or whose form is not known."""
    section = config.section("quantization_config") or config.section("compression_config")
    name = section.get("quant_method")
    if not isinstance(name, str):
        return None
    found = _FORMS.get(name, _unknown)(section)
    return None if found is None else _narrowed(found, section)


def is_quantized(config: Config) -> bool:
    return bool(config.section("quantization_config") or config.section("compression_config"))


def _integers(section: Mapping[str, Json]) -> Quantized:
    """AWQ and GPTQ: 4 (or 8) bits, a scale of 16 and a zero point per group."""
    bits, group = _number(section, "bits") or _number(section, "w_bit") or 4, _number(section, "group_size")
    group = group if group and group > 0 else None
    method = ("w4a16_awq" if section["quant_method"] == "awq" else "w4a16_gptq") if bits == 4 else "w8a16"
    return Quantized(method, bits + ((16 + bits) / group if group else 0), _LINEAR, group)


def _fp8(section: Mapping[str, Json]) -> Quantized:
    block = section.get("weight_block_size")
    if isinstance(block, list) and len(block) == 2 and all(isinstance(side, int) for side in block):
        return of_method("fp8_block_scales", None)
    return of_method("fp8", None)


def _mxfp4(section: Mapping[str, Json]) -> Quantized:
    """GPT-OSS: the experts alone."""
    return Quantized("mxfp4", method_bits("mxfp4", None), frozenset(("experts",)), 32)


def _compressed_tensors(section: Mapping[str, Json]) -> Quantized | None:
    groups = section.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict) or not (bits := _number(weights, "num_bits")):
        return None
    group = _number(weights, "group_size")
    activations = first.get("input_activations") if isinstance(first, dict) else None
    return _of_bits(bits, weights.get("type") == "float", group, weights.get("strategy"), bool(activations))


def _of_bits(bits: int, floats: bool, group: int | None, strategy: Json, activations: bool) -> Quantized:
    if floats:
        if bits == 8:
            return of_method("fp8_block_scales" if strategy == "block" else "fp8_per_channel_per_token", None)
        return of_method("mxfp4" if group == 32 else "nvfp4", None)
    if bits == 8:
        return of_method("w8a8_int8" if activations else "w8a16", None)
    return of_method("w4a16", group if strategy == "group" else None)


#: ModelOpt's quant_algo, by the recipe's words.
_ALGORITHMS = {
    "FP8": "fp8",
    "FP8_PER_CHANNEL_PER_TOKEN": "fp8_per_channel_per_token",
    "FP8_PB_WO": "fp8_block_scales",
    "NVFP4": "nvfp4",
    "W4A16_NVFP4": "nvfp4",
    "W4A16_AWQ": "w4a16_awq",
    "W4A8_AWQ": "w4a8_awq",
    "W8A16": "w8a16",
    "W8A8_SQ_PER_CHANNEL": "w8a8_int8",
}


def _modelopt(section: Mapping[str, Json]) -> Quantized | None:
    # ModelOpt 0.47 writes most of them in capitals, and fp8_pb_wo not.
    method = _ALGORITHMS.get(str(section.get("quant_algo")).upper())
    return None if method is None else of_method(method, _number(section, "group_size"))


def _bitsandbytes(section: Mapping[str, Json]) -> Quantized:
    if section.get("load_in_4bit") is True:
        return Quantized("bitsandbytes 4 bits", 4.5)
    return Quantized("bitsandbytes 8 bits", 8)


def _unknown(_section: Mapping[str, Json]) -> Quantized | None:
    return None


_FORMS = {
    "awq": _integers,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "fp8": _fp8,
    "gptq": _integers,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "mxfp4": _mxfp4,
}


def _narrowed(found: Quantized, section: Mapping[str, Json]) -> Quantized:
    """Without the kinds that the checkpoint's exclusions name as a whole."""
    excluded: list[str] = []
    for key in ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules"):
        named = section.get(key)
        excluded += [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    kinds = frozenset(kind for kind in found.kinds if not _is_excluded(kind, excluded))
    return Quantized(found.method, found.bits, kinds, found.group, found.rows)


def _is_excluded(kind: Kind, patterns: Iterable[str]) -> bool:
    """A pattern with a layer's number excludes that layer, which is not counted."""
    word = _NAMES.get(kind)
    return word is not None and any(
        re.search(word, pattern) and not re.search(r"\blayers\.\d", pattern) for pattern in patterns
    )


def _number(section: Mapping[str, Json], name: str) -> int | None:
    value = section.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
