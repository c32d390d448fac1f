"""Checkpoints of any size for tests: the layout of a sharded Llama, with bytes that no compressor shrinks.

They pass every check of a checkpoint's files; no engine could load them, and none is asked to.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

_CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16"}


def write_checkpoint(folder: Path, *, shards: int, shard_size: int, seed: int = 0) -> Path:
    """`shards` safetensors of about `shard_size` bytes each, their index, a config and a tokenizer."""
    folder.mkdir(parents=True)
    weight_map = {}
    numbers = random.Random(seed)
    for number in range(1, shards + 1):
        name = f"model-{number:05}-of-{shards:05}.safetensors"
        tensor = f"model.layers.{number}.weight"
        weight_map[tensor] = name
        _write_shard(folder / name, tensor, shard_size, numbers)
    index = {"metadata": {"total_size": shards * shard_size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(_CONFIG))
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"type": "BPE"}}))
    return folder


def _write_shard(path: Path, tensor: str, size: int, numbers: random.Random) -> None:
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({tensor: entry, "__metadata__": {"format": "pt"}}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for start in range(0, size, 1 << 20):
            file.write(numbers.randbytes(min(1 << 20, size - start)))
