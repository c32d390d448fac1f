"""Which proxy the environment names for a host: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY; and NO_PROXY.

As curl and Python read them: a name in lower case wins; NO_PROXY has names (with all below them), addresses,
networks (`10.0.0.0/8`), each with a port or without, or `*`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from enginebuild_images.location import Origin


def proxy_for(target: Origin, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL, with `http://` before it where it has no scheme; None to go there directly."""
    found = _value(f"{target.scheme}_proxy", environment) or _value("all_proxy", environment)
    if not found or _bypassed(target, _value("no_proxy", environment)):
        return None
    return found if "://" in found else f"http://{found}"


def _value(name: str, environment: Mapping[str, str]) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _bypassed(target: Origin, listed: str) -> bool:
    return any(_covers(entry.strip(), target) for entry in listed.split(",") if entry.strip())


def _covers(entry: str, target: Origin) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(target.host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # one of them is a name, or has a port
        pass
    name, separator, port = entry.rpartition(":")
    if separator and port.isdigit():
        return int(port) == target.port and _covers(name, target)
    name = entry.lower()
    return target.host == name.lstrip(".") or target.host.endswith(f".{name.lstrip('.')}")
