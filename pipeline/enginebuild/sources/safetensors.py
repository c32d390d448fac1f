"""The header of a safetensors file, checked without reading the weights.

The format (safetensors 0.8.0, README "Format"): 8 bytes little-endian N, N bytes of JSON that begin with `{`
and may end in spaces, then the tensors, which together cover the rest of the file without holes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: The library's own limit (MAX_HEADER_SIZE).
HEADER_LIMIT = 100_000_000

#: Bits per element (safetensors 0.8.0, `Dtype`).
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip


class BrokenHeaderError(ValueError):
    """What is wrong with the header, in words that follow the file's name."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies: bytes [begin, end) after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(read: Callable[[int], bytes], size: int) -> dict[str, Tensor]:
    """The tensors of a file of `size` bytes; `read(n)` gives its first n bytes. Raises BrokenHeaderError."""
    first = read(8)
    if len(first) < 8:
        raise BrokenHeaderError(
            f"is no safetensors file: {size} bytes are less than the 8 of its header's length"
        )
    length = int.from_bytes(first, "little")
    if length > HEADER_LIMIT:
        raise BrokenHeaderError(
            f"is no safetensors file: its header claims {length} bytes (limit {HEADER_LIMIT})"
        )
    if 8 + length > size:
        raise BrokenHeaderError(f"is cut short: its header alone has {8 + length} bytes, the file {size}")
    tensors = _parse(read(8 + length)[8:])
    _check_cover(tensors, 8 + length, size)
    return {tensor.name: tensor for tensor in tensors}


def _parse(text: bytes) -> list[Tensor]:
    if not text.startswith(b"{"):
        raise BrokenHeaderError("has a broken safetensors header: it does not begin with '{'")
    try:
        header: dict[str, Any] = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BrokenHeaderError(f"has a broken safetensors header: {_reason(error)}") from None
    return [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]


def _reason(error: Exception) -> str:
    if isinstance(error, BrokenHeaderError):
        return str(error)
    return "not JSON" if isinstance(error, ValueError) else "nested too deeply"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BrokenHeaderError(f"{name!r} stands twice")
        found[name] = value
    return found


def _tensor(name: str, entry: Any) -> Tensor:
    match entry:
        case {
            "dtype": str() as dtype,
            "shape": list() as shape,
            "data_offsets": [int() as begin, int() as end],
        }:
            pass
        case _:
            raise BrokenHeaderError(
                f"has a broken safetensors header: {name!r} lacks dtype, shape or data_offsets"
            )
    if dtype not in DTYPE_BITS:
        raise BrokenHeaderError(f"has a tensor of unknown dtype {dtype!r}: {name!r}")
    bits = DTYPE_BITS[dtype]
    for dimension in shape:
        if not isinstance(dimension, int) or dimension < 0:
            raise BrokenHeaderError(f"has a broken safetensors header: the shape of {name!r} is {shape}")
        bits *= dimension
    if end - begin != bits // 8 or bits % 8 or begin < 0:
        raise BrokenHeaderError(
            f"has a broken safetensors header: {name!r} ({dtype}, {shape}) takes {bits // 8} bytes, "
            f"its offsets are {begin} to {end}"
        )
    return Tensor(name, dtype, tuple(shape), begin, end)


def _check_cover(tensors: list[Tensor], start: int, size: int) -> None:
    expected = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != expected:
            fault = "overlaps the tensor before it" if tensor.begin < expected else "leaves a hole before it"
            raise BrokenHeaderError(
                f"has a broken safetensors header: {tensor.name!r} begins at {tensor.begin} instead of "
                f"{expected} and {fault}"
            )
        expected = tensor.end
    if start + expected > size:
        raise BrokenHeaderError(
            f"is cut short: its header promises {start + expected} bytes, the file has {size}"
        )
    if start + expected < size:
        raise BrokenHeaderError(
            f"is too long: its header promises {start + expected} bytes, the file has {size}"
        )
