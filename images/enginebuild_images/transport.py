"""HTTP to registries: a pool of connections, and answers whose bodies are read when they are asked for."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from enginebuild_images.connection import INSECURE, Connector, Route, route_to
from enginebuild_images.extent import Piece
from enginebuild_images.failure import Answer, Failure
from enginebuild_images.location import origin
from enginebuild_images.wire import Timeouts, Wire, body_of

#: Bytes of an answer that are read at most: manifests may have 4 MiB (OCI distribution spec 1.1).
ANSWER_LIMIT = 8 << 20

_IDLE = 32  # connections that are kept for the next request


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer whose body is still to be read. `read_timeout`: seconds until its next bytes must come."""

    status: int
    headers: Mapping[str, str]
    url: str
    response: http.client.HTTPResponse
    read_timeout: float

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives. Raises Failure when the connection fails."""
        return body_of(self.response, self.read_timeout)

    def answer(self) -> Answer:
        """The whole answer with its body. Raises Failure for a body above ANSWER_LIMIT, or a broken one.

        A refusal counts even if its words are lost: a registry that refuses a body in the middle hangs up.
        """
        body = bytearray()
        try:
            for piece in self.pieces():
                body += piece
                if len(body) > ANSWER_LIMIT:
                    raise Failure(f"the answer has more than {ANSWER_LIMIT >> 20} MiB")
        except Failure:
            if self.status < 400:
                raise
        return Answer(self.status, self.headers, bytes(body), self.url)


class Transport:
    """A pool of connections; safe for several threads."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._connector = Connector(timeouts.connect)
        self._idle: list[Wire] = []
        self._lock = threading.Lock()

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[Piece] = b"",
        read_timeout: float | None = None,
    ) -> Iterator[Exchange]:
        """Send a request; its answer's body is unread. Raises Failure; what `body` raises passes through.

        An iterator gives as many bytes as `headers` say in Content-Length.
        """
        pieces: Iterable[Piece]
        if isinstance(body, bytes):
            pieces = [body] if body else []
            headers = {"Content-Length": str(len(body)), **headers} if body else headers
        else:
            pieces = body
        wire, again = self._wire(route_to(origin(url))), False
        try:
            response = wire.ask(method, url, headers, pieces, read_timeout or self.timeouts.read)
            try:
                yield Exchange(response.status, _lower(response), url, response, self.timeouts.read)
                again = wire.serves_again(response)
            finally:
                response.close()
        finally:
            self._leave(wire, again)

    def _wire(self, route: Route) -> Wire:
        while (wire := self._taken(route)) is not None:
            if wire.stands:
                return wire
            wire.close()
        return Wire(route, self._connector.connect(route), self.timeouts)

    def _taken(self, route: Route) -> Wire | None:
        """The connection used last of those that nobody uses now."""
        with self._lock:
            wire = next((one for one in reversed(self._idle) if one.route == route), None)
            if wire is not None:
                self._idle.remove(wire)
            return wire

    def _leave(self, wire: Wire, again: bool) -> None:
        with self._lock:
            if again and len(self._idle) < _IDLE:
                self._idle.append(wire)
                return
        wire.close()

    def close(self) -> None:
        """Close all connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()


def _lower(response: http.client.HTTPResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        before = found.get(name.lower())
        found[name.lower()] = value if before is None else f"{before}, {value}"
    return found


__all__ = ["ANSWER_LIMIT", "INSECURE", "Exchange", "Timeouts", "Transport"]
