"""A process is killed, or its system calls fail, at any moment: the next one finishes and all is true."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enginebuild_cache import Store, Tree
from parts import cache_client
from parts.cache_samples import record
from parts.services import program

_CLIENT = [sys.executable, "-B", cache_client.__file__]


def _rerun(root: Path, number: int) -> None:
    """The next process needs nobody's help."""
    answer = subprocess.run([*_CLIENT, "build", str(root), str(number)], capture_output=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, b"")
    store = Store.open(root)
    assert store.verify().findings == ()
    one = store.record(record(Tree.of([]), number).key)
    assert one is not None
    cache_client.check(store, one, number)


def test_kill_at_25_random_moments(cache_dir: Path) -> None:
    chance = random.Random(2)
    Store.open(cache_dir)
    started = time.monotonic()
    subprocess.run([*_CLIENT, "build", str(cache_dir), "0"], check=True, capture_output=True, timeout=60)
    whole = time.monotonic() - started
    killed = 0
    for number in range(1, 26):
        client = subprocess.Popen([*_CLIENT, "build", str(cache_dir), str(number)], stdout=subprocess.PIPE)
        time.sleep(chance.uniform(whole / 3, whole))
        client.kill()
        killed += client.wait() != 0
        client.communicate()
        _rerun(cache_dir, number)
    assert killed > 0


@pytest.mark.slow
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "link", "utimensat"])
@pytest.mark.parametrize("effect", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_each_system_call_is_the_last_or_fails(tmp_path: Path, call: str, effect: str) -> None:
    strace = str(program("strace"))
    reached_the_end, number = False, 0
    for number in range(1, 60):
        root = tmp_path / f"{number}" / "cache"
        root.parent.mkdir()
        inject = f"inject={call}:{effect}:when={number}"
        traced = [strace, "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}", "-e", inject]
        answer = subprocess.run(
            [*traced, *_CLIENT, "build", str(root), "1"], capture_output=True, timeout=60, text=True
        )
        assert "Traceback" not in answer.stderr, answer.stderr
        _rerun(root, 1)
        trace = (tmp_path / "trace").read_text()
        if "INJECTED" not in trace and "killed" not in trace:
            reached_the_end = True
            break
    assert reached_the_end
    assert number > 3
