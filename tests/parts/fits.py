"""Recipes and models for the tests of the preflight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enginebuild.check import read_checked
from enginebuild.fit import Fit, fit
from enginebuild.models import facts_of
from enginebuild.recipe import Recipe
from parts.published_models import config

L8 = "meta-llama/Llama-3.1-8B-Instruct"
L70 = "meta-llama/Llama-3.3-70B-Instruct"
L405 = "meta-llama/Llama-3.1-405B-Instruct"
V3 = "deepseek-ai/DeepSeek-V3"
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"
QWEN_72B = "Qwen/Qwen2.5-72B-Instruct"
QWEN_235B = "Qwen/Qwen3-235B-A22B"
OSS_120B = "openai/gpt-oss-120b"

AWQ: Mapping[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 128}
FP8_BLOCKS: Mapping[str, Any] = {"quant_method": "fp8", "weight_block_size": [128, 128]}
FP8_ROWS: Mapping[str, Any] = {
    "quant_method": "compressed-tensors",
    "config_groups": {
        "group_0": {
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8},
        }
    },
    "ignore": ["lm_head"],
}

#: How a model of a test is quantized already, by a short name.
FORMS: Mapping[str, Mapping[str, Any] | None] = {
    "-": None,
    "awq": AWQ,
    "fp8-blocks": FP8_BLOCKS,
    "fp8-rows": FP8_ROWS,
}

_VLLM = """version: 1
name: fits
model: hf://org/model@main
gpu: H100-SXM-80GB
tensor_parallel_size: 1
engine:
  type: vllm
  version: 0.33.0
  args:
    max_model_len: 8192
image:
  base: docker.io/vllm/vllm-openai:v0.33.0
"""
_PYTORCH = """version: 1
name: fits
model: hf://org/model@main
gpu: H100-SXM-80GB
tensor_parallel_size: 1
engine:
  type: tensorrt_llm
  version: 1.2.1
  mode: pytorch
  runtime:
    max_seq_len: 8192
    max_batch_size: 64
image:
  base: nvcr.io/nvidia/tensorrt-llm/release:1.2.1
"""
_ENGINE = """version: 1
name: fits
model: hf://org/model@main
dtype: bfloat16
gpu: H100-SXM-80GB
tensor_parallel_size: 1
engine:
  type: tensorrt_llm
  version: 1.2.1
  mode: engine
  build:
    max_seq_len: 8192
    max_batch_size: 64
image:
  base: nvcr.io/nvidia/tensorrt-llm/release:1.2.1
"""
TEXTS = {"vllm": _VLLM, "pytorch": _PYTORCH, "engine": _ENGINE}


def written(folder: Path, target: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe of a target that passes its own checks, changed as with --set."""
    path = folder / f"{target}.yaml"
    path.write_text(TEXTS[target])
    return read_checked(path, overrides)


def fitted(recipe: Recipe, model: str, quantized: Mapping[str, Any] | None = None, **changed: Any) -> Fit:
    """A recipe held against a published model, quantized or changed."""
    section = {} if quantized is None else {"quantization_config": dict(quantized)}
    return fit(recipe, facts_of(config(model) | section | changed))
