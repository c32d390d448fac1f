"""Records: their file checks itself, down to one bit."""

from __future__ import annotations

import json

import pytest

from enginebuild_cache import Digest, File, Json, Record, Tree
from parts.cache_samples import record

_TREE = Tree.of([File("a/b.json", Digest.of(b"x"), 1), File("c", Digest.of(b""), 0)])


def test_reading_what_was_written() -> None:
    one = record(_TREE, 7)
    assert Record.from_bytes(one.to_bytes()) == one


def test_the_file_is_json_that_people_and_jq_can_read() -> None:
    value = json.loads(record(_TREE, 7).to_bytes())
    assert sorted(value) == ["record", "sha256"]
    assert sorted(value["record"]) == ["fields", "key", "provenance", "step", "tree"]


def test_every_flipped_bit_is_noticed() -> None:
    content = record(_TREE).to_bytes()
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            with pytest.raises(ValueError):
                Record.from_bytes(bytes(flipped))


def test_every_torn_file_is_noticed() -> None:
    content = record(_TREE).to_bytes()
    for size in range(len(content)):
        with pytest.raises(ValueError):
            Record.from_bytes(content[:size])
    with pytest.raises(ValueError):
        Record.from_bytes(content + b"\0")


def test_the_key_must_be_made_of_the_fields() -> None:
    key = Digest.of(b"another")
    with pytest.raises(ValueError) as error:
        Record(key, "fetch", {"a": 1}, _TREE, {})
    assert str(error.value) == f"the fields of this fetch record do not make the key {key}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": []}, "it is not a record of this version (a record's fields and provenance are objects)"),
        ({"tree": {}}, "it is not a record of this version (a tree is a list of files)"),
        ({"key": "0"}, "not a sha256 in lower-case hex: '0'"),
    ],
)
def test_sealed_but_not_a_record(change: dict[str, Json], message: str) -> None:
    body = json.dumps(record(_TREE).to_json() | change, separators=(",", ":")).encode()
    sealed = b'{"record":' + body + b',"sha256":"' + Digest.of(body).hex.encode() + b'"}\n'
    with pytest.raises(ValueError) as error:
        Record.from_bytes(sealed)
    assert str(error.value) == message
