"""What each step must leave: complete, of the right world size, and quantized if that was asked.

Programs that fail and exit with 0, disks that are full, and quantizations that quantize nothing are found
here and not while serving. Layout: TensorRT-LLM 1.3.0rc3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import StepError
from enginebuild.sources.safetensors import BrokenHeaderError, read_header

#: Our methods → the names of TensorRT-LLM's QuantAlgo (1.3.0rc3), and of ModelOpt, that are that method.
ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "fp8": ("FP8",),
    "fp8_per_channel_per_token": ("FP8_PER_CHANNEL_PER_TOKEN",),
    "fp8_block_scales": ("FP8_BLOCK_SCALES", "FP8_PB_WO"),
    "w8a8_int8": (
        "W8A8_SQ_PER_CHANNEL",
        "W8A8_SQ_PER_TENSOR_PLUGIN",
        "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN",
        "W8A8_SQ_PER_CHANNEL_PER_TENSOR_PLUGIN",
        "W8A8_SQ_PER_TENSOR_PER_TOKEN_PLUGIN",
        "INT8",
    ),
    "w8a16": ("W8A16",),
    "w4a16": ("W4A16",),
    "w4a16_awq": ("W4A16_AWQ",),
    "w4a16_gptq": ("W4A16_GPTQ",),
    "w4a8_awq": ("W4A8_AWQ",),
    "nvfp4": ("NVFP4", "NVFP4_AWQ"),
    "mxfp4": ("W4A16_MXFP4", "W4A8_MXFP4_FP8", "W4A8_MXFP4_MXFP8"),
}

#: Per-layer tables: each layer has its own algorithm.
_MIXED = "MIXED_PRECISION"
_AGAIN = "the step's log may say why; nothing of it is kept"


def check_checkpoint(folder: Path, settings: Settings) -> None:
    """What convert or quantize left. Raises StepError for the first thing that is wrong."""
    what = "the TensorRT-LLM checkpoint"
    config = _json(folder / "config.json", what)
    _check_world(config.get("mapping"), settings, what)
    _check_ranks(folder, "safetensors", settings, what)
    for rank in range(settings.world_size):
        _check_safetensors(folder / f"rank{rank}.safetensors", what)
    _check_quantization(config.get("quantization"), settings, what)


def check_engine(folder: Path, settings: Settings) -> None:
    """What trtllm-build left. Raises StepError for the first thing that is wrong.

    A plan's own header is TensorRT's secret: an engine that is cut short is found when it is loaded.
    """
    what = "the engine"
    config = _json(folder / "config.json", what)
    _check_version(config.get("version"), settings)
    pretrained = config.get("pretrained_config")
    if not isinstance(pretrained, dict) or not isinstance(config.get("build_config"), dict):
        raise StepError(f"{what}'s config.json has no pretrained_config or no build_config", _AGAIN)
    _check_world(pretrained.get("mapping"), settings, what)
    _check_ranks(folder, "engine", settings, what)
    if settings.build.get("fast_build") is True:
        for rank in range(settings.world_size):
            _check_safetensors(folder / f"rank{rank}_managed_weights.safetensors", what)
    _check_quantization(pretrained.get("quantization"), settings, what)


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StepError(f"{what} has no {path.name}", _AGAIN) from None
    except ValueError:
        raise StepError(f"{what}'s {path.name} is not JSON ({path.stat().st_size} bytes)", _AGAIN) from None
    if not isinstance(document, dict):
        raise StepError(f"{what}'s {path.name} is not a mapping", _AGAIN)
    return document


def _check_world(mapping: object, settings: Settings, what: str) -> None:
    """A checkpoint's parallelism cannot be changed later: another one is another checkpoint."""
    if not isinstance(mapping, dict):
        raise StepError(f"{what}'s config.json has no mapping", _AGAIN)
    wanted = {
        "world_size": settings.world_size,
        "tp_size": settings.tensor_parallel_size,
        "pp_size": settings.pipeline_parallel_size,
    }
    for name, size in wanted.items():
        has = mapping.get(name, 1)
        if has != size:
            raise StepError(f"{what} is for {name} {has}, the recipe says {size}", _AGAIN)


def _check_ranks(folder: Path, ending: str, settings: Settings, what: str) -> None:
    """A file for each rank, none empty and none more."""
    pattern = re.compile(rf"rank(\d+)\.{ending}")
    found = {int(m[1]) for path in folder.iterdir() if (m := pattern.fullmatch(path.name))}
    wanted = set(range(settings.world_size))
    if missing := sorted(wanted - found):
        raise StepError(
            f"{what} lacks rank{missing[0]}.{ending}: it has {len(found & wanted)} of {settings.world_size}",
            _AGAIN,
        )
    if more := sorted(found - wanted):
        raise StepError(f"{what} has rank{more[0]}.{ending}, but {settings.world_size} ranks", _AGAIN)
    for rank in sorted(wanted):
        if (folder / f"rank{rank}.{ending}").stat().st_size == 0:
            raise StepError(f"{what}'s rank{rank}.{ending} is empty", _AGAIN)


def _check_safetensors(path: Path, what: str) -> None:
    """Whole, by its header; and with weights."""
    try:
        with path.open("rb") as file:

            def first(count: int) -> bytes:
                file.seek(0)
                return file.read(count)

            tensors = read_header(first, path.stat().st_size)
    except FileNotFoundError:
        raise StepError(f"{what} lacks {path.name}", _AGAIN) from None
    except BrokenHeaderError as error:
        raise StepError(f"{what}'s {path.name} {error}", _AGAIN) from None
    if not tensors:
        raise StepError(f"{what}'s {path.name} has no tensors", _AGAIN)


def _check_version(version: object, settings: Settings) -> None:
    """The builder's library is the one that the recipe names; a suffix such as .post1 does not count."""
    if not isinstance(version, str):
        raise StepError("the engine's config.json has no version", _AGAIN)
    plain = [re.sub(r"\.post\d+$|\+.*$", "", each) for each in (version, settings.version)]
    if plain[0] != plain[1]:
        raise StepError(
            f"the engine was built by TensorRT-LLM {version}, the recipe says {settings.version}",
            "builder.image (or builder.environment) holds another version than engine.version",
        )


def _check_quantization(block: object, settings: Settings, what: str) -> None:
    """A quantization that was asked for has happened: nothing asked, nothing compared."""
    wanted = settings.quantization
    if wanted is None:
        return
    block = block if isinstance(block, dict) else {}
    has = block.get("quant_algo")
    algorithms = ALGORITHMS[wanted.method]
    if has not in (*algorithms, _MIXED):
        said = "is not quantized" if has in (None, "NO_QUANT") else f"is quantized with {has}"
        raise StepError(
            f"{what} {said}; the recipe says {wanted.method}, which is {' or '.join(algorithms)}", _AGAIN
        )
    cache, asked = block.get("kv_cache_quant_algo"), wanted.kv_cache_dtype
    if asked is not None and cache != asked.upper():
        raise StepError(
            f"{what}'s KV cache is {'not quantized' if cache is None else cache}; the recipe says {asked}",
            _AGAIN,
        )
