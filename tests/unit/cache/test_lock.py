"""Locks: one holder at a time, who is named to those who wait, and whose death frees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from enginebuild_cache import Store

_HOLDER = """
import sys
from pathlib import Path
from enginebuild_cache import Store
with Store.open(Path(sys.argv[1])).lock("recipe"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _lock_file(store: Store) -> Path:
    (path,) = (path for path in (store.root / "locks").iterdir() if path.name.startswith("recipe"))
    return path


def test_nobody_waits_for_a_free_lock(store: Store) -> None:
    for _ in range(3):
        with store.lock("recipe", lambda holder: pytest.fail(holder)), store.lock("another"):
            pass


@pytest.mark.parametrize("name", ["../../escape", "a/b", "", "ü" * 300, "sha256:" + "0" * 64])
def test_any_name_will_do(store: Store, name: str) -> None:
    with store.lock(name):
        pass
    assert all(path.is_file() for path in (store.root / "locks").iterdir())


def test_names_that_look_alike_are_different_locks(store: Store) -> None:
    with store.lock("a/b"), store.lock("a-b"), store.lock("a" * 50 + "1"), store.lock("a" * 50 + "2"):
        pass


def test_one_at_a_time(store: Store) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with store.lock("recipe"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == 1


def test_a_holder_is_named_once_and_its_death_frees_the_lock(store: Store) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        waited: list[str] = []

        def on_wait(text: str) -> None:
            waited.append(text)
            holder.kill()

        with store.lock("recipe", on_wait):
            assert _lock_file(store).read_text().startswith(f"process {os.getpid()} on ")
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    (text,) = waited
    who, since = text.split(" since ")
    assert who == f"process {holder.pid} on {os.uname().nodename}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", since)


def test_a_lock_whose_file_is_removed_while_one_waits(store: Store) -> None:
    """gc may remove a lock file between another's open and its lock: that one must not believe it has it."""
    order: list[str] = []
    asked = threading.Event()

    def second() -> None:
        with store.lock("recipe", lambda _: asked.set()):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.lock("recipe"):
        thread.start()
        assert asked.wait(10)
        _lock_file(store).unlink()
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert _lock_file(store).exists()


def test_an_error_inside_frees_the_lock(store: Store) -> None:
    with pytest.raises(KeyError), store.lock("recipe"):
        raise KeyError
    with store.lock("recipe", lambda holder: pytest.fail(holder)):
        pass
