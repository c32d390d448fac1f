"""Changing one field of a recipe rebuilds exactly the steps whose key has it: a table over all fields.

Resolved for real (a Hub on loopback, local calibration data), but for the digests of images, which are those
of their names. What a step would make is taken to differ wherever its key does: no step hides a change from
those that come after it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enginebuild.bases import Bases
from enginebuild.check import read_checked
from enginebuild.events import silent
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.section import Section, ShortOrSection
from enginebuild.resolve import resolve
from enginebuild.steps import steps_of
from enginebuild_cache import Digest, File, Store, Tree
from parts.hub_server import HubServer
from parts.services import nvidia_path
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_recipes import GPU, TEXTS, changed

CALIBRATION = {"dataset": "file:./texts", "num_samples": 8}
#: Beside another field: without a method that has groups, a local builder without its folder, there is none.
GROUPS = {"quantization.group_size": {"quantization": {"method": "w4a16_awq", "kv_cache_dtype": None}}}
LOCAL = {"builder": {"runner": "local"}}
REPLACED = {"builder": {"runner": "local", "image": None}}
#: No value that could be another one.
FIXED = "there is one value only"


@dataclass(frozen=True)
class Scenario:
    """A recipe, and for each field another value with the steps that it rebuilds; a text says why not.

    `given`: what the recipe must have for the field to mean something; `along`: what must change with it.
    """

    recipe: Mapping[str, Any]
    steps: str
    rows: Mapping[str, tuple[Any, str] | str]
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    along: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def recipe(engine: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "tiny",
        "model": {"source": "hf://org/tiny", "revision": "main"},
        "dtype": "bfloat16",
        "gpu": GPU,
        "engine": dict(engine),
        "image": {"base": "registry.example.com/base:1"},
        **more,
    }


TASK = {"task": "mine", "dataset": "file:./mine", "metric": "acc", "max_drop": 0.1}


def verified(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section `verify` that fields of it are added to."""
    solved = {"tasks": [TASK], "lm_eval": {"environment": "/opt/lm-eval"}}
    bounded = {"prompts": ["Water boils at"], "max_exact_match_drop": 0.2, **solved}
    quality = {"quality": bounded} if "quantization" in values else {}
    return {"verify": {"performance": {}, **quality}}


ALL = "fetch convert compile tokenizer configure image"
MADE = "convert compile configure image"
BUILT = "compile configure image"
SERVED = "configure image"
NONE = ""

#: Fields that decide nothing of what is made, in every scenario.
FREE: Mapping[str, tuple[Any, str] | str] = {
    "version": FIXED,
    "name": ("other", NONE),
    "model.auth": ("OTHER_TOKEN", NONE),
    "model.allow_pickle": (True, NONE),
    "image.repository": ("registry.example.com/llm/other", NONE),
    "image.tags": (["other"], NONE),
    "image.labels": ({"team": "ml"}, "image"),
    "image.compression": ("gzip", "image"),
    "allow": (["memory"], NONE),
    "cache.remote": ("registry.example.com/llm/cache", NONE),
    # How a cell comes to its values decides nothing; the values do, in the rows of their fields.
    "matrix": ({"dtype": ["bfloat16"]}, NONE),
    "variants": ([{"when": {"dtype": "bfloat16"}, "name": "other"}], NONE),
}

#: What the finished image must do: it is looked at, and nothing in it changes.
PERPLEXITY = "verify.quality.max_perplexity_increase"
VERIFY: Mapping[str, tuple[Any, str] | str] = {
    "verify.quality.lm_eval.image": "instead of an environment",
} | {
    f"verify.{name}": (value, NONE)
    for name, value in {
        "smoke.prompts": [{"prompt": "The sea is", "expect": "blue"}],
        "quality.prompts": ["The sea is"],
        "quality.max_tokens": 8,
        "quality.max_exact_match_drop": 0.1,
        "quality.max_perplexity_increase": 0.1,
        "quality.tasks": [{**TASK, "limit": 8}],
        "quality.lm_eval.environment": "/opt/other",
        "quality.lm_eval.num_concurrent": 8,
        "performance.concurrency": [1],
        "performance.requests": 8,
        "performance.input_len": 64,
        "performance.output_len": 8,
        "performance.percentile": "p99",
        "performance.max_time_to_first_token_ms": 100,
        "performance.max_time_per_output_token_ms": 10,
        "performance.min_throughput_tokens_per_second": 10,
        "timeout": "2h",
        "memory": "8GB",
        "shm_size": "1GB",
    }.items()
}
#: Limits and places of the builder that decide nothing either.
BUILDER: Mapping[str, tuple[Any, str] | str] = {
    "builder.gpus": (2, NONE),
    "builder.timeout": ("1h", NONE),
    "builder.memory": ("8GB", NONE),
    "builder.shm_size": ("1GB", NONE),
}

#: Limits of a start for its compile cache.
WARM: Mapping[str, tuple[Any, str] | str] = {
    "warm.timeout": ("2h", NONE),
    "warm.memory": ("8GB", NONE),
    "warm.shm_size": ("1GB", NONE),
}
NO_WARM: Mapping[str, tuple[Any, str] | str] = dict.fromkeys(WARM, "see WARMED")

ENGINE = Scenario(
    recipe(
        {"type": "tensorrt_llm", "version": "1.2.1", "build": {"max_batch_size": 4}},
    ),
    ALL,
    {
        **FREE,
        **VERIFY,
        **BUILDER,
        **NO_WARM,
        "model.source": ("hf://org/other", ALL),
        "model.revision": ("{commit}", NONE),  # the same commit by another name
        "model.allow_patterns": (["*.safetensors", "config.json", "tokenizer*.json"], ALL),
        "model.ignore_patterns": (["generation_config.json"], ALL),
        "dtype": ("float16", MADE),
        **{path: "see CALIBRATED" for path in VERIFY if ".quality." in path},
        "quantization.method": ("w8a16", MADE),
        "quantization.tool": "quantize.py is the only tool of engines",
        "quantization.kv_cache_dtype": "see CALIBRATED",
        "quantization.group_size": "see CALIBRATED",
        "quantization.exclude_modules": "not with quantize.py",
        **{
            f"quantization.calibration.{name}": "see CALIBRATED"
            for name in ("dataset", "num_samples", "max_seq_length", "batch_size", "seed")
        },
        "tensor_parallel_size": (2, MADE),
        "pipeline_parallel_size": (2, MADE),
        "gpu": ("H100-PCIe-80GB", BUILT),
        "engine.type": "another engine is another recipe",
        "engine.version": ("1.2.0", MADE),
        "engine.args": "vLLM's",
        "engine.validate": "vLLM's",
        "engine.mode": "see PYTORCH",
        "engine.build": ({"max_batch_size": 8}, BUILT),
        "engine.runtime": ({"num_postprocess_workers": 2}, SERVED),
        "engine.server": ("triton", "triton " + SERVED),
        "image.base": ("registry.example.com/other:1", SERVED),
        "image.layout": "an engine has a server",
        "image.platform": ("linux/arm64", MADE),
        "builder.runner": "with builder.environment",
        "builder.environment": ("./environment", MADE),
        "builder.image": ("registry.example.com/builder:1", MADE),
        "builder.timing_cache": ("file:./model.cache", "timing_cache " + BUILT),
    },
    along={"builder.environment": LOCAL},
)

QUANTIZED = ALL.replace("convert", "calibration quantize")
REQUANTIZED = MADE.replace("convert", "quantize")
CALIBRATED = Scenario(
    {
        **ENGINE.recipe,
        "quantization": {"method": "fp8", "kv_cache_dtype": "fp8", "calibration": CALIBRATION},
    },
    QUANTIZED,
    {
        **{
            path: row
            if isinstance(row, str)
            else (row[0], row[1].replace("convert", "quantize") if row[1] else NONE)
            for path, row in ENGINE.rows.items()
        },
        **VERIFY,
        PERPLEXITY: "only vLLM gives the logprobs that it needs",
        "quantization.method": ("w4a16_awq", REQUANTIZED),
        "quantization.kv_cache_dtype": ("int8", REQUANTIZED),
        "quantization.group_size": (64, REQUANTIZED),
        "quantization.calibration.dataset": ("file:./others", "calibration " + REQUANTIZED),
        "quantization.calibration.num_samples": (16, REQUANTIZED),
        "quantization.calibration.max_seq_length": (64, REQUANTIZED),
        "quantization.calibration.batch_size": (2, REQUANTIZED),
        "quantization.calibration.seed": (7, REQUANTIZED),
    },
    GROUPS,
    {"builder.environment": LOCAL},
)

PYTORCH = Scenario(
    recipe(
        {"type": "tensorrt_llm", "version": "1.2.1", "mode": "pytorch", "runtime": {"max_batch_size": 4}},
        quantization={"method": "fp8", "calibration": CALIBRATION},
        builder={"image": "registry.example.com/modelopt:1"},
    ),
    "fetch calibration quantize configure image",
    {
        **FREE,
        **VERIFY,
        PERPLEXITY: "only vLLM gives the logprobs that it needs",
        **BUILDER,
        **NO_WARM,
        "model.source": ("hf://org/other", "fetch quantize configure image"),
        "model.revision": ("{commit}", NONE),
        "model.allow_patterns": (
            ["*.safetensors", "config.json", "tokenizer*.json"],
            "fetch quantize configure image",
        ),
        "model.ignore_patterns": (["generation_config.json"], "fetch quantize configure image"),
        "dtype": ("float16", SERVED),
        "quantization.method": ("w4a16_awq", "quantize configure image"),
        "quantization.tool": "modelopt is the only tool of this mode",
        "quantization.kv_cache_dtype": ("fp8", "quantize configure image"),
        "quantization.group_size": (64, "quantize configure image"),
        "quantization.exclude_modules": (["lm_head", "*.o_proj"], "quantize configure image"),
        "quantization.calibration.dataset": ("file:./others", "calibration quantize configure image"),
        "quantization.calibration.num_samples": (16, "quantize configure image"),
        "quantization.calibration.max_seq_length": (64, "quantize configure image"),
        "quantization.calibration.batch_size": (2, "quantize configure image"),
        "quantization.calibration.seed": (7, "quantize configure image"),
        "tensor_parallel_size": (2, SERVED),
        "pipeline_parallel_size": (2, SERVED),
        "gpu": ("H100-PCIe-80GB", SERVED),
        "engine.type": "another engine is another recipe",
        "engine.version": ("1.2.0", SERVED),
        "engine.args": "vLLM's",
        "engine.validate": "vLLM's",
        "engine.mode": "see ENGINE",
        "engine.build": "engines' alone",
        "engine.runtime": ({"max_batch_size": 8}, SERVED),
        "engine.server": ("triton", "triton " + SERVED),
        "image.base": ("registry.example.com/other:1", SERVED),
        "image.layout": ("model", "configure image"),
        "image.platform": ("linux/arm64", "quantize configure image"),
        "builder.runner": "with builder.environment",
        "builder.environment": ("./environment", "quantize configure image"),
        "builder.image": ("registry.example.com/builder:1", "quantize configure image"),
        "builder.timing_cache": "engines' alone",
    },
    GROUPS,
    {"image.layout": {"image": {"base": "scratch"}}, "builder.environment": REPLACED},
)

VLLM = Scenario(
    recipe(
        {"type": "vllm", "version": "0.33.0", "args": {"max_model_len": 256}},
        quantization={"method": "fp8", "calibration": CALIBRATION},
        builder={"image": "registry.example.com/compressor:1"},
    ),
    PYTORCH.steps,
    {
        **PYTORCH.rows,
        **VERIFY,
        "quantization.tool": ("modelopt", "quantize configure image"),
        "engine.version": ("0.32.0", SERVED),
        "engine.args": ({"max_model_len": 128}, SERVED),
        "engine.validate": (True, "metadata validate"),
        "engine.mode": "TensorRT-LLM's",
        "engine.build": "TensorRT-LLM's",
        "engine.runtime": "TensorRT-LLM's",
        "engine.server": "TensorRT-LLM's",
    },
    GROUPS,
    PYTORCH.along,
)

REWARMED = "configure warm image"
WARM_ALL = f"fetch model_config {REWARMED}"
WARMED = Scenario(
    recipe({"type": "vllm", "version": "0.33.0", "args": {"max_model_len": 256}}, warm={"timeout": "1h"}),
    WARM_ALL,
    {
        **dict.fromkeys(VLLM.rows, "see VLLM"),
        **FREE,
        **{path: row for path, row in VERIFY.items() if ".quality." not in path},
        **BUILDER,
        **WARM,
        "model.source": ("hf://org/other", WARM_ALL),
        "model.revision": ("{commit}", NONE),
        "model.allow_patterns": (["*.safetensors", "config.json", "tokenizer*.json"], WARM_ALL),
        "model.ignore_patterns": (["generation_config.json"], WARM_ALL),
        "dtype": ("float16", REWARMED),
        "tensor_parallel_size": (2, REWARMED),
        "pipeline_parallel_size": (2, REWARMED),
        "gpu": "the machine has no other",
        "engine.version": ("0.32.0", REWARMED),
        "engine.args": ({"max_model_len": 128}, REWARMED),
        "engine.validate": (True, "metadata validate"),
        "image.base": ("registry.example.com/other:1", REWARMED),
        "image.platform": ("linux/arm64", REWARMED),
    },
)
#: Arguments of which a served name and what an answer looks like decide the image, and nothing compiled.
UNCOMPILED = ({"served_model_name": "other", "port": 9000}, "configure image")

SCENARIOS = {
    "engine": ENGINE,
    "calibrated": CALIBRATED,
    "pytorch": PYTORCH,
    "vllm": VLLM,
    "warmed": WARMED,
}
#: Two GPUs of the kind in the recipes, of which a cache's key has the name.
GPUS = "; ".join(["NVIDIA H100 80GB HBM3, 9.0, 81559, 81004"] * 2)


class NamedBases(Bases):
    """Every image is there: its digest is that of its name and platform."""

    def digest(self, reference: str, platform: str, called: str = "base image") -> Digest | None:
        return Digest.of(f"{reference} {platform}".encode())


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    root = tmp_path_factory.mktemp("hub")
    write_tiny_llama(root / "org" / "tiny")
    write_tiny_llama(root / "org" / "other", seed=1)
    # Every file of it is another one.
    for path in (root / "org" / "other").glob("*.json"):
        path.write_text(path.read_text() + "\n")
    with HubServer(root) as server:
        yield server


@dataclass(frozen=True)
class Desk:
    """A folder with what the recipes name, and a store."""

    folder: Path
    store: Store
    hub: HubServer

    def keys(self, values: Mapping[str, Any]) -> dict[str, Digest]:
        """Step → key."""
        path = self.folder / "tiny.yaml"
        path.write_text(json.dumps(values))
        read = read_checked(path)
        bases = NamedBases(self.folder, lambda: pytest.fail("a registry was asked"))
        planned = steps_of(read, resolve(read, None, self.store, bases, silent), bases, 1)
        assert planned.key is not None, [step.unresolved for step in planned.steps]
        keys: dict[str, Digest] = {}
        trees: dict[str, Tree] = {}
        for step in planned.steps:
            keys[step.name] = step.key(trees)
            assumed = Tree.of([File("made", keys[step.name], 1)])
            trees[step.name] = step.output if step.output is not None else assumed
        return keys


@pytest.fixture
def desk(tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("PATH", nvidia_path())
    monkeypatch.setenv("NVIDIA_SMI_STANDIN_GPUS", GPUS)
    for name, texts in (("texts", TEXTS), ("others", TEXTS + TEXTS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(texts)
    (tmp_path / "model.cache").write_bytes(b"timing")
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    python = tmp_path / "environment" / "bin" / "python3"
    python.write_text('#!/bin/sh\necho \'{"python": "3.12.3", "tensorrt_llm": "1.2.1"}\'\n')
    python.chmod(0o755)
    return Desk(tmp_path, Store.open(tmp_path / "cache"), hub)


def together(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with other sections merged into its own."""
    made = copy.deepcopy(dict(values))
    for name, section in more.items():
        merged = {**made.get(name, {}), **section}
        made[name] = {key: value for key, value in merged.items() if value is not None}
    return made


def paths(section: Section, prefix: str = "") -> Iterator[str]:
    """Every field of the format that holds a value, by its dotted path."""
    for each in section.fields:
        kind = each.kind
        inner = kind.section if isinstance(kind, ShortOrSection) else kind
        if isinstance(inner, Section):
            yield from paths(inner, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_field_of_the_format_has_a_row(name: str) -> None:
    assert sorted(SCENARIOS[name].rows) == sorted(paths(RECIPE))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_steps_of_a_recipe(name: str, desk: Desk) -> None:
    scenario = SCENARIOS[name]
    first, again = desk.keys(scenario.recipe), desk.keys(copy.deepcopy(dict(scenario.recipe)))
    assert sorted(first) == sorted(scenario.steps.split())
    assert first == again


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, path)
        for name, scenario in SCENARIOS.items()
        for path, row in scenario.rows.items()
        if isinstance(row, tuple)
    ],
)
def test_one_field_rebuilds_exactly_the_steps_whose_key_has_it(name: str, path: str, desk: Desk) -> None:
    scenario = SCENARIOS[name]
    row = scenario.rows[path]
    assert isinstance(row, tuple)
    value, rebuilt = row
    if path == "model.revision":
        value = desk.hub.commit("org/tiny")
    given = verified(scenario.recipe) if path in VERIFY else scenario.given.get(path, {})
    before = together(scenario.recipe, given)
    first = desk.keys(before)
    then = desk.keys(changed(together(before, scenario.along.get(path, {})), path, value))
    assert {step for step in {*first, *then} if first.get(step) != then.get(step)} == set(rebuilt.split())


def test_a_served_name_is_not_compiled(desk: Desk) -> None:
    value, rebuilt = UNCOMPILED
    args = {"max_model_len": 256, **value}
    first = desk.keys(WARMED.recipe)
    then = desk.keys(changed(WARMED.recipe, "engine.args", args))
    assert {step for step in first if first[step] != then[step]} == set(rebuilt.split())


def test_what_is_not_warmed_has_the_keys_of_an_image_without_a_cache(desk: Desk) -> None:
    plain = {name: value for name, value in WARMED.recipe.items() if name != "warm"}
    assert desk.keys({**plain, "warm": False}) == desk.keys(plain)
    assert sorted(desk.keys(plain)) == ["configure", "fetch", "image"]
