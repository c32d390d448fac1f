"""A registry that discards what it is sent, so that a client's own cost can be seen beside it.

    python benchmarks/images/registry_standin.py          prints its port, and serves until it is ended

It remembers which blobs it was sent and keeps manifests, so that every client pushes, and pushes again, as to
a real one. Nothing is digested: a real registry's sha256 is the larger half of a push's cost.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

_BUFFER = 1 << 20
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")
_TYPE = re.compile(rb"(?im)^content-type: *([^\r\n]+)")
_REASONS = {200: "OK", 201: "Created", 202: "Accepted", 404: "Not Found"}


@dataclass(slots=True)
class Kept:
    """Blobs by (repository, digest) with their sizes; manifests by (repository, tag or digest)."""

    blobs: dict[tuple[str, str], int] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    uploads: dict[str, int] = field(default_factory=dict)
    number: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Request:
    """A request whose body is still on the wire, but for `rest`."""

    method: str
    path: str
    query: dict[str, list[str]]
    media_type: str
    length: int
    rest: bytes


class Connection:
    """One client's connection, served until it hangs up."""

    def __init__(self, sock: socket.socket, kept: Kept) -> None:
        self._sock = sock
        self._kept = kept
        self._rest = b""
        self._buffer = bytearray(_BUFFER)

    def serve(self) -> None:
        try:
            while request := self._request():
                self._answer(request)
        except (ConnectionError, EOFError):
            pass
        finally:
            self._sock.close()

    def _request(self) -> Request | None:
        while b"\r\n\r\n" not in self._rest:
            got = self._sock.recv(1 << 16)
            if not got:
                return None
            self._rest += got
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        if b"100-continue" in head.lower():
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        url = urlsplit(target)
        length, kind = _LENGTH.search(head), _TYPE.search(head)
        chunked = b"transfer-encoding: chunked" in head.lower()
        self._rest = b""
        return Request(
            method,
            url.path,
            parse_qs(url.query),
            kind[1].decode() if kind else "",
            -1 if chunked else int(length[1]) if length else 0,
            rest,
        )

    def _answer(self, request: Request) -> None:
        if match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", request.path):
            self._manifest(request, match[1], match[2])
        elif match := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", request.path):
            self._upload(request, match[1], match[2])
        elif match := re.fullmatch(r"/v2/(.+)/blobs/(.+)", request.path):
            size = self._kept.blobs.get((match[1], match[2]))
            headers = {"Docker-Content-Digest": match[2]} if size is not None else {}
            self._send(404 if size is None else 200, headers, length=size or 0)
        else:
            self._send(200, {"Docker-Distribution-API-Version": "registry/2.0"})

    def _upload(self, request: Request, repository: str, upload: str) -> None:
        if request.method == "POST":
            with self._kept.lock:
                self._kept.number += 1
                upload = str(self._kept.number)
            self._kept.uploads[upload] = 0
        size = self._kept.uploads[upload] + self._discard(request)
        self._kept.uploads[upload] = size
        headers = {"Location": f"/v2/{repository}/blobs/uploads/{upload}", "Range": f"0-{max(size - 1, 0)}"}
        if request.method == "PUT":
            digest = request.query["digest"][0]
            self._kept.blobs[repository, digest] = size
            self._send(201, {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})
        else:
            self._send(202, {**headers, "Docker-Upload-UUID": upload})

    def _manifest(self, request: Request, repository: str, name: str) -> None:
        if request.method == "PUT":
            content = self._body(request)
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            for key in (name, digest):
                self._kept.manifests[repository, key] = (content, request.media_type)
            self._send(201, {"Docker-Content-Digest": digest})
            return
        content, media_type = self._kept.manifests.get((repository, name), (b"", ""))
        headers = {"Content-Type": media_type or "application/json"}
        if content:
            headers["Docker-Content-Digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        body = content if request.method == "GET" else b""
        self._send(200 if content else 404, headers, length=len(content), body=body)

    def _send(self, status: int, headers: dict[str, str], *, length: int = 0, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def _discard(self, request: Request) -> int:
        if request.length < 0:
            return self._discard_chunks(request.rest)
        left = request.length - len(request.rest)
        while left > 0:
            left -= self._receive(left)
        return request.length

    def _discard_chunks(self, rest: bytes) -> int:
        """A body in chunks (RFC 9112, 7.1). Returns its size in bytes."""
        size = 0
        while True:
            while b"\r\n" not in rest:
                rest += self._more()
            line, _, rest = rest.partition(b"\r\n")
            chunk = int(line, 16)
            size += chunk
            left = chunk + 2 - len(rest)
            rest = rest[chunk + 2 :]
            while left > 0:
                left -= self._receive(left)
            if not chunk:
                return size

    def _body(self, request: Request) -> bytes:
        body = request.rest
        while len(body) < request.length:
            body += self._more()
        return body

    def _more(self) -> bytes:
        got = self._sock.recv(1 << 16)
        if not got:
            raise EOFError
        return got

    def _receive(self, most: int) -> int:
        got = self._sock.recv_into(self._buffer, min(most, _BUFFER))
        if not got:
            raise EOFError
        return got


def main() -> None:
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(sock, kept).serve, daemon=True).start()


if __name__ == "__main__":
    main()
