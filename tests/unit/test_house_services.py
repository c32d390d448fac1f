"""tests/install-services: what it says to somebody who may not install, and what it asks apt for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from parts.checkout import ROOT
from parts.services import PACKAGES

ALL = " ".join(sorted(set(PACKAGES.values())))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for PATH on which there is nothing that the tests start."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sort", "ldd", "cat"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


def _standin(folder: Path, name: str, script: str) -> None:
    """A program that stands in for `name`, since a test may be neither root nor not root at will."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def _install(bare: Path) -> subprocess.CompletedProcess[str]:
    # It looks into the folders of root's programs too, which a test cannot empty.
    script = (ROOT / "tests/install-services").read_text().replace("PATH=$PATH:/usr/sbin:/sbin\n", "", 1)
    return subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": str(bare), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_who_may_not_install_is_told_what_to_install(bare: Path) -> None:
    _standin(bare, "id", "echo 1000")
    _standin(bare, "apt-get", "exit 99")
    said = _install(bare)
    assert said.stderr == (
        "The tests need programs that are not here. On Debian or Ubuntu:\n"
        f"  sudo apt-get install --no-install-recommends {ALL}\n"
    )
    assert (said.returncode, said.stdout) == (1, "")


def test_where_there_is_no_apt_it_says_the_same(bare: Path) -> None:
    _standin(bare, "id", "echo 0")
    said = _install(bare)
    assert said.returncode == 1
    assert said.stderr.endswith(f"apt-get install --no-install-recommends {ALL}\n")


def test_root_installs_what_is_missing_and_nothing_else(bare: Path) -> None:
    _standin(bare, "id", "echo 0")
    _standin(bare, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {bare}/asked')
    for name in ("docker", "dockerd", "strace", "mkfs.xfs", "mkfs.btrfs", "mkfs.ext4"):
        _standin(bare, name, "")
    said = _install(bare)
    assert (said.returncode, said.stderr) == (0, "")
    wanted = "busybox-static containerd docker-registry openssl podman runc skopeo"
    assert said.stdout == f"Installing for the tests: {wanted}\n"
    assert (bare / "asked").read_text().splitlines() == [
        "noninteractive update -qq",
        f"noninteractive install -y -qq --no-install-recommends {wanted}",
    ]


def test_where_nothing_is_missing_nothing_happens(bare: Path) -> None:
    for name in PACKAGES:
        _standin(bare, name, "")
    said = _install(bare)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
