"""A containerd of a test's own, as Kubernetes' nodes have it: it pulls and unpacks, no Docker Engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parts.services import missing, program

_START = 30.0  # seconds
_CONFIGURATION = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{folder}/socket"
"""


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running daemon, asked with its `ctr`."""

    folder: Path
    command: Path

    def __call__(self, *argv: str) -> str:
        """The standard output of a ctr command. Raises AssertionError with what it said."""
        ended = subprocess.run(
            [self.command, "--address", self.folder / "socket", "--namespace", "test", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if ended.returncode:
            raise AssertionError(f"ctr {' '.join(argv)}: exit {ended.returncode}\n{ended.stderr}")
        return ended.stdout

    @contextmanager
    def unpacked(self, image: str, snapshotter: str) -> Iterator[Path]:
        """The files of an image that was pulled with this snapshotter."""
        target = self.folder / "mounted"
        target.mkdir()
        self("images", "mount", "--snapshotter", snapshotter, image, str(target))
        try:
            yield target
        finally:
            self("images", "unmount", "--snapshotter", snapshotter, str(target))
            target.rmdir()


@contextmanager
def containerd() -> Iterator[Containerd]:
    """Without an image; it ends, and what it unpacked goes, with the block or with this process."""
    daemon, command = program("containerd"), program("ctr")
    if os.geteuid() != 0:
        missing("containerd needs root")
    folder = Path(tempfile.mkdtemp(prefix="containerd-"))  # a socket's path may have 107 bytes
    (folder / "config.toml").write_text(_CONFIGURATION.format(folder=folder))
    argv = ["setpriv", "--pdeathsig", "KILL", str(daemon), "--config", str(folder / "config.toml")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        running = Containerd(folder, command)
        _await(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _await(running: Containerd, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START
    while True:
        with contextlib.suppress(AssertionError):
            running("version")
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"containerd did not start:\n{(running.folder / 'log').read_text()[-3000:]}")
        time.sleep(0.05)
