"""Checkpoints of a few bytes in true formats, written by hand so that tests can break each part of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8}


def safetensors_bytes(tensors: Mapping[str, int], *, seed: int = 0) -> bytes:
    """A safetensors file of U8 tensors of so many bytes each, filled with seeded random bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, size in tensors.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [offset, offset + size]}
        offset += size
    return with_header(header, random.Random(seed).randbytes(offset))


def with_header(header: object, body: bytes = b"") -> bytes:
    """A file with any header, true or not."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def write_model(folder: Path, *, shards: int = 1, shard_size: int = 1000, seed: int = 0) -> Path:
    """A whole checkpoint: config, tokenizer, template, licence, weights in one file or in shards."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", CONFIG)
    _write_json(folder / "generation_config.json", {"eos_token_id": 2})
    _write_json(
        folder / "tokenizer.json", {"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}
    )
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "LICENSE").write_text("Apache License 2.0\n")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    names = ["model.safetensors"] if shards == 1 else shard_names(shards)
    for number, name in enumerate(names):
        content = safetensors_bytes({f"layer.{number}.weight": shard_size}, seed=seed + number)
        (folder / name).write_bytes(content)
    if shards > 1:
        write_index(folder, {f"layer.{number}.weight": name for number, name in enumerate(names)})
    return folder


def shard_names(count: int) -> Sequence[str]:
    return [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


def write_index(folder: Path, weight_map: Mapping[str, str]) -> None:
    _write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": dict(weight_map)})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))
