"""Checkpoints: Hugging Face's, which are read, and TensorRT-LLM's, which are written (layout of 1.3.0rc3)."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .machine import FAULT_KEY, Faults, RefusedError

_WEIGHTS = ("*.safetensors", "*.bin")
_KEYS = {
    "hidden_act": "hidden_act",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "num_attention_heads": "num_attention_heads",
    "num_hidden_layers": "num_hidden_layers",
    "num_key_value_heads": "num_key_value_heads",
    "norm_epsilon": "rms_norm_eps",
    "vocab_size": "vocab_size",
}


def read_model(folder: Path) -> dict[str, Any]:
    """The config.json of a Hugging Face checkpoint with weights. Raises RefusedError."""
    path = folder / "config.json"
    if not path.is_file():
        raise RefusedError("OSError", f"{folder} does not appear to have a file named config.json")
    config: dict[str, Any] = json.loads(path.read_text())
    if not any(True for pattern in _WEIGHTS for _ in folder.glob(pattern)):
        raise RefusedError("OSError", f"no file named model.safetensors found in directory {folder}")
    quantization = config.get("quantization_config", {})
    if quantization.get("quant_method") == "gptq" and quantization.get("desc_act"):
        raise RefusedError("ValueError", "GPTQ with desc_act=True is not implemented yet")
    return config


def dtype_of(asked: str, config: Mapping[str, Any]) -> str:
    """`auto` takes the model's type, and float16 where that is float32."""
    if asked != "auto":
        return asked
    found = str(config.get("torch_dtype") or config.get("dtype") or "float16")
    return "float16" if found == "float32" else found


def mapping_of(tp: int, pp: int, cp: int = 1) -> dict[str, int]:
    return {
        "world_size": tp * pp * cp,
        "tp_size": tp,
        "pp_size": pp,
        "cp_size": cp,
        "gpus_per_node": 8,
        "moe_tp_size": tp,
        "moe_ep_size": 1,
    }


def quantization_of(algo: str | None, kv: str | None, group_size: int) -> dict[str, Any]:
    return {
        "quant_algo": algo,
        "kv_cache_quant_algo": kv,
        "group_size": group_size,
        "smoothquant_val": 0.5,
        "clamp_val": None,
        "use_meta_recipe": False,
        "has_zero_point": False,
        "pre_quant_scale": algo is not None and "AWQ" in algo,
        "exclude_modules": ["lm_head"] if algo else None,
        "mamba_ssm_cache_dtype": None,
    }


def write_checkpoint(
    folder: Path,
    model: Path,
    config: Mapping[str, Any],
    *,
    dtype: str,
    mapping: Mapping[str, int],
    quantization: Mapping[str, Any],
    faults: Faults,
) -> None:
    """config.json and one safetensors per rank, whose bytes follow from the model's."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "architecture": config["architectures"][0],
        "dtype": dtype,
        "logits_dtype": "float32",
        "position_embedding_type": "rope_gpt_neox",
        "head_size": config.get("hidden_size", 0) // max(config.get("num_attention_heads", 1), 1),
        "use_parallel_embedding": False,
        "embedding_sharding_dim": 0,
        "runtime_defaults": None,
        **{ours: config.get(theirs) for ours, theirs in _KEYS.items()},
        "mapping": dict(mapping),
        "quantization": dict(quantization),
    }
    if FAULT_KEY in config:
        document[FAULT_KEY] = config[FAULT_KEY]
    (folder / "config.json").write_text(json.dumps(document, indent=4))
    digest = _digest(model)
    for rank in range(mapping["world_size"]):
        if rank or mapping["world_size"] == 1:
            faults.midway()
        content = hashlib.shake_256(digest + rank.to_bytes(2, "big") + dtype.encode()).digest(4096)
        (folder / f"rank{rank}.safetensors").write_bytes(safetensors("lm_head.weight", content))


def _digest(model: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _WEIGHTS for path in model.glob(pattern)):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.digest()


def safetensors(name: str, content: bytes) -> bytes:
    """A safetensors file of one tensor of bytes."""
    entry = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content


def is_safetensors(path: Path) -> bool:
    """Whether a file's header is there, can be read, and names bytes that the file has."""
    content = path.read_bytes()
    if len(content) < 8:
        return False
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
    except ValueError:
        return False
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0) == len(content)
