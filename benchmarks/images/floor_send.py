"""Sends a plan's blobs and manifest to a registry: `sendfile` for files, nothing digested, four at a time.

    python floor_send.py PLAN HOST:PORT

The standard library alone, and no more of it than is needed: this is what a push costs at least.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = "llm/floor"
AT_A_TIME = 4


class Wire:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._sock = socket.create_connection((host, int(port)))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, target: str, headers: str, body: list[dict[str, Any]], size: int) -> str:
        """Send a request; the answer's Location, or nothing. Raises SystemExit for a refusal."""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {self._address}\r\nContent-Length: {size}\r\n{headers}\r\n"
        )
        self._sock.sendall(head.encode())
        for part in body:
            if "path" in part:
                self._send_file(part["path"], part["size"])
            else:
                self._sock.sendall(bytes.fromhex(part["bytes"]))
        answer = b""
        while b"\r\n\r\n" not in answer:
            got = self._sock.recv(1 << 16)
            if not got:
                raise SystemExit(f"{method} {target}: the registry hung up")
            answer += got
        lines = answer.decode().split("\r\n")
        if lines[0].split()[1] not in ("201", "202"):
            raise SystemExit(f"{method} {target}: {lines[0]}")
        named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("location:")]
        return named[0] if named else ""

    def _send_file(self, path: str, size: int) -> None:
        with Path(path).open("rb", buffering=0) as file:
            offset = 0
            while offset < size:
                offset += os.sendfile(self._sock.fileno(), file.fileno(), offset, size - offset)

    def close(self) -> None:
        self._sock.close()


def push(plan: dict[str, Any], address: str) -> None:
    def blob(one: dict[str, Any]) -> None:
        wire = Wire(address)
        location = urlsplit(wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", "", [], 0))
        query = f"{location.query}&" if location.query else ""
        target = f"{location.path}?{query}digest={one['digest']}"
        kind = "Content-Type: application/octet-stream\r\n"
        wire.ask("PUT", target, kind, one["parts"], one["size"])
        wire.close()

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(blob, plan["blobs"]))
    content = plan["manifest"].encode()
    kind = f"Content-Type: {json.loads(content)['mediaType']}\r\n"
    wire = Wire(address)
    target = f"/v2/{REPOSITORY}/manifests/v1"
    wire.ask("PUT", target, kind, [{"bytes": content.hex()}], len(content))
    wire.close()


if __name__ == "__main__":
    push(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
