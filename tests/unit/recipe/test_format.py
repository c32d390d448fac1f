"""The table of fields, the words of other tools and the catalogue of GPUs agree with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import enginebuild
from enginebuild.engines.tensorrt_llm.quantize import QFORMATS
from enginebuild.engines.tensorrt_llm.table import keys, options
from enginebuild.quantizers.forms import FORMS
from enginebuild.recipe import catalogue, read_cells
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.gpu import candidates
from enginebuild.recipe.methods import METHODS, SUPPORTED, TOOLS, default_tool
from enginebuild.recipe.quantization_words import (
    KV_CACHE_DTYPES,
    KV_CACHE_REFUSALS,
    QUANTIZATION_REFUSALS,
    QUANTIZATION_TOOLS,
    QUANTIZATIONS,
    TOOL_REFUSALS,
)
from enginebuild.recipe.section import Field, Section, ShortOrSection
from enginebuild.recipe.tensorrt_llm_words import (
    MODE_REFUSALS,
    MODES,
    SERVERS,
    TENSORRT_LLM_BUILD,
    TENSORRT_LLM_KEYS,
    TENSORRT_LLM_RUNTIME,
    TENSORRT_LLM_SIZES,
)
from enginebuild.recipe.unknown import PLACES, VLLM, tensorrt_llm
from enginebuild.recipe.words import DTYPES, ENGINE_ARGUMENTS, LATER, PLATFORMS, SET_BY_US

PACKAGE = Path(enginebuild.__file__).parent


def fields(section: Section = RECIPE, prefix: str = "") -> Iterator[tuple[str, Field]]:
    for field in section.fields:
        yield prefix + field.name, field
        inner = field.kind.section if isinstance(field.kind, ShortOrSection) else field.kind
        if isinstance(inner, Section):
            yield from fields(inner, f"{prefix}{field.name}.")


PATHS = dict(fields())


#: Names that mean too many other things in a wrong place, or are like words that do (level).
AMBIGUOUS = ("name", "gpus", "lm_eval", "max_tokens", "requests")


def test_places_hold_every_key_whose_name_is_used_once() -> None:
    last = {path: path.rsplit(".", 1)[-1] for path in PATHS}
    once = {name: path for path, name in last.items() if list(last.values()).count(name) == 1}
    # The builder's image is seldom what is meant.
    assert {**once, "image": "image"} == {**PLACES, **{name: once[name] for name in AMBIGUOUS}}


VOCABULARIES = [VLLM, tensorrt_llm("engine"), tensorrt_llm("pytorch")]


@pytest.mark.parametrize(
    ("word", "ours"), sorted({pair for vocabulary in VOCABULARIES for pair in vocabulary.keys.items()})
)
def test_a_peers_word_is_answered_with_a_path_that_exists(word: str, ours: str) -> None:
    section, _, option = ours.rpartition(".")
    assert ours in PATHS or option in OPTIONS[section]
    assert word not in RECIPE.names()
    assert word == word.lower().replace("-", "_")


YAML_KEYS = keys("1.3.0rc3")
OPTIONS: dict[str, set[str]] = {
    "engine.args": set(ENGINE_ARGUMENTS),
    "engine.build": set(options("1.3.0rc3", "build")),
    "engine.runtime": {*options("1.3.0rc3", "serve"), *YAML_KEYS},
    "engine.runtime.kv_cache_config": {
        name for section in YAML_KEYS["kv_cache_config"].sections.values() for name in section
    },
}


def test_words_of_other_tools_are_not_ours() -> None:
    assert not set(VLLM.keys) & set(VLLM.options)
    assert not set(LATER) & {path.rsplit(".", 1)[-1] for path in PATHS}
    assert set(DTYPES.values()) <= {"float16", "bfloat16", "float32"}
    assert set(PLATFORMS.values()) == {"linux/amd64", "linux/arm64"}
    assert set(QUANTIZATIONS.values()) <= {"none", *METHODS}
    assert not set(QUANTIZATIONS) & {"none", *METHODS, *QUANTIZATION_REFUSALS}
    assert set(QUANTIZATION_TOOLS.values()) == set(TOOLS)
    assert not set(TOOL_REFUSALS) & {*TOOLS, *QUANTIZATION_TOOLS}
    assert set(KV_CACHE_DTYPES.values()) <= {"fp8", "int8", "nvfp4"}
    assert not set(KV_CACHE_REFUSALS) & {"fp8", "int8", "nvfp4", *KV_CACHE_DTYPES}
    assert set(MODES.values()) == {"engine", "pytorch"}
    assert not set(MODE_REFUSALS) & {"engine", "pytorch", *MODES}
    assert set(SERVERS.values()) == {"trtllm-serve", "triton"}


@pytest.mark.parametrize("mode", ["engine", "pytorch"])
def test_words_of_tensorrt_llms_users_have_one_answer(mode: str) -> None:
    vocabulary = tensorrt_llm(mode)
    assert not set(TENSORRT_LLM_SIZES) & set(TENSORRT_LLM_KEYS[mode])
    assert not set(vocabulary.keys) & (set(vocabulary.options) | set(SET_BY_US))
    assert not set(SET_BY_US) & set(vocabulary.options)


def test_options_of_tensorrt_llm_are_those_of_its_parsers() -> None:
    assert sorted(TENSORRT_LLM_BUILD - OPTIONS["engine.build"]) == []
    assert sorted(TENSORRT_LLM_RUNTIME["engine"] - set(options("1.3.0rc3", "serve"))) == []
    assert sorted(TENSORRT_LLM_RUNTIME["pytorch"] - set(YAML_KEYS)) == []


def test_every_tool_makes_what_the_table_of_methods_says() -> None:
    made: dict[str, set[str]] = {"quantize.py": {*QFORMATS, "w4a16_gptq"}}
    made |= {name: set(forms) for name, forms in FORMS.items()}
    assert set(TOOLS) == set(made)
    for served, tools in SUPPORTED.items():
        assert default_tool(served) in tools
        for tool, supported in tools.items():
            assert sorted(set(supported.methods) - made[tool]) == []
            assert set(supported.methods) <= set(METHODS)


def test_engine_arguments_are_those_of_vllm() -> None:
    table = json.loads((PACKAGE / "engines" / "vllm" / "tables" / "0.33.0.json").read_text("utf-8"))
    assert sorted(ENGINE_ARGUMENTS - set(table["arguments"])) == []


def _recipe_around(path: str) -> dict[str, Any]:
    """A recipe in which the example of this field makes sense."""
    document: dict[str, Any] = {field.name: field.example for field in RECIPE.fields if field.required}
    section, _, name = path.rpartition(".")
    if section == "model":
        document["model"] = {"source": "hf://org/tiny"}
    elif name in ("mode", "build", "runtime", "server", "timing_cache"):
        document |= {"engine": {"type": "tensorrt_llm", "version": "1.2.1"}, "image": {"base": "scratch"}}
    elif section.startswith("quantization"):
        method = "fp8" if name == "tool" else "w4a16_awq"
        document["quantization"] = {"method": method, "calibration": {"dataset": "file:./texts"}}
    elif path.startswith("verify.quality"):
        document["quantization"] = "fp8_per_channel_per_token"
        document["verify"] = {"quality": {"prompts": ["Water boils at"], "max_exact_match_drop": 0.2}}
        if "tasks" in path or "lm_eval" in path:
            named = {} if name == "image" else {"environment": "/opt/lm-eval"}
            tasks = PATHS["verify.quality.tasks"].example
            document["verify"] = {"quality": {"tasks": tasks, "lm_eval": named}}
    elif path == "variants":
        document["matrix"] = PATHS["matrix"].example
    elif name == "environment":
        document["builder"] = {"runner": "local"}
    return document


@pytest.mark.parametrize("path", PATHS)
def test_the_example_of_a_field_is_accepted(path: str, tmp_path: Path) -> None:
    document = section = _recipe_around(path)
    *above, name = path.split(".")
    for key in above:
        section[key] = dict(section[key]) if isinstance(section.get(key), dict) else {}
        section = section[key]
    section[name] = PATHS[path].example
    recipe = tmp_path / "r.json"
    recipe.write_text(json.dumps(document))
    read_cells(recipe)


def test_texts_of_fields_are_sentences() -> None:
    for path, field in PATHS.items():
        assert re.fullmatch(r"[A-Z].*\.", field.text), path


#: The keys of an entry of gpus.json, in their order.
GPU_FACTS = [
    "compute_capability",
    "memory_gb",
    "memory_mib",
    "bandwidth_gb_s",
    "tflops",
    "nvlink_gb_s",
    "joined",
    "product",
    "source",
]


def test_catalogue() -> None:
    document = json.loads((PACKAGE / "gpus.json").read_text("utf-8"))
    assert list(document["gpus"]) == list(catalogue())
    for name, entry in document["gpus"].items():
        assert list(entry) == GPU_FACTS, name
        assert set(entry["source"]) <= set(document["sources"]), name
        assert re.fullmatch(r"(7|8|9|10|12)\.\d", entry["compute_capability"]), name
        size = re.search(r"-(\d+)GB$", name)
        assert size is None or int(size[1]) == entry["memory_gb"], name
        seen = entry["memory_mib"]
        assert seen is None or 0.92 < seen * 2**20 / (entry["memory_gb"] * 1e9) < 1.075, name
        assert ("smi-memory" in entry["source"]) == (seen is not None), name
        assert set(entry["tflops"]) <= {"fp16", "fp8", "int8", "fp4"}, name
        capability = float(entry["compute_capability"])
        assert ("fp8" in entry["tflops"]) == (capability >= 8.9), name
        assert ("fp4" in entry["tflops"]) == (capability >= 10), name
        assert (entry["nvlink_gb_s"] is None) <= (entry["joined"] == 1), name
    for capability, floor in document["driver_floors"].items():
        assert floor["source"] in document["sources"], capability
    products = [gpu.product for gpu in catalogue().values()]
    assert len(set(products)) == len(products)


@pytest.mark.parametrize(
    ("name", "capability", "memory"),
    [
        ("T4", "7.5", 16),
        ("A10G", "8.6", 24),
        ("A100-SXM-80GB", "8.0", 80),
        ("L40S", "8.9", 48),
        ("H100-SXM-80GB", "9.0", 80),
        ("H20-96GB", "9.0", 96),
        ("B200-SXM-180GB", "10.0", 180),
        ("B300-SXM-288GB", "10.3", 288),
        ("GB200-186GB", "10.0", 186),
        ("RTX-5090", "12.0", 32),
    ],
)
def test_facts_of_gpus(name: str, capability: str, memory: int) -> None:
    gpu = catalogue()[name]
    assert (gpu.compute_capability, gpu.memory_gb) == (capability, memory)


@pytest.mark.parametrize(
    ("name", "usable", "bandwidth", "fp16", "fp8", "floor"),
    [
        # What PyTorch reports as total memory, in GiB.
        ("T4", 14.56, 320, 65, None, "410.48"),
        ("L4", 22.05, 300, 121, 242.5, "520.61"),
        ("A100-SXM-80GB", 79.25, 2039, 312, None, "450.51"),
        ("H100-SXM-80GB", 79.1, 3350, 989.4, 1978.9, "520.61"),
        ("H200-SXM-141GB", 139.8, 4800, 989.4, 1978.9, "520.61"),
        ("B200-SXM-180GB", 178.4, 8000, 2250, 4500, "570.26"),
    ],
)
def test_speed_and_usable_memory_of_gpus(
    name: str, usable: float, bandwidth: float, fp16: float, fp8: float | None, floor: str
) -> None:
    gpu = catalogue()[name]
    assert gpu.usable_bytes / 2**30 == pytest.approx(usable, rel=0.005)
    assert (gpu.bandwidth_gb_s, gpu.tflops["fp16"], gpu.tflops.get("fp8")) == (bandwidth, fp16, fp8)
    assert gpu.driver_floor == floor


def test_a_gpu_that_was_not_seen_has_the_memory_of_its_datasheet() -> None:
    assert catalogue()["A2"].usable_bytes == 16 * 10**9 - (448 << 20)


@pytest.mark.parametrize("name", catalogue())
def test_every_gpu_is_found_by_its_product_name(name: str) -> None:
    product = catalogue()[name].product
    assert candidates(product) == [name]
    assert candidates(product.replace(" ", "-").lower()) == [name]
