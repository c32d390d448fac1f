"""gc: what was not used for longest goes first; what a pin, a lease or a running build needs never goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, Record, Removed, Store, gc
from parts.cache_samples import record, recorded, stored

_HOUR = 3600.0
_DAY = 24 * _HOUR


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _age(store: Store, one: Record | Digest, seconds: float) -> None:
    """As if it, and what it names, had last been used so long ago."""
    digests = [one] if isinstance(one, Digest) else [one.key, *(file.digest for file in one.tree)]
    then = time.time() - seconds
    for digest in digests:
        os.utime(store.root / "uses" / digest.hex[:2] / digest.hex, (then, then))


def _old(store: Store, files: dict[str, bytes], number: int, age: float) -> Record:
    one = recorded(store, files, number)
    _age(store, one, age)
    return one


def test_without_bounds_records_stay(store: Store) -> None:
    one = _old(store, {"a": b"x"}, 1, 1000 * _DAY)
    assert store.gc() == Removed(records=0, files=0, leftovers=0, freed=0, kept=1)
    assert store.record(one.key) == one


def test_max_age(store: Store) -> None:
    old = _old(store, {"a": b"old"}, 1, 2 * _HOUR)
    young = _old(store, {"a": b"young"}, 2, _HOUR / 2)
    assert store.gc(max_age=_HOUR) == Removed(records=1, files=1, leftovers=0, freed=3, kept=5)
    assert (store.record(old.key), store.record(young.key)) == (None, young)
    assert store.verify().findings == ()


def test_max_size_removes_the_least_recently_used(store: Store) -> None:
    records = [_old(store, {"a": bytes([n]) * 100}, n, n * _HOUR) for n in (3, 1, 2)]
    assert store.gc(max_size=250) == Removed(records=1, files=1, leftovers=0, freed=100, kept=200)
    assert [store.record(one.key) is None for one in records] == [True, False, False]


def test_a_hit_makes_a_record_young(store: Store) -> None:
    one = _old(store, {"a": b"one"}, 1, 2 * _HOUR)
    other = _old(store, {"a": b"two"}, 2, _HOUR)
    store.record(one.key)
    store.gc(max_size=3)
    assert (store.record(one.key), store.record(other.key)) == (one, None)


def test_a_file_that_two_records_name_goes_with_the_second(store: Store) -> None:
    first = _old(store, {"a": b"shared", "b": b"1"}, 1, 3 * _HOUR)
    second = _old(store, {"c": b"shared", "d": b"2"}, 2, 2 * _HOUR)
    assert store.gc(max_size=7) == Removed(records=1, files=1, leftovers=0, freed=1, kept=7)
    assert (store.record(first.key), store.record(second.key)) == (None, second)
    _age(store, second, 2 * _HOUR)
    assert store.gc(max_size=0) == Removed(records=1, files=2, leftovers=0, freed=7, kept=0)


def test_files_that_no_record_names_go_first(store: Store) -> None:
    one = _old(store, {"a": b"x" * 10}, 1, 3 * _HOUR)
    loose = store.put_bytes(b"y" * 10)
    _age(store, loose, 2 * _HOUR)
    assert store.gc() == Removed(records=0, files=0, leftovers=0, freed=0, kept=20)
    assert store.gc(max_size=10) == Removed(records=0, files=1, leftovers=0, freed=10, kept=10)
    assert store.record(one.key) == one


def test_files_that_no_record_names_go_after_a_day(store: Store) -> None:
    loose = store.put_bytes(b"y")
    _age(store, loose, _DAY + 60)
    assert store.gc() == Removed(records=0, files=1, leftovers=0, freed=1, kept=0)


def test_a_pin_keeps_a_record_and_its_files(store: Store) -> None:
    kept = _old(store, {"a": b"pinned"}, 1, 10 * _DAY)
    gone = _old(store, {"a": b"other"}, 2, _HOUR)
    store.pin("production: llama/8b", [kept.key])
    assert store.pins() == {"production: llama/8b": frozenset({kept.key})}
    assert store.gc(max_size=0, max_age=0).records == 1
    assert (store.record(kept.key), store.record(gone.key)) == (kept, None)
    assert store.unpin("production: llama/8b")
    assert not store.unpin("production: llama/8b")
    _age(store, kept, 1)
    assert store.gc(max_size=0).kept == 0


def test_a_pin_is_replaced_by_one_of_the_same_name(store: Store) -> None:
    one, two = (_old(store, {"a": bytes([n])}, n, _HOUR) for n in (1, 2))
    store.pin("live", [one.key])
    store.pin("live", [two.key])
    store.gc(max_size=0)
    assert (store.record(one.key), store.record(two.key)) == (None, two)


def test_a_damaged_pin_stops_gc_before_it_removes_anything(store: Store) -> None:
    one = _old(store, {"a": b"x"}, 1, _HOUR)
    store.pin("live", [one.key])
    (pin,) = (store.root / "pins").iterdir()
    pin.write_bytes(b"")
    with pytest.raises(CacheError) as error:
        store.gc(max_size=0)
    assert error.value.message == f"the pin in {pin} cannot be read"
    assert error.value.hint == "remove that file, and pin again what it kept"
    assert store.record(one.key) == one


def test_a_lease_keeps_what_is_used_while_it_is_held(store: Store) -> None:
    hit = _old(store, {"a": b"hit"}, 1, 2 * _DAY)
    unused = _old(store, {"a": b"unused"}, 2, 2 * _DAY)
    had = store.put_bytes(b"had")
    _age(store, had, 2 * _DAY)
    with store.lease():
        assert store.record(hit.key) == hit
        assert store.has(had)
        new = store.put_bytes(b"new")
        made = store.put_record(record(stored(store, {"a": b"made"}), 3))
        Store.open(store.root).gc(max_size=0, max_age=0)
        assert (store.record(hit.key), store.record(unused.key), store.record(made.key)) == (hit, None, made)
        assert store.has(had)
        assert store.has(new)
    time.sleep(0.01)
    assert store.gc(max_size=0) == Removed(records=2, files=4, leftovers=0, freed=13, kept=0)
    assert list((store.root / "leases").iterdir()) == []


def test_the_oldest_of_several_leases_counts(store: Store) -> None:
    with store.lease():
        one = recorded(store, {"a": b"x"})
        time.sleep(0.01)
        with store.lease():
            store.gc(max_size=0)
    assert store.record(one.key) == one


def test_a_hard_link_elsewhere_frees_nothing(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "blob"
    source.write_bytes(b"weights")
    digest, _ = store.put_file(source, mode="link")
    _age(store, digest, _HOUR)
    assert store.gc(max_size=0) == Removed(records=0, files=1, leftovers=0, freed=0, kept=0)
    assert source.read_bytes() == b"weights"


def test_what_a_killed_process_left_stays_for_a_day(store: Store) -> None:
    with store.download(Digest.of(b"x" * 10), 10) as partial:
        partial.write(b"x" * 4)
    (store.root / "tmp/killed").write_bytes(b"12")
    assert store.gc(max_size=0).leftovers == 0
    with store.download(Digest.of(b"x" * 10), 10) as partial:
        assert partial.offset == 4


def test_what_a_killed_process_left_goes_after_a_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.download(Digest.of(b"x" * 10), 10) as partial:
        partial.write(b"x" * 4)
    (store.root / "tmp/killed").write_bytes(b"12")
    with store.lock("name"):
        pass
    time.sleep(0.01)
    monkeypatch.setattr(gc, "ABANDONED", 0)
    removed = store.gc()
    assert (removed.leftovers, removed.freed) == (4, 6)  # with two locks, which are empty
    for name in ("tmp", "partial"):
        assert list((store.root / name).iterdir()) == []
    assert [path.name for path in (store.root / "locks").iterdir()] == [".guard"]


def test_a_download_in_progress_is_not_abandoned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "ABANDONED", 0)
    with store.download(Digest.of(b"x" * 10), 10) as partial, store.lock("name"):
        partial.write(b"x" * 4)
        time.sleep(0.01)
        assert store.gc().leftovers == 0
        partial.write(b"x" * 6)
        partial.commit()
    assert store.has(Digest.of(b"x" * 10))


def test_marks_of_what_is_gone_are_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _old(store, {"a": b"x"}, 1, 2 * _DAY)
    store.path(one.tree.files[0]).unlink()
    mark = store.root / "uses" / "00" / ("0" * 64)
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    monkeypatch.setattr(gc, "ABANDONED", 0)
    time.sleep(0.01)
    store.gc(max_age=_DAY)
    assert [path for path in (store.root / "uses").rglob("*") if path.is_file()] == []
