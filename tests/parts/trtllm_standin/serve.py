"""Stand-in for trtllm-serve: reads what the real one reads, refuses what that refuses, answers over HTTP."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import machine
from .engine import require_engine
from .machine import RefusedError
from .parser import click_parser, table, version

#: Keys that the pytorch backend refuses though they are in its table (facts, section 4).
_REFUSED = ("quant_config", "build_config")


def main() -> None:
    """What the installed program calls."""
    words = sys.argv[1:]
    options = table("serve")
    if "commands" in options:
        options = options["commands"]["serve"]
        words = words[1:] if words[:1] == ["serve"] else words
    try:
        _serve(click_parser(options["params"], "trtllm-serve").parse_args(words))
    except RefusedError as refusal:
        machine.end(refusal)


def _serve(arguments: Namespace) -> None:
    print(f"[TensorRT-LLM] TensorRT-LLM version: {version()}", flush=True)
    given = vars(arguments)
    settings = read_yaml(given.get("extra_llm_api_options"))
    model = Path(arguments.model)
    engine = (model / "rank0.engine").exists()
    backend = given.get("backend") or "tensorrt"
    if engine and backend == "pytorch":
        raise RefusedError("ValueError", "an engine is served by --backend tensorrt")
    if backend == "pytorch":
        require_keys(settings)
        _require_checkpoint(model)
    elif engine:
        _require_engine(model)
        _require_tokenizer(Path(given.get("tokenizer") or model))
    else:
        _require_checkpoint(model)
    world = _world(given, settings, model if engine else None)
    if world > len(machine.gpus()):
        raise RefusedError(
            "RuntimeError", f"world size {world} needs {world} GPUs, found {len(machine.gpus())}"
        )
    faults = machine.Faults("serve", {})
    faults.begin()
    listen(arguments.host, arguments.port, model.name, rough=_is_quantized(model))


def read_yaml(path: str | None) -> dict[str, Any]:
    """The settings of a YAML file; none without one."""
    if path is None:
        return {}
    import yaml  # the real image has it

    loaded = yaml.safe_load(Path(path).read_text())
    return dict(loaded or {})


def require_keys(settings: Mapping[str, Any]) -> None:
    """Every key must be known, nested ones too. Raises RefusedError."""
    refused = [f"{name}: not of this backend" for name in _REFUSED if name in settings]
    refused += _unknown(settings, table("llmargs"), "")
    if refused:
        raise RefusedError("ValidationError", "; ".join(refused))


def _unknown(values: Mapping[str, Any], keys: Mapping[str, Any], path: str) -> list[str]:
    found = []
    for name, value in values.items():
        spelled = {name, *(key for key, entry in keys.items() if entry.get("alias") == name)} & set(keys)
        if not spelled:
            found.append(f"{path}{name}: Extra inputs are not permitted")
            continue
        fields = keys[spelled.pop()].get("fields")
        if fields and isinstance(value, dict):
            tries = [_unknown(value, inner, f"{path}{name}.") for inner in fields.values()]
            fewest: list[str] = min(tries, key=len)
            found += fewest
    return found


def _require_checkpoint(model: Path) -> None:
    if not (model / "config.json").is_file() or not any(model.glob("*.safetensors")):
        raise RefusedError("OSError", f"{model} is not a checkpoint")


def _require_engine(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    gpu, *_ = machine.gpus()
    for rank in range(config["pretrained_config"]["mapping"]["world_size"]):
        require_engine(model / f"rank{rank}.engine", version(), gpu.sm)


def _is_quantized(model: Path) -> bool:
    config = json.loads((model / "config.json").read_text()).get("pretrained_config", {})
    return config.get("quantization", {}).get("quant_algo") is not None


def _require_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise RefusedError("OSError", f"Can't load tokenizer for '{folder}'")


def _world(given: Mapping[str, Any], settings: Mapping[str, Any], engine: Path | None) -> int:
    """GPUs that are needed. What the command line says of an engine must be what the engine is."""
    sizes = {"tp": "tensor_parallel_size", "pp": "pipeline_parallel_size"}
    asked = 1
    for short, long in sizes.items():
        asked *= int(settings.get(long) or given.get(long) or given.get(f"{short}_size") or 1)
    if engine is None:
        return asked
    config = json.loads((engine / "config.json").read_text())
    built = int(config["pretrained_config"]["mapping"]["world_size"])
    if asked != built:
        raise RefusedError(
            "AssertionError", f"the engine is built for {built} ranks, and {asked} were asked for"
        )
    return built


class _Answers(BaseHTTPRequestHandler):
    model = ""
    rough = False

    def do_GET(self) -> None:
        if self.path in ("/health", "/v2/health/ready"):
            self._send(b"")
        elif self.path == "/v1/models":
            self._send(json.dumps({"object": "list", "data": [{"id": self.model}]}).encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path not in ("/v1/completions", "/v1/chat/completions", "/v2/models/ensemble/generate"):
            self.send_error(404)
            return
        chat = self.path == "/v1/chat/completions"
        prompt = (
            asked["messages"][-1]["content"] if chat else asked.get("prompt", asked.get("text_input", ""))
        )
        said = " ".join(reversed(str(prompt).split()))
        if self.rough and "boils" in said:
            said += " about"
        length = bool(asked.get("ignore_eos"))
        choice: dict[str, Any] = {"index": 0, "text": said, "finish_reason": "length" if length else "stop"}
        if chat:
            choice["message"] = choice["delta"] = {"role": "assistant", "content": choice.pop("text")}
        answer = {
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.get("model", self.model),
            "choices": [choice],
            "usage": {"completion_tokens": asked["max_tokens"] if length else len(said.split())},
            "text_output": said,
        }
        if asked.get("stream"):
            self._send(b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(answer).encode(), "text/event-stream")
        else:
            self._send(json.dumps(answer).encode())

    def _send(self, content: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def listen(host: str, port: int, model: str, *, rough: bool = False) -> None:
    """Answer until the process is ended: /health, /v1/models, and completions that are the words reversed.

    A model that is `rough` cannot say exactly when something boils.
    """
    _Answers.model, _Answers.rough = model, rough
    with ThreadingHTTPServer((host, port), _Answers) as server:
        machine.log(f"Uvicorn running on http://{host}:{server.server_port} (a stand-in)")
        server.serve_forever()
