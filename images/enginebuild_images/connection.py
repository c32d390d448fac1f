"""Connections to registries: with TLS or without, directly or by a proxy, and how making one fails.

The standard library's `http.client` speaks HTTP/1.1: a body goes from its reader to the socket with no layer
between them, and nothing else is imported before the first byte goes out.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from enginebuild_images.failure import Failure
from enginebuild_images.location import Origin, is_loopback, shown
from enginebuild_images.proxies import proxy_for

#: The variable that names registries (`host[:port],…`) that may speak plain HTTP.
INSECURE = "ENGINEBUILD_INSECURE_REGISTRIES"

_NO_WAY = "check host and port, firewalls, and whether a proxy is needed (HTTPS_PROXY)"
_PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
_TUNNEL = "Tunnel connection failed: "  # what http.client says of a proxy that refuses CONNECT

#: Where distributions keep the authorities, for a Python whose OpenSSL was built to look elsewhere.
_AUTHORITIES = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)


@dataclass(frozen=True, slots=True)
class Route:
    """How requests to an origin travel. `proxy`: the proxy's address, if one passes them on.

    `authorization`: what the proxy wants to be told. A request without TLS names its whole URL to a proxy.
    """

    target: Origin
    proxy: Origin | None = None
    authorization: str = ""

    @property
    def names_whole_url(self) -> bool:
        return self.proxy is not None and self.target.scheme == "http"


def route_to(target: Origin) -> Route:
    """The way that the environment's proxies leave. Raises Failure for a proxy that cannot be used."""
    proxy = None if is_loopback(str(target).partition("://")[2]) else proxy_for(target, os.environ)
    if proxy is None:
        return Route(target)
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "http":
        raise Failure(
            f"a proxy's URL cannot be used: {shown(proxy)} is not http://host:port",
            "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY",
        )
    return Route(target, Origin("http", host, port or 80), _basic(parts.username, parts.password))


def _basic(user: str | None, password: str | None) -> str:
    if not user:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


class Connector:
    """Makes connections. `timeout`: seconds until each must stand."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    def connect(self, route: Route) -> http.client.HTTPConnection:
        """A connection that stands. Raises Failure."""
        connection = self._unconnected(route)
        try:
            connection.connect()
        except http.client.HTTPException:
            raise Failure("the proxy's answer is not HTTP", _PROXIES) from None
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _unconnected(self, route: Route) -> http.client.HTTPConnection:
        first = route.proxy or route.target
        if route.target.scheme == "http":
            return http.client.HTTPConnection(first.host, first.port, timeout=self.timeout)
        connection = http.client.HTTPSConnection(
            first.host, first.port, timeout=self.timeout, context=self._tls
        )
        if route.proxy is not None:
            headers = {"Proxy-Authorization": route.authorization} if route.authorization else {}
            connection.set_tunnel(route.target.host, route.target.port, headers)
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when first needed: reading the authorities takes longer than an unchanged push."""
        try:
            context = _trusting(os.environ)
        except OSError as error:
            raise Failure(
                f"the authorities for TLS cannot be read: {error.strerror or error}",
                "correct SSL_CERT_FILE or SSL_CERT_DIR",
            ) from None
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _unreachable(self, error: OSError) -> Failure:
        if isinstance(error, TimeoutError):
            return Failure(f"no connection within {self.timeout:g} s", _NO_WAY, again=True)
        if isinstance(error, socket.gaierror):
            return Failure(
                f"the host name is unknown ({error.strerror})",
                "check the registry's name, and this machine's DNS",
                again=error.errno == socket.EAI_AGAIN,
            )
        if isinstance(error, ssl.SSLError):
            return _tls_failure(error)
        if isinstance(error, ConnectionRefusedError):
            return Failure(
                "connection refused", "check host and port, and that the registry runs", again=True
            )
        if str(error).startswith(_TUNNEL):
            return Failure(f"the proxy refused: {str(error).removeprefix(_TUNNEL)}", _PROXIES, again=True)
        return Failure(f"no connection ({error.strerror or error})", _NO_WAY, again=True)


def _trusting(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Raises OSError for authorities that are named and cannot be read."""
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if file or folder:
        return ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    paths = ssl.get_default_verify_paths()
    if paths.cafile or paths.capath:
        return ssl.create_default_context()
    known = next((name for name in _AUTHORITIES if Path(name).is_file()), None)
    return ssl.create_default_context(cafile=known)


def _tls_failure(error: ssl.SSLError) -> Failure:
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
