"""Where a registry sends its clients next, and where they refuse to go."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit, urlunsplit

from enginebuild_images.failure import Failure

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what decides whether credentials go along."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if _PORTS[self.scheme] == self.port else f":{self.port}")


def origin(url: str) -> Origin:
    """The origin of an absolute URL. Raises Failure for one that is not http(s)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _not_a_url(url) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _not_a_url(url)
    return Origin(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port)


def _not_a_url(url: str) -> Failure:
    return Failure(f"the registry sent us to {shown(url)!r}, which is not an http(s) URL")


def resolve(base: str, location: str) -> str:
    """The URL that a `Location` means for the request to `base`. Raises Failure for one to stay away from.

    A registry behind a proxy that ends TLS often names itself with http: it is asked over https still.
    """
    try:
        joined = urljoin(base, location)
    except ValueError:
        raise _not_a_url(location) from None
    before, after = origin(base), origin(joined)
    if before.scheme == "https" and after.scheme == "http" and before.host == after.host:
        parts = urlsplit(joined)
        host = urlsplit(base).netloc if after.port in (80, before.port) else parts.netloc
        joined = urlunsplit(SplitResult("https", host, parts.path, parts.query, ""))
    check_target(before, origin(joined))
    return joined


def check_target(here: Origin, there: Origin) -> None:
    """Refuse with Failure a private address named by another host (a guard against forged requests).

    As go-containerregistry does. A registry that is itself on a private address may name its neighbours.
    """
    address = _address(there.host)
    if here.host == there.host or address is None:
        return
    own = _address(here.host)
    trusted = own is not None and not own.is_global and not own.is_link_local
    if address.is_link_local or (not address.is_global and not trusted):
        raise Failure(
            f"the registry sent us to the private address {there}",
            "if that is right, give the registry's storage a public host name, "
            "or let the registry pass the bytes on itself",
        )


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host_and_port: str) -> bool:
    """Is `host[:port]` this machine?"""
    address = _address(urlsplit(f"//{host_and_port}").hostname or "")
    return address is not None and address.is_loopback


def with_query(url: str, **parameters: str) -> str:
    """Append parameters to a URL that may have a query already; what it has stays byte for byte."""
    added = urlencode(parameters, safe=":/")
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def shown(url: str) -> str:
    """A URL for a message: without its query, which may hold a signature, and without user and password."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else bare
