"""What a build takes of its machine: memory by step and tool, room on the disk, time; when it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from enginebuild.execution import HostMemory
from enginebuild.fit import fit
from enginebuild.fit.builder import Build, Takes
from enginebuild.fit.memory import GIB
from enginebuild.models import ModelFacts, facts_of
from enginebuild.models.quantized import of_method
from enginebuild_cache import Digest, File, Tree
from parts.fits import L8, L70, written
from parts.published_models import config, facts

TEXTS = "calibration: {dataset: hf://datasets/org/texts, num_samples: 256}"
SHARD = 5 * GIB


def _sharded(model: str) -> ModelFacts:
    """As its listing shows it: files of 5 GiB, the rest in one."""
    size = facts(model).counted_bytes
    sizes = [SHARD] * (size // SHARD) + [size % SHARD]
    files = [File(f"{number}.safetensors", Digest.of(b""), each) for number, each in enumerate(sizes)]
    return facts_of(config(model), tree=Tree.of(files))


def _said(
    folder: Path, target: str, model: str, build: Build, *overrides: str, sharded: bool = False
) -> list[tuple[str, bool, str]]:
    known = _sharded(model) if sharded else facts(model)
    found = fit(written(folder, target, overrides), known, build=build)
    return [
        (each.check, each.refused, each.message)
        for each in found.findings
        if each.check in ("builder_memory", "disk", "timeout")
    ]


def _host(gib: float, swap: float = 0) -> Build:
    return Build(memory=HostMemory(round(gib * GIB), round(swap * GIB)))


def _quantization(method: str, *more: str) -> str:
    return f"quantization={{{', '.join([f'method: {method}', *more])}}}"


BUILDER = "builder={image: a/b:c}"
ON_CPU = "builder={image: a/b:c, gpus: 0}"


@pytest.mark.parametrize(
    ("quantization", "builder", "needed", "words"),
    [
        ("fp8_per_channel_per_token", BUILDER, "5.5", "llm-compressor quantizes one file after another"),
        ("w4a16_gptq", BUILDER, "15.5", "llm-compressor loads the whole model"),
        ("modelopt", ON_CPU, "15.5", "modelopt loads the whole model"),
        ("modelopt", BUILDER, "5.5", "modelopt brings one file after another to the GPUs"),
    ],
)
def test_a_quantizer_that_likely_has_too_little(
    quantization: str, builder: str, needed: str, words: str, tmp_path: Path
) -> None:
    said = _quantization(quantization)
    if quantization == "w4a16_gptq":
        said = _quantization(quantization, TEXTS)
    if quantization == "modelopt":
        said = _quantization("fp8_per_channel_per_token", "tool: modelopt")
    enough = float(needed) + 0.1
    assert _said(tmp_path, "vllm", L8, _host(enough), said, builder, sharded=True) == []
    less = float(needed) - 0.2
    needs = f"the step quantize needs probably {needed} GiB of memory ({words})"
    assert _said(tmp_path, "vllm", L8, _host(less, swap=100), said, builder, sharded=True) == [
        ("builder_memory", False, f"{needs}, and this machine has {less:.1f} GiB")
    ]


def test_what_is_made_in_memory_alone_is_a_refusal(tmp_path: Path) -> None:
    """Measured: all quantized numbers are in memory before one is written."""
    words = (_quantization("w4a16_gptq", TEXTS), BUILDER)
    made = of_method("w4a16", 128).bits / 8
    linear = sum(part.total for part in facts(L8).parts if part.linear and part.kind != "lm_head")
    rest = facts(L8).counted_bytes - 2 * linear
    least = 0.9 * (linear * made + rest)
    ((check, refused, message),) = _said(tmp_path, "vllm", L8, _host(4), *words)
    assert (check, refused) == ("builder_memory", True)
    assert message == (
        f"the step quantize needs at least {least / GIB:.1f} GiB of memory (llm-compressor loads the whole "
        "model), and this machine has 4.0 GiB"
    )
    # Swap may hold it, slowly; a container has none.
    ((_, refused, _),) = _said(tmp_path, "vllm", L8, _host(4, swap=8), *words)
    assert not refused
    limited = "builder={image: a/b:c, memory: 4GiB}"
    ((_, refused, message),) = _said(tmp_path, "vllm", L8, _host(400, swap=800), words[0], limited)
    assert refused
    assert message.endswith("and builder.memory is 4.0 GiB")
    ((_, refused, _),) = _said(tmp_path, "vllm", L8, _host(4), *words, "allow=[builder_memory]")
    assert not refused


def test_an_engine_is_in_memory_before_it_is_written(tmp_path: Path) -> None:
    said = _said(tmp_path, "engine", L8, _host(8))
    assert said == [
        (
            "builder_memory",
            False,
            (
                "the step convert needs probably 29.9 GiB of memory (convert_checkpoint.py loads the whole "
                "model and makes a rank's weights beside it), and this machine has 8.0 GiB"
            ),
        ),
        (
            "builder_memory",
            True,
            (
                "the step compile needs at least 13.5 GiB of memory (trtllm-build holds a rank's weights and "
                "the engine with them), and this machine has 8.0 GiB"
            ),
        ),
    ]
    # Only what is to be made counts.
    compiled = Build(steps=frozenset(("image",)), memory=HostMemory(8 * GIB))
    assert _said(tmp_path, "engine", L8, compiled) == []


def test_ranks_that_are_built_side_by_side_need_memory_side_by_side(tmp_path: Path) -> None:
    size = "tensor_parallel_size=8"
    one = _said(tmp_path, "engine", L70, _host(37), size)
    assert [message for _, _, message in one if "compile" in message] == []
    together = _said(tmp_path, "engine", L70, _host(250), size, "builder={gpus: 8}")
    (message,) = [message for _, _, message in together if "compile" in message]
    assert "the engine with them, 8 ranks at a time), and this machine has 250.0 GiB" in message


@pytest.mark.parametrize("option", ["fast_build", "weight_streaming"])
def test_an_engine_without_weights_is_no_refusal(option: str, tmp_path: Path) -> None:
    said = _said(tmp_path, "engine", L8, _host(8), f"engine.build.{option}=true")
    assert [refused for _, refused, _ in said] == [False, False]


def test_a_run_that_makes_nothing_needs_nothing(tmp_path: Path) -> None:
    assert _said(tmp_path, "vllm", L8, _host(1)) == []
    assert _said(tmp_path, "pytorch", L8, _host(1)) == []


FETCHED = 15 * GIB


def _disk(free: float, *steps: str) -> Build:
    return Build(frozenset(("fetch", "image", *steps)), FETCHED, round(free * GIB))


@pytest.mark.parametrize(
    ("target", "build", "overrides", "expected"),
    [
        ("vllm", _disk(15.1), (), None),
        ("vllm", _disk(14), (), (True, "15.0 GiB are to be fetched")),
        ("vllm", _disk(24, "quantize"), ("fp8",), None),
        (
            "vllm",
            _disk(20, "quantize"),
            ("fp8",),
            (True, "23.5 GiB are to be written (15.0 GiB to fetch, 8.5 GiB of a quantized checkpoint)"),
        ),
        # What is estimated may be less.
        (
            "vllm",
            _disk(23, "quantize"),
            ("fp8",),
            (False, "23.5 GiB are to be written (15.0 GiB to fetch, 8.5 GiB of a quantized checkpoint)"),
        ),
        ("vllm", _disk(14, "quantize"), ("fp8",), (True, "15.0 GiB are to be fetched")),
        (
            "engine",
            _disk(40, "convert", "compile"),
            (),
            (
                False,
                (
                    "44.9 GiB are to be written (15.0 GiB to fetch, 15.0 GiB of a checkpoint for "
                    "trtllm-build, 15.0 GiB of engines)"
                ),
            ),
        ),
    ],
)
def test_the_caches_disk(
    target: str,
    build: Build,
    overrides: tuple[str, ...],
    expected: tuple[bool, str] | None,
    tmp_path: Path,
) -> None:
    words = ("quantization=fp8_per_channel_per_token", BUILDER) if overrides else ()
    said = _said(tmp_path, target, L8, build, *words)
    if expected is None:
        assert said == []
        return
    refused, what = expected
    assert build.free is not None
    has = f", and the cache's disk has {build.free / GIB:.1f} GiB left"
    assert said == [("disk", refused, what + has)]


def test_a_model_that_is_quantized_already_keeps_its_size(tmp_path: Path) -> None:
    """What is served as it is stored is not written again."""
    awq: Mapping[str, Any] = {"quant_method": "awq", "bits": 4, "group_size": 128}
    found = fit(
        written(tmp_path, "vllm"),
        facts_of(config(L8) | {"quantization_config": dict(awq)}),
        build=Build(frozenset(("configure", "image")), 0, 1),
    )
    assert [each.check for each in found.findings if each.check == "disk"] == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (100, None),
        (5 * 3600, "the step quantize takes probably 5.0 h (a model), and builder.timeout is 30 min"),
        (2400, "the step quantize takes probably 40 min (a model), and builder.timeout is 30 min"),
    ],
)
def test_a_step_that_likely_takes_longer_than_it_may(
    seconds: float, said: str | None, tmp_path: Path
) -> None:
    words = ("quantization=fp8_per_channel_per_token", "builder={image: a/b:c, timeout: 30m}")
    found = _said(tmp_path, "vllm", L8, Build(takes={"quantize": Takes(seconds, "a model")}), *words)
    assert found == ([] if said is None else [("timeout", False, said)])
