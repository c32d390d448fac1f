"""The registry that is pushed to, and a Docker Engine of the benchmark's own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STANDIN = Path(__file__).with_name("registry_standin.py")

_START = 60.0  # seconds until a service must answer
_STOP = 30.0


class MissingError(Exception):
    """A program that a contender needs is not on this machine."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service: where it is, and its process."""

    address: str
    pid: int


def program(name: str, package: str) -> str:
    """The path of a Debian program. Raises MissingError."""
    # Debian's own first: another Docker client in /usr/local is not the one that its daemon came with.
    found = shutil.which(name, path=f"/usr/bin:/usr/sbin:{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise MissingError(f"{name} is not installed; Debian's package is {package}")
    return found


@contextmanager
def registry(folder: Path, which: str) -> Iterator[Running]:
    """A registry that has nothing yet: the stand-in, or a program of distribution's with blobs in `folder`.

    `which`: "standin", or the program, such as docker-registry. Raises MissingError.
    """
    folder.mkdir(parents=True)
    if which == "standin":
        with _running([sys.executable, str(STANDIN)], folder / "log", pipe=True) as process:
            assert process.stdout is not None
            yield Running(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
        return
    address = f"127.0.0.1:{_free_port()}"
    configuration = folder / "config.json"  # JSON is YAML, too
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(folder / "storage")},
                    "cache": {"blobdescriptor": "inmemory"},
                },
                "http": {"addr": address},
            }
        )
    )
    argv = [program(which, "docker-registry"), "serve", str(configuration)]
    try:
        with _running(argv, folder / "log") as process:
            _await(process, lambda: _is_registry(address), folder / "log")
            yield Running(address, process.pid)
    finally:
        shutil.rmtree(folder / "storage", ignore_errors=True)


@contextmanager
def docker_engine(folder: Path) -> Iterator[Running]:
    """A Docker Engine that shares nothing with another one and leaves the machine's network alone."""
    folder.mkdir(parents=True)
    (folder / "daemon.json").write_text("{}")
    short = Path(tempfile.mkdtemp(prefix="dockerd-"))  # a socket's path may have 107 bytes
    host = short / "docker.sock"
    argv = [
        program("dockerd", "docker.io"),
        *("--config-file", str(folder / "daemon.json"), "--data-root", str(folder / "root")),
        *("--exec-root", str(short / "exec"), "--host", f"unix://{host}", "--pidfile", str(folder / "pid")),
        *("--bridge", "none", "--iptables=false", "--ip-masq=false", "--shutdown-timeout", "3"),
    ]
    try:
        with _running(argv, folder / "log") as process:
            _await(process, lambda: _is_engine(host), folder / "log")
            yield Running(f"unix://{host}", process.pid)
    finally:
        for place in (folder, short):
            unmount_below(place)
            shutil.rmtree(place, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """Whatever a container engine left mounted."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False)


@contextmanager
def _running(argv: list[str], log: Path, *, pipe: bool = False) -> Iterator[subprocess.Popen[str]]:
    with log.open("ab") as said:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe else said,
            stderr=said,
            text=True,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},  # distribution 3 would send traces
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await(process: subprocess.Popen[str], answers: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _START
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise MissingError(f"{process.args!r} did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


def _is_registry(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_engine(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(4096).partition(b"\r\n")[0]
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
