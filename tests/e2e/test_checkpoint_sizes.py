"""What headers tell of real checkpoints, to the byte, and how far off config.json alone is: within 2 percent.

The tool's own gaps are what config.json cannot tell: layers that were left out, scales of narrow layers.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild.fit.serving import Serving
from enginebuild.fit.weights import weight_bytes
from enginebuild.models import ModelFacts, facts_of
from enginebuild.sources import ModelRequest
from enginebuild.sources.headers import folder_headers
from parts.quantized import Texts, Wanted
from parts.quantizers import quantize, quantized_once, write_texts
from parts.smollm2 import WEIGHTS, smollm2
from parts.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.slow

#: Of what the tensors have together, by the real files.
LIMIT = 0.02


def _facts(folder: Path) -> tuple[ModelFacts, ModelFacts]:
    """By config.json alone, and by the headers."""
    config = json.loads((folder / "config.json").read_text())
    headers = folder_headers(ModelRequest(f"file:{folder}", None, Path("/")))
    assert headers is not None
    return facts_of(config), facts_of(config, tensors=headers.tensors)


def _tensors(folder: Path) -> int:
    """Bytes of the files without their headers, by themselves."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            total += path.stat().st_size - 8 - int.from_bytes(file.read(8), "little")
    return total


def _held(facts: ModelFacts) -> float:
    assert facts.shape is not None
    return sum(weight_bytes(facts, facts.shape, Serving("vllm")))


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        Wanted("w8a8_int8", "llm-compressor"),
        Wanted("w4a16", "llm-compressor", group_size=64),
    ],
    ids=lambda value: "plain" if value is None else value.method,
)
def test_a_real_model_in_three_forms(wanted: Wanted | None) -> None:
    folder = smollm2() if wanted is None else quantized_once(wanted, smollm2(), WEIGHTS).folder
    counted, read = _facts(folder)
    size = _tensors(folder)
    assert read.checkpoint_bytes == _held(read) == size
    assert counted.counted_bytes == pytest.approx(size, rel=LIMIT)
    assert _held(counted) == pytest.approx(size, rel=LIMIT)
    assert read.by_kind() == counted.by_kind()
    assert read.parameters == 134_515_008


@pytest.mark.parametrize(
    ("wanted", "off"),
    [
        (Wanted("fp8_per_channel_per_token", "llm-compressor"), 0.02),
        (Wanted("w4a16_gptq", "llm-compressor", group_size=64, calibration=Texts(num_samples=8)), 0.02),
        (Wanted("mxfp4", "llm-compressor"), 0.02),
        (Wanted("fp8_per_channel_per_token", "modelopt"), 0.02),
        (Wanted("nvfp4", "modelopt", kv_cache_dtype="fp8", calibration=Texts(num_samples=8)), 0.02),
        # A layer that was left out is written in config.json by its number, which is not counted.
        (Wanted("fp8_block_scales", "modelopt", exclude_modules=("lm_head", "model.layers.0.*")), 0.35),
    ],
    ids=lambda value: f"{value.tool}-{value.method}" if isinstance(value, Wanted) else "",
)
def test_a_tiny_model_in_every_form(wanted: Wanted, off: float, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model", width=4)
    write_texts(tmp_path / "texts")
    made = quantize(wanted, tmp_path / "model", tmp_path / "texts", tmp_path / "made", [])
    counted, read = _facts(made.folder)
    size = _tensors(made.folder)
    assert read.checkpoint_bytes == size
    assert _held(read) == size
    assert read.parameters == _facts(tmp_path / "model")[0].parameters
    assert abs(counted.counted_bytes - size) <= off * size
    assert read.unknown == ()
