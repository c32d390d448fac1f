"""What steps leave: whole ones pass, and each fault is refused with its own message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.outputs import (
    ALGORITHMS,
    check_checkpoint,
    check_engine,
)
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import StepError
from enginebuild.recipe.methods import METHODS
from enginebuild.recipe.model import Quantization
from parts.trtllm_standin.checkpoint import safetensors

HINT = "the step's log may say why; nothing of it is kept"
Check = Callable[[Path, Settings], None]


def settings(
    method: str | None = None, kv_cache: str | None = None, ranks: int = 2, **fields: Any
) -> Settings:
    quantization = Quantization(method, "quantize.py", kv_cache, None, None, None) if method else None
    return Settings("1.2.1", "engine", tensor_parallel_size=ranks, quantization=quantization, **fields)


def write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))


def mapping(ranks: int = 2) -> dict[str, int]:
    return {"world_size": ranks, "tp_size": ranks, "pp_size": 1, "cp_size": 1}


def quantization(algorithm: str | None = None, kv_cache: str | None = None) -> dict[str, str | None]:
    return {"quant_algo": algorithm, "kv_cache_quant_algo": kv_cache}


def checkpoint(folder: Path, ranks: int = 2, **block: Any) -> Path:
    write_json(folder / "config.json", {"mapping": mapping(ranks), "quantization": quantization(**block)})
    for rank in range(ranks):
        (folder / f"rank{rank}.safetensors").write_bytes(safetensors("weight", bytes(64)))
    return folder


def engine(folder: Path, ranks: int = 2, version: str = "1.2.1", **block: Any) -> Path:
    pretrained = {"mapping": mapping(ranks), "quantization": quantization(**block)}
    config = {"version": version, "pretrained_config": pretrained, "build_config": {"max_batch_size": 8}}
    write_json(folder / "config.json", config)
    for rank in range(ranks):
        (folder / f"rank{rank}.engine").write_bytes(b"ftrt")
    return folder


def said(check: Check, folder: Path, wanted: Settings) -> str:
    with pytest.raises(StepError) as caught:
        check(folder, wanted)
    assert caught.value.hint == HINT
    return caught.value.message


def test_what_is_whole_passes(tmp_path: Path) -> None:
    check_checkpoint(checkpoint(tmp_path), settings())
    check_engine(engine(tmp_path), settings())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_algorithms(method: str, tmp_path: Path) -> None:
    for algorithm in (*ALGORITHMS[method], "MIXED_PRECISION"):
        check_checkpoint(checkpoint(tmp_path, algorithm=algorithm), settings(method))


def test_a_quantization_that_quantized_nothing(tmp_path: Path) -> None:
    expected = "the TensorRT-LLM checkpoint is not quantized; the recipe says fp8, which is FP8"
    assert said(check_checkpoint, checkpoint(tmp_path), settings("fp8")) == expected
    assert said(check_checkpoint, checkpoint(tmp_path, algorithm="NO_QUANT"), settings("fp8")) == expected
    assert said(check_engine, engine(tmp_path), settings("nvfp4")) == (
        "the engine is not quantized; the recipe says nvfp4, which is NVFP4 or NVFP4_AWQ"
    )
    write_json(tmp_path / "config.json", {"mapping": mapping()})
    assert said(check_checkpoint, tmp_path, settings("fp8")) == expected


def test_another_quantization(tmp_path: Path) -> None:
    assert said(check_checkpoint, checkpoint(tmp_path, algorithm="W8A16"), settings("w4a16")) == (
        "the TensorRT-LLM checkpoint is quantized with W8A16; the recipe says w4a16, which is W4A16"
    )


def test_the_kv_cache(tmp_path: Path) -> None:
    check_checkpoint(checkpoint(tmp_path, algorithm="FP8", kv_cache="INT8"), settings("fp8", "int8"))
    assert said(check_checkpoint, tmp_path, settings("fp8", "fp8")) == (
        "the TensorRT-LLM checkpoint's KV cache is INT8; the recipe says fp8"
    )
    assert said(check_checkpoint, checkpoint(tmp_path, algorithm="FP8"), settings("fp8", "fp8")) == (
        "the TensorRT-LLM checkpoint's KV cache is not quantized; the recipe says fp8"
    )


def test_no_config(tmp_path: Path) -> None:
    (checkpoint(tmp_path) / "config.json").unlink()
    assert said(check_checkpoint, tmp_path, settings()) == "the TensorRT-LLM checkpoint has no config.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the engine's config.json is not JSON (0 bytes)"),
        ('{"version"', "the engine's config.json is not JSON (10 bytes)"),
        ("[]", "the engine's config.json is not a mapping"),
        ("{}", "the engine's config.json has no version"),
        ('{"version": "1.2.1"}', "the engine's config.json has no pretrained_config or no build_config"),
        (
            '{"version": "1.2.1", "build_config": {}, "pretrained_config": {}}',
            "the engine's config.json has no mapping",
        ),
    ],
)
def test_a_broken_config(text: str, message: str, tmp_path: Path) -> None:
    (engine(tmp_path) / "config.json").write_text(text)
    assert said(check_engine, tmp_path, settings()) == message


def test_another_world(tmp_path: Path) -> None:
    assert said(check_checkpoint, checkpoint(tmp_path, ranks=1), settings()) == (
        "the TensorRT-LLM checkpoint is for world_size 1, the recipe says 2"
    )
    wanted = settings(ranks=1, pipeline_parallel_size=2)
    assert said(check_engine, engine(tmp_path), wanted) == "the engine is for tp_size 2, the recipe says 1"


@pytest.mark.parametrize(
    ("check", "make", "ending", "what"),
    [
        (check_checkpoint, checkpoint, "safetensors", "the TensorRT-LLM checkpoint"),
        (check_engine, engine, "engine", "the engine"),
    ],
)
def test_ranks(check: Check, make: Callable[..., Path], ending: str, what: str, tmp_path: Path) -> None:
    (make(tmp_path) / f"rank2.{ending}").write_bytes(b"more")
    assert said(check, tmp_path, settings()) == f"{what} has rank2.{ending}, but 2 ranks"
    (tmp_path / f"rank2.{ending}").unlink()
    (tmp_path / f"rank1.{ending}").write_bytes(b"")
    assert said(check, tmp_path, settings()) == f"{what}'s rank1.{ending} is empty"
    (tmp_path / f"rank1.{ending}").unlink()
    assert said(check, tmp_path, settings()) == f"{what} lacks rank1.{ending}: it has 1 of 2"


def test_a_checkpoint_that_is_cut_short(tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / "rank1.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert said(check_checkpoint, tmp_path, settings()) == (
        "the TensorRT-LLM checkpoint's rank1.safetensors is cut short: "
        f"its header promises {len(whole)} bytes, the file has {len(whole) - 1}"
    )
    path.write_bytes(whole[:4])
    assert said(check_checkpoint, tmp_path, settings()) == (
        "the TensorRT-LLM checkpoint's rank1.safetensors is no safetensors file: "
        "4 bytes are less than the 8 of its header's length"
    )
    path.write_bytes(b"\2" + bytes(7) + b"{}")
    assert said(check_checkpoint, tmp_path, settings()) == (
        "the TensorRT-LLM checkpoint's rank1.safetensors has no tensors"
    )


def test_an_engine_with_its_weights_beside_it(tmp_path: Path) -> None:
    wanted = settings(build={"fast_build": True})
    engine(tmp_path)
    assert said(check_engine, tmp_path, wanted) == "the engine lacks rank0_managed_weights.safetensors"
    for rank in range(2):
        (tmp_path / f"rank{rank}_managed_weights.safetensors").write_bytes(safetensors("w", b"1"))
    check_engine(tmp_path, wanted)
    (tmp_path / "rank1_managed_weights.safetensors").write_bytes(b"")
    assert said(check_engine, tmp_path, wanted) == (
        "the engine's rank1_managed_weights.safetensors is no safetensors file: "
        "0 bytes are less than the 8 of its header's length"
    )


def test_an_engine_of_another_version(tmp_path: Path) -> None:
    check_engine(engine(tmp_path, version="1.2.1.post1"), settings())
    check_engine(engine(tmp_path, version="1.2.1+cu131"), settings())
    with pytest.raises(StepError) as caught:
        check_engine(engine(tmp_path, version="1.2.0"), settings())
    assert caught.value.message == "the engine was built by TensorRT-LLM 1.2.0, the recipe says 1.2.1"
    assert caught.value.hint == (
        "builder.image (or builder.environment) holds another version than engine.version"
    )
