"""A Hub of our own on loopback, over real HTTP: what huggingface_hub asks for, and every way it goes wrong.

`HubServer(root)` serves each folder <root>/<org>/<name> as a model repository: the model info and tree APIs,
refs, and resolve URLs with ETag, X-Repo-Commit, X-Linked-*, Range and If-Range. `cdn=True` answers LFS files
with a redirect to a second server on another port, as the real Hub does; `lfs=False` has all files in plain
git, without sha256, as small mirrors do. Faults are put into `.faults` and
are used up by the requests they fit; every request is in `.requests` with the bytes that were sent for it.

    python -m parts.hub_server ROOT      (in tests/) serves until it is killed and prints its endpoint
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from parts.hub_repository import HubFile, Snapshot, Snapshots

BLOCK = 1 << 20

Kind = Literal[
    "status", "cut", "flip", "length", "stall", "slow", "ignore_range", "total", "body", "redirect"
]


@dataclass
class Fault:
    """One way to go wrong, for requests whose path (no query) fits `path`, the first `times` of them.

    status        answer `status` with `headers` and `body`, nothing else
    cut           promise the whole body, send `after` bytes of it, drop the connection
    flip          change the byte at offset `after`: wrong bytes of the right length
    length        promise `after` bytes less than the file has, and send just those
    stall         send `after` bytes, then nothing for `seconds`, then drop the connection
    slow          send the body in blocks of 64 KiB with `seconds` between them
    ignore_range  answer 200 and the whole file to a Range request
    total         say in Content-Range that the whole file has `after` bytes more than it has
    body          answer 200 with `body` instead of the file
    redirect      302 to `headers["Location"]`
    """

    kind: Kind
    path: str = "*"
    times: int | None = 1
    method: str = "GET"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    seconds: float = 0.0


@dataclass
class Request:
    """A request as it came in, and what went out for it. `sent` is bytes of body."""

    server: Literal["hub", "cdn"]
    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class HubServer:
    """A context manager: the server runs between enter and exit, on a free port of 127.0.0.1."""

    def __init__(self, root: Path, *, cdn: bool = False, lfs: bool = True, page_size: int = 1000) -> None:
        self.root = root
        self.page_size = page_size
        self.cdn = cdn
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        #: Repositories that only these tokens may read; gated ones show their listing to everybody.
        self.private: set[str] = set()
        self.gated: set[str] = set()
        #: Each valid token and the repositories it opens.
        self.tokens: dict[str, frozenset[str]] = {}
        #: False: the model info API leaves sizes out, as some mirrors do.
        self.sizes_in_info = True
        self.card: dict[str, dict[str, Any]] = {}
        self._snapshots = Snapshots(lfs=lfs)
        self._branches: dict[tuple[str, str], Path] = {}
        self._commits: dict[tuple[str, str], Snapshot] = {}
        self._lock = threading.Lock()
        self._servers = [_listen(self, "hub"), _listen(self, "cdn")]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            for server in self._servers
        ]

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def cdn_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def __enter__(self) -> HubServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def branch(self, repository: str, name: str, folder: Path) -> str:
        """Point a branch (`main` too) at another folder. Returns its commit; the old one stays served."""
        with suppress(KeyError):
            self.snapshot(repository, name)
        self._branches[repository, name] = folder
        return self.commit(repository, name)

    def commit(self, repository: str, revision: str = "main") -> str:
        """The commit of a branch now."""
        return self.snapshot(repository, revision).commit

    def branches(self, repository: str) -> list[str]:
        return ["main", *sorted(name for (of, name) in self._branches if of == repository and name != "main")]

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        """Raises KeyError for a revision that is not there, FileNotFoundError for such a repository."""
        if (repository, revision) in self._commits:
            return self._commits[repository, revision]
        folder = self.root / repository
        if not folder.is_dir():
            raise FileNotFoundError(repository)
        if (repository, revision) in self._branches:
            folder = self._branches[repository, revision]
        elif revision != "main":
            head = self.snapshot(repository, "main")
            if revision != head.commit:
                raise KeyError(revision)
        snapshot = self._snapshots.read(folder)
        self._commits[repository, snapshot.commit] = snapshot
        return snapshot

    def fault(self, method: str, path: str) -> Fault | None:
        """Take the first fault that fits, counting it down."""
        with self._lock:
            for fault in self.faults:
                if fault.method in (method, "*") and fnmatch.fnmatch(path, fault.path):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self.faults.remove(fault)
                    return fault
        return None

    def log(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def bytes_sent(self, path: str = "*") -> int:
        """Bytes of body sent so far for the files that fit, by both servers."""
        return sum(
            request.sent
            for request in list(self.requests)
            if request.method == "GET" and fnmatch.fnmatch(request.path, path)
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid-answer is what many tests do."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _listen(hub: HubServer, name: Literal["hub", "cdn"]) -> _Server:
    return _Server(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": hub, "server_name_here": name}))


_ROUTES = [
    (re.compile(r"/api/(?:models/)?(?P<repository>(?:datasets/)?[^/]+/[^/]+)/refs\Z"), "refs"),
    (
        re.compile(r"/api/(?:models/)?(?P<repository>(?:datasets/)?[^/]+/[^/]+)/tree/(?P<revision>[^/]+)\Z"),
        "tree",
    ),
    (
        re.compile(
            r"/api/(?:models/)?(?P<repository>(?:datasets/)?[^/]+/[^/]+)/revision/(?P<revision>[^/]+)\Z"
        ),
        "info",
    ),
    (re.compile(r"/api/(?:models/)?(?P<repository>(?:datasets/)?[^/]+/[^/]+)\Z"), "info"),
    (
        re.compile(r"/(?P<repository>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)\Z"),
        "resolve",
    ),
    (
        re.compile(r"/cdn/(?P<repository>(?:datasets/)?[^/]+/[^/]+)/(?P<revision>[^/]+)/(?P<file>.+)\Z"),
        "download",
    ),
]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer
    server_name_here: Literal["hub", "cdn"]
    timeout = None  # os.sendfile wants a blocking socket

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr: the requests are in the log of the hub."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.entry = Request(self.server_name_here, self.command, unquote(url.path), headers)
        self.hub.log(self.entry)
        self.fault = self.hub.fault(self.command, self.entry.path)
        if self.fault is not None and self.fault.kind in ("status", "redirect"):
            status = 302 if self.fault.kind == "redirect" else self.fault.status
            self._reply(status, self.fault.body, self.fault.headers)
            return
        for pattern, name in _ROUTES:
            if match := pattern.match(url.path):
                fields = {key: unquote(value) for key, value in match.groupdict().items()}
                self._route(name, fields)
                return
        self._error(404, "", "not a path of the Hub")

    def _route(self, name: str, fields: dict[str, str]) -> None:
        repository = fields["repository"]
        if name != "download" and not self._allowed(repository, resolve=name == "resolve"):
            return
        try:
            snapshot = self.hub.snapshot(repository, fields.get("revision", "main"))
        except FileNotFoundError:
            self._missing_repository()
            return
        except KeyError:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {fields['revision']}")
            return
        if name == "refs":
            self._refs(repository)
        elif name == "info":
            self._info(repository, snapshot)
        elif name == "tree":
            self._tree(snapshot)
        elif fields["file"] not in snapshot.files:
            self._error(404, "EntryNotFound", "Entry not found")
        elif name == "resolve":
            self._resolve(repository, snapshot, snapshot.files[fields["file"]])
        else:
            self._send_file(snapshot.files[fields["file"]], {})

    def _allowed(self, repository: str, *, resolve: bool) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and self.hub.tokens and token not in self.hub.tokens:
            self._error(401, "", "Invalid credentials in Authorization header")
            return False
        if repository in self.hub.tokens.get(token, ()):
            return True
        if repository in self.hub.private:
            self._missing_repository()
            return False
        if resolve and repository in self.hub.gated:
            text = f"Access to model {repository} is restricted. You must be authenticated to access it."
            self._error(403 if token else 401, "GatedRepo", text)
            return False
        return True

    def _missing_repository(self) -> None:
        if self.headers.get("Authorization"):
            self._error(404, "RepoNotFound", "Repository not found")
        else:
            self._error(401, "", "Invalid username or password.")

    def _refs(self, repository: str) -> None:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": self.hub.commit(repository, name)}
            for name in self.hub.branches(repository)
        ]
        self._json({"branches": branches, "tags": [], "converts": []})

    def _info(self, repository: str, snapshot: Snapshot) -> None:
        with_sizes = self.hub.sizes_in_info and self.query.get("blobs", [""])[0].lower() == "true"
        siblings = [
            file.sibling() if with_sizes else {"rfilename": file.path} for file in snapshot.files.values()
        ]
        self._json(
            {
                "_id": "0" * 24,
                "id": repository,
                "modelId": repository,
                "sha": snapshot.commit,
                "private": repository in self.hub.private,
                "gated": "manual" if repository in self.hub.gated else False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "cardData": self.hub.card.get(repository, {}),
                "siblings": siblings,
            }
        )

    def _tree(self, snapshot: Snapshot) -> None:
        start = int(self.query.get("cursor", ["0"])[0])
        entries = [file.entry() for file in snapshot.files.values()]
        end = start + self.hub.page_size
        headers = {}
        if end < len(entries):
            path = urlsplit(self.path).path
            headers["Link"] = f'<{self.hub.endpoint}{path}?recursive=True&cursor={end}>; rel="next"'
        self._json(entries[start:end], headers)

    def _resolve(self, repository: str, snapshot: Snapshot, file: HubFile) -> None:
        headers = {"X-Repo-Commit": snapshot.commit}
        if not (self.hub.cdn and file.lfs):
            self._send_file(file, headers)
            return
        place = f"/cdn/{repository}/{snapshot.commit}/{quote(file.path)}?Signature=secret"
        headers |= {
            "Location": self.hub.cdn_endpoint + place,
            "X-Linked-ETag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
        }
        self._reply(302, b"", headers)

    def _json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        if self.fault is not None and self.fault.kind == "body":
            body = self.fault.body
        self._reply(200, body, {"Content-Type": "application/json"} | dict(headers or {}))

    def _error(self, status: int, code: str, text: str) -> None:
        headers = {"X-Error-Message": text, "Content-Type": "application/json"}
        if code:
            headers["X-Error-Code"] = code
        self._reply(status, json.dumps({"error": text}).encode(), headers)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, {"Content-Length": str(len(body))} | dict(headers))
        if self.command == "GET":
            self.wfile.write(body)
            self.entry.sent += len(body)

    def _send_file(self, file: HubFile, headers: Mapping[str, str]) -> None:
        fault = self.fault
        if fault is not None and fault.kind == "body":
            self._reply(200, fault.body, headers)
            return
        asked = self._range(file)
        start, size = asked or (0, file.size)
        size -= fault.after if fault is not None and fault.kind == "length" else 0
        sent = {
            "ETag": f'"{file.etag}"',
            "Accept-Ranges": "bytes",
            "Content-Length": str(size - start),
            "Content-Type": "application/octet-stream",
        }
        if asked:
            total = file.size + (fault.after if fault is not None and fault.kind == "total" else 0)
            sent["Content-Range"] = f"bytes {start}-{asked[1] - 1}/{total}"
        self._head(206 if asked else 200, sent | dict(headers))
        if self.command == "GET":
            with file.source.open("rb", buffering=0) as opened:
                self._send_body(opened.fileno(), start, size)

    def _range(self, file: HubFile) -> tuple[int, int] | None:
        """The first byte that is asked for, and the one after the last; None: all of the file."""
        if self.fault is not None and self.fault.kind == "ignore_range":
            return None
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", f'"{file.etag}"') != f'"{file.etag}"':
            return None
        return int(match[1]), min(file.size, int(match[2]) + 1) if match[2] else file.size

    def _send_body(self, source: int, start: int, end: int) -> None:
        fault = self.fault
        kind = fault.kind if fault is not None else None
        stop = min(end, start + fault.after) if fault is not None and kind in ("cut", "stall") else end
        if kind in ("flip", "slow") and fault is not None:
            for piece in _odd_pieces(source, start, stop, fault):
                self._send(piece)
        else:
            self._send_quickly(source, start, stop)
        if stop < end:
            if fault is not None and kind == "stall":
                time.sleep(fault.seconds)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, piece: bytes) -> None:
        self.connection.sendall(piece)
        self.entry.sent += len(piece)

    def _send_quickly(self, source: int, start: int, stop: int) -> None:
        self.wfile.flush()
        while start < stop:
            count = os.sendfile(self.connection.fileno(), source, start, min(BLOCK, stop - start))
            start += count
            self.entry.sent += count


def _odd_pieces(source: int, start: int, stop: int, fault: Fault) -> Iterator[bytes]:
    block = 1 << 16
    for offset in range(start, stop, block):
        piece = os.pread(source, min(block, stop - offset), offset)
        if fault.kind == "flip" and offset <= fault.after < offset + len(piece):
            at = fault.after - offset
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        if fault.kind == "slow":
            time.sleep(fault.seconds)
        yield piece


def main() -> None:
    """Serve the folder named on the command line until killed."""
    with HubServer(Path(sys.argv[1]), cdn="--cdn" in sys.argv) as hub:
        print(hub.endpoint, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
