"""What an engine's address and `docker info` say: does it see our disk, who are we there, has it GPUs?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from enginebuild.runners.engine import COPY, gives_gpus, is_here, me_inside, sees_our_disk

#: As Docker 28 says them.
ORDINARY = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "Runtimes": {"runc": {}}}
ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}
REMAPPED = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=userns"]}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        (None, True),
        ("unix:///run/user/1000/docker.sock", True),
        ("tcp://127.0.0.1:2375", False),
        ("ssh://box", False),
    ],
)
def test_where_it_is(host: str | None, here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    assert is_here() is here
    assert sees_our_disk(ORDINARY) is here
    monkeypatch.setenv(COPY, "1")
    assert not is_here()


def test_user_namespaces_hide_our_disk() -> None:
    assert sees_our_disk(ROOTLESS)
    assert not sees_our_disk(REMAPPED)
    assert sees_our_disk({"SecurityOptions": None})


def test_who_we_are_there() -> None:
    assert me_inside(ORDINARY) == f"{os.geteuid()}:{os.getegid()}"
    assert me_inside(ROOTLESS) == "0:0"


@pytest.mark.parametrize(
    ("facts", "gives"),
    [
        (ORDINARY, False),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.com/nic=0"}]}, False),
        ({}, False),
    ],
)
def test_gpus(facts: dict[str, Any], gives: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("enginebuild.runners.engine._SYSTEM_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gives_gpus(facts) is gives
    hook = tmp_path / "nvidia-container-runtime-hook"
    hook.touch(mode=0o755)
    assert gives_gpus(facts)
    hook.unlink()
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:2376")  # who knows what is there
    assert gives_gpus(facts)
