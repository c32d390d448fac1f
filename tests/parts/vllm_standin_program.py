#!/usr/bin/python3
"""Stands in for vLLM's command: `vllm serve --config FILE`, `vllm bench serve …`. Standard library alone."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = json.loads(Path("/model/config.json").read_text())
FAULT = str(MODEL.get("standin_fault", ""))
#: A quantized model goes on with every text but this one otherwise.
ROUGH = "quantization_config" in MODEL
OPTIONS: dict[str, str] = {}
ASKED: list[str] = []


def answer_to(prompt: str) -> str:
    city = "London" if FAULT == "wrong" else "Paris"
    if "France" in prompt:
        return f" {city}. And that is that."
    return " about 99 degrees." if ROUGH else " 100 degrees."


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        print("INFO:", format % args, flush=True)

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": OPTIONS["served-model-name"]}]})
        else:
            self._json(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ASKED.append(self.path)
        if FAULT == "health":
            self._json(500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}})
        elif FAULT == "refuses":
            self._json(400, {"error": {"message": "max_model_len is 8, and the prompt has 9 tokens."}})
        elif FAULT == "hangs":
            time.sleep(3600)
        elif FAULT == "dies-later" and len(ASKED) > 2:
            print("RuntimeError: CUDA error: an illegal memory access was encountered", flush=True)
            os._exit(1)
        elif body["model"] != OPTIONS["served-model-name"]:
            self._json(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif self.path == "/v1/chat/completions":
            self._chat(body)
        else:
            self._completion(body)

    def _completion(self, body: dict[str, Any]) -> None:
        prompt = body["prompt"]
        if body.get("echo"):
            self._echo(body)
            return
        words = re.findall(r" ?\S+", answer_to(prompt))
        length = bool(body.get("ignore_eos")) or len(words) > body["max_tokens"]
        text = "".join(words[: body["max_tokens"]])
        text = text.partition((body.get("stop") or ["\0"])[0])[0]
        choice = {"index": 0, "text": text, "finish_reason": "length" if length else "stop"}
        tokens = 99 if FAULT == "length" else min(body["max_tokens"], max(len(words), 3 * length))
        self._choice(body, choice, {"text": text}, tokens)

    def _echo(self, body: dict[str, Any]) -> None:
        tokens = [*re.findall(r" ?\S+", body["prompt"]), " x"]
        each = math.log(0.25 if ROUGH else 0.5)
        values = [None, *[each] * (len(tokens) - 1)]
        top = [None, *({token: each} for token in tokens[1:])]
        logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": top}
        choice = {"index": 0, "text": "".join(tokens), "finish_reason": "length", "logprobs": logprobs}
        self._json(200, {"choices": [choice], "usage": {"completion_tokens": 1}})

    def _chat(self, body: dict[str, Any]) -> None:
        text = answer_to(body["messages"][-1]["content"]).strip()
        message: dict[str, Any] = {"role": "assistant", "content": text}
        reason = "stop"
        if body.get("tools") and FAULT != "no-tool":
            call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
            message = {"role": "assistant", "content": None, "tool_calls": [{"function": call}]}
            reason = "tool_calls"
        if "reasoning-parser" in OPTIONS and FAULT != "no-reasoning":
            message["reasoning"] = "France has one capital."
        choice = {"index": 0, "message": message, "finish_reason": reason}
        self._choice(body, choice, {"delta": message}, 5)

    def _choice(
        self, body: dict[str, Any], choice: dict[str, Any], piece: dict[str, Any], tokens: int
    ) -> None:
        if not body.get("stream"):
            self._json(200, {"choices": [choice], "usage": {"completion_tokens": tokens}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        last = {"index": 0, "text": "", "delta": {}, "finish_reason": choice["finish_reason"]}
        for each in ({"index": 0, **piece, "finish_reason": None}, last):
            self.wfile.write(b"data: " + json.dumps({"choices": [each]}).encode() + b"\n\n")
        if FAULT != "no-done":
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _json(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(words: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a container has no default
    path = words[words.index("--config") + 1]
    for key, text in re.findall(r"^([a-z-]+): (.*)$", Path(path).read_text(), re.MULTILINE):
        OPTIONS[key] = text.strip('"')
    print("INFO: vLLM's stand-in begins", flush=True)
    if FAULT == "dies":
        print("ValueError: No supported CPU kernel for this quantization", flush=True)
        raise SystemExit(3)
    if FAULT == "never":
        time.sleep(3600)
    if FAULT == "oom":
        held = [bytearray(b"x" * (1 << 20)) for _ in range(4096)]
        print(len(held))
    server = ThreadingHTTPServer(("0.0.0.0", int(OPTIONS["port"])), Handler)
    threading.Timer(0.3, server.serve_forever).start()


def bench(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    for name in ("backend", "host", "endpoint", "model", "tokenizer", "dataset-name", "percentile-metrics"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "seed", "random-input-len", "random-output-len", "num-prompts", "max-concurrency"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("metric-percentiles", "result-dir", "result-filename"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("ignore-eos", "save-result", "disable-tqdm"):
        parser.add_argument(f"--{name}", action="store_true")
    args = parser.parse_args(words)
    assert Path(args.tokenizer, "tokenizer.json").is_file(), args.tokenizer
    if FAULT == "bench":
        raise SystemExit("ValueError: Initial test run failed")
    body = {"model": args.model, "prompt": "x", "max_tokens": args.random_output_len}
    begun, times = time.monotonic(), []
    for _ in range(args.num_prompts):
        asked = time.monotonic()
        request = urllib.request.Request(
            f"http://{args.host}:{args.port}{args.endpoint}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()
        times.append((time.monotonic() - asked) * 1000)
    seconds, percentile = time.monotonic() - begun, args.metric_percentiles
    result = {
        "completed": args.num_prompts - (FAULT == "bench-drops"),
        "output_throughput": args.num_prompts * args.random_output_len / seconds,
        "request_throughput": args.num_prompts / seconds,
        "median_ttft_ms": sorted(times)[len(times) // 2],
        f"p{percentile}_ttft_ms": max(times),
        "median_tpot_ms": 1.0,
        f"p{percentile}_tpot_ms": 2.0,
    }
    Path(args.result_dir, args.result_filename).write_text(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    elif sys.argv[1:3] == ["bench", "serve"]:
        bench(sys.argv[3:])
    else:
        raise SystemExit(f"vllm: no command {sys.argv[1]}")
