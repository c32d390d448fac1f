"""One connection with one request on it at a time, and every way in which that fails as a Failure."""

from __future__ import annotations

import http.client
import os
import select
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from enginebuild_images.connection import Route
from enginebuild_images.extent import Extent, Piece
from enginebuild_images.failure import Failure

_BLOCK = 256 << 10  # bytes read from a connection at a time, at most
_PRINTED = "!#$%&'()*+,/:;=?@[]~"  # what stays as it is in a URL; a percent sign stands for itself, too
_LOG = "see the log of the registry, and of the proxies before it"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without any progress after which a connection is given up.

    `commit` is for the last request of an upload: a registry may sync gigabytes before it answers.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0
    commit: float = 900.0


class Wire:
    """A connection that stands."""

    def __init__(self, route: Route, connection: http.client.HTTPConnection, timeouts: Timeouts) -> None:
        self.route = route
        self._connection = connection
        self._timeouts = timeouts
        self._broken: OSError | None = None
        self._writable = select.poll()
        self._writable.register(connection.sock, select.POLLOUT)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: Iterable[Piece], read_timeout: float
    ) -> http.client.HTTPResponse:
        """Send a request, read the head of its answer. Raises Failure; what `body` raises passes through."""
        self._connection.sock.settimeout(self._timeouts.write)
        self._broken = self._begun(method, url, headers) or self._sent(body)
        # A registry that refuses a body in the middle hangs up, and has said why before.
        if self._connection.sock is None:
            raise dropped(self._broken)
        self._connection.sock.settimeout(read_timeout)
        with reading(read_timeout, self._broken):
            return self._connection.getresponse()

    def _begun(self, method: str, url: str, headers: Mapping[str, str]) -> OSError | None:
        request = self._connection
        with self._writing():
            try:
                request.putrequest(method, self._named(url))
                request.putheader("User-Agent", "enginebuild")
                if self.route.names_whole_url and self.route.authorization:
                    request.putheader("Proxy-Authorization", self.route.authorization)
                for name, value in headers.items():
                    request.putheader(name, value)
                request.endheaders()
            except http.client.InvalidURL as error:
                raise Failure(f"the URL cannot be used: {error}") from error
            except ConnectionError as error:
                return error
        return None

    def _sent(self, body: Iterable[Piece]) -> OSError | None:
        """Why not all of the body went out, if it did not."""
        for piece in body:
            with self._writing():
                try:
                    self._send(piece if isinstance(piece, bytes) else self._unsent(piece))
                except TimeoutError:
                    raise
                except OSError as error:
                    return error
        return None

    def _send(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:  # not `sendall`: its timeout is for the whole piece
            rest = rest[self._connection.sock.send(rest) :]

    def _unsent(self, extent: Extent) -> bytes:
        """What the kernel did not send of a file: nothing, or with TLS all. Raises ImageError, OSError."""
        if isinstance(self._connection.sock, ssl.SSLSocket):
            return extent.read()
        done = 0
        try:
            while sent := self._sendfile(extent, done):
                done += sent
        except (TimeoutError, ConnectionError):
            raise
        except OSError:  # a file system that cannot, or a disk that fails: reading tells which
            pass
        return extent.read(done)

    def _sendfile(self, extent: Extent, done: int) -> int:
        """Bytes sent of an extent of which `done` were before; 0 at its end, or at the end of its file."""
        sock, file = self._connection.sock.fileno(), extent.file.fileno()
        while done < extent.size:
            try:
                return os.sendfile(sock, file, extent.offset + done, extent.size - done)
            except BlockingIOError:
                if not self._writable.poll(self._timeouts.write * 1000):
                    raise TimeoutError from None
        return 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise Failure(
                f"the registry took no bytes for {self._timeouts.write:g} s", _LOG, again=True
            ) from error

    def _named(self, url: str) -> str:
        parts = urlsplit(url)
        target = quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", safe=_PRINTED)
        return f"{self.route.target}{target}" if self.route.names_whole_url else target

    def serves_again(self, response: http.client.HTTPResponse) -> bool:
        """May another request follow this one, whose answer was read?"""
        read = response.isclosed() or response.length == 0
        return read and self._broken is None and self._connection.sock is not None

    @property
    def stands(self) -> bool:
        """False for an idle connection that the other side has ended: it has something to read."""
        waiting = select.poll()
        waiting.register(self._connection.sock, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        self._connection.close()


def body_of(response: http.client.HTTPResponse, timeout: float) -> Iterator[bytes]:
    """The body of an answer as it arrives. Raises Failure when the connection fails."""
    with reading(timeout):
        while piece := response.read1(_BLOCK):
            yield piece
    if response.length:
        raise dropped(None)


@contextmanager
def reading(timeout: float, broken: OSError | None = None) -> Iterator[None]:
    """What goes wrong with an answer as a Failure. `broken`: what went wrong before with the request."""
    try:
        yield
    except TimeoutError as error:
        raise Failure(f"no answer within {timeout:g} s", _LOG, again=True) from error
    except (OSError, http.client.IncompleteRead) as error:
        raise dropped(broken or error) from error
    except http.client.HTTPException as error:
        raise Failure("the answer is not HTTP", "check host and port") from error


def dropped(error: BaseException | None) -> Failure:
    """The failure of a connection that ended before its time."""
    reason = error.strerror if isinstance(error, OSError) else None
    return Failure(f"the connection was dropped{f' ({reason})' if reason else ''}", _LOG, again=True)
