"""Records of the store: the first stays, a damaged or incomplete one is a miss and can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, File, Record, Store, Tree
from parts.cache_samples import record, recorded, stored


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _path(store: Store, one: Record) -> Path:
    return store.root / "records" / one.step / f"{one.key.hex}.json"


def test_a_hit_and_a_miss(store: Store) -> None:
    one = recorded(store, {"a": b"x", "b": b"y"})
    assert store.record(one.key) == one
    assert store.record(Digest.of(b"another")) is None
    assert list(store.records()) == [one]


def test_an_empty_tree_is_a_result_too(store: Store) -> None:
    one = recorded(store, {})
    assert store.record(one.key) == one


def test_the_first_record_stays(store: Store) -> None:
    first = record(stored(store, {"a": b"one"}))
    second = record(stored(store, {"a": b"two"}))
    assert store.put_record(first) == first
    assert store.put_record(second) == first
    assert store.record(first.key) == first


def test_a_record_needs_its_files(store: Store) -> None:
    one = record(Tree.of([File("engine/rank0.engine", Digest.of(b"x"), 1)]), step="compile")
    with pytest.raises(CacheError) as error:
        store.put_record(one)
    assert error.value.message == "cannot record the compile step: engine/rank0.engine is not in the cache"
    assert error.value.hint == "run again: somebody removed it meanwhile"
    assert store.record(one.key) is None


def test_a_record_whose_file_is_gone_is_a_miss_and_gives_way(store: Store) -> None:
    first = recorded(store, {"a": b"one"})
    store.delete(first.tree.files[0].digest)
    assert store.record(first.key) is None
    second = recorded(store, {"a": b"two"})
    assert store.record(first.key) == second


def test_a_record_whose_file_is_of_another_size_is_a_miss(store: Store) -> None:
    one = recorded(store, {"a": b"one"})
    path = store.path(one.tree.files[0])
    path.chmod(0o644)
    path.write_bytes(b"")
    assert store.record(one.key) is None
    assert recorded(store, {"a": b"one"}) == one
    assert store.record(one.key) == one


@pytest.mark.parametrize("torn", [b"", b"{}", b"\0" * 300, b'{"record":{'])
def test_a_damaged_record_is_a_miss_is_set_aside_and_gives_way(store: Store, torn: bytes) -> None:
    one = recorded(store, {"a": b"one"})
    _path(store, one).write_bytes(torn)
    assert store.record(one.key) is None
    aside = store.root / "corrupt/records" / one.step / f"{one.key.hex}.json"
    assert aside.read_bytes() == torn
    assert store.put_record(one) == one
    assert store.record(one.key) == one


def test_a_damaged_record_gives_way_without_having_been_read(store: Store) -> None:
    one = recorded(store, {"a": b"one"})
    _path(store, one).write_bytes(b"")
    assert store.put_record(one) == one
    assert store.record(one.key) == one


def test_a_record_under_the_name_of_another_is_a_miss(store: Store) -> None:
    one = recorded(store, {"a": b"one"}, 1)
    other = record(one.tree, 2)
    _path(store, other).write_bytes(_path(store, one).read_bytes())
    assert store.record(other.key) is None
    assert store.record(one.key) == one


def test_the_last_record_of_a_step(store: Store) -> None:
    tree = stored(store, {"a": b"x"})
    assert store.last_record("fetch", "mine") is None
    mine = store.put_record(record(tree, 1, subject="mine"))
    theirs = store.put_record(record(tree, 2, subject="theirs"))
    store.put_record(record(tree, 3, step="configure", subject="mine"))
    assert store.last_record("fetch", "mine") == mine
    assert store.last_record("fetch", "nobody") == theirs
    newer = store.put_record(record(tree, 4, subject="mine"))
    assert store.last_record("fetch", "mine") == newer
    store.record(mine.key)
    assert store.last_record("fetch", "mine") == mine
    assert store.last_record("compile", "mine") is None


def test_a_hit_counts_as_a_use(store: Store) -> None:
    one = recorded(store, {"a": b"x"})
    before = store.last_used(one)
    store.record(one.key)
    assert store.last_used(one) > before


@pytest.mark.parametrize("step", ["", "..", "a/b", "Fetch", ".hidden", "x" * 65])
def test_the_name_of_a_step_is_a_plain_word(store: Store, step: str) -> None:
    with pytest.raises(ValueError) as error:
        store.put_record(record(Tree.of([]), step=step))
    assert str(error.value) == f"not the name of a step: {step!r}"
