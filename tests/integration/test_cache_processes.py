"""Many processes at one cache: work is done once, the first record stays, gc takes nothing that is in use."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from enginebuild_cache import Digest, Store, Tree
from parts import cache_client
from parts.cache_samples import record

_CLIENT = [sys.executable, "-B", cache_client.__file__]

_RACE = """
import sys
from pathlib import Path
from enginebuild_cache import Store
from enginebuild_cache import lock
if sys.argv[3] == "lies":
    lock.fcntl.flock = lambda descriptor, operation: None  # as on Lustre without -o flock
from parts.cache_samples import record, stored
store = Store.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    mine = record(stored(store, {"who": sys.argv[2].encode(), "same": b"same"}), number)
    print(store.put_record(mine).tree.digest, flush=True)
"""


def _ended(client: subprocess.Popen[str], seconds: float = 60) -> str:
    out, error = client.communicate(timeout=seconds)
    assert (client.returncode, error) == (0, "")
    return out


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*_CLIENT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_runs_of_one_recipe_do_the_work_once(cache_dir: Path) -> None:
    clients = [_start("build", str(cache_dir), "1") for _ in range(8)]
    assert Counter(_ended(client).strip() for client in clients) == {"built": 1, "hit": 7}
    assert Store.open(cache_dir).verify().findings == ()


@pytest.mark.parametrize("flock", ["works", "lies"])
def test_all_agree_on_the_first_record_with_locks_and_without(cache_dir: Path, flock: str) -> None:
    tests = Path(__file__).parents[1]
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, str(cache_dir), str(number), flock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tests,
        )
        for number in range(4)
    ]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    answers = [_ended(client).split() for client in clients]
    store = Store.open(cache_dir)
    kept = [store.record(record(Tree.of([]), number).key) for number in range(30)]
    expected = [str(one.tree.digest) for one in kept if one is not None]
    assert answers == [expected] * 4
    assert store.verify().findings == ()


@pytest.mark.slow
def test_gc_takes_nothing_from_running_builds(cache_dir: Path) -> None:
    Store.open(cache_dir)
    users = [_start("use", str(cache_dir), "4") for _ in range(3)]
    collector = _start("gc", str(cache_dir), "4")
    builds = [int(_ended(user)) for user in users]
    removed = int(_ended(collector))
    assert min(builds) > 0
    assert removed > 0
    store = Store.open(cache_dir)
    assert store.verify().findings == ()
    assert list((cache_dir / "leases").iterdir()) == []


def test_the_lease_of_a_killed_process_keeps_nothing(cache_dir: Path) -> None:
    store = Store.open(cache_dir)
    program = (
        "import sys, pathlib, enginebuild_cache as e\n"
        "with e.Store.open(pathlib.Path(sys.argv[1])).lease():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(cache_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    digest = store.put_bytes(b"used after the lease began")
    assert store.gc(max_size=0).files == 0
    holder.kill()
    holder.communicate()
    assert store.gc(max_size=0).files == 1
    assert not store.has(digest)
    assert store.put_bytes(b"") == Digest.of(b"")
