"""A process that uses a cache, for the tests that kill it, race it, or take its disk away.

    python cache_client.py build ROOT NUMBER     a small step; prints `hit` or `built`
    python cache_client.py fill ROOT SIZE        writes one file of so many bytes
    python cache_client.py gc ROOT SECONDS       gc with no room at all, again and again
    python cache_client.py use ROOT SECONDS      builds under a lease, again and again

A CacheError ends it with exit code 9, its message and its hint on stderr.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from enginebuild_cache import CacheError, Digest, File, Record, Store, Tree
from parts.cache_samples import record


def content(number: int, place: int, size: int = 20_000) -> bytes:
    """The bytes of a file of a step, always the same."""
    return random.Random(f"{number}/{place}").randbytes(size + place)


def build(store: Store, number: int) -> str:
    """One step as the tool does it: every way into the store, then the record."""
    key = record(Tree.of([]), number).key
    with store.lease(), store.lock(str(key)):
        if store.record(key) is not None:
            return "hit"
        store.put_record(record(_made(store, number), number))
    return "built"


def _made(store: Store, number: int) -> Tree:
    first, second, third, fourth = (content(number, place) for place in range(4))
    with store.download(Digest.of(first), len(first)) as partial:
        for start in range(partial.offset, len(first), 7000):
            partial.write(first[start : start + 7000])
        partial.commit()
    with store.writer() as writer:
        writer.write(second)
        writer.commit()
    store.put_bytes(third)
    with tempfile.TemporaryDirectory(dir=store.root.parent) as folder:
        _step(Path(folder), fourth)
        collected = store.collect(Path(folder))
    files = [File(str(n), Digest.of(b), len(b)) for n, b in enumerate((first, second, third))]
    return Tree.of([*files, *collected])


def _step(folder: Path, output: bytes) -> None:
    """What a step's command does is not the cache's to explain."""
    try:
        (folder / "engine").mkdir()
        (folder / "engine/rank0").write_bytes(output)
    except OSError:
        sys.exit(6)


def _say(text: str) -> None:
    """Whoever reads this may be gone, or the call made to fail: not the cache's to explain either."""
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        os._exit(6)


def check(store: Store, one: Record, number: int) -> None:
    """Every file of a record is there and true."""
    for place, file in enumerate(one.tree):
        assert store.read_bytes(file) == content(number, place)


def fill(store: Store, size: int) -> None:
    digest = Digest.of(bytes(size))
    with store.download(digest, size) as partial:
        while partial.offset < size:
            partial.write(bytes(min(1 << 16, size - partial.offset)))
        partial.commit()


def gc(store: Store, seconds: float) -> None:
    end = time.monotonic() + seconds
    removed = 0
    while time.monotonic() < end:
        removed += store.gc(max_size=0).records
    _say(str(removed))


def use(store: Store, seconds: float) -> None:
    end = time.monotonic() + seconds
    builds = 0
    while time.monotonic() < end:
        number = random.randrange(4)
        with store.lease():
            build(store, number)
            one = store.record(record(Tree.of([]), number).key)
            assert one is not None, "gc took what a lease kept"
            check(store, one, number)
            builds += 1
    _say(str(builds))


def main(command: str, root: str, argument: str) -> None:
    store = Store.open(Path(root))
    if command == "build":
        _say(build(store, int(argument)))
    elif command == "fill":
        fill(store, int(argument))
    elif command == "gc":
        gc(store, float(argument))
    else:
        use(store, float(argument))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except CacheError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        os._exit(9)
