"""The Hub of others: olah 0.5.4 serves plain git repositories by the Hub's protocol, without a network.

Its environment (113 MB) is made once. It has no ranges, no tokens and no sizes in the model info, so it
stands for the happy path only; but nobody here wrote it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parts.built_once import built_once
from parts.hub_repository import lfs_pointer
from parts.isolation import ORIGINAL

VERSION = "0.5.4"
_NAME = f"olah-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}-1"

_CONFIG = """\
[basic]
host = "127.0.0.1"
port = {port}
repos-path = "./olah-repos"
hf-scheme = "http"
hf-netloc = "127.0.0.1:9"
hf-lfs-netloc = "127.0.0.1:9"
mirror-scheme = "http"
mirror-netloc = "127.0.0.1:{port}"
mirror-lfs-netloc = "127.0.0.1:{port}"
mirrors-path = ["./hubroot"]

[accessibility]
offline = true
proxy = [{{repo = "*", allow = true}}, {{repo = "*/*", allow = true}}]
"""


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, env=ORIGINAL, timeout=120)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", f"olah=={VERSION}"]
    subprocess.run(pip, check=True, env=ORIGINAL, timeout=600, capture_output=True)


@contextmanager
def olah(folder: Path, model: Path) -> Iterator[str]:
    """Serve a checkpoint as `org/name`, its weights by LFS; gives the endpoint. `folder` is olah's own."""
    program = built_once(_NAME, _make) / "venv/bin/olah-cli"
    _commit(model, folder / "hubroot/models/org/name")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "olah.toml").write_text(_CONFIG.format(port=port))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, "-c", "olah.toml"], cwd=folder, stdout=log, stderr=log)
    try:
        _wait(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _commit(model: Path, repository: Path) -> None:
    shutil.copytree(model, repository)
    objects = repository / ".git/lfs/objects"
    for weights in repository.glob("*.safetensors"):
        content = weights.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        place = objects / digest[:2] / digest[2:4]
        place.mkdir(parents=True, exist_ok=True)
        (place / digest).write_bytes(content)
        weights.write_bytes(lfs_pointer(digest, len(content)))
    git = ["git", "-C", str(repository), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "A model"]):
        subprocess.run([*git, *command], check=True, timeout=60, env=_git_environment())


def _git_environment() -> dict[str, str]:
    """Without the variables that would lead git to another repository (in a hook, say)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("olah did not start")
