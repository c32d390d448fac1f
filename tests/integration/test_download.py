"""Downloads from a Hub over real HTTP that goes wrong in every known way: resumed, retried or refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.events import Event, Note, Progress, Waiting, silent
from enginebuild.sources import ModelRequest, ResolvedModel, fetch, resolve
from enginebuild_cache import Store
from parts.hub_fetch import QUICK
from parts.hub_models import shard_names, write_model
from parts.hub_server import Fault, HubServer
from parts.services import missing

SOURCE = "hf://org/name"
REQUEST = ModelRequest(SOURCE, None, Path())
SHARDS = 3
SIZE = 3_000_000
FIRST = shard_names(SHARDS)[0]
TESTS = Path(__file__).parents[1]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    write_model(tmp_path / "root/org/name", shards=SHARDS, shard_size=SIZE)
    with HubServer(tmp_path / "root", cdn=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


@pytest.fixture
def resolved(hub: HubServer, store: Store) -> ResolvedModel:
    found = resolve(REQUEST, store, silent, patience=QUICK)
    hub.requests.clear()
    return found


def download(store: Store, resolved: ResolvedModel) -> list[Event]:
    events: list[Event] = []
    fetch(REQUEST, resolved, store, events.append, patience=QUICK)
    assert all(b"".join(store.read(file)) for file in resolved.tree)
    return events


def refusal(store: Store, resolved: ResolvedModel) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(REQUEST, resolved, store, silent, patience=QUICK)
    return f"{caught.value.message}\n{caught.value.hint}"


def size_of(resolved: ResolvedModel, path: str = FIRST) -> int:
    return resolved.tree.file(path).size


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def ranges(hub: HubServer) -> list[str | None]:
    """Of the requests for the first shard's bytes."""
    return [
        request.headers.get("range")
        for request in hub.requests
        if request.server == "cdn" and request.path.endswith(FIRST)
    ]


def test_a_model_arrives_once(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    events = download(store, resolved)
    assert hub.bytes_sent() == sum(size_of(resolved, name) for name in shard_names(SHARDS))
    assert [event for event in events if event == Progress("model", resolved.tree.size, resolved.tree.size)]
    for name in shard_names(SHARDS):
        assert Progress(name, size_of(resolved, name), size_of(resolved, name)) in events
    hub.requests.clear()
    assert download(store, resolved) == []
    assert not hub.requests


def test_progress_never_runs_backwards_or_over(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    seen: dict[str, int] = {}
    for event in download(store, resolved):
        assert isinstance(event, Progress)
        assert seen.get(event.label, 0) <= event.done <= event.total
        seen[event.label] = event.done
    assert seen["model"] == resolved.tree.size


def test_a_dropped_connection_goes_on_where_it_was(
    hub: HubServer, store: Store, resolved: ResolvedModel
) -> None:
    hub.faults += [Fault("cut", f"/cdn/*{FIRST}", times=2, after=1_000_000)]
    events = download(store, resolved)
    assert ranges(hub) == [None, "bytes=1000000-", "bytes=2000000-"]
    assert hub.bytes_sent(f"*{FIRST}") == size_of(resolved)
    assert notes(events) == [f"{FIRST}: the connection was dropped; trying again in 0.01 s"] * 2


def test_a_server_without_ranges_is_asked_anew(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [
        Fault("cut", f"/cdn/*{FIRST}", after=1_000_000),
        Fault("ignore_range", f"/cdn/*{FIRST}"),
    ]
    events = download(store, resolved)
    assert ranges(hub) == [None, "bytes=1000000-"]
    assert hub.bytes_sent(f"*{FIRST}") == size_of(resolved) + 1_000_000
    assert events[-1] == Progress("model", resolved.tree.size, resolved.tree.size)


def test_a_stalled_server_is_asked_for_the_rest(
    hub: HubServer, store: Store, resolved: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    hub.faults += [Fault("stall", f"/cdn/*{FIRST}", after=1_000_000, seconds=5)]
    events = download(store, resolved)
    assert ranges(hub) == [None, "bytes=1000000-"]
    assert notes(events) == [f"{FIRST}: no answer within 1 s; trying again in 0.01 s"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_errors(hub: HubServer, store: Store, resolved: ResolvedModel, status: int) -> None:
    hub.faults += [Fault("status", f"/cdn/*{FIRST}", times=2, status=status)]
    assert len(notes(download(store, resolved))) == 2


def test_the_server_says_when_to_come_again(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [Fault("status", f"*{FIRST}", status=429, headers={"Retry-After": "1"})]
    begun = time.monotonic()
    events = download(store, resolved)
    assert time.monotonic() - begun >= 1
    assert notes(events) == [f"{FIRST}: {hub.endpoint} answers 429; trying again in 1 s"]


def test_patience_is_for_attempts_without_a_byte(
    hub: HubServer, store: Store, resolved: ResolvedModel
) -> None:
    hub.faults += [Fault("cut", f"/cdn/*{FIRST}", times=8, after=100_000)]
    assert len(notes(download(store, resolved))) == 8


def test_patience_ends(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [
        Fault("cut", f"/cdn/*{FIRST}", after=1_000_000),
        Fault("status", f"/cdn/*{FIRST}", times=None, status=503),
    ]
    assert refusal(store, resolved) == (
        f"hf://org/name: {FIRST} could not be fetched: {hub.endpoint} answers 503 "
        f"(3 attempts without progress, 1000000 of {size_of(resolved)} bytes are here)\n"
        "run again to go on from there"
    )
    hub.faults.clear()
    hub.requests.clear()
    download(store, resolved)
    assert ranges(hub) == ["bytes=1000000-"]


def test_wrong_bytes_of_the_right_length(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [Fault("flip", f"/cdn/*{FIRST}", after=2_000_000)]
    wanted = resolved.tree.file(FIRST)
    content = bytearray((hub.root / "org/name" / FIRST).read_bytes())
    content[2_000_000] ^= 1
    got = type(wanted.digest).of(bytes(content))
    assert refusal(store, resolved) == (
        f"hf://org/name: {FIRST} has the right length but not the right bytes: "
        f"the source sent bytes of {got} instead of {wanted.digest}\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )
    assert not store.has(wanted.digest)
    assert not store.has(got)
    hub.requests.clear()
    download(store, resolved)
    assert ranges(hub) == [None]


def test_a_spoilt_partial_file_is_not_the_servers_fault(
    hub: HubServer, store: Store, resolved: ResolvedModel
) -> None:
    wanted = resolved.tree.file(FIRST)
    with store.download(wanted.digest, wanted.size) as partial:
        partial.write(b"x" * 1_000_000)
    events = download(store, resolved)
    assert ranges(hub) == ["bytes=1000000-", None]
    assert events[-1] == Progress("model", resolved.tree.size, resolved.tree.size)


def test_a_server_that_promises_less(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [Fault("length", f"/cdn/*{FIRST}", after=7)]
    size = size_of(resolved)
    assert refusal(store, resolved) == (
        f"hf://org/name: {FIRST} should have {size} bytes, the server sends {size - 7}\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )


def test_a_web_page_instead_of_a_file(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [Fault("body", f"/cdn/*{FIRST}", body=b"<html>Please log in</html>")]
    assert refusal(store, resolved) == (
        f"hf://org/name: {FIRST} should have {size_of(resolved)} bytes, the server sends 26\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )


def test_a_file_that_is_gone(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [
        Fault("status", f"*{FIRST}", times=None, status=404, headers={"X-Error-Code": "EntryNotFound"})
    ]
    assert refusal(store, resolved) == (
        f"hf://org/name has no file {FIRST} at commit {resolved.commit}\n"
        "its history may have been rewritten: lock the recipe again with `enginebuild lock`"
    )


def test_a_repository_that_was_closed_meanwhile(
    hub: HubServer, store: Store, resolved: ResolvedModel
) -> None:
    hub.gated.add("org/name")
    assert refusal(store, resolved).splitlines()[0] == (
        "hf://org/name is gated: only accounts that were granted access may read its files"
    )


def test_one_failure_stops_the_rest_and_loses_nothing(
    hub: HubServer, store: Store, resolved: ResolvedModel
) -> None:
    second = shard_names(SHARDS)[1]
    hub.faults += [
        Fault("slow", f"/cdn/*{second}", seconds=0.05),
        Fault("stall", f"/cdn/*{FIRST}", after=1000, seconds=0.5),
        Fault("length", f"/cdn/*{FIRST}", after=7),
    ]
    refusal(store, resolved)
    sent = hub.bytes_sent(f"*{second}")
    assert 0 < sent < SIZE
    hub.requests.clear()
    download(store, resolved)
    assert hub.bytes_sent(f"*{second}") < SIZE
    assert hub.bytes_sent(f"*{second}") + sent >= SIZE


def test_broken_weights_are_refused_right_after_the_fetch(
    hub: HubServer, store: Store, tmp_path: Path
) -> None:
    (hub.root / "org/name" / FIRST).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert refusal(store, resolve(REQUEST, store, silent)) == (
        "hf://org/name is not a checkpoint that can be served:\n"
        f"  {FIRST} is a Git LFS pointer, not the file itself\n"
        "fetch the named files again from their origin; "
        "with git, `git lfs pull` replaces pointers by the files"
    )


def test_equal_files_under_two_names(hub: HubServer, store: Store) -> None:
    folder = hub.root / "org/name"
    (folder / "1_Dense").mkdir()
    (folder / "1_Dense/model.safetensors").write_bytes((folder / FIRST).read_bytes())
    found = resolve(REQUEST, store, silent)
    download(store, found)
    assert hub.bytes_sent("*.safetensors") == SHARDS * found.tree.file(FIRST).size


def fill_hugging_face_cache() -> None:
    """With the real library, into the test's own HF_HOME."""
    script = "from huggingface_hub import snapshot_download; snapshot_download('org/name')"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60, capture_output=True
    )


def blob(home: Path, sha256: str) -> Path:
    return home / "huggingface/hub/models--org--name/blobs" / sha256


def test_the_users_hugging_face_cache_is_reused(hub: HubServer, store: Store, home: Path) -> None:
    fill_hugging_face_cache()
    hub.requests.clear()
    found = resolve(REQUEST, store, silent)
    assert download(store, found)[-1] == Progress("model", found.tree.size, found.tree.size)
    assert [request for request in hub.requests if "/resolve/" in request.path] == []
    for file in found.tree:
        if file.path.endswith(".safetensors"):
            theirs, ours = blob(home, file.digest.hex).stat(), store.path(file).stat()
            assert (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def test_a_lock_and_the_users_cache_are_enough_offline(
    hub: HubServer, store: Store, resolved: ResolvedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_hugging_face_cache()
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    download(Store.open(tmp_path / "other"), resolved)
    assert not hub.requests


def test_a_damaged_file_of_the_users_cache_is_fetched(hub: HubServer, store: Store, home: Path) -> None:
    fill_hugging_face_cache()
    found = resolve(REQUEST, store, silent)
    damaged = blob(home, found.tree.file(FIRST).digest.hex)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    hub.requests.clear()
    events = download(store, found)
    assert [event for event in events if isinstance(event, Note)] == [
        Note(f"{damaged} is damaged: {FIRST} of hf://org/name is fetched again instead", "warning")
    ]
    assert hub.bytes_sent() == found.tree.file(FIRST).size
    assert damaged.read_bytes() == content


def test_offline_with_files_missing(
    hub: HubServer, store: Store, resolved: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    assert refusal(store, resolved) == (
        f"{FIRST} and 2 more files of hf://org/name are not in the cache, "
        "and HF_HUB_OFFLINE forbids to fetch\n"
        "unset HF_HUB_OFFLINE, or fetch the model once on a machine with the same cache"
    )


def start(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "parts.hub_fetch", str(cache), SOURCE],
        cwd=TESTS,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_bytes(hub: HubServer, count: int) -> None:
    deadline = time.monotonic() + 30
    while hub.bytes_sent("/cdn/*") < count:
        assert time.monotonic() < deadline, "the download did not begin"
        time.sleep(0.01)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_after_a_kill_only_the_rest_is_fetched(hub: HubServer, cache_dir: Path, part: float) -> None:
    hub.faults += [Fault("slow", "/cdn/*", times=None, seconds=0.02)]
    weights = sum(path.stat().st_size for path in (hub.root / "org/name").glob("*.safetensors"))
    process = start(cache_dir)
    wait_for_bytes(hub, int(weights * part))
    process.kill()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    hub.faults.clear()
    time.sleep(0.2)
    sent = hub.bytes_sent("/cdn/*")
    second = start(cache_dir)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    again = hub.bytes_sent("/cdn/*") - sent
    # What lay in the buffers of sockets when the process died comes again: a few hundred KiB for each.
    assert weights - sent <= again <= weights - sent + SHARDS * 1_000_000
    assert again < weights
    assert out.splitlines()[-1].startswith("tree sha256:")


def test_a_finished_file_is_not_fetched_again_after_a_kill(hub: HubServer, cache_dir: Path) -> None:
    last = shard_names(SHARDS)[-1]
    hub.faults += [Fault("slow", f"/cdn/*{last}", times=None, seconds=0.05)]
    process = start(cache_dir)
    assert process.stdout is not None
    complete: set[str] = set()
    while len(complete) < SHARDS - 1:
        word, name = process.stdout.readline().split(maxsplit=1)
        if word == "complete" and name.strip().endswith(".safetensors"):
            complete.add(name.strip())
    time.sleep(0.2)
    process.kill()
    process.communicate(timeout=10)
    hub.faults.clear()
    hub.requests.clear()
    second = start(cache_dir)
    _, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    asked = {request.path.rpartition("/")[2] for request in hub.requests if request.server == "cdn"}
    assert asked == {last}


def test_an_interrupt_ends_at_once_and_keeps_what_is_here(hub: HubServer, cache_dir: Path) -> None:
    hub.faults += [Fault("slow", "/cdn/*", times=None, seconds=0.1)]
    process = start(cache_dir)
    wait_for_bytes(hub, 500_000)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert time.monotonic() - begun < 3
    assert process.returncode == -signal.SIGINT
    hub.faults.clear()
    hub.requests.clear()
    second = start(cache_dir)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert any(request.headers.get("range") for request in hub.requests)


def test_many_processes_fetch_once(hub: HubServer, cache_dir: Path) -> None:
    Store.open(cache_dir)
    processes = [start(cache_dir) for _ in range(4)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ended
    assert len({out.splitlines()[-1] for out, _ in ended}) == 1
    weights = sum(path.stat().st_size for path in (hub.root / "org/name").glob("*.safetensors"))
    assert hub.bytes_sent("/cdn/*") == weights


def test_waiting_for_another_process_is_told(hub: HubServer, store: Store, resolved: ResolvedModel) -> None:
    hub.faults += [Fault("slow", "/cdn/*", times=None, seconds=0.02)]
    other = start(store.root)
    wait_for_bytes(hub, 100_000)
    events = download(store, resolved)
    other.communicate(timeout=60)
    assert other.returncode == 0
    waiting = [event for event in events if isinstance(event, Waiting)]
    assert {event.what for event in waiting} <= set(shard_names(SHARDS))
    assert all(event.holder.startswith(f"process {other.pid} on ") for event in waiting)
    assert waiting


def test_a_full_disk_is_an_error_of_the_cache(hub: HubServer, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True, timeout=10
    )
    if mounted.returncode:
        missing("mounting a small file system needs root, and a machine that allows it")
    try:
        process = start(small / "cache")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 9
        assert err.startswith(f"the cache at {small}/cache needs ")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True, timeout=10)
