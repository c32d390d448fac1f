"""What a vLLM image says beside its files: entry point, environment and a health check that runs for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from enginebuild.engines.vllm import CONFIG_PATH, CONFIG_WORDS, ENVIRONMENT, entrypoint, healthcheck


def test_the_environment_keeps_the_server_off_the_network() -> None:
    assert ENVIRONMENT == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def test_the_configuration_is_named_in_two_words_and_as_yaml() -> None:
    assert CONFIG_WORDS == ("--config", "/etc/enginebuild/vllm.yaml")
    assert CONFIG_PATH == "/etc/enginebuild/vllm.yaml"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (["vllm", "serve"], ("vllm", "serve")),
        (["/usr/bin/entrypoint.sh", "vllm", "serve"], ("/usr/bin/entrypoint.sh", "vllm", "serve")),
        (["/opt/nvidia/nvidia_entrypoint.sh"], ("vllm", "serve")),
        ([], ("vllm", "serve")),
        (None, ("vllm", "serve")),
    ],
)
def test_the_entry_point_holds_the_configuration(
    base: Sequence[str] | None, expected: tuple[str, ...]
) -> None:
    assert entrypoint(base) == (*expected, "--config", "/etc/enginebuild/vllm.yaml")


class _HealthStandin(BaseHTTPRequestHandler):
    """Answers /health as vLLM does: 200 while the engine lives, 503 when it is dead."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _server(status: int) -> Iterator[int]:
    handler = type("Standin", (_HealthStandin,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _exit_code(port: int) -> int:
    program, *words = healthcheck(port)
    assert program == "python3"
    return subprocess.run(
        [sys.executable, *words], capture_output=True, env={"http_proxy": "http://127.0.0.1:9"}, check=False
    ).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_tells_a_live_engine_from_a_dead_one(status: int, code: int) -> None:
    with _server(status) as port:
        assert _exit_code(port) == code


def test_the_health_check_fails_where_nothing_listens() -> None:
    with _server(200) as port:
        pass
    assert _exit_code(port) == 1


def test_the_health_check_without_a_shell() -> None:
    code = (
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=5); "
        "c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"
    )
    assert healthcheck(8000) == ("python3", "-c", code)
