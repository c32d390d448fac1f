"""Checkpoints as the quantizers leave them, with zeros for numbers: headers and configuration are theirs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from enginebuild.quantizers.forms import FORMS, TOOLS, Form, ToolName
from enginebuild.quantizers.layers import Linear
from enginebuild.quantizers.took_effect import scale_count
from enginebuild.sources.safetensors import DTYPE_BITS
from enginebuild_cache import Json

#: Of a tensor: dtype and shape.
Shape = tuple[str, tuple[int, ...]]

ROWS, COLUMNS = 128, 256
LAYERS = [
    Linear(f"model.layers.{number}.{name}", ROWS, COLUMNS)
    for number in range(2)
    for name in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj")
]


@dataclass(frozen=True, slots=True)
class Texts:
    """A recipe's calibration."""

    num_samples: int = 32
    max_seq_length: int = 64
    batch_size: int = 1
    seed: int = 1234


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recipe's quantization by a quantizer."""

    method: str
    tool: str
    kv_cache_dtype: str | None = None
    group_size: int | None = None
    exclude_modules: tuple[str, ...] | None = None
    calibration: Texts | None = None


def write_tensors(path: Path, tensors: Mapping[str, Shape]) -> None:
    """A safetensors file of zeros."""
    header: dict[str, Json] = {}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))


def plain() -> dict[str, Shape]:
    """The original's tensors."""
    return {
        "lm_head.weight": ("BF16", (512, COLUMNS)),
        "model.embed_tokens.weight": ("BF16", (512, COLUMNS)),
        "model.norm.weight": ("BF16", (COLUMNS,)),
        **{f"{layer.name}.weight": ("BF16", (layer.rows, layer.columns)) for layer in LAYERS},
    }


def write_plain(folder: Path) -> None:
    folder.mkdir()
    write_tensors(folder / "model.safetensors", plain())
    (folder / "config.json").write_text('{"model_type": "llama"}')


def quantized(form: Form, group: int | None, layers: Iterable[Linear] = LAYERS) -> dict[str, Shape]:
    """The tensors after `layers` were quantized."""
    tensors = plain()
    for layer in layers:
        del tensors[f"{layer.name}.weight"]
        numbers = layer.rows * layer.columns * form.bits // DTYPE_BITS[form.dtype]
        tensors[f"{layer.name}.{form.weight}"] = (form.dtype, (layer.rows, numbers // layer.rows))
        tensors[f"{layer.name}.{form.scale}"] = ("F32", (scale_count(form, layer, group),))
    return tensors


def configuration(tool: ToolName, form: Form, kv: str | None = None) -> dict[str, Json]:
    """The quantization_config, as far as anybody reads it."""
    if tool == "modelopt":
        scheme: dict[str, Json] = {"quant_method": "modelopt", "quant_algo": form.declared}
    else:
        scheme = {"quant_method": "compressed-tensors", "format": form.declared}
    cache: Json = {"num_bits": 8, "type": "float"} if kv == "fp8" else None
    return {**scheme, "ignore": ["lm_head"], "kv_cache_scheme": cache}


def write_quantized(
    folder: Path, tensors: Mapping[str, Shape], quantization: Mapping[str, Json] | None, tool: str
) -> None:
    folder.mkdir()
    write_tensors(folder / "model.safetensors", tensors)
    config: dict[str, Json] = {"model_type": "llama"}
    if quantization is not None:
        config["quantization_config"] = dict(quantization)
    (folder / "config.json").write_text(json.dumps(config))
    if tool == "modelopt":
        (folder / "hf_quant_config.json").write_text("{}")


#: Every method that a tool makes.
EVERY: list[tuple[ToolName, str]] = [(tool, method) for tool in TOOLS for method in FORMS[tool]]
