"""`enginebuild run --load` and a real Docker Engine: what runs, what stays, and what is said if it fails."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from parts import cli, recipes, services
from parts.busybox_base import BusyboxBase
from parts.checkpoints import write_checkpoint
from parts.services import DockerEngine
from parts.wire import Wire

NAME = "enginebuild-test/load"
MB = 1 << 20
#: Bytes of memory that `run --load` may take, however large the model is.
MEMORY = 100e6


@pytest.fixture
def folder(tmp_path: Path, base_layout: BusyboxBase) -> Path:
    """A recipe of a local model on a base that runs."""
    write_checkpoint(tmp_path / "model", shards=1, shard_size=70 * MB)
    shutil.copytree(base_layout.layout, tmp_path / "base")
    recipes.write(
        tmp_path,
        "file:./model",
        base="oci:./base:latest",
        extra=f"  repository: docker.io/{NAME}\n  tags: [v1]\n",
    )
    return tmp_path


@pytest.fixture
def loading(folder: Path, docker_engine: DockerEngine) -> Iterator[Path]:
    yield folder
    docker_engine.docker("image", "rm", "--force", f"{NAME}:v1", check=False)


@pytest.fixture(scope="module")
def small_engine() -> DockerEngine:
    """An engine of this worker's own, with room for 200 MB."""
    return services.own_engine(f"docker-small-{os.getpid()}", 200 * MB)


def words(folder: Path, *more: str) -> tuple[str | Path, ...]:
    return ("run", folder / "tiny.yaml", "--load", "--cache-dir", folder / "cache", *more)


def load(folder: Path, host: str, *more: str) -> cli.Ended:
    return cli.enginebuild(*words(folder, *more), env={"DOCKER_HOST": host})


def complaint(ended: cli.Ended) -> str:
    """What was said after the steps."""
    return ended.stderr[ended.stderr.index("error: ") :]


def test_a_loaded_image_runs_with_the_very_files_of_the_model(
    loading: Path, docker_engine: DockerEngine
) -> None:
    first = load(loading, docker_engine.host, "--json").ok()
    assert first.statuses["publish"] == "built"
    assert first.result["image"]["names"] == [f"docker:docker.io/{NAME}:v1@{first.digest}"]
    sent = [event for event in first.events if event.get("label") == "load into Docker"]
    assert sent[-1]["done"] == sent[-1]["total"] > 70 * MB
    assert [event["done"] for event in sent] == sorted(event["done"] for event in sent)
    unpacked = [event for event in first.events if event.get("label", "").startswith("unpack ")]
    assert {event["total"] for event in unpacked} == {_layer_size(loading, 70 * MB)}

    run = ("run", "--rm", "--network=none", "--entrypoint=sh", f"{NAME}:v1", "-c", "sha256sum /model/*")
    assert set(docker_engine.docker(*run).splitlines()) == {
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  /model/{path.name}"
        for path in (loading / "model").iterdir()
    }

    second = load(loading, docker_engine.host, "--json").ok()
    assert set(second.statuses.values()) == {"hit"}
    assert not [event for event in second.events if event.get("label") == "load into Docker"]


def _layer_size(folder: Path, at_least: int) -> int:
    """Bytes of the large layer, by the description that the step `image` has kept."""
    (size,) = (
        layer["size"]
        for path in (folder / "cache/files").rglob("*")
        if path.is_file() and path.stat().st_size < MB and b'"manifest":' in path.read_bytes()
        for layer in json.loads(json.loads(path.read_bytes())["manifest"])["layers"]
        if layer["size"] > at_least
    )
    return int(size)


def test_a_loaded_image_can_be_inspected(loading: Path, docker_engine: DockerEngine) -> None:
    done = load(loading, docker_engine.host, "--json").ok()
    env = {"DOCKER_HOST": docker_engine.host}
    seen = cli.enginebuild("inspect", f"docker:{NAME}:v1", "--json", env=env).ok().document
    assert seen["key"] == done.result["image"]["key"]
    assert seen["entrypoint"] == ["vllm", "serve", "--config", "/etc/enginebuild/vllm.yaml"]
    assert len(seen["layers"]) == 2 + 3
    assert seen["platform"] == "linux/amd64"
    gone = cli.enginebuild("inspect", f"docker:{NAME}:v2", env=env)
    assert gone.code == 3
    assert gone.stderr == (
        f"error: the Docker Engine has no image {NAME}:v2\n"
        "hint: see `docker image ls`, or leave out docker:\n"
    )


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix://{folder}/none.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("ssh://builder", "Install paramiko package to enable ssh:// support"),
    ],
)
def test_an_engine_that_cannot_be_reached(folder: Path, host: str, said: str) -> None:
    host = host.format(folder=folder)
    ended = load(folder, host)
    assert ended.code == 8
    assert complaint(ended) == (
        f"error: the Docker Engine at {host} cannot be reached: {said}\n"
        "hint: is it running, may you use its socket, and is DOCKER_HOST right?\n"
    )


def _left(engine: DockerEngine) -> tuple[str, list[str]]:
    """Images of an engine of ours, and what it has not thrown away yet."""
    root = Path(engine.host.removeprefix("unix://")).with_name("root")
    return engine.docker("image", "ls", "--all", "--quiet"), [path.name for path in (root / "tmp").iterdir()]


def _await_nothing_left(engine: DockerEngine) -> None:
    deadline = time.monotonic() + 20
    while _left(engine) != ("", []):
        assert time.monotonic() < deadline, _left(engine)
        time.sleep(0.05)


def test_a_full_engine_is_shown_and_leaves_nothing(folder: Path, small_engine: DockerEngine) -> None:
    write_checkpoint(folder / "large", shards=1, shard_size=250 * MB)
    ended = load(folder, small_engine.host, "--set", "model=file:./large")
    assert ended.code == 8
    assert re.fullmatch(
        r"error: the Docker Engine refused the image: Error processing tar file\(exit status 1\): "
        r"write /blobs/sha256/[0-9a-f]{64}: no space left on device\n"
        r"hint: make room in its folder, the Docker Root Dir of `docker info` "
        r"\(`docker image prune` may do\), and run again\n",
        complaint(ended),
    )
    _await_nothing_left(small_engine)


def test_ctrl_c_while_loading_leaves_nothing(
    folder: Path, small_engine: DockerEngine, tmp_path: Path
) -> None:
    service = Path(small_engine.host.removeprefix("unix://"))
    with Wire(tmp_path / "wire", service, 20 * MB) as wire:
        process = cli.start(*words(folder), env={"DOCKER_HOST": f"unix://{tmp_path}/wire"})
        assert wire.reached.wait(60)
        assert _left(small_engine)[1] != []  # it is in the middle of it
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended = cli.end(process)
        assert time.monotonic() - begun < 5
    assert ended.code == 130
    assert ended.stderr.endswith("interrupted; run the same command again to go on from here\n")
    assert "Traceback" not in ended.stderr
    _await_nothing_left(small_engine)


def test_an_engine_that_goes_away_while_it_loads(
    folder: Path, small_engine: DockerEngine, tmp_path: Path
) -> None:
    service = Path(small_engine.host.removeprefix("unix://"))
    with Wire(tmp_path / "wire", service, 20 * MB, breaks=True):
        ended = load(folder, f"unix://{tmp_path}/wire")
    assert ended.code == 8
    # which of them it is depends on what the connection was doing
    whys = ("Connection reset by peer", "Broken pipe", "Remote end closed connection without response")
    assert complaint(ended) in [
        f"error: the Docker Engine ended the connection while it loaded the image: {why}\n"
        "hint: its log says why (journalctl -u docker); run again\n"
        for why in whys
    ]
    _await_nothing_left(small_engine)


def _remove_when_unpacked(engine: DockerEngine) -> None:
    """The engine has all of the image and goes on with it, although nobody listens any more."""
    deadline = time.monotonic() + 30
    while not engine.docker("image", "ls", "--quiet", f"{NAME}:v1").strip():
        assert time.monotonic() < deadline, "the engine never finished"
        time.sleep(0.1)
    engine.docker("image", "rm", "--force", f"{NAME}:v1")


def test_an_engine_that_goes_away_while_it_unpacks(
    folder: Path, small_engine: DockerEngine, tmp_path: Path
) -> None:
    service = Path(small_engine.host.removeprefix("unix://"))
    with Wire(tmp_path / "wire", service, 1 << 40, answers=4000):
        ended = load(folder, f"unix://{tmp_path}/wire")
    _remove_when_unpacked(small_engine)
    assert ended.code == 8
    assert re.fullmatch(
        r"error: the Docker Engine ended the connection while it loaded the image: .*\n"
        r"hint: its log says why \(journalctl -u docker\); run again\n",
        complaint(ended),
    )


def test_a_file_that_changed_in_the_cache_ends_the_load(folder: Path, small_engine: DockerEngine) -> None:
    load(folder, "tcp://127.0.0.1:1")  # builds all, and cannot deliver
    (weights,) = (path for path in (folder / "cache/files").rglob("*") if path.stat().st_size > 70 * MB)
    content = bytearray(weights.read_bytes())
    content[50 * MB] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    ended = load(folder, small_engine.host)
    assert ended.code == 9
    assert complaint(ended) == (
        f"error: model-00001-of-00001.safetensors is damaged in the cache: the bytes of {weights} are not "
        "those of its digest\n"
        "hint: run `enginebuild cache verify --repair`, then run the recipe again\n"
    )
    _await_nothing_left(small_engine)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(loading: Path, docker_engine: DockerEngine) -> None:
    shard, size = loading / "model/model-00001-of-00001.safetensors", 1 << 30
    tensor = {"model.layers.1.weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps(tensor).encode()
    header += b" " * (-len(header) % 8)
    shard.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(shard, 8 + len(header) + size)  # a hole: nothing of it is on the disk
    process = cli.start(*words(loading), env={"DOCKER_HOST": docker_engine.host})
    peak = 0
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        time.sleep(0.02)
    cli.end(process).ok()
    assert 20e6 < peak < MEMORY


def _peak(process: int) -> int:
    """Bytes of memory that a process has had; ru_maxrss would count those of the test that forked it."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
