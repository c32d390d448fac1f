"""Real services for tests: a Docker Engine of our own, and programs that tests need on the machine.

A service is started by the first test that asks for it, shared by all xdist workers of the session, and
ended with the session by its keeper (parts/keeper.py). What cannot be had skips the test, or fails it where
`ENGINEBUILD_REQUIRE_SERVICES=1` (`make test` sets it), so that CI never goes green by skipping.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from parts import mounting_runtime
from parts.isolation import ORIGINAL

#: Names the folder of the session that runs, for workers and their subprocesses.
SESSION = "ENGINEBUILD_TEST_SESSION"
REQUIRED = "ENGINEBUILD_REQUIRE_SERVICES"

#: Debian's package of each program that tests start.
PACKAGES = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "containerd": "containerd",
    "runc": "runc",
    "ctr": "containerd",
    "docker-registry": "docker-registry",
    "podman": "podman",
    "openssl": "openssl",
    "skopeo": "skopeo",
    "busybox": "busybox-static",
    "strace": "strace",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
}

#: The folder of the stand-ins for nvidia-smi and nvidia-container-runtime-hook; a Docker Engine of ours that
#: finds the second one takes device requests (`docker run --gpus`).
NVIDIA_STANDIN = Path(__file__).with_name("nvidia_standin")

_PREFIX = "enginebuild-tests-"
_YOUNG = 60.0  # seconds; a folder exists a moment before its lock does
_START = 60.0  # seconds a service may take to answer
_STOP = 60.0  # seconds all keepers may take to clean up


def missing(what: str) -> NoReturn:
    """Skip the test that needs `what`, or fail it where services are required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what} (required: {REQUIRED}=1)", pytrace=False)
    pytest.skip(what)


def program(name: str) -> Path:
    """The path of a program, or `missing`."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        missing(f"{name} is not installed; Debian's package is {PACKAGES.get(name, name)}")
    return Path(found)


class Session:
    """A folder that services of one test session share, and the lock that says that the session is alive."""

    def __init__(self) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._alive = (self.folder / "alive").open("a")
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def end(self) -> None:
        """Let the keepers end their services, and wait until they have."""
        self._alive.close()
        deadline = time.monotonic() + _STOP
        while time.monotonic() < deadline and not self._cleaned():
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cleaned(self) -> bool:
        return not _is_held(self.folder / "kept")


def _is_held(path: Path) -> bool:
    """Whether some process holds the lock on a file. One that does not exist is held by nobody."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _sweep() -> None:
    """Remove the folders of sessions that were killed before they had started a service."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            young = time.time() - folder.stat().st_mtime < _YOUNG
            if not young and not _is_held(folder / "alive") and not _is_held(folder / "kept"):
                shutil.rmtree(folder)


@contextmanager
def _alone(name: str) -> Iterator[Path]:
    """The service's folder, with no other worker of this session starting the same service."""
    session = Path(os.environ[SESSION])
    with (session / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = session / name
        folder.mkdir(exist_ok=True)
        yield folder


def keep(
    folder: Path, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that ends with the session; its output goes to `folder`/log."""
    keeper = Path(__file__).with_name("keeper.py")
    return subprocess.Popen(
        [sys.executable, str(keeper), str(folder), *map(str, argv)],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
        start_new_session=True,  # Ctrl-C is for pytest; the keeper follows by the lock
    )


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """A running Docker Engine. `host` is what DOCKER_HOST wants, `command` the docker client."""

    host: str
    command: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "DOCKER_HOST": self.host}

    @property
    def faults(self) -> Path:
        """Files of this folder are found in /run/standin by containers with a GPU; of an engine of ours."""
        return Path(self.host.removeprefix("unix://")).with_name("faults")

    def docker(self, *argv: str | Path, stdin: bytes | None = None, check: bool = True) -> str:
        """The standard output of a docker command. Raises AssertionError with its standard error."""
        ended = subprocess.run(
            [self.command, *map(str, argv)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=dict(self.environment),
            check=False,
            timeout=600,
        )
        if check and ended.returncode:
            words = " ".join(map(str, argv))
            raise AssertionError(f"docker {words}: exit {ended.returncode}\n{ended.stderr.decode()}")
        return ended.stdout.decode()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _answers(path: Path) -> bool:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def nvidia_path() -> str:
    """A PATH with NVIDIA's programs: this machine's where it has them, else the stand-ins."""
    return f"{os.environ.get('PATH', os.defpath)}:{NVIDIA_STANDIN}"


def _dockerd(folder: Path, mounting: bool) -> list[str | Path]:
    """A daemon that shares nothing with another one and changes nothing of the machine's network.

    Without a bridge a container has only its own loopback, or the machine's by `--network host`.
    """
    runtime: tuple[str, ...] = ()
    if mounting:
        path = mounting_runtime.write_runtime(folder, program("runc"))
        runtime = ("--add-runtime", f"mounting={path}", "--default-runtime", "mounting")
    configuration = folder / "daemon.json"
    configuration.write_text("{}")
    return [
        program("dockerd"),
        *("--config-file", configuration, "--data-root", folder / "root", "--exec-root", folder / "exec"),
        *("--host", f"unix://{folder / 'docker.sock'}", "--pidfile", folder / "pid"),
        *("--bridge", "none", "--iptables=false", "--ip-masq=false", "--shutdown-timeout", "3"),
        *runtime,
    ]


def docker_engine() -> DockerEngine:
    """The machine's Docker Engine where DOCKER_HOST names one, else the session's own."""
    command = program("docker")
    if host := ORIGINAL.get("DOCKER_HOST"):
        return DockerEngine(host, command)
    return own_engine("docker")


def own_engine(name: str, room: int | None = None, *, mounting: bool = False) -> DockerEngine:
    """A Docker Engine of ours, one per name; `room`: bytes that its images may take, in memory then.

    `mounting`: its containers find folders of this machine, see parts/mounting_runtime.py.
    """
    command = program("docker")
    if os.geteuid() != 0:
        missing("a Docker Engine of our own needs root; or set DOCKER_HOST to a running one")
    with _alone(name) as folder:
        path = folder / "docker.sock"
        if not _answers(path):
            if room is not None:
                (folder / "root").mkdir()
                options = ("-t", "tmpfs", "-o", f"size={room}")
                subprocess.run(["mount", *options, "tmpfs", str(folder / "root")], check=True)
            (folder / "faults").mkdir(exist_ok=True)
            env = {"PATH": nvidia_path(), "NVIDIA_STANDIN_FAULTS": str(folder / "faults")}
            keeper = keep(folder, _dockerd(folder, mounting), env)
            _await_answer(keeper, path, folder / "log")
    return DockerEngine(f"unix://{path}", command)


def _await_answer(keeper: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + _START
    while not _answers(path):
        if keeper.poll() is not None or time.monotonic() > deadline:
            said = ""
            with contextlib.suppress(OSError):
                said = log.read_text()[-3000:]
            missing(f"dockerd did not start:\n{said}")
        time.sleep(0.05)
    keeper.returncode = 0  # it outlives this process on purpose: no ResourceWarning, no zombie to wait for
