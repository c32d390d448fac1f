"""Whether a quantization took effect, from the headers and the configuration of what came out.

A quantizer that ends without an error may have quantized nothing, or half; an engine would serve that too.
Nothing of the weights is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, cast

from enginebuild.errors import StepError
from enginebuild.quantizers.forms import FORMS, Form, ToolName
from enginebuild.quantizers.layers import Linear, linears, matches, stacked_experts
from enginebuild.sources.safetensors import BrokenHeaderError, Tensor, read_header
from enginebuild_cache import Json

#: Names that a message shows at most.
_SHOWN = 5

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a quantization did: layers quantized, layers left as they were, bytes of all tensors."""

    quantized: tuple[str, ...]
    left: tuple[str, ...]
    bytes_before: int
    bytes_after: int

    def to_json(self) -> dict[str, Json]:
        """For a record: counts and bytes, and the names of what was left."""
        return {
            "quantized_layers": len(self.quantized),
            "left": list(self.left),
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
        }


def check(source: Path, output: Path, tool: str, asked: Mapping[str, Json]) -> Effect:
    """Compare the checkpoint in `output` with its original and with the request (`methods.request`).

    Raises StepError that names the layers.
    """
    form = FORMS[cast("ToolName", tool)][str(asked["method"])]
    before, after = tensors_of(source), tensors_of(output)
    patterns = [*_texts(asked["exclude_modules"]), *_texts(asked["never_quantized"])]
    every = linears(_forms(before))
    wanted = [layer for layer in every if not matches(layer.name, patterns)]
    excluded = [layer for layer in every if matches(layer.name, patterns)]
    ignored = _check_configuration(output, tool, form, asked)
    _check_weights(form, before, after, wanted, patterns)
    _check_scales(form, after, wanted, cast("int | None", asked["group_size"]))
    _check_left(form, after, wanted, excluded, ignored)
    effect = Effect(
        tuple(layer.name for layer in wanted),
        tuple(layer.name for layer in excluded),
        sum(map(_size, before.values())),
        sum(map(_size, after.values())),
    )
    _check_bytes(form, effect, before, after, wanted)
    return effect


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the safetensors files of a folder. Raises StepError for a broken one, or for none."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            found |= _tensors_of_file(path)
        except BrokenHeaderError as error:
            raise StepError(f"{path.name} {error}", _HINT) from None
    if not found:
        raise StepError("the quantizer left no safetensors file", _HINT)
    return found


def _tensors_of_file(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:

        def read(count: int) -> bytes:
            file.seek(0)
            return file.read(count)

        return read_header(read, path.stat().st_size)


_HINT = "the step's log says what the quantizer did; nothing of this output was kept"


def _forms(tensors: Tensors) -> dict[str, tuple[str, Sequence[int]]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _size(tensor: Tensor) -> int:
    return tensor.end - tensor.begin


def _texts(value: Json) -> list[str]:
    return [str(item) for item in cast("list[Json]", value)]


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more}"


def _check_weights(
    form: Form, before: Tensors, after: Tensors, wanted: Sequence[Linear], patterns: Sequence[str]
) -> None:
    plain = [layer.name for layer in wanted if not _is_quantized(form, after, layer)]
    plain += [name for name in stacked_experts(_forms(before), patterns) if name in after]
    if len(plain) == len(wanted):
        raise StepError(
            f"the quantization took no effect: none of {len(wanted)} layers has a {form.weight} of "
            f"{form.dtype}, such as {wanted[0].name}",
            _HINT,
        )
    if plain:
        raise StepError(f"{len(plain)} of {len(wanted)} layers are not quantized: {_named(plain)}", _HINT)


def _is_quantized(form: Form, after: Tensors, layer: Linear) -> bool:
    weight = after.get(f"{layer.name}.{form.weight}")
    return (
        weight is not None
        and weight.dtype == form.dtype
        and _size(weight) * 8 == layer.rows * layer.columns * form.bits
    )


def _check_scales(form: Form, after: Tensors, wanted: Sequence[Linear], group: int | None) -> None:
    missing = [layer.name for layer in wanted if f"{layer.name}.{form.scale}" not in after]
    if missing:
        raise StepError(f"{len(missing)} layers have no {form.scale}: {_named(missing)}", _HINT)
    wrong = [
        f"{layer.name} ({found} instead of {expected})"
        for layer in wanted
        if (found := prod(after[f"{layer.name}.{form.scale}"].shape))
        != (expected := scale_count(form, layer, group))
    ]
    if wrong:
        raise StepError(
            f"{len(wrong)} layers have another number of scales than one per {form.grain}: {_named(wrong)}",
            _HINT,
        )


def scale_count(form: Form, layer: Linear, group: int | None) -> int:
    """How many scales a layer's weight has."""
    if form.grain == "tensor":
        return 1
    if form.grain == "channel":
        return layer.rows
    size = cast("int", group)
    down = layer.rows if form.grain == "group" else ceil(layer.rows / size)
    return down * ceil(layer.columns / size)


def _check_left(
    form: Form,
    after: Tensors,
    wanted: Sequence[Linear],
    excluded: Sequence[Linear],
    ignored: Sequence[str],
) -> None:
    touched = [layer.name for layer in excluded if f"{layer.name}.{form.scale}" in after]
    if touched:
        raise StepError(f"{len(touched)} layers are quantized although excluded: {_named(touched)}", _HINT)
    hidden = [layer.name for layer in wanted if matches(layer.name, ignored)]
    if hidden:
        raise StepError(
            "quantization_config says of quantized layers that they are not, so an engine would take their "
            f"numbers for plain weights: {_named(hidden)}",
            _HINT,
        )
    unsaid = [layer.name for layer in excluded if not matches(layer.name, ignored)]
    if unsaid:
        raise StepError(
            f"quantization_config does not say that these layers are not quantized: {_named(unsaid)}", _HINT
        )


def _check_bytes(
    form: Form, effect: Effect, before: Tensors, after: Tensors, wanted: Sequence[Linear]
) -> None:
    """Nothing may stand twice: the rest is what it was, but for tied tensors that a tool writes once."""
    saved = sum(_size(before[f"{layer.name}.weight"]) for layer in wanted)
    weights = {f"{layer.name}.{form.weight}" for layer in wanted}
    made = sum(
        _size(tensor)
        for name, tensor in after.items()
        if name in weights or name.rpartition(".")[2] in _COMPANIONS
    )
    limit = effect.bytes_before - saved + made
    if effect.bytes_after > limit:
        raise StepError(
            f"the quantized model has {effect.bytes_after} bytes of tensors, {effect.bytes_after - limit} "
            "more than its quantized layers and the rest of its original take",
            _HINT,
        )


_COMPANIONS = (
    "weight_scale",
    "weight_scale_2",
    "weight_global_scale",
    "weight_zero_point",
    "weight_shape",
    "weight_g_idx",
    "input_scale",
    "input_global_scale",
    "pre_quant_scale",
    "k_scale",
    "v_scale",
)


def _check_configuration(output: Path, tool: str, form: Form, asked: Mapping[str, Json]) -> list[str]:
    """The patterns of layers that the configuration calls not quantized. Raises StepError."""
    value = _configuration(output)
    if value is None:
        raise StepError(
            "config.json has no quantization_config: an engine would take the weights for plain ones", _HINT
        )
    said = described(value)
    kv = asked["kv_cache_dtype"]
    wanted = {"quant_method": _QUANT_METHODS[cast("ToolName", tool)], "scheme": form.declared}
    for name, expected in {**wanted, "kv_cache_dtype": kv}.items():
        if said[name] != expected:
            raise StepError(
                f"quantization_config says {name} {said[name] or 'none'}, asked for was {expected or 'none'}",
                _HINT,
            )
    if tool == "modelopt" and not (output / "hf_quant_config.json").exists():
        raise StepError(
            "there is no hf_quant_config.json, from which TensorRT-LLM reads ModelOpt's form", _HINT
        )
    return [str(name) for name in cast("list[Json]", said["ignore"])]


_QUANT_METHODS: Mapping[ToolName, str] = {"llm-compressor": "compressed-tensors", "modelopt": "modelopt"}


def _configuration(folder: Path) -> Mapping[str, Any] | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StepError("config.json is missing or is no JSON", _HINT) from None
    found = config.get("quantization_config") if isinstance(config, dict) else None
    return found if isinstance(found, dict) and found else None


def described(value: Mapping[str, Any]) -> dict[str, Json]:
    """What a quantization_config says, in the same words for compressed-tensors and ModelOpt."""
    scheme = value.get("format") or str(value.get("quant_algo") or "").upper()
    return {
        "quant_method": value.get("quant_method"),
        "scheme": scheme or None,
        "kv_cache_dtype": _kv_cache(value.get("kv_cache_scheme")),
        "ignore": [*sorted(map(str, value.get("ignore") or []))],
    }


def _kv_cache(scheme: Any) -> str | None:
    if not isinstance(scheme, dict):
        return str(scheme).lower() if scheme else None
    return {8: "fp8", 4: "nvfp4"}.get(scheme.get("num_bits", 0), "another")


def summary(folder: Path) -> dict[str, Json]:
    """A checkpoint's quantization for a record or a reader: what its configuration says, and its tensors and
    bytes by dtype. Raises StepError for a folder that holds no checkpoint.
    """
    tensors = tensors_of(folder)
    count, size = Counter[str](), Counter[str]()
    for tensor in tensors.values():
        count[tensor.dtype] += 1
        size[tensor.dtype] += _size(tensor)
    value = _configuration(folder)
    return {
        "quantization": None if value is None else cast("Json", described(value)),
        "tensors": {name: {"count": count[name], "bytes": size[name]} for name in sorted(count)},
        "bytes": sum(size.values()),
    }
