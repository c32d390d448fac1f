"""Verification: every damaged bit is found, and repair leaves only what is sound, to be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild_cache import Digest, Finding, Record, Store, Verification
from parts.cache_samples import recorded, stored


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _record_path(store: Store, one: Record) -> Path:
    return store.root / "records" / one.step / f"{one.key.hex}.json"


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def test_a_sound_cache(store: Store) -> None:
    recorded(store, {"a": b"one", "b": b"two"})
    recorded(store, {"a": b"one", "c": b""}, 2)
    heard: list[tuple[Digest, int]] = []
    verification = store.verify(report=lambda digest, size: heard.append((digest, size)))
    assert verification == Verification(files=3, records=2, size=6, findings=())
    assert heard == list(store.list())


@pytest.mark.parametrize("repair", [False, True])
def test_a_flipped_bit_in_each_file(store: Store, repair: bool) -> None:
    records = [recorded(store, {"a": bytes([n]) * 50}, n) for n in range(5)]
    for one in records:
        _flip(store.path(one.tree.files[0]), 17)
    findings = store.verify(repair=repair).findings
    files = sorted(one.tree.files[0].digest for one in records)
    assert [finding.path.name for finding in findings[:5]] == [digest.hex for digest in files]
    assert {finding.path for finding in findings[5:]} == {_record_path(store, one) for one in records}
    assert {finding.repaired for finding in findings} == {repair}
    assert len(findings) == 10


def test_what_is_said_of_a_damaged_file(store: Store) -> None:
    one = recorded(store, {"model.bin": b"right", "z": b"sound"})
    path = store.path(one.tree.files[0])
    path.chmod(0o644)
    path.write_bytes(b"wrong")
    assert store.verify().findings == (
        Finding(path, f"its bytes have the digest {Digest.of(b'wrong')}", False),
        Finding(
            _record_path(store, one),
            "this record of the fetch step names model.bin, missing or damaged",
            False,
        ),
    )


def test_repair_makes_a_miss_that_is_made_again(store: Store) -> None:
    one = recorded(store, {"model.bin": b"right", "z": b"sound"})
    path = store.path(one.tree.files[0])
    path.chmod(0o644)
    path.write_bytes(b"wrong")
    store.verify(repair=True)
    assert store.record(one.key) is None
    assert not store.has(one.tree.files[0].digest)
    assert store.has(one.tree.files[1].digest)
    assert (store.root / "corrupt/files" / path.name).read_bytes() == b"wrong"
    assert store.verify().findings == ()
    assert recorded(store, {"model.bin": b"right", "z": b"sound"}) == one
    assert store.record(one.key) == one


def test_missing_files(store: Store) -> None:
    one = recorded(store, {"a": b"1", "b": b"2", "c": b"3"})
    for file in one.tree.files[1:]:
        store.delete(file.digest)
    message = "this record of the fetch step names b and 1 more, missing or damaged"
    path = _record_path(store, one)
    assert store.verify().findings == (Finding(path, message, False),)
    assert store.verify(repair=True).findings == (Finding(path, message, True),)
    assert store.verify().findings == ()


def test_a_flipped_bit_in_each_place_of_a_record(store: Store) -> None:
    one = recorded(store, {"a": b"x"})
    path = _record_path(store, one)
    sound = path.read_bytes()
    for position in range(len(sound)):
        _flip(path, position)
        assert store.verify().findings == (
            Finding(path, "this record is damaged: its digest is wrong", False),
        )
        path.write_bytes(sound)
    assert store.verify().findings == ()


def test_a_damaged_record_is_repaired(store: Store) -> None:
    one = recorded(store, {"a": b"x"})
    path = _record_path(store, one)
    path.write_bytes(b"torn")
    message = "this record is damaged: its digest is wrong"
    assert store.verify(repair=True).findings == (Finding(path, message, True),)
    assert store.verify().findings == ()
    assert recorded(store, {"a": b"x"}) == one


def test_a_record_under_the_name_of_another(store: Store) -> None:
    one = recorded(store, {"a": b"x"})
    path = _record_path(store, one).with_name(f"{'0' * 64}.json")
    path.write_bytes(_record_path(store, one).read_bytes())
    message = f"this record is damaged: it is the record of the fetch step with the key {one.key}"
    assert store.verify().findings == (Finding(path, message, False),)


def test_a_record_set_aside_by_a_hit_is_reported_until_repair(store: Store) -> None:
    one = recorded(store, {"a": b"x"})
    _record_path(store, one).write_bytes(b"torn")
    assert store.record(one.key) is None
    aside = store.root / "corrupt/records/fetch" / f"{one.key.hex}.json"
    message = "this record was damaged; it was set aside when it was read"
    assert store.verify().findings == (Finding(aside, message, False),)
    assert store.verify(repair=True).findings == (Finding(aside, message, True),)
    assert store.verify().findings == ()


def test_files_without_a_record_and_leftovers_are_no_findings(store: Store) -> None:
    stored(store, {"a": b"x"})
    (store.root / "tmp/killed").write_bytes(b"12")
    with store.download(Digest.of(b"x" * 10), 10) as partial:
        partial.write(b"x" * 4)
    assert store.verify() == Verification(files=1, records=0, size=1, findings=())
