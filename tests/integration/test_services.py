"""The services that other tests stand on: the Docker Engine, the busybox base; nothing of them stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from parts import services
from parts.busybox_base import BusyboxBase, make
from parts.isolation import ORIGINAL, ConnectionBlockedError, isolate
from parts.services import DockerEngine

TESTS = Path(__file__).parents[1]


def test_the_engine_runs_the_base_image(docker_engine: DockerEngine, base_layout: BusyboxBase) -> None:
    said = docker_engine.docker("load", "--input", base_layout.archive)
    assert said == f"Loaded image: {base_layout.reference}\n"
    said = docker_engine.docker(
        "run", "--rm", base_layout.reference, "sh", "-c", "sha256sum /etc/group; id -u"
    )
    assert said.split() == [
        "7a696fcfba89a55a6d73fa1a03c7f071fad2141340027b17a25db249e26b9be8",
        "/etc/group",
        "0",
    ]


def test_the_base_is_the_same_twice(base_layout: BusyboxBase, tmp_path: Path) -> None:
    again = make(tmp_path, services.program("busybox"))
    assert again.digest == base_layout.digest
    assert again.archive.read_bytes() == base_layout.archive.read_bytes()


def test_skopeo_accepts_the_base(skopeo: Path, base_layout: BusyboxBase) -> None:
    said = subprocess.run(
        [skopeo, "inspect", "--format", "{{.Digest}}", f"oci:{base_layout.layout}:latest"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == base_layout.digest


def test_an_image_travels_through_the_registry(
    docker_engine: DockerEngine, base_layout: BusyboxBase, registry: str, skopeo: Path
) -> None:
    name = f"{registry}/services/{base_layout.reference}"
    copy: list[str | Path] = [skopeo, "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"oci:{base_layout.layout}:latest", f"docker://{name}"], check=True)
    docker_engine.docker("pull", "--quiet", name)
    said = docker_engine.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name)
    assert said.strip() == f"{registry}/services/busybox-base@{base_layout.digest}"


_SESSION = """
import os, sys, time
from parts import services
session = services.Session()
os.environ[services.SESSION] = str(session.folder)
with services._alone("clock") as folder:
    clock = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    services.keep(folder, [sys.executable, "-c", clock])
print(folder, flush=True)
sys.stdin.read()
session.end()
"""


@pytest.mark.parametrize("ending", ["in order", "killed"])
def test_a_service_ends_with_its_session(ending: str) -> None:
    session = subprocess.Popen(
        [sys.executable, "-c", _SESSION],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdout is not None
    folder = Path(session.stdout.readline().strip())
    _until((folder / "log").exists)
    _until(lambda: (folder / "log").read_text().endswith("\n"))
    service = int((folder / "log").read_text())
    if ending == "killed":
        session.send_signal(signal.SIGKILL)
    session.communicate("")
    _until(lambda: not Path(f"/proc/{service}").exists())
    _until(lambda: not folder.parent.exists())


def test_folders_of_killed_sessions_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young = services.Session(), services.Session()
    for session in (old, young):
        session._alive.close()
    os.utime(old.folder, (0, 0))
    running = services.Session()
    os.utime(running.folder, (0, 0))
    last = services.Session()
    assert {p.name for p in tmp_path.iterdir()} == {s.folder.name for s in (young, running, last)}
    for session in (young, running, last):
        session.end()
    assert list(tmp_path.iterdir()) == []


def _until(done: object, seconds: float = 20) -> None:
    assert callable(done)
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_engine_is_not_the_machines(docker_engine: DockerEngine) -> None:
    if "DOCKER_HOST" in ORIGINAL:
        pytest.skip("DOCKER_HOST names an engine to use")
    root = docker_engine.docker("info", "--format", "{{.DockerRootDir}}").strip()
    assert root.startswith(os.environ[services.SESSION])


def test_a_missing_service_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "no-such-program is not installed; Debian's package is no-such-program"
    monkeypatch.delenv(services.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        services.program("no-such-program")
    assert str(skipped.value) == expected
    monkeypatch.setenv(services.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception) as failed:
        services.program("no-such-program")
    assert str(failed.value) == f"{expected} (required: ENGINEBUILD_REQUIRE_SERVICES=1)"


def test_the_network_is_blocked() -> None:
    for url, where in (("http://192.0.2.1:9/", "192.0.2.1"), ("http://example.com/", "example.com")):
        with pytest.raises(ConnectionBlockedError) as blocked:
            urllib.request.urlopen(url, timeout=1)
        assert str(blocked.value) == (
            f"a test tried to reach {where}: tests use loopback services only (tests/parts/services.py)"
        )
    with pytest.raises(ConnectionBlockedError), socket.socket() as plain:
        plain.connect_ex(("192.0.2.1", 9))
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nobody.invalid", 80)


def test_the_developers_environment_is_hidden(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "DOCKER_HOST", "https_proxy", "CI", "ENGINEBUILD_CACHE_DIR"):
        monkeypatch.setenv(name, "developer's")
    isolate(home, monkeypatch)
    assert "developer's" not in os.environ.values()
    assert Path.home() == home
