"""The weights of a model from the headers of its files: exact bytes and parameters by kind, whatever family.

Which kind a tensor is of, and how engines divide it, follows from its name: those of transformers 5.17's
modeling files, of GPTQ, AWQ, bitsandbytes and compressed-tensors, and of ModelOpt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Protocol

from enginebuild.models.parts import FIRST, LAST, Kind, Part, Split
from enginebuild.models.quantized import Quantized
from enginebuild.models.shape import Shape


class Tensor(Protocol):
    """An entry of a header: `begin` and `end` are where its bytes lie."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def begin(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """What the files hold: bytes by dtype, the most first, and whether there is an lm_head."""

    dtypes: tuple[tuple[str, int], ...]
    head: bool

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(size for _, size in self.dtypes)

    @property
    def dtype(self) -> str | None:
        """What most floating numbers are, by config.json's words; None where there are none."""
        return next((_FLOATS[dtype] for dtype, _ in self.dtypes if dtype in _FLOATS), None)


def stored(tensors: Iterable[Tensor]) -> Stored:
    sizes: Counter[str] = Counter()
    head = False
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.end - tensor.begin
        head = head or _name_of(tensor).kind == "lm_head"
    return Stored(tuple(sizes.most_common()), head)


def parts_of(tensors: Iterable[Tensor], shape: Shape | None, quantized: Quantized | None) -> tuple[Part, ...]:
    """The parts that engines load. `quantized` is what config.json says, for numbers that are packed.

    Without a `shape` all layers count as the model's own.
    """
    totals: dict[_Group, tuple[int, int]] = {}
    for tensor in tensors:
        for group, count, size in _grouped(tensor, shape, quantized):
            before = totals.get(group, (0, 0))
            totals[group] = (before[0] + count, before[1] + size)
    layers: dict[tuple[_Group, int, int], list[int]] = {}
    for group, (count, size) in totals.items():
        layers.setdefault((group.anywhere, count, size), []).append(group.layer)
    return tuple(
        Part(group.kind, count, tuple(sorted(places)), group.split, group.linear, size, group.kept)
        for (group, count, size), places in layers.items()
    )


def cached_layers(parts: Iterable[Part]) -> tuple[int, ...] | None:
    """The layers that have keys and values of attention; None where no name says which.

    Models that mix attention with layers of a fixed state (Mamba, linear attention) keep a KV cache in few.
    """
    found = {
        layer
        for part in parts
        if part.kind == "attention" and part.split in ("kv_heads", "whole") and part.linear
        for layer in part.layers
        if layer >= 0
    }
    return tuple(sorted(found)) or None


@dataclass(frozen=True, slots=True)
class _Group:
    """What is added up to one part."""

    kind: Kind
    layer: int
    split: Split
    linear: bool
    kept: bool

    @property
    def anywhere(self) -> _Group:
        return _Group(self.kind, 0, self.split, self.linear, self.kept)


_FLOATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_NUMBERS = {*_FLOATS, "F64"}
#: What a quantizer takes, as of_method has it.
_LINEAR: frozenset[Kind] = frozenset(("attention", "mlp", "experts", "shared_experts", "draft", "lm_head"))

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks?|layer)\.(\d+)\.")
#: Beside the numbers of a quantized weight: scales, zero points, orders, shapes. They count as no parameters.
_BESIDE = re.compile(
    r"scales?(?:_inv|_2)?$|zeros?$|zero_point$|g_idx$|weight_shape$|absmax$|quant_map$|quant_state|\bSCB$|amax$"
)
#: Tables and masks that engines make themselves.
_MADE = re.compile(r"rotary_emb\.inv_freq$|\.masked_bias$|rotary_emb\.(?:cos|sin)_cached$")
_MASK = re.compile(r"attn\.bias$|attention\.bias$")
#: In order: the first that is found in the module's name says the kind.
_KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"(?:^|\.)(?:mtp|nextn)(?:\.|_|$)"), "draft"),
    (
        re.compile(
            r"(?:^|\.)(?:vision\w*|visual|\w*vision_tower|audio\w*|multi_modal_projector|mm_projector|"
            r"embed_vision|embed_audio|img_processor|image_newline|patch_merger)(?:\.|$)"
        ),
        "vision",
    ),
    (re.compile(r"norm|(?:^|\.)ln_"), "norms"),
    (re.compile(r"(?:^|\.)(?:router|gate|shared_expert_gate)(?:\.|$)"), "router"),
    (re.compile(r"shared_experts?(?:\.|$)|shared_mlp"), "shared_experts"),
    (re.compile(r"(?:^|\.)experts?(?:\.|$)"), "experts"),
    (re.compile(r"attn|attention"), "attention"),
    (re.compile(r"(?:^|\.)(?:mlp|feed_forward|ffn|fc1|fc2)(?:\.|$)"), "mlp"),
    (
        re.compile(r"(?:^|\.)(?:embed_tokens|wte|wpe|embed_in|embed_positions|\w*embeddings?)(?:\.|$)"),
        "embeddings",
    ),
    (re.compile(r"(?:^|\.)(?:lm_head|embed_out|output)(?:\.|$)"), "lm_head"),
)
_KEYS = re.compile(r"(?:^|\.)(?:k_proj|v_proj|key|value)(?:\.|$)")
_FUSED = re.compile(r"(?:^|\.)(?:qkv_proj|query_key_value|c_attn|Wqkv|wqkv|qkv)(?:\.|$)")
#: Of latent attention: what is computed on each GPU.
_LATENT = re.compile(r"(?:^|\.)(?:q_a_proj|kv_a_proj\w*)(?:\.|$)")
_POSITIONS = re.compile(r"(?:^|\.)(?:wpe|embed_positions|position_embeddings)(?:\.|$)")

#: Bits of the elements that numbers are packed into: int32 (GPTQ, AWQ, compressed-tensors) or bytes.
_WIDTHS: Mapping[str, int] = {"I32": 32, "U8": 8}


@dataclass(frozen=True, slots=True)
class _Name:
    """What a tensor's name says: the kind, whether it stands beside a weight, whether engines load it."""

    kind: Kind
    beside: bool
    loaded: bool
    mask: bool


@cache
def _named(name: str) -> _Name:
    """Of a name whose numbers are all the same: a model has few of them."""
    module = name.rpartition(".")[0] or name
    kind: Kind = next((kind for pattern, kind in _KINDS if pattern.search(module)), "other")
    if kind == "lm_head" and _LAYER.search(name):
        kind = "other"
    return _Name(
        kind,
        _BESIDE.search(name) is not None,
        _MADE.search(name) is None,
        _MASK.search(name) is not None,
    )


def _name_of(tensor: Tensor) -> _Name:
    return _named(_NUMBER.sub("0", tensor.name))


def _place(kind: Kind, layer: int | None) -> int:
    """The layer, or the end of the model that it belongs to."""
    if kind in ("lm_head", "draft"):
        return LAST
    if kind in ("embeddings", "vision") or (layer is None and kind != "norms"):
        return FIRST
    return LAST if layer is None else layer


def _grouped(
    tensor: Tensor, shape: Shape | None, quantized: Quantized | None
) -> Iterator[tuple[_Group, int, int]]:
    """What a tensor adds: its group, parameters and bytes; queries, keys and values of one matrix apart."""
    name, match, matrix = _name_of(tensor), _LAYER.search(tensor.name), len(tensor.shape) > 1
    if not name.loaded or (name.mask and matrix):
        return
    kind, layer = name.kind, int(match[1]) if match else None
    if shape is not None and layer is not None and layer >= shape.layers and kind != "vision":
        kind = "draft"
    if kind == "lm_head" and shape is not None and shape.tied:
        return  # engines take the embeddings, whatever the files have
    count = 0 if name.beside else _numbers(tensor, quantized)
    size, kept = tensor.end - tensor.begin, name.beside or tensor.dtype not in _NUMBERS
    linear = matrix and not name.beside and kind in _LINEAR
    place = _place(kind, layer)
    if kind == "attention" and matrix and shape is not None and _FUSED.search(tensor.name):
        keys = 2 * shape.kv_heads / (shape.heads + 2 * shape.kv_heads)
        count_of_keys, size_of_keys = round(count * keys), round(size * keys)
        yield _Group(kind, place, "kv_heads", linear, kept), count_of_keys, size_of_keys
        yield _Group(kind, place, "even", linear, kept), count - count_of_keys, size - size_of_keys
        return
    yield _Group(kind, place, _split(tensor.name, kind, matrix), linear, kept), count, size


def _split(name: str, kind: Kind, matrix: bool) -> Split:
    if kind in ("experts", "draft"):
        return "experts"
    if not matrix or kind in ("router", "norms", "vision") or _POSITIONS.search(name):
        return "whole"
    if kind == "attention" and _KEYS.search(name):
        return "kv_heads"
    return "whole" if kind == "attention" and _LATENT.search(name) else "even"


def _numbers(tensor: Tensor, quantized: Quantized | None) -> int:
    """Parameters: several in one element where numbers of few bits are packed."""
    elements, width = prod(tensor.shape), _WIDTHS.get(tensor.dtype)
    bits = 0 if quantized is None else int(quantized.bits)
    return elements * width // bits if width is not None and 0 < bits < width else elements
