"""Digests and canonical JSON: equal values have equal digests, everywhere and always."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild_cache import CHUNK, Digest, Json, canonical_json, chunks_of

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _is_text(value: Json) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def test_a_known_digest() -> None:
    assert str(Digest.of(b"abc")) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Digest.of(b"abc").short == "ba7816bf8f01"
    assert Digest.parse(str(Digest.of(b"abc"))) == Digest.of(b"abc")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_file_a_stream_and_bytes_agree(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    assert Digest.of_file(tmp_path / "file") == Digest.of(content)
    assert Digest.of_chunks(chunks_of(io.BytesIO(content))) == Digest.of(content)
    assert Digest.of(content).hex == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(ValueError) as error:
        Digest(text)
    assert str(error.value) == f"not a sha256 in lower-case hex: {text!r}"


@pytest.mark.parametrize("text", ["", "abc", "sha512:" + "a" * 64, "a" * 64])
def test_what_has_no_algorithm_of_ours(text: str) -> None:
    with pytest.raises(ValueError) as error:
        Digest.parse(text)
    assert str(error.value) == f"not a sha256 digest: {text!r}"


def test_canonical_json_is_this_and_stays_this() -> None:
    value: Json = {"b": [1, 0.9, True, None], "a": {"é": "\n"}, "": -0.0}
    assert canonical_json(value) == '{"":-0.0,"a":{"é":"\\n"},"b":[1,0.9,true,null]}'.encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_json_has_no_number_that_json_lacks(number: float) -> None:
    with pytest.raises(ValueError):
        canonical_json([number])


@given(_JSON.filter(_is_text))
def test_canonical_json_is_json_and_stable(value: object) -> None:
    encoded = canonical_json(cast("Json", value))
    decoded = json.loads(encoded)
    assert decoded == value
    assert canonical_json(decoded) == encoded


@given(st.dictionaries(st.text("abc", max_size=3), st.integers(), min_size=2), st.randoms())
def test_the_order_of_fields_does_not_matter(value: dict[str, int], order: random.Random) -> None:
    pairs = list(value.items())
    order.shuffle(pairs)
    shuffled: dict[str, Json] = dict(pairs)
    assert Digest.of_json(shuffled) == Digest.of_json(dict(value))
