"""Each trap of vLLM's config file: what a recipe says is what real vLLM 0.32.0 (CPU) ends up with.

The effective value is vLLM's own engine configuration, made of the emitted file by one process for all.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.vllm import CONFIG_PATH, VllmSettings, check_arguments, entrypoint, render
from enginebuild_cache import Json
from parts import vllm_parse
from parts.recipes import QUICKSTART_MODEL
from parts.vllm_cpu import VERSION, vllm_cpu

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_PATIENCE = 240.0  # seconds for one python that imports vLLM


@dataclass(frozen=True)
class Trap:
    """Arguments of a recipe, and what vLLM must have: parsed (`read`) and in its engine configuration."""

    args: Mapping[str, Json]
    engine: Mapping[str, Json]
    read: Mapping[str, Json] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)


_NGRAM: dict[str, Json] = {
    "method": "ngram",
    "num_speculative_tokens": 3,
    "prompt_lookup_max": 4,
    "prompt_lookup_min": 2,
}

TRAPS: dict[str, Trap] = {
    "false is ignored without a message": Trap(
        {
            "enable_prefix_caching": False,
            "enable_chunked_prefill": False,
            "enforce_eager": False,
            "max_model_len": 256,
        },
        {"enable_prefix_caching": False, "enable_chunked_prefill": False, "enforce_eager": False},
    ),
    "true": Trap(
        {"enable_prefix_caching": True, "enable_chunked_prefill": True, "enforce_eager": True},
        {"enable_prefix_caching": True, "enable_chunked_prefill": True, "enforce_eager": True},
    ),
    "k is 1000": Trap({"max_model_len": "1k"}, {"max_model_len": 1000}),
    "K is 1024": Trap({"max_model_len": "1K"}, {"max_model_len": 1024}),
    "the length of the model": Trap({"max_model_len": "auto"}, {"max_model_len": 2048}),
    "LoRA modules as mappings": Trap(
        {
            "enable_lora": True,
            "max_lora_rank": 64,
            "max_loras": 2,
            "lora_modules": [{"name": "sql", "path": "/loras/sql"}, "chat=/loras/chat"],
        },
        {"max_lora_rank": 64, "max_loras": 2},
        {"lora_modules": [{"name": "sql", "path": "/loras/sql"}, {"name": "chat", "path": "/loras/chat"}]},
    ),
    "several names": Trap(
        {"served_model_name": ["a", "b"]}, {"served_model_name": "a"}, {"served_model_name": ["a", "b"]}
    ),
    "a list that is one JSON text": Trap({"allowed_origins": ["*"]}, {}, {"allowed_origins": ["*"]}),
    "an empty list is dropped": Trap({"allowed_methods": []}, {}, {"allowed_methods": []}),
    "a drafter as a mapping": Trap({"speculative_config": _NGRAM}, {"speculative_config": _NGRAM}),
    "compilation as a mapping": Trap(
        {"compilation_config": {"custom_ops": ["none"], "debug_dump_path": "/dump"}},
        {"compilation_config": {"custom_ops": ["none"], "debug_dump_path": "/dump"}},
    ),
    "a number with an exponent": Trap(
        {"override_generation_config": {"temperature": 1e-05}},
        {"override_generation_config": {"temperature": 1e-05}},
    ),
    "generation defaults of the model's author": Trap(
        {}, {"generation_config": "auto"}, {"generation_config": "auto"}
    ),
    "none of these": Trap({"generation_config": "vllm"}, {"generation_config": "vllm"}),
    "92 % of memory": Trap({"gpu_memory_utilization": 0.1}, {"gpu_memory_utilization": 0.1}),
    "memory in bytes": Trap({"kv_cache_memory_bytes": "1G"}, {"kv_cache_memory_bytes": 1 << 30}),
    "no compiler without -O0": Trap({"optimization_level": 0}, {"optimization_level": 0}),
    "level 2": Trap({"optimization_level": 2}, {"optimization_level": 2}),
    "sizes": Trap(
        {"max_num_seqs": 7, "max_num_batched_tokens": "2K", "block_size": 32, "seed": 5},
        {"max_num_seqs": 7, "max_num_batched_tokens": 2048, "block_size": 32, "seed": 5},
    ),
    "a quantized KV cache": Trap({"kv_cache_dtype": "fp8"}, {"kv_cache_dtype": "fp8"}),
    "fields at the top": Trap(
        {},
        {"dtype": "float16", "tensor_parallel_size": 2, "pipeline_parallel_size": 1},
        fields={"dtype": "float16", "tensor_parallel_size": 2},
    ),
    "the build's key": Trap({}, {}, {"fingerprint_mode": "custom", "fingerprint_value": "sha256:ab"}),
}

#: What our own table cannot know, and vLLM's engine configuration refuses.
REFUSED: dict[str, tuple[dict[str, Json], dict[str, Any], str]] = {
    "3 GPUs for 2 heads": (
        {},
        {"tensor_parallel_size": 3},
        "Total number of attention heads (2) must be divisible by tensor parallel size (3).",
    ),
    "longer than the model": (
        {"max_model_len": 4096},
        {},
        "User-specified max_model_len (4096) is greater than the derived max_model_len",
    ),
}

#: What vLLM drops, or finds out when the server starts, is refused before a file is written.
NEVER_WRITTEN: dict[str, dict[str, Json]] = {
    "null": {"seed": None},
    "an empty list of words": {"middleware": [], "served_model_name": []},
    "another spelling": {"max-model-len": 256},
    "a quantization that is not there": {"quantization": "nope"},
    "a parser that is not there": {"tool_call_parser": "nope", "enable_auto_tool_choice": True},
    "an unknown argument": {"max_modl_len": 256},
    "a wrong choice": {"kv_cache_dtype": "fp9"},
    "a wrong type": {"max_num_seqs": "many"},
}


def _emitted(folder: Path, name: str, args: Mapping[str, Json], fields: Mapping[str, Any]) -> Path:
    assert check_arguments(VERSION, args) == []
    settings = {"served_model_name": "org/m", "fingerprint": "sha256:ab", "dtype": "float32", **fields}
    path = folder / f"{name}.yaml"
    path.write_bytes(render(VllmSettings(VERSION, **settings, args=args)))
    return path


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What vLLM makes of every file here, in one process."""
    folder = tmp_path_factory.mktemp("traps")
    files = {name: _emitted(folder, name, trap.args, trap.fields) for name, trap in TRAPS.items()}
    files |= {name: _emitted(folder, name, args, fields) for name, (args, fields, _) in REFUSED.items()}
    words = {
        "one word": [f"--config={files['k is 1000']}"],
        "two words": ["--config", str(files["k is 1000"])],
    }
    for name, each in words.items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps(each))
    installed = vllm_cpu()
    environment = dict(installed.environment(VLLM_TARGET_DEVICE="cpu"))
    del environment["VLLM_CPU_KVCACHE_SPACE"]  # it would win over kv_cache_memory_bytes
    ended = subprocess.run(
        [installed.python, "-P", str(vllm_parse.__file__), "--engine", QUICKSTART_MODEL, *files.values()],
        capture_output=True,
        env=environment,
        timeout=_PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    return dict(zip(files, json.loads(ended.stdout), strict=True))


@pytest.mark.parametrize("name", TRAPS)
def test_what_the_recipe_says_is_what_the_engine_has(
    answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    trap, answer = TRAPS[name], answers[name]
    assert "refused" not in answer, answer
    for argument, value in trap.read.items():
        assert answer["args"][argument] == value, argument
    for argument, value in trap.engine.items():
        found = answer["engine"][argument]
        if isinstance(value, dict):
            found = {key: found.get(key) for key in value}
        assert found == value, argument


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_the_engine_knows_is_refused_by_it(
    answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    assert REFUSED[name][2] in answers[name]["refused"]


@pytest.mark.parametrize("name", NEVER_WRITTEN)
def test_what_cannot_be_written_is_refused_by_us(name: str) -> None:
    assert check_arguments(VERSION, NEVER_WRITTEN[name]) != []


def test_the_image_names_its_file_in_two_words(answers: Mapping[str, Mapping[str, Any]]) -> None:
    """In one word it is ignored without a message, and another model is served."""
    assert entrypoint(("vllm", "serve")) == ("vllm", "serve", "--config", CONFIG_PATH)
    two, one = answers["two words"]["args"], answers["one word"]["args"]
    assert (two["model"], two["max_model_len"]) == ("/model", 1000)
    assert (one["model"], one["max_model_len"]) == ("Qwen/Qwen3-0.6B", None)
