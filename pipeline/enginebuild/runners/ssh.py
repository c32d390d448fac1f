"""A Docker Engine behind ssh, reached as docker's own client does: `ssh HOST docker system dial-stdio`.

The SDK's own way needs paramiko, which reads neither all of ~/.ssh/config nor an agent's certificates.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enginebuild.errors import StepError

_TIMEOUT = 30  # seconds until ssh gives up to connect
_LAST_WORDS = 2  # seconds for an ssh to end by itself, once its connection is closed


@contextmanager
def forwarded(host: str) -> Iterator[str]:
    """A local address for the engine at an ssh:// address while the block runs; empty for any other one."""
    if not host.startswith("ssh://"):
        yield ""
        return
    if shutil.which("ssh") is None:
        raise StepError(f"no Docker Engine at {host}: there is no program ssh", "install an OpenSSH client")
    with (
        tempfile.TemporaryDirectory(prefix="enginebuild-ssh-") as folder,
        _Forward(_words(host), Path(folder) / "docker.sock") as forward,
    ):
        forward.check(host)
        yield f"unix://{folder}/docker.sock"


def _words(host: str) -> list[str]:
    # Not by urlsplit: it writes the name in small letters, and ~/.ssh/config tells them apart.
    user, _, place = host.removeprefix("ssh://").partition("/")[0].rpartition("@")
    name, colon, port = place.rpartition(":")
    words = ["ssh", "-T", "-o", f"ConnectTimeout={_TIMEOUT}", "-o", "BatchMode=yes"]
    if user:
        words += ["-l", user]
    if colon:
        words += ["-p", port]
    return [*words, "--", name if colon else place, "docker"]


class _Forward:
    """Listens on a socket; each connection is one ssh's standard input and output."""

    def __init__(self, words: list[str], path: Path) -> None:
        self._words, self._path = words, path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._started: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._accept, name="ssh", daemon=True)

    def __enter__(self) -> _Forward:
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for process in self._started:
            try:
                process.wait(_LAST_WORDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self, host: str) -> None:
        """Raises StepError with what ssh says, which a broken connection would not tell."""
        try:
            ended = subprocess.run(
                [*self._words, "version", "--format", "{{.Server.Version}}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=2 * _TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StepError(f"no Docker Engine at {host}: ssh does not answer") from None
        if ended.returncode:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            raise StepError(
                f"no Docker Engine at {host}: {said[-1] if said else f'ssh ends with {ended.returncode}'}",
                "`ssh HOST docker version` must work without a question",
            )

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection:
                self._started.append(
                    subprocess.Popen(
                        [*self._words, "system", "dial-stdio"],
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C must not cut the wire: containers go over it
                    )
                )
