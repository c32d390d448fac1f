"""The manifest of an engine: made of what was built, read as written, told in labels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.compile import Rewrite
from enginebuild.engines.tensorrt_llm.manifest import Builder, Manifest, Origin, labels, manifest_of
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import StepError
from enginebuild_cache import Json

KEY, CHECKPOINT, IMAGE = (f"sha256:{digit * 64}" for digit in "123")
ORIGIN = Origin("hf://org/tiny", "a" * 40, {"method": "fp8", "kv_cache_dtype": "fp8"}, CHECKPOINT, KEY)
SETTINGS = Settings("1.2.1", "engine", tensor_parallel_size=2, build={"max_batch_size": 64})
LOG = (
    "[TRT-LLM] [I] Total time of building Unnamed Network 0: 00:02:01",
    "[11/26/2026-10:00:00] [TRT-LLM] [I] Total time of building all engines: 01:02:03",
)


def config(**build: Json) -> bytes:
    mapping = {"world_size": 2, "tp_size": 2, "pp_size": 1}
    document = {
        "version": "1.2.1",
        "pretrained_config": {"dtype": "bfloat16", "mapping": mapping},
        "build_config": {"max_batch_size": 64, "plugin_config": {"reduce_fusion": False}, **build},
    }
    return json.dumps(document).encode()


DESCRIPTION: dict[str, Json] = {
    "tensorrt_llm": "1.2.1",
    "tensorrt": "10.14.1.48",
    "torch": "2.9.0",
    "modelopt": None,
    "cuda": "13.1.0",
    "driver": "590.44.01",
    "gpus": [{"index": 0, "product": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0"}],
}


def made(**changes: Any) -> Manifest:
    manifest = manifest_of(ORIGIN, SETTINGS, config(), DESCRIPTION, image=IMAGE, seconds=3800.5, log=LOG)
    return replace(manifest, **changes)


def test_what_a_manifest_says() -> None:
    manifest = made()
    assert manifest.origin == ORIGIN
    assert manifest.builder == Builder(IMAGE, "590.44.01", {"torch": "2.9.0"})
    assert manifest.needs == Needs(
        True,
        2,
        "9.0",
        "NVIDIA H100 80GB HBM3",
        "13.1.0",
        "580",
        "590.44",
        {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48"},
    )
    assert (manifest.dtype, manifest.tensor_parallel_size, manifest.pipeline_parallel_size) == (
        "bfloat16",
        2,
        1,
    )
    assert (manifest.asked["max_batch_size"], manifest.asked["tokens_per_block"]) == (64, 32)
    assert manifest.resolved == {"max_batch_size": 64, "reduce_fusion": False}
    assert manifest.rewritten == ()
    assert (manifest.seconds, manifest.engine_seconds) == (3800.5, 3723.0)


def test_what_the_library_changed_is_listed() -> None:
    manifest = manifest_of(ORIGIN, SETTINGS, config(max_batch_size=32), DESCRIPTION)
    assert manifest.rewritten == (Rewrite("max_batch_size", 64, 32),)
    assert (manifest.seconds, manifest.engine_seconds) == (None, None)


def test_a_builder_of_which_nothing_is_known() -> None:
    manifest = manifest_of(ORIGIN, SETTINGS, config(), {"tensorrt_llm": None, "gpus": []})
    assert manifest.builder == Builder(None, None, {})
    assert manifest.needs == Needs(True, 2, versions={"tensorrt_llm": "1.2.1"})


def test_no_engine() -> None:
    with pytest.raises(StepError) as refused:
        manifest_of(ORIGIN, SETTINGS, b"{}", DESCRIPTION)
    assert refused.value.message == "the engine's config.json has no build_config"


@pytest.mark.parametrize(
    "manifest",
    [
        made(),
        made(rewritten=(Rewrite("max_batch_size", 64, 32),), seconds=None),
        made(origin=replace(ORIGIN, commit=None, quantization=None), builder=Builder()),
    ],
)
def test_a_manifest_is_read_as_written(manifest: Manifest) -> None:
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert Manifest.from_bytes(manifest.to_bytes()).to_bytes() == manifest.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": None},
        {"more": 1},
        {"needs": None},
        {"needs": {}},
        {"origin": {"model": "hf://org/tiny"}},
        {"builder": []},
        {"rewritten": [{"name": "x"}]},
        {"rewritten": None},
    ],
)
def test_another_document_is_no_manifest(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Manifest.from_json(made().to_json() | change)


def test_an_engine_of_nobodys_version_is_none() -> None:
    document = made(needs=Needs(True, 2)).to_json()
    with pytest.raises(ValueError) as refused:
        Manifest.from_json(document)
    assert str(refused.value) == (
        "this is no manifest of an engine: it does not say which TensorRT-LLM built it"
    )


def test_a_part_of_a_manifest_is_none() -> None:
    document = made().to_json()
    for name in document:
        with pytest.raises(ValueError):
            Manifest.from_json({key: value for key, value in document.items() if key != name})


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff"])
def test_other_bytes_are_no_manifest(content: bytes) -> None:
    with pytest.raises(ValueError):
        Manifest.from_bytes(content)


def test_labels() -> None:
    assert labels(made()) == {
        "enginebuild.mode": "engine",
        "enginebuild.dtype": "bfloat16",
        "enginebuild.tensor_parallel_size": "2",
        "enginebuild.pipeline_parallel_size": "1",
        "enginebuild.tensorrt_llm": "1.2.1",
        "enginebuild.tensorrt": "10.14.1.48",
        "enginebuild.cuda": "13.1.0",
        "enginebuild.gpu": "H100-SXM-80GB",
        "enginebuild.gpu.product": "NVIDIA H100 80GB HBM3",
        "enginebuild.gpu.compute_capability": "9.0",
        "enginebuild.quantization": "fp8",
        "enginebuild.kv_cache_dtype": "fp8",
    }


def test_labels_of_what_is_not_known_are_left_out() -> None:
    bare = made(
        origin=replace(ORIGIN, quantization=None), needs=Needs(True, 2, versions={"tensorrt_llm": "1.2.1"})
    )
    assert labels(bare) == {
        "enginebuild.mode": "engine",
        "enginebuild.dtype": "bfloat16",
        "enginebuild.tensor_parallel_size": "2",
        "enginebuild.pipeline_parallel_size": "1",
        "enginebuild.tensorrt_llm": "1.2.1",
    }
