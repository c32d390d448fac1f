"""Real `vllm serve --config` on the CPU with the file that enginebuild writes: it answers, and says whose
build it is.

The model's path is given on the command line, for /model is the image's; command line over file is vLLM's own
rule.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from enginebuild.engines.vllm import VllmSettings, check_arguments, healthcheck, render
from enginebuild.recipe.verification import Quality
from enginebuild.verify.answers import read_answer
from enginebuild.verify.quality import measured, quality_requests
from enginebuild_cache import Digest, Json
from parts.smollm2 import smollm2
from parts.vllm_cpu import VERSION, VllmCpu, vllm_cpu
from parts.vllm_server import VllmServer, free_port, vllm_server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_TINY = Path(__file__).parents[2] / "recipes" / "quickstart-model"
_KEY = str(Digest.of(b"a build's key"))


@pytest.fixture(scope="module")
def installed() -> VllmCpu:
    return vllm_cpu()


def _config(folder: Path, port: int, name: str, dtype: str, **more: Json) -> Path:
    args: dict[str, Json] = {"port": port, "enforce_eager": True, "enable_prefix_caching": False, **more}
    assert check_arguments(VERSION, args) == []
    path = folder / "vllm.yaml"
    path.write_bytes(
        render(VllmSettings(VERSION, served_model_name=name, fingerprint=_KEY, dtype=dtype, args=args))
    )
    return path


def _words(model: Path, config: Path) -> Sequence[str | Path]:
    return [model, "--config", config, "--host", "127.0.0.1"]


def _chat(server: VllmServer, model: str, question: str) -> tuple[str, str]:
    """The answer to a question, and the fingerprint that it carries."""
    answer = server.json(
        "POST",
        "/v1/chat/completions",
        {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 12,
            "temperature": 0,
        },
    )
    return answer["choices"][0]["message"]["content"], answer["system_fingerprint"]


def _perplexity(server: VllmServer, model: str, text: str) -> float:
    """As verify.quality asks for it."""
    quality = Quality((text,), 1, None, 0.1)
    requests = quality_requests(quality, probabilities=True)
    bodies = [server.json("POST", each.path, {**each.body, "model": model}) for each in requests]
    answers = [read_answer({"status": 200, "body": body}) for body in bodies]
    assert [each.judge(answer) for each, answer in zip(requests, answers, strict=True)] == ["", ""]
    found = measured(quality, answers)
    assert len(found.top[0]) == len(found.logprobs[0]) >= 5
    assert found.perplexity is not None
    return found.perplexity


def _healthcheck(port: int) -> int:
    _, *words = healthcheck(port)
    return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode


def test_a_real_model_answers_with_the_builds_key(installed: VllmCpu, tmp_path: Path) -> None:
    port = free_port()
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    config = _config(tmp_path, port, name, "float16", max_model_len="1k", max_num_seqs=4)
    with vllm_server(installed, _words(smollm2(), config), port, tmp_path / "log") as server:
        assert _healthcheck(port) == 0
        (model,) = server.json("GET", "/v1/models")["data"]
        assert (model["id"], model["max_model_len"]) == (name, 1000)
        answer, fingerprint = _chat(server, name, "What is the capital of France?")
        assert "Paris" in answer
        assert fingerprint == _KEY
        likely, unlikely = (
            _perplexity(server, name, f"The capital of France is {x}") for x in ("Paris", "Oslo")
        )
        assert 1 < likely < unlikely
        _, metrics = server.request("GET", "/metrics")
        assert b'enable_prefix_caching="False"' in metrics
        assert server.stop() == 0
        assert _healthcheck(port) == 1


def test_the_quickstarts_model_is_one_that_vllm_serves(installed: VllmCpu, tmp_path: Path) -> None:
    port = free_port()
    config = _config(tmp_path, port, "quickstart", "float32", max_model_len=256)
    with vllm_server(installed, _words(_TINY, config), port, tmp_path / "log") as server:
        first = _chat(server, "quickstart", "Hello!")
        assert first == _chat(server, "quickstart", "Hello!")
        assert first[1] == _KEY
        turned = server.json(
            "POST",
            "/tokenize",
            {"model": "quickstart", "messages": [{"role": "user", "content": "hi"}]},
        )
        text = server.json("POST", "/detokenize", {"model": "quickstart", "tokens": turned["tokens"]})[
            "prompt"
        ]
        assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        assert server.stop() == 0
