"""Podman with storage of its own, which shares nothing with the machine's: another unpacker than Docker's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parts.services import missing, program


@dataclass(frozen=True, slots=True)
class Podman:
    """A command line that needs no daemon; images lie in `folder`."""

    folder: Path
    command: Path

    def __call__(self, *argv: str) -> str:
        """The standard output of a podman command. Raises AssertionError with its standard error."""
        storage = ("--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"))
        alone = ("--cgroup-manager", "cgroupfs", "--events-backend", "none", "--storage-driver", "overlay")
        ended = subprocess.run(
            [self.command, *storage, *alone, *argv],
            stdin=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if ended.returncode:
            raise AssertionError(f"podman {' '.join(argv)}: exit {ended.returncode}\n{ended.stderr}")
        return ended.stdout

    def run(self, image: str, *argv: str) -> str:
        """What a container of the image says. Limits of its own: podman's are above some machines'."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        return self("run", "--rm", "--network=none", *limits, image, *argv)


@contextmanager
def podman() -> Iterator[Podman]:
    """Podman without an image; those that it pulls are gone afterwards."""
    command = program("podman")
    if os.geteuid() != 0:
        missing("podman with storage of its own needs root")
    folder = Path(tempfile.mkdtemp(prefix="podman-"))  # pytest's own are too long for podman: 50 characters
    try:
        yield Podman(folder, command)
    finally:
        # podman leaves its storage mounted on itself
        subprocess.run(["umount", "--lazy", folder / "root/overlay"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
