"""A small honest registry in this process that can be told to play each quirk and fault of real ones.

    with quirk_registry() as registry:
        registry.fault("PUT", "/blobs/uploads/", status=500, times=2)
        ... push to registry.host ...
        assert registry.seen[-1].line == "PUT /v2/team/app/manifests/v1"

Without faults it keeps to the OCI distribution spec 1.1: it checks digests, sizes, ranges and tokens.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, cast
from urllib.parse import parse_qs, unquote, urlsplit

USER, PASSWORD, IDENTITY_TOKEN = "builder", "open-sesame", "identity-open-sesame"

_ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests)/(?P<rest>[^/]*)\Z")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived. `body` is the number of its bytes that were read."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: int
    status: int

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Fault:
    """What goes wrong with a request. The fields say how, in the order in which they act."""

    method: str
    path: str
    times: int = 1
    skip: int = 0
    """Let so many matching requests pass first."""
    read: int | None = None
    """Read only so many bytes of the body; None: all."""
    forget: bool = False
    """Let all tokens end."""
    stall: float = 0.0
    """Then do nothing for so many seconds."""
    apply: bool = False
    """Do what was asked (and say something else)."""
    drop: bool = False
    """Then cut the connection."""
    status: int = 0
    code: str = ""
    message: str = "as the test wants it"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """The answer's body, in place of an error document with `code`."""
    send: int | None = None
    """Send only so many bytes of the honest answer's body, then cut the connection."""


@dataclass(slots=True)
class _Upload:
    name: str
    content: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class QuirkRegistry:
    """The registry's state. Tests set its fields and read `seen`."""

    def __init__(self) -> None:
        self.host = ""
        self.seen: list[Seen] = []
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.auth: Literal["none", "basic", "token"] = "none"
        self.token_lifetime: int | None = 300
        self.hidden: set[str] = set()
        """Repositories for which nobody gets a token."""
        self.tokens_given = 0
        self.location: Literal["absolute", "relative", "query", "storage"] = "absolute"
        """`query`: state in the query; `storage`: on the server's second address, without credentials."""
        self.mount: int = 201
        """The status with which a mount is answered: 201 mounts, 202 opens an upload, others refuse."""
        self.ranges = True
        self.digest_header = True
        self.largest_body: int | None = None
        """Bytes above which a body is refused with 413."""
        self.largest_chunk: int | None = None
        """Bytes above which a PATCH with Content-Range is refused with 416."""
        self.least_chunk: int | None = None
        self.ways = {"PUT", "PATCH", "Content-Range"}
        """How bodies are taken; what is not in here is answered with 405."""
        self.storage = ""
        self._faults: list[Fault] = []
        self._uploads: dict[str, _Upload] = {}
        self._begun = 0
        self._tokens: dict[str, tuple[frozenset[str], float]] = {}
        self._lock = threading.RLock()

    def fault(self, method: str, path: str, **how: object) -> None:
        """Let the next matching requests go wrong; `path` is a regular expression to be found in it."""
        self._faults.append(Fault(method, path, **how))  # type: ignore[arg-type] # Fault's own

    def clear_faults(self) -> None:
        """Nothing goes wrong from now on."""
        self._faults.clear()

    def lines(self, *methods: str) -> list[str]:
        """The requests that arrived, but for those of tokens: `PUT /v2/team/app/manifests/v1`."""
        return [s.line for s in self.seen if s.path != "/token" and (not methods or s.method in methods)]

    def end_tokens(self) -> None:
        """All tokens end now."""
        self._tokens.clear()

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and method == fault.method and re.search(fault.path, path):
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    # What follows is the honest registry.

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Reply:
        with self._lock:
            parts = urlsplit(target)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if parts.path == "/token":
                return self._token(method, parts.query or body.decode(), headers)
            if parts.path.startswith("/storage/"):
                return self._stored(method, parts.path, query, headers, body)
            refused = self._authorize(method, parts.path, query, headers)
            if refused is not None:
                return refused
            if parts.path == "/v2/":
                return _Reply(200)
            route = _ROUTE.match(parts.path)
            if route is None:
                return _error(404, "NOT_FOUND")
            name, rest = route["name"], unquote(route["rest"])
            if route["kind"] == "manifests":
                return self._manifest(method, name, rest, headers, body)
            if route["kind"] == "blobs":
                return self._blob(name, rest, headers)
            return self._upload(method, name, rest, query, headers, body)

    def _stored(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> _Reply:
        if "authorization" in headers:
            return _error(400, "UNSUPPORTED", "storage wants no Authorization")
        _, _, kind, name, rest = path.split("/", 4)
        if kind == "blobs":
            return self._content(headers, self.blobs[name.replace("~", "/"), rest])
        return self._upload(method, name.replace("~", "/"), rest, query, headers, body)

    def _authorize(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> _Reply | None:
        if self.auth == "none":
            return None
        given = headers.get("authorization", "")
        if self.auth == "basic":
            return None if given == _basic(USER, PASSWORD) else self.challenge("")
        route = _ROUTE.match(path)
        scope = (
            f"repository:{route['name']}:{'pull' if method in ('GET', 'HEAD') else 'pull,push'}"
            if route
            else ""
        )
        scopes, until = self._tokens.get(given.removeprefix("Bearer "), (frozenset(), 0.0))
        wanted = {scope, f"repository:{query['from']}:pull"} if "from" in query else {scope}
        allowed = {s.replace(":pull,push", ":pull") for s in scopes} | scopes | {""}
        return None if until > time.monotonic() and wanted <= allowed else self.challenge(scope)

    def challenge(self, scope: str) -> _Reply:
        reply = _error(401, "UNAUTHORIZED", "authentication required")
        if self.auth == "basic":
            reply.headers["WWW-Authenticate"] = 'Basic realm="tests"'
        else:
            realm = f'Bearer realm="http://{self.host}/token",service="tests"'
            reply.headers["WWW-Authenticate"] = realm + (f',scope="{scope}"' if scope else "")
        return reply

    def _token(self, method: str, form: str, headers: Mapping[str, str]) -> _Reply:
        fields = parse_qs(form)
        known = headers.get("authorization") == _basic(USER, PASSWORD)
        if method == "POST":
            known = fields.get("refresh_token") == [IDENTITY_TOKEN] and fields["grant_type"] == [
                "refresh_token"
            ]
        if not known and "authorization" in headers:
            return _Reply(401, {}, b'{"details":"incorrect username or password"}')
        asked = " ".join(fields.get("scope", [])).split()
        scopes = frozenset(
            s for s in asked if s.split(":")[1] not in self.hidden and (known or s.endswith(":pull"))
        )
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        lifetime = 60 if self.token_lifetime is None else self.token_lifetime
        self._tokens[token] = (scopes, time.monotonic() + lifetime)
        reply: dict[str, object] = {"access_token" if method == "POST" else "token": token}
        if self.token_lifetime is not None:
            reply["expires_in"] = self.token_lifetime
        return _Reply(200, {"Content-Type": "application/json"}, json.dumps(reply).encode())

    def _manifest(
        self, method: str, name: str, reference: str, headers: Mapping[str, str], body: bytes
    ) -> _Reply:
        if method == "PUT":
            return self._put_manifest(name, reference, headers, body)
        found = self.manifests.get((name, reference))
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        reply = _Reply(200, {"Content-Type": found[0]}, found[1])
        if self.digest_header:
            reply.headers["Docker-Content-Digest"] = _digest(found[1])
        return reply

    def _put_manifest(self, name: str, reference: str, headers: Mapping[str, str], body: bytes) -> _Reply:
        document = json.loads(body)
        for descriptor in (
            *document.get("layers", []),
            *([document["config"]] if "config" in document else []),
        ):
            if len(self.blobs.get((name, descriptor["digest"]), b"")) != descriptor["size"]:
                return _error(400, "MANIFEST_BLOB_UNKNOWN", f"blob unknown: {descriptor['digest']}")
        digest = _digest(body)
        if ":" in reference and reference != digest:
            return _error(400, "DIGEST_INVALID")
        for key in {reference, digest}:
            self.manifests[name, key] = (headers.get("content-type", ""), body)
        return _Reply(201, {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest})

    def _blob(self, name: str, digest: str, headers: Mapping[str, str]) -> _Reply:
        content = self.blobs.get((name, digest))
        if content is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if self.location == "storage":
            where = (
                f"http://{self.storage}/storage/blobs/{name.replace('/', '~')}/{digest}?signature=abc%2Fdef"
            )
            return _Reply(307, {"Location": where})
        return self._content(headers, content)

    def _content(self, headers: Mapping[str, str], content: bytes) -> _Reply:
        match = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if match and self.ranges:
            start = int(match[1])
            described = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return _Reply(206, {"Content-Range": described}, content[start:])
        return _Reply(200, {}, content)

    def _upload(
        self,
        method: str,
        name: str,
        upload_id: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> _Reply:
        if method == "POST":
            return self._begin(name, query)
        upload = self._uploads.get(upload_id or query.get("id", ""))
        if upload is None or upload.name != name:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if self.largest_body is not None and len(body) > self.largest_body:
            return _Reply(413, {"Content-Type": "text/html"}, b"<html><h1>413 Too Large</h1></html>")
        refused = self._append(method, upload, headers, body)
        if refused is not None:
            return refused
        if method == "PATCH":
            return self._continue(name, upload_id or query["id"], upload)
        return self._commit(name, upload_id or query["id"], query.get("digest", ""), upload)

    def _begin(self, name: str, query: Mapping[str, str]) -> _Reply:
        if "mount" in query and self.mount != 202:
            if self.mount != 201:
                return _error(
                    self.mount, "UNAUTHORIZED" if self.mount == 401 else "DENIED", "no mounting here"
                )
            content = self.blobs.get((query["from"], query["mount"]))
            if content is not None:
                self.blobs[name, query["mount"]] = content
                return _Reply(201, {"Location": f"/v2/{name}/blobs/{query['mount']}"})
        self._begun += 1
        upload_id = f"upload-{self._begun}"
        self._uploads[upload_id] = _Upload(name)
        return self._continue(name, upload_id, self._uploads[upload_id])

    def _continue(self, name: str, upload_id: str, upload: _Upload) -> _Reply:
        # The id changes with each request, as a registry's state parameter does.
        turn = f"{upload_id.partition('.')[0]}.{len(upload.content)}"
        self._uploads.pop(upload_id, None)
        self._uploads[turn] = upload
        path, flat = f"/v2/{name}/blobs/uploads/{turn}", name.replace("/", "~")
        location = {
            "absolute": f"http://{self.host}{path}",
            "relative": path,
            "query": f"/v2/{name}/blobs/uploads/?id={turn}&state=a%2Bb",
            "storage": f"http://{self.storage}/storage/uploads/{flat}/{turn}?signature=abc%2Fdef",
        }[self.location]
        reply = _Reply(202, {"Location": location, "Range": f"0-{max(0, len(upload.content) - 1)}"})
        if self.least_chunk is not None:
            reply.headers["OCI-Chunk-Min-Length"] = str(self.least_chunk)
        return reply

    def _append(self, method: str, upload: _Upload, headers: Mapping[str, str], body: bytes) -> _Reply | None:
        described = headers.get("content-range")
        way = "Content-Range" if described is not None else method
        if body and way not in self.ways:
            return _Reply(405)
        if described is not None:
            if described != f"{len(upload.content)}-{len(upload.content) + len(body) - 1}":
                return _error(416, "RANGE_INVALID")
            if self.largest_chunk is not None and len(body) > self.largest_chunk:
                return _error(416, "RANGE_INVALID", "chunk too large")
        upload.content += body
        return None

    def _commit(self, name: str, upload_id: str, digest: str, upload: _Upload) -> _Reply:
        if _digest(bytes(upload.content)) != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[name, digest] = bytes(upload.content)
        del self._uploads[upload_id]
        return _Reply(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _error(status: int, code: str, message: str = "") -> _Reply:
    document = {"errors": [{"code": code, "message": message or code.lower(), "detail": None}]}
    return _Reply(status, {"Content-Type": "application/json"}, json.dumps(document).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    registry: QuirkRegistry

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the play."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer in one piece: of two, the second may be lost when the connection is cut
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        registry = self.server.registry
        path = urlsplit(self.path).path
        fault = registry.next_fault(self.command, path)
        length = int(self.headers.get("Content-Length") or 0)
        limit = length if fault is None or fault.read is None else min(length, fault.read)
        body = self.rfile.read(limit)
        if len(body) < limit:
            self.close_connection = True
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        reply = (
            self._play(fault, headers, body)
            if fault
            else registry.answer(self.command, self.path, headers, body)
        )
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        registry.seen.append(
            Seen(self.command, path, query, headers, len(body), reply.status if reply else 0)
        )
        if reply is None:
            self._cut()
            return
        self._reply(reply, fault.send if fault else None)
        if limit < length:
            self._cut()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _play(self, fault: Fault, headers: Mapping[str, str], body: bytes) -> _Reply | None:
        registry = self.server.registry
        if fault.forget:
            registry.end_tokens()
        time.sleep(fault.stall)
        honest = None
        if fault.apply or fault.send is not None or not (fault.status or fault.drop):
            honest = registry.answer(self.command, self.path, headers, body)
        if fault.drop:
            return None
        if not fault.status:
            assert honest is not None
            honest.headers.update(fault.headers)
            if fault.body is not None:
                honest.body = fault.body
            return honest
        reply = registry.challenge("") if fault.status == 401 and registry.auth != "none" else None
        reply = reply or (
            _error(fault.status, fault.code, fault.message) if fault.code else _Reply(fault.status)
        )
        reply.headers.update(fault.headers)
        if fault.body is not None:
            reply.body = fault.body
        return reply

    def _reply(self, reply: _Reply, send: int | None) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if send is None else reply.body[:send])
        self.wfile.flush()
        if send is not None:
            self._cut()

    def _cut(self) -> None:
        """Reset the connection: what a crashed registry, or a proxy that lost it, does."""
        connection = cast("socket.socket", self.connection)
        self.close_connection = True
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            connection.close()


@contextmanager
def quirk_registry() -> Iterator[QuirkRegistry]:
    """Start one on two free ports of this machine; the second plays the storage behind the registry."""
    registry = QuirkRegistry()
    with contextlib.ExitStack() as stack:
        for name in ("host", "storage"):
            server = _Server(("127.0.0.1", 0), _Conversation)
            server.registry = registry
            setattr(registry, name, f"127.0.0.1:{server.server_address[1]}")
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            thread.start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        yield registry
