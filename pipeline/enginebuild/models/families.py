"""Which matrices the layers of a family have, by model_type. Source: the modeling files of transformers 5.17
and what their configuration classes take for granted where config.json is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from enginebuild_cache import Json

#: Where biases are: nowhere, on query, key and value alone, or on the output as well. `config`: on all four
#: if config.json's attention_bias says so.
Biases = Literal["none", "qkv", "all", "config"]


@dataclass(frozen=True, slots=True)
class Family:
    """`gated`: the MLP has three matrices instead of two. `norms`: per layer; `norm_bias`: with a bias each.

    `head_norms`: query and key have a norm as wide as a head. `dense_bias`: on the MLP. `defaults`: of the
    configuration class, where published config.json files leave something out.
    """

    gated: bool = True
    biases: Biases = "none"
    dense_bias: bool = False
    norms: int = 2
    norm_bias: bool = False
    head_norms: bool = False
    head_bias: bool = False
    sinks: bool = False
    positions: int | None = None  # rows of a learned table beyond max_position_embeddings
    defaults: Mapping[str, Json] = field(default_factory=dict)


_TIED: Mapping[str, Json] = {"tie_word_embeddings": True}
_GEMMA2: Mapping[str, Json] = {
    **_TIED,
    "head_dim": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 2,
    "max_position_embeddings": 8192,
}
#: Gemma3TextConfig: published files of the larger ones name only what differs from it.
_GEMMA3: Mapping[str, Json] = {
    **_TIED,
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_LLAMA4: Mapping[str, Json] = {
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "num_shared_experts": 1,
    "max_position_embeddings": 131072,
}
_GPT_OSS: Mapping[str, Json] = {"head_dim": 64, "sliding_window": 128, "sliding_window_pattern": 2}

FAMILIES: Mapping[str, Family] = {
    "llama": Family(biases="config"),
    "llama4_text": Family(defaults=_LLAMA4),
    "mistral": Family(),
    "mixtral": Family(defaults={"num_local_experts": 8, "num_experts_per_tok": 2}),
    "granite": Family(biases="config"),
    "smollm3": Family(biases="config", defaults=_TIED),
    "internlm2": Family(),
    "qwen2": Family(biases="qkv"),
    "qwen2_5_vl_text": Family(biases="qkv"),
    "qwen2_moe": Family(biases="qkv", defaults={"decoder_sparse_step": 1, "shared_expert_gate": True}),
    "qwen3": Family(biases="config", head_norms=True),
    "qwen3_moe": Family(biases="config", head_norms=True, defaults={"decoder_sparse_step": 1}),
    "gemma": Family(defaults={**_TIED, "head_dim": 256}),
    "gemma2": Family(norms=4, defaults=_GEMMA2),
    "gemma3_text": Family(norms=4, head_norms=True, defaults=_GEMMA3),
    "phi": Family(gated=False, biases="all", dense_bias=True, norms=1, norm_bias=True, head_bias=True),
    "phi3": Family(),
    "phimoe": Family(biases="config", norm_bias=True, head_bias=True),
    "deepseek_v2": Family(),
    "deepseek_v3": Family(),
    "kimi_k2": Family(),
    "gpt_oss": Family(biases="all", sinks=True, defaults=_GPT_OSS),
    "falcon": Family(gated=False, norm_bias=True, defaults=_TIED),
    "gpt_neox": Family(gated=False, biases="all", dense_bias=True, norm_bias=True),
    "opt": Family(gated=False, biases="all", dense_bias=True, norm_bias=True, positions=2, defaults=_TIED),
    "gpt2": Family(gated=False, biases="all", dense_bias=True, norm_bias=True, positions=0, defaults=_TIED),
    "starcoder2": Family(gated=False, biases="all", dense_bias=True, norm_bias=True, defaults=_TIED),
}

#: What the language section of some multimodal models calls itself.
ALIASES: Mapping[str, str] = {
    "gemma3": "gemma3_text",
    "llama4": "llama4_text",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen2_vl": "qwen2_5_vl_text",
    "qwen2_vl_text": "qwen2_5_vl_text",
    "llava": "llama",
    "mistral3": "mistral",
}


def family_of(model_type: str) -> Family | None:
    return FAMILIES.get(ALIASES.get(model_type, model_type))
