"""A running `vllm serve` of the CPU environment: started, waited for, and ended with all of its processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts.vllm_cpu import VllmCpu

_READY = 240.0  # seconds until /health says 200; about 35 on two idle cores
_STOP = 60.0  # seconds from SIGTERM to the end; about two
_REQUEST = 120.0  # seconds for one answer; the first one compiles


def free_port() -> int:
    """A port that nothing listens on now. vLLM cannot be given port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class VllmServer:
    """The server's process and where it listens."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """One HTTP request. Raises OSError if nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_REQUEST)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an answer, which must be a 200."""
        status, content = self.request(method, path, body)
        assert status == 200, content
        return json.loads(content)

    def wait(self) -> None:
        """Until the engine is up. Raises AssertionError with the end of the log if it never is."""
        end = time.monotonic() + _READY
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/health")[0] == 200:
                    return
            time.sleep(0.3)
        raise AssertionError(f"vLLM did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def stop(self) -> int:
        """End it as Docker does, with SIGTERM to the first process. Raises TimeoutExpired."""
        self.process.terminate()
        return self.process.wait(_STOP)


@contextmanager
def vllm_server(vllm: VllmCpu, words: Sequence[str | Path], port: int, log: Path) -> Iterator[VllmServer]:
    """`vllm serve WORDS`, ready. `port` is the one that the words, or the file that they name, say."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [vllm.command, "serve", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=vllm.environment(),
            start_new_session=True,
        )
    server = VllmServer(process, port, log)
    try:
        server.wait()
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its engine processes too
        process.wait()
