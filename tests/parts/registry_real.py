"""The real registry (Debian's docker-registry, distribution 2.8) on a free port of this machine.

    with docker_registry(folder) as host:      # "127.0.0.1:41234"
        ...

`htpasswd` and `token` make it demand a login.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

#: Debian's package of the same name installs it here, outside some users' PATH.
PROGRAM = shutil.which("docker-registry", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin:/usr/sbin")

_START = 30.0  # seconds until the registry must answer
_STOP = 10.0
_PORTS = 5  # tries, for another process may take the free port first


@contextmanager
def docker_registry(
    folder: Path,
    *,
    htpasswd: Path | None = None,
    token: Mapping[str, str] | None = None,
    tls: tuple[Path, Path] | None = None,
    access_log: bool = False,
) -> Iterator[str]:
    """Start a registry that keeps its blobs under `folder`, give `host:port`, and stop it.

    `token` is the section auth.token of its configuration (realm, service, issuer, rootcertbundle); `tls`
    is a certificate and its key; `access_log` has each request written to `folder`/log. Raises
    AssertionError with the registry's log if it does not start.
    """
    assert PROGRAM is not None, "docker-registry is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_PORTS):
        port = _free_port()
        configuration = folder / "config.json"  # JSON is YAML, too
        configuration.write_text(json.dumps(_configuration(folder, port, htpasswd, token, tls, access_log)))
        with (folder / "log").open("ab") as log:
            registry = subprocess.Popen(
                [PROGRAM, "serve", configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            if _answers(registry, port, tls is not None):
                yield f"127.0.0.1:{port}"
                return
        finally:
            _stop(registry)
    raise AssertionError(f"docker-registry did not start:\n{(folder / 'log').read_text()[-3000:]}")


def _configuration(
    folder: Path,
    port: int,
    htpasswd: Path | None,
    token: Mapping[str, str] | None,
    tls: tuple[Path, Path] | None,
    access_log: bool,
) -> dict[str, object]:
    configuration: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": not access_log}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if tls is not None:
        configuration["http"] = {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(tls[0]), "key": str(tls[1])},
        }
    if htpasswd is not None:
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(htpasswd)}}
    if token is not None:
        configuration["auth"] = {"token": dict(token)}
    return configuration


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(registry: subprocess.Popen[bytes], port: int, tls: bool) -> bool:
    deadline = time.monotonic() + _START
    while registry.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            # With TLS the answer is 400 "Client sent an HTTP request to an HTTPS server".
            if connection.getresponse().status in ((400,) if tls else (200, 401)):
                return registry.poll() is None
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
        finally:
            connection.close()
    return False


def _stop(registry: subprocess.Popen[bytes]) -> None:
    registry.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        registry.wait(_STOP)
    registry.kill()
    registry.wait(_STOP)
