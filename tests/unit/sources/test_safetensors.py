"""Headers of safetensors files: true ones are read, each way to break one has its own whole message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import safetensors._safetensors_rust
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from enginebuild.sources.safetensors import DTYPE_BITS, BrokenHeaderError, read_header
from parts.hub_models import safetensors_bytes, with_header


def header_of(content: bytes) -> dict[str, tuple[int, int]]:
    tensors = read_header(lambda count: content[:count], len(content))
    return {name: (tensor.begin, tensor.end) for name, tensor in tensors.items()}


def problem(content: bytes) -> str:
    with pytest.raises(BrokenHeaderError) as caught:
        header_of(content)
    return str(caught.value)


def entry(dtype: object, shape: object, begin: object, end: object) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_true_header() -> None:
    assert header_of(safetensors_bytes({"a": 3, "b": 5})) == {"a": (0, 3), "b": (3, 8)}


def test_what_the_library_writes_is_read() -> None:
    content: bytes = safetensors.numpy.save(
        {"x": numpy.zeros((2, 3), "float16"), "empty": numpy.zeros((0, 4), "int64")}
    )
    assert header_of(content).keys() == {"x", "empty"}


def test_every_dtype_of_the_library_is_known() -> None:
    content = Path(safetensors._safetensors_rust.__file__).read_bytes()
    assert all(dtype.encode() in content for dtype in DTYPE_BITS)


BROKEN: list[tuple[bytes, str]] = [
    (b"abc", "is no safetensors file: 3 bytes are less than the 8 of its header's length"),
    (
        b"\xff" * 9,
        "is no safetensors file: its header claims 18446744073709551615 bytes (limit 100000000)",
    ),
    (
        (1000).to_bytes(8, "little") + b"{}",
        "is cut short: its header alone has 1008 bytes, the file 10",
    ),
    (
        (4).to_bytes(8, "little") + b"[{}]",
        "has a broken safetensors header: it does not begin with '{'",
    ),
    ((4).to_bytes(8, "little") + b'{"a"', "has a broken safetensors header: not JSON"),
    ((4).to_bytes(8, "little") + b"{\xff\xff}", "has a broken safetensors header: not JSON"),
    (
        (33).to_bytes(8, "little") + b'{"__metadata__":{"a":"","a":"b"}}',
        "has a broken safetensors header: 'a' stands twice",
    ),
    (
        with_header({"a": {"dtype": "U8"}}),
        "has a broken safetensors header: 'a' lacks dtype, shape or data_offsets",
    ),
    (with_header({"a": entry("F3", [8], 0, 3)}, b"123"), "has a tensor of unknown dtype 'F3': 'a'"),
    (
        with_header({"a": entry("U8", [-1], 0, 1)}, b"1"),
        "has a broken safetensors header: the shape of 'a' is [-1]",
    ),
    (
        with_header({"a": entry("F16", [2, 2], 0, 7)}, b"1234567"),
        "has a broken safetensors header: 'a' (F16, [2, 2]) takes 8 bytes, its offsets are 0 to 7",
    ),
    (
        with_header({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"123"),
        "has a broken safetensors header: 'b' begins at 1 instead of 2 and overlaps the tensor before it",
    ),
    (
        with_header({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 3, 5)}, b"12345"),
        "has a broken safetensors header: 'b' begins at 3 instead of 2 and leaves a hole before it",
    ),
    (
        with_header({"a": entry("U8", [2], 2, 4)}, b"1234"),
        "has a broken safetensors header: 'a' begins at 2 instead of 0 and leaves a hole before it",
    ),
    (safetensors_bytes({"a": 100})[:-1], "is cut short: its header promises 212 bytes, the file has 211"),
    (safetensors_bytes({"a": 100}) + b"x", "is too long: its header promises 212 bytes, the file has 213"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_headers(content: bytes, message: str) -> None:
    assert problem(content) == message


def test_deep_nesting_is_no_traceback() -> None:
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert problem(len(text).to_bytes(8, "little") + text) == (
        "has a broken safetensors header: nested too deeply"
    )


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(content: bytes) -> None:
    with pytest.raises(BrokenHeaderError):
        header_of(content)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_random_json_never_raises_anything_else(value: object) -> None:
    content = with_header({"a": value})
    with pytest.raises(BrokenHeaderError):
        header_of(content)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_bit_in_the_header_is_found_or_harmless(position: int, flip: int) -> None:
    good = safetensors_bytes({"a": 100, "b": 20})
    header = 8 + int.from_bytes(good[:8], "little")
    at = position % header
    bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    try:
        found = header_of(bad)
    except BrokenHeaderError:
        return
    assert sorted(found.values()) == [(0, 100), (100, 120)]
    assert isinstance(json.loads(bad[8:header]), dict)
