"""The program that asks from inside a container, run beside a server on this machine's loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

PROBE = str(files("enginebuild.verify") / "scripts" / "probe.py")


@contextmanager
def standin(*answers: tuple[int, bytes, str]) -> Iterator[tuple[int, list[str]]]:
    """A server that gives these answers to POST, the last one for ever; its port and what it was asked."""
    left, asked = list(answers), []

    class Standin(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            models = b'{"data": [{"id": "org/m", "max_model_len": 64}]}' if self.path == "/v1/models" else b""
            self._send(200, models, "application/json")

        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._send(*(left.pop(0) if len(left) > 1 else left[0]))

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Standin) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def probe(folder: Path, what: str, port: int, **plan: Any) -> list[dict[str, Any]]:
    path = folder / "plan.json"
    path.write_text(json.dumps({"port": port, **plan}))
    env = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}  # nobody asks it
    ended = subprocess.run(
        [sys.executable, "-I", PROBE, what, path], capture_output=True, check=True, env=env, timeout=60
    )
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    for document in said:
        document.pop("seconds", None)
    return said


JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
WAIT: dict[str, Any] = {"path": "/v1/completions", "body": {"prompt": "x"}, "health": "/health"}
READY = (200, b'{"choices": []}', JSON)


def test_it_waits_over_refusals_that_pass(tmp_path: Path) -> None:
    with standin((503, b"loading", "text/plain"), (503, b"loading", "text/plain"), READY) as (port, asked):
        (said,) = probe(tmp_path, "wait", port, **WAIT, seconds=30, patience=20)
    assert said == {
        "status": 200,
        "body": {"choices": []},
        "model": "org/m",
        "max_model_len": 64,
        "health": 200,
        "late": False,
    }
    assert [json.loads(body) for body in asked] == [{"prompt": "x", "model": "org/m"}] * 3


def test_it_gives_up_on_an_engine_that_stays_dead(tmp_path: Path) -> None:
    with standin((500, b'{"error": "dead"}', JSON)) as (port, asked):
        (said,) = probe(tmp_path, "wait", port, **WAIT, seconds=30, patience=0.7)
    assert (said["status"], said["health"], said["late"]) == (500, 200, False)
    assert len(asked) == 3


def test_it_does_not_wait_over_what_is_refused_for_good(tmp_path: Path) -> None:
    with standin((400, b'{"message": "no"}', JSON)) as (port, asked):
        (said,) = probe(tmp_path, "wait", port, **WAIT, seconds=30, patience=20)
    assert (said["status"], said["body"], len(asked)) == (400, {"message": "no"}, 1)


def test_it_asks_one_after_another_and_reads_streams(tmp_path: Path) -> None:
    whole = b'data: {"a": 1}\n\n: a comment\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n'
    answers = [
        (200, whole, EVENTS),
        (200, b'data: {"a": 1}\n\n', EVENTS),
        (200, b"data: {half\n\n", EVENTS),
        (502, b"<html>", "text/html"),
    ]
    requests = [{"path": "/v1/completions", "body": {"number": number}} for number in range(4)]
    with standin(*answers) as (port, asked):
        said = probe(tmp_path, "ask", port, requests=requests, seconds=10)
    assert said == [
        {"status": 200, "events": [{"a": 1}, {"a": 2}], "done": True},
        {"status": 200, "events": [{"a": 1}], "done": False},
        {"status": 200, "events": [], "error": "an event is not JSON: b'{half'"},
        {"status": 502, "text": "<html>"},
    ]
    assert [json.loads(body)["number"] for body in asked] == [0, 1, 2, 3]


def test_it_asks_several_at_a_time_and_answers_in_their_order(tmp_path: Path) -> None:
    requests = [{"path": "/v1/completions", "body": {"number": number}} for number in range(20)]
    with standin(*[(200, json.dumps({"said": number}).encode(), JSON) for number in range(20)]) as (
        port,
        asked,
    ):
        said = probe(tmp_path, "ask", port, requests=requests, seconds=10, concurrent=4)
    pairs = {json.loads(body)["number"]: number for number, body in enumerate(asked)}
    assert sorted(pairs) == list(range(20))
    assert sorted(document["body"]["said"] for document in said) == list(range(20))


def test_it_says_that_nothing_listens(tmp_path: Path) -> None:
    with standin(READY) as (port, _):
        pass
    (said,) = probe(tmp_path, "wait", port, **WAIT, seconds=0.5, patience=20)
    assert said == {
        "refused": True,
        "error": "nothing listens at the server's port",
        "model": "",
        "max_model_len": None,
        "health": None,
        "late": True,
    }


def test_it_looks_for_a_chat_template_and_options(tmp_path: Path) -> None:
    model, other, config = tmp_path / "model", tmp_path / "other", tmp_path / "vllm.yaml"
    for folder in (model, other):
        folder.mkdir()

    def look() -> dict[str, Any]:
        plan = {"folders": [str(other), str(model)], "configurations": [str(config), "/none"]}
        (said,) = probe(tmp_path, "look", 1, **plan)
        assert said.pop("memory_peak", None) is None or said["chat_template"] in (True, False)
        return said

    assert look() == {"chat_template": False, "keys": [], "tokenizer": None}
    config.write_text("# written\nmodel: /model\ntool-call-parser: hermes\nno-x: true\n")
    (model / "tokenizer.json").write_text("{}")
    (model / "tokenizer_config.json").write_text('{"chat_template": ""}')
    keys = ["model", "no_x", "tool_call_parser"]
    assert look() == {"chat_template": False, "keys": keys, "tokenizer": str(model)}
    (model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert look()["chat_template"] is True
    (model / "tokenizer_config.json").unlink()
    (other / "chat_template.jinja").write_text("{{ messages }}")
    assert look()["chat_template"] is True
