"""Keeps tests away from the developer's own files and from the network.

`ORIGINAL` is the environment as it was before any test changed it, for what must know it (package installs).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import pytest

ORIGINAL: Mapping[str, str] = dict(os.environ)

#: Variables by which a test would read what is the developer's or the machine's. A final _ means a prefix.
FOREIGN = (
    *("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "VLLM_", "DOCKER_", "REGISTRY_", "XDG_", "AWS_", "NETRC"),
    *(
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    ),
    *("CI", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "LINES", "SOURCE_DATE_EPOCH", "PYTHONWARNINGS"),
)


def is_foreign(name: str) -> bool:
    """Whether a test must not see the variable `name`."""
    if name.startswith("ENGINEBUILD_"):
        return not name.startswith(("ENGINEBUILD_TEST_", "ENGINEBUILD_REQUIRE_"))
    return any(name.startswith(f) if f.endswith("_") else name == f for f in FOREIGN)


def keep_shared_folders() -> None:
    """Pin, for the whole session, what stays shared when HOME changes: test cache, pip's configuration."""
    os.environ.setdefault("ENGINEBUILD_TEST_CACHE", str(platformdirs.user_cache_path("enginebuild-tests")))
    configuration = platformdirs.user_config_path("pip") / "pip.conf"
    if configuration.exists():
        os.environ.setdefault("PIP_CONFIG_FILE", str(configuration))
    os.environ.setdefault("PIP_CACHE_DIR", str(platformdirs.user_cache_path("pip")))


def isolate(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Point every variable that leads to a user's files at `home`, an existing empty folder."""
    for name in list(os.environ):
        if is_foreign(name):
            patch.delenv(name)
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    patch.setenv("XDG_DATA_HOME", str(home / "share"))
    patch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    patch.setenv("ENGINEBUILD_GPU_LOCKS", str(home / "gpus"))
    patch.setenv("HF_HOME", str(home / "huggingface"))
    patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    patch.setenv("DOCKER_CONFIG", str(home / "docker"))


class ConnectionBlockedError(RuntimeError):
    """A test tried to leave this machine. No OSError: code under test must not take it for a bad network."""

    def __init__(self, where: object) -> None:
        super().__init__(
            f"a test tried to reach {where}: tests use loopback services only (tests/parts/services.py)"
        )


def _is_loopback(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host or "")
    if text in ("", "localhost") or text.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _check_address(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
        raise ConnectionBlockedError(f"{address[0]}:{address[1]}")


def block_network(patch: pytest.MonkeyPatch) -> None:
    """Let this process's sockets reach loopback addresses only.

    A name below `.invalid` is unknown, as RFC 2606 promises, without asking anybody.
    """
    connect, connect_ex, lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, address: Any) -> Any:
            _check_address(self.family, address)
            return method(self, address)

        return call

    def guarded_lookup(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_loopback(host):
            raise ConnectionBlockedError(host)
        return lookup(host, port, *rest, **named)

    patch.setattr(socket.socket, "connect", guarded(connect))
    patch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    patch.setattr(socket, "getaddrinfo", guarded_lookup)
