"""Which proxy the environment names."""

from __future__ import annotations

import pytest

from enginebuild_images.location import Origin
from enginebuild_images.proxies import proxy_for

TLS = Origin("https", "registry.example.com", 443)
PLAIN = Origin("http", "registry.example.com", 5000)


def test_none_is_named() -> None:
    assert proxy_for(TLS, {"HTTP_PROXY": "http://proxy:3128"}) is None


@pytest.mark.parametrize(
    ("target", "environment", "proxy"),
    [
        (TLS, {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        (TLS, {"HTTPS_PROXY": "http://proxy:1", "https_proxy": "http://proxy:2"}, "http://proxy:2"),
        (TLS, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (PLAIN, {"http_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        (PLAIN, {"ALL_PROXY": "http://proxy:1", "HTTPS_PROXY": "http://proxy:2"}, "http://proxy:1"),
    ],
)
def test_the_scheme_decides(target: Origin, environment: dict[str, str], proxy: str) -> None:
    assert proxy_for(target, environment) == proxy


@pytest.mark.parametrize(
    ("target", "listed", "bypassed"),
    [
        (TLS, "*", True),
        (TLS, "registry.example.com", True),
        (TLS, "other.example.com, example.com", True),
        (TLS, ".Example.com", True),
        (TLS, "ple.com", False),
        (TLS, "registry.example.com:443", True),
        (TLS, "registry.example.com:5000", False),
        (TLS, "", False),
        (Origin("https", "10.1.2.3", 443), "10.0.0.0/8", True),
        (Origin("https", "10.1.2.3", 443), "10.1.2.3", True),
        (Origin("https", "10.1.2.3", 443), "10.1.2.3:443", True),
        (Origin("https", "10.1.2.3", 443), "192.168.0.0/16,10.1.2.4", False),
        (Origin("https", "fd00::1", 443), "[fd00::1]", True),
        (Origin("https", "fd00::1", 443), "fd00::/8", True),
    ],
)
def test_who_is_asked_directly(target: Origin, listed: str, bypassed: bool) -> None:
    found = proxy_for(target, {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": listed})
    assert (found is None) == bypassed
