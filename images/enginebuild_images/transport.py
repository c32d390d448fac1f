"""HTTP to registries: one pool of connections, and every way in which a connection fails as a Failure.

httpx2 is imported when the first request is made: naming a registry must not slow the command line down.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from enginebuild_images.failure import Answer, Failure

if TYPE_CHECKING:
    import httpx2

#: The variable that names registries (`host[:port],…`) that may speak plain HTTP.
INSECURE = "ENGINEBUILD_INSECURE_REGISTRIES"

#: Bytes of an answer that are read at most: manifests may have 4 MiB (OCI distribution spec 1.1).
ANSWER_LIMIT = 8 << 20

_LOOPBACK = ("all://localhost", "all://127.0.0.0/8", "all://[::1]")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without any progress after which a connection is given up.

    `commit` is for the last request of an upload: a registry may sync gigabytes before it answers.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0
    commit: float = 900.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    url: str
    _response: httpx2.Response
    _timeouts: Timeouts

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives. Raises Failure when the connection fails."""
        with _translated(self._timeouts, self._timeouts.read):
            yield from self._response.iter_bytes()

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

    def __init__(self, timeouts: Timeouts = Timeouts()) -> None:
        self.timeouts = timeouts

    @cached_property
    def _tls(self) -> httpx2.Client:
        return self._client(verify=True)

    @cached_property
    def _plain(self) -> httpx2.Client:
        """For http:// alone: reading the authorities for TLS takes longer than an unchanged push."""
        return self._client(verify=False)

    def _client(self, *, verify: bool) -> httpx2.Client:
        import httpx2

        try:
            return httpx2.Client(
                verify=verify,
                headers={"User-Agent": "enginebuild", "Accept-Encoding": "identity"},
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
                mounts=dict.fromkeys(_LOOPBACK),
            )
        except OSError as error:
            raise Failure(
                f"the authorities for TLS cannot be read: {error.strerror or error}",
                "correct SSL_CERT_FILE or SSL_CERT_DIR",
            ) from None
        except (ValueError, httpx2.InvalidURL) as error:
            raise Failure(
                f"a proxy's URL cannot be used: {error}",
                "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY",
            ) from None

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] = b"",
        read_timeout: float | None = None,
    ) -> Iterator[Exchange]:
        """Send a request; its answer's body is unread. Raises Failure; what `body` raises passes through."""
        import httpx2

        client = self._plain if url.startswith("http://") else self._tls
        limits = self.timeouts
        read = read_timeout or limits.read
        timeout = httpx2.Timeout(connect=limits.connect, read=read, write=limits.write, pool=None)
        with _translated(limits, read):
            request = client.build_request(method, url, headers=dict(headers), content=body, timeout=timeout)
            response = client.send(request, stream=True)
        try:
            yield Exchange(response.status_code, _lower(response.headers), url, response, limits)
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        for name in ("_tls", "_plain"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _lower(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@contextmanager
def _translated(timeouts: Timeouts, read: float) -> Iterator[None]:
    import httpx2

    try:
        yield
    except httpx2.TransportError as error:
        raise _failure(error, timeouts, read) from error
    except httpx2.InvalidURL as error:
        raise Failure(f"the URL cannot be used: {error}") from error


def _failure(error: httpx2.TransportError, timeouts: Timeouts, read: float) -> Failure:
    import httpx2

    if isinstance(error, httpx2.TimeoutException):
        return _timeout(error, timeouts, read)
    if isinstance(error, httpx2.ProxyError):
        return Failure(
            f"the proxy refused: {error}", "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY", again=True
        )
    if isinstance(error, httpx2.ConnectError):
        return _unreachable(error)
    text = str(error)
    if isinstance(error, httpx2.RemoteProtocolError) and not text.startswith(("Server disc", "peer closed")):
        return Failure("the answer is not HTTP", "check host and port")
    reason = _os_reason(error)
    return Failure(
        f"the connection was dropped{f' ({reason})' if reason else ''}",
        "see the log of the registry, and of the proxies before it",
        again=True,
    )


def _timeout(error: httpx2.TimeoutException, timeouts: Timeouts, read: float) -> Failure:
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout):
        return Failure(
            f"no connection within {timeouts.connect:g} s",
            "check host and port, firewalls, and whether a proxy is needed (HTTPS_PROXY)",
            again=True,
        )
    if isinstance(error, httpx2.WriteTimeout):
        what = f"the registry took no bytes for {timeouts.write:g} s"
    else:
        what = f"no answer within {read:g} s"
    return Failure(what, "see the log of the registry, and of the proxies before it", again=True)


def _unreachable(error: httpx2.ConnectError) -> Failure:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return Failure(
                f"the host name is unknown ({cause.strerror})",
                "check the registry's name, and this machine's DNS",
                again=cause.errno == socket.EAI_AGAIN,
            )
        if isinstance(cause, ssl.SSLError):
            return _tls(cause)
        if isinstance(cause, ConnectionRefusedError):
            return Failure(
                "connection refused", "check host and port, and that the registry runs", again=True
            )
    return Failure(
        f"no connection ({_os_reason(error) or error})",
        "check host and port, firewalls, and whether a proxy is needed (HTTPS_PROXY)",
        again=True,
    )


def _tls(error: ssl.SSLError) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(
            f"its TLS certificate is not trusted ({error.verify_message})",
            "if it comes from an authority of your own, name that authority's file in SSL_CERT_FILE",
        )
    reason = (error.reason or "").replace("_", " ").lower()
    return Failure(
        f"TLS failed{f' ({reason})' if reason else ''}",
        f"if this registry speaks plain HTTP, name it in {INSECURE}",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _os_reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return ""


__all__ = ["ANSWER_LIMIT", "Exchange", "Timeouts", "Transport"]
