"""Folders that look like engines: config.json, ranks of a few bytes, and our manifest if wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from enginebuild.engines.tensorrt_llm.manifest import NAME, Manifest, Origin, manifest_of
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild_cache import Json

H100 = "NVIDIA H100 80GB HBM3"
COMMIT = "a" * 40
KEY, CHECKPOINT, IMAGE = (f"sha256:{digit * 64}" for digit in "123")
ORIGIN = Origin("hf://org/tiny", COMMIT, {"method": "fp8", "kv_cache_dtype": "fp8"}, CHECKPOINT, KEY)

#: What describe.py writes on a machine with H100s.
DESCRIPTION: Mapping[str, Json] = {
    "tensorrt_llm": "1.2.1",
    "tensorrt": "10.14.1.48",
    "torch": "2.9.0",
    "modelopt": None,
    "cuda": "13.1.0",
    "driver": "590.44.01",
    "gpus": [{"index": 0, "product": H100, "compute_capability": "9.0"}],
}


def config_of(world_size: int) -> bytes:
    """What TensorRT-LLM writes (1.3.0rc3), shortened."""
    document = {
        "version": "1.2.1",
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": "bfloat16",
            "mapping": {"world_size": world_size, "tp_size": world_size, "pp_size": 1},
            "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
        },
        "build_config": {
            "max_batch_size": 32,
            "plugin_config": {"dtype": "bfloat16", "reduce_fusion": False},
        },
    }
    return json.dumps(document, indent=4).encode()


def manifest_for(world_size: int) -> Manifest:
    settings = Settings("1.2.1", "engine", tensor_parallel_size=world_size, build={"max_batch_size": 64})
    log = ("[TRT-LLM] [I] Total time of building all engines: 00:01:01",)
    return manifest_of(
        ORIGIN, settings, config_of(world_size), DESCRIPTION, image=IMAGE, seconds=75.2, log=log
    )


def write_engine(folder: Path, world_size: int = 1, *, manifest: bool = True) -> Path:
    """An engine of `world_size` ranks in a new folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(config_of(world_size))
    for rank in range(world_size):
        (folder / f"rank{rank}.engine").write_bytes(b"engine" * 1000)
    if manifest:
        (folder / NAME).write_bytes(manifest_for(world_size).to_bytes())
    return folder
