"""The health check of an image with a server: exit 0 if the server answers that it lives."""

from __future__ import annotations

#: Seconds until an answer counts as none.
TIMEOUT_SECONDS = 5


def healthcheck(port: int, path: str = "/health") -> tuple[str, ...]:
    """Its words: by python3, which every server's image has (curl may be missing), and without proxies from
    the environment.
    """
    lines = (
        "import http.client",
        f"c = http.client.HTTPConnection('127.0.0.1', {port}, timeout={TIMEOUT_SECONDS})",
        f"c.request('GET', '{path}')",
        "raise SystemExit(c.getresponse().status != 200)",
    )
    return ("python3", "-c", "; ".join(lines))
