"""One repository of a registry: requests with authorization, redirects and patience."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from enginebuild_images.extent import Piece
from enginebuild_images.failure import Answer, Failure, refusal
from enginebuild_images.location import is_loopback, origin, resolve
from enginebuild_images.pace import Pace
from enginebuild_images.tokens import Authorizer
from enginebuild_images.transport import Exchange, Transport

#: Seconds that a token must still last when a small request, or one with a body, is begun: the registry looks
#: at it when the request begins, but a proxy that buffers bodies shows it the request when the body has come.
FRESH = 5.0
FRESH_FOR_BODY = 60.0

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5


class Way(IntEnum):
    """How a blob is sent, from the most portable to the last resort."""

    MONOLITHIC = 1
    """POST, then one PUT with the body."""
    STREAMED = 2
    """POST, one PATCH with the body, an empty PUT."""
    CHUNKED = 3
    """POST, many PATCHes with `Content-Range`, an empty PUT: for proxies that limit the size of a request."""


class Host:
    """A registry's address, and what was learned of it: does it speak TLS, which way of sending works."""

    def __init__(self, registry: str, api_host: str, *, plain: bool, chunk: int) -> None:
        self.registry = registry
        self.chunk = chunk
        self.way = Way.MONOLITHIC
        self._api_host = api_host
        self._plain = plain
        self._base: str | None = None
        self._lock = threading.Lock()

    def base(self, transport: Transport) -> str:
        """`https://host:port`; one that may be plain is asked once, without credentials. Raises Failure."""
        with self._lock:
            if self._base is None:
                self._base = f"{self._scheme(transport)}://{self._api_host}"
            return self._base

    def _scheme(self, transport: Transport) -> str:
        if not (self._plain or is_loopback(self._api_host)):
            return "https"
        try:
            with transport.exchange("GET", f"http://{self._api_host}/v2/", {}) as exchange:
                answer = exchange.answer()
        except Failure as failure:
            # A server that expects a TLS handshake answers a plain request with an alert or hangs up.
            if failure.what.startswith(("the answer is not HTTP", "the connection was dropped")):
                return "https"
            raise
        if answer.headers.get("location", "").startswith("https://") and answer.status in _REDIRECTS:
            return "https"
        # Go and nginx explain themselves: "Client sent an HTTP request to an HTTPS server".
        return "https" if answer.status == 400 and b"HTTPS" in answer.body else "http"

    def worse(self, way: Way, chunk: int | None = None) -> None:
        """Remember that blobs have to be sent this way, in chunks of this size."""
        with self._lock:
            self.way = max(self.way, way)
            if chunk is not None:
                self.chunk = min(self.chunk, chunk)


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `body` makes its bytes anew at each call, unless it is `once`; `length` is their number.

    `commit` marks the end of an upload, whose answer may take minutes.
    """

    method: str
    url: str
    scopes: frozenset[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterator[Piece]] | None = None
    length: int = 0
    once: bool = False
    commit: bool = False


class Repository:
    """A repository of a registry. Safe for several threads."""

    def __init__(self, host: Host, name: str, transport: Transport, authorizer: Authorizer) -> None:
        self.host = host
        self.name = name
        self._transport = transport
        self._authorizer = authorizer

    @property
    def registry(self) -> str:
        return self.host.registry

    @property
    def pull(self) -> frozenset[str]:
        """The scopes for reading."""
        return frozenset({f"repository:{self.name}:pull"})

    @property
    def push(self) -> frozenset[str]:
        """The scopes for writing."""
        return frozenset({f"repository:{self.name}:pull,push"})

    def url(self, path: str) -> str:
        """`path` is relative to the repository: `manifests/v1`. Raises Failure if there is no registry."""
        return f"{self.host.base(self._transport)}/v2/{self.name}/{path}"

    def refusal(self, answer: Answer) -> Failure:
        """The failure that an unwelcome answer means."""
        here = origin(self.host.base(self._transport))
        sender = origin(answer.url)
        return refusal(answer, self._authorizer.asker, sender="" if sender == here else str(sender))

    def ask(
        self, pace: Pace, action: str, request: Callable[[], Request], expected: Collection[int] = (200,)
    ) -> Answer:
        """Send a small request, patiently. Raises RegistryError for an answer that is not `expected`."""

        def attempt(_number: int) -> Answer:
            answer = self.send(request())
            if answer.status not in expected:
                raise self.refusal(answer)
            return answer

        return pace.patiently(self.registry, action, attempt)

    def send(self, request: Request) -> Answer:
        """One try, with one renewal after a 401. Raises Failure without an answer."""
        with self.exchange(request) as exchange:
            return exchange.answer()

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Exchange]:
        """Like `send`, for a body that is to be streamed."""
        url = request.url
        here = origin(self.host.base(self._transport))
        renewed = False
        for _ in range(_HOPS + 1):
            used = self._authorization(request, url)
            with self._transmit(request, url, used) as exchange:
                if exchange.status == 401 and not renewed and origin(url) == here:
                    renewed = True
                    if self._renewed(request, exchange, used):
                        continue
                target = _redirect(request, exchange)
                if target is None:
                    yield exchange
                    return
                url = target
        raise Failure(f"the registry redirected more than {_HOPS} times", "see the registry's configuration")

    def _authorization(self, request: Request, url: str) -> str | None:
        if origin(url) != origin(self.host.base(self._transport)):
            return None
        return self._authorizer.header(request.scopes, FRESH_FOR_BODY if request.length else FRESH)

    def _renewed(self, request: Request, exchange: Exchange, used: str | None) -> bool:
        answer = exchange.answer()
        if self._authorizer.renew(answer, request.scopes, used) is None:
            raise self.refusal(answer)
        if request.once:
            raise Failure("the token ended within the upload", again=True, status=401)
        return True

    @contextmanager
    def _transmit(self, request: Request, url: str, authorization: str | None) -> Iterator[Exchange]:
        headers = dict(request.headers)
        if authorization is not None:
            headers["Authorization"] = authorization
        if request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(request.length)
        read = self._transport.timeouts.commit if request.commit else None
        body = request.body() if request.body is not None and request.length else b""
        with self._transport.exchange(request.method, url, headers, body, read) as exchange:
            yield exchange


def _redirect(request: Request, exchange: Exchange) -> str | None:
    location = exchange.headers.get("location")
    if exchange.status not in _REDIRECTS or not location or request.method not in ("GET", "HEAD"):
        return None
    return resolve(exchange.url, location)
