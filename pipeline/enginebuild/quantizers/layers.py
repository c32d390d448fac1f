"""Which tensors of a checkpoint a quantizer works on, and whether their widths fit its groups.

Standard library alone and nothing of enginebuild: this file is also laid beside the programs that run in the
quantizers' environments.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

FLOATS = ("F16", "BF16", "F32")

_EMBEDDING = re.compile(r"(?:^|\.)(?:\w*embed\w*|wte|wpe|shared)$")

#: A tensor's dtype and shape.
Form = tuple[str, Sequence[int]]


@dataclass(frozen=True)
class Linear:
    """A linear layer; `columns` is the width of its input."""

    name: str
    rows: int
    columns: int


def linears(tensors: Mapping[str, Form], patterns: Iterable[str] = ()) -> list[Linear]:
    """The layers that get quantized: two-dimensional weights of floats, no embedding, not excluded.

    Told by name and shape, without a definition of the model.
    """
    kept = tuple(patterns)
    found = []
    for name, (dtype, shape) in sorted(tensors.items()):
        module, _, parameter = name.rpartition(".")
        if parameter == "weight" and dtype in FLOATS and len(shape) == 2 and not is_embedding(module):
            found.append(Linear(module, *shape))
    return [layer for layer in found if not matches(layer.name, kept)]


def stacked_experts(tensors: Mapping[str, Form], patterns: Iterable[str] = ()) -> list[str]:
    """Three-dimensional weights of floats that hold all experts of a layer."""
    kept = tuple(patterns)
    return [
        name
        for name, (dtype, shape) in sorted(tensors.items())
        if dtype in FLOATS and len(shape) == 3 and "experts" in name and not matches(name, kept)
    ]


def is_embedding(module: str) -> bool:
    """Whether a module's name is that of an embedding, whose weight looks like a linear layer's."""
    return _EMBEDDING.search(module) is not None


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names it: the full name, `*` for any text."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def misfit(layers: Iterable[Linear], group_size: int | None) -> str | None:
    """What is wrong with the widths, and what to do; None if every one divides into groups."""
    everything = list(layers)
    wrong = [layer for layer in everything if group_size and layer.columns % group_size]
    if not wrong:
        return None
    widths = ", ".join(map(str, sorted({layer.columns for layer in wrong})))
    fitting = [size for size in (128, 64, 32) if all(layer.columns % size == 0 for layer in everything)]
    ways = [f"set quantization.group_size to {fitting[0]}"] if fitting else []
    kinds = sorted({f"*.{layer.name.rpartition('.')[2]}" for layer in wrong})
    return (
        f"{len(wrong)} of {len(everything)} layers have a width ({widths}) that is no multiple of the group "
        f"size {group_size}, such as {wrong[0].name}: "
        f"{', or '.join([*ways, f'leave them out with exclude_modules: {json.dumps(kinds)}'])}"
    )
