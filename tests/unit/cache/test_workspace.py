"""Workspaces: empty, on the cache's file system, and gone whatever happens to their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enginebuild_cache import Store

_HOLD = """
import sys, time
from pathlib import Path
from enginebuild_cache import Store
with Store.open(Path(sys.argv[1])).workspace() as folder:
    (folder / "half").write_bytes(b"of it")
    print(folder, flush=True)
    time.sleep(60)
"""


def left(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "work").iterdir())


def test_it_is_empty_and_gone_with_the_block(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with store.workspace() as first, store.workspace() as second:
        assert first != second
        assert list(first.iterdir()) == []
        assert first.stat().st_dev == (store.root / "files").stat().st_dev
        (first / "deep").mkdir()
        (first / "deep/file").write_bytes(b"bytes")
        (first / "deep").chmod(0o500)
    assert left(store) == []


def test_it_is_gone_after_an_exception(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.workspace():
        raise KeyboardInterrupt
    assert left(store) == []


def test_a_killed_process_s_goes_with_the_next_one_and_a_living_one_s_stays(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", _HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    with store.workspace():
        assert (folder / "half").exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (folder / "half").exists()
    with store.workspace() as mine:
        assert left(store) == sorted([mine.name, f"{mine.name}.lock"])


def test_gc_sweeps_what_killed_processes_left(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    stale = tmp_path / "work" / f"{os.uname().nodename}-1-00"
    elsewhere = tmp_path / "work" / "another.example-1-00"
    for folder in (stale, elsewhere):
        folder.mkdir()
    store.gc()
    assert left(store) == [elsewhere.name]  # its lock may not reach us


def test_gc_removes_old_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path)
    log = store.logs / "compile-1" / "log.txt"
    log.parent.mkdir()
    log.write_text("what it said\n")
    store.gc()
    assert log.exists()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 31 * 24 * 3600 * 10**9)
    store.gc()
    assert list(store.logs.iterdir()) == []
