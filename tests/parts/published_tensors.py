"""The tensors of published models as their files name them, with the shapes that their config.json tells.

Names as in the `model.safetensors.index.json` of Llama, Qwen2 and 3, Mixtral, Qwen3-MoE, DeepSeek-V3, GPT-OSS
and Phi-4 on the Hub. Sizes are made from the shape alone, another way than enginebuild.models.layers counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from math import prod

from enginebuild.models.shape import Shape
from enginebuild.sources.safetensors import DTYPE_BITS, Tensor
from parts.published_models import config, shape

#: Of a tensor: its name and shape.
Named = tuple[str, tuple[int, ...]]

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
TIED = "meta-llama/Llama-3.2-1B-Instruct"
QWEN2 = "Qwen/Qwen2.5-7B-Instruct"
QWEN3 = "Qwen/Qwen3-8B"
MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
QWEN3_MOE = "Qwen/Qwen3-235B-A22B"
V3 = "deepseek-ai/DeepSeek-V3"
OSS = "openai/gpt-oss-20b"
PHI4 = "microsoft/phi-4"


def tensors(named: Iterable[Named], dtypes: Mapping[str, str] | None = None) -> tuple[Tensor, ...]:
    """As a header has them, one after another. `dtypes` by the end of a name; BF16 for the others."""
    found, begin = [], 0
    for name, sizes in named:
        dtype = next((dtype for end, dtype in (dtypes or {}).items() if name.endswith(end)), "BF16")
        end = begin + prod(sizes) * DTYPE_BITS[dtype] // 8
        found.append(Tensor(name, dtype, sizes, begin, end))
        begin = end
    return tuple(found)


@cache
def stored(model: str) -> tuple[Tensor, ...]:
    """As `named`, in the dtypes of its files; all BF16 of DeepSeek-V3."""
    return tensors(named(model), OSS_DTYPES if model == OSS else None)


def named(model: str) -> Iterator[Named]:
    """Every tensor of the model, unquantized; of DeepSeek-V3 with its layer for speculation."""
    known, told = shape(model), config(model)
    yield "model.embed_tokens.weight", (known.vocabulary, known.hidden)
    yield "model.norm.weight", (known.hidden,)
    if not known.tied:
        yield "lm_head.weight", (known.vocabulary, known.hidden)
    extra = told.get("num_nextn_predict_layers", 0)
    for layer in range(known.layers + extra):
        stem = f"model.layers.{layer}"
        yield f"{stem}.input_layernorm.weight", (known.hidden,)
        yield f"{stem}.post_attention_layernorm.weight", (known.hidden,)
        yield from _attention(f"{stem}.self_attn", model, known)
        yield from _middle(stem, layer, model, known)
        if layer >= known.layers:
            yield f"{stem}.embed_tokens.weight", (known.vocabulary, known.hidden)
            yield f"{stem}.shared_head.head.weight", (known.vocabulary, known.hidden)
            yield f"{stem}.eh_proj.weight", (known.hidden, 2 * known.hidden)
            for norm in ("enorm", "hnorm", "shared_head.norm"):
                yield f"{stem}.{norm}.weight", (known.hidden,)


def _attention(stem: str, model: str, known: Shape) -> Iterator[Named]:
    if known.latent is not None:
        yield from _latent(stem, known)
        return
    queries, keys = known.heads * known.head_dim, known.kv_heads * known.head_dim
    if model == PHI4:
        yield f"{stem}.qkv_proj.weight", (queries + 2 * keys, known.hidden)
    else:
        for name, width in (("q", queries), ("k", keys), ("v", keys)):
            yield f"{stem}.{name}_proj.weight", (width, known.hidden)
            if model in (QWEN2, OSS):
                yield f"{stem}.{name}_proj.bias", (width,)
    yield f"{stem}.o_proj.weight", (known.hidden, queries)
    if model == OSS:
        yield f"{stem}.o_proj.bias", (known.hidden,)
        yield f"{stem}.sinks", (known.heads,)
    if model in (QWEN3, QWEN3_MOE):
        yield f"{stem}.q_norm.weight", (known.head_dim,)
        yield f"{stem}.k_norm.weight", (known.head_dim,)


def _latent(stem: str, known: Shape) -> Iterator[Named]:
    latent = known.latent
    assert latent is not None
    assert latent.q_rank is not None
    yield f"{stem}.q_a_proj.weight", (latent.q_rank, known.hidden)
    yield f"{stem}.q_a_layernorm.weight", (latent.q_rank,)
    yield f"{stem}.q_b_proj.weight", (known.heads * (latent.nope + latent.rope), latent.q_rank)
    yield f"{stem}.kv_a_proj_with_mqa.weight", (latent.kv_rank + latent.rope, known.hidden)
    yield f"{stem}.kv_a_layernorm.weight", (latent.kv_rank,)
    yield f"{stem}.kv_b_proj.weight", (known.heads * (latent.nope + latent.value), latent.kv_rank)
    yield f"{stem}.o_proj.weight", (known.hidden, known.heads * latent.value)


def _middle(stem: str, layer: int, model: str, known: Shape) -> Iterator[Named]:
    experts = known.experts
    if experts is None or layer in known.dense_layers:
        if model == PHI4:
            yield f"{stem}.mlp.gate_up_proj.weight", (2 * known.width, known.hidden)
            yield f"{stem}.mlp.down_proj.weight", (known.hidden, known.width)
        else:
            yield from _mlp(f"{stem}.mlp", ("gate_proj", "up_proj", "down_proj"), known.width, known.hidden)
        return
    if model == OSS:
        yield from _fused_experts(f"{stem}.mlp", known)
        return
    names = ("w1", "w3", "w2") if model == MIXTRAL else ("gate_proj", "up_proj", "down_proj")
    middle = f"{stem}.{'block_sparse_moe' if model == MIXTRAL else 'mlp'}"
    yield f"{middle}.gate.weight", (experts.count, known.hidden)
    if model == V3:
        yield f"{middle}.gate.e_score_correction_bias", (experts.count,)
        yield from _mlp(f"{middle}.shared_experts", names, experts.shared_width, known.hidden)
    for number in range(experts.count):
        yield from _mlp(f"{middle}.experts.{number}", names, experts.width, known.hidden)


def _mlp(stem: str, names: tuple[str, str, str], width: int, hidden: int) -> Iterator[Named]:
    gate, up, down = names
    yield f"{stem}.{gate}.weight", (width, hidden)
    yield f"{stem}.{up}.weight", (width, hidden)
    yield f"{stem}.{down}.weight", (hidden, width)


def _fused_experts(stem: str, known: Shape) -> Iterator[Named]:
    """GPT-OSS: 32 weights of 4 bits in 16 bytes, and a byte for their scale."""
    experts = known.experts
    assert experts is not None
    for name, rows, columns in (
        ("gate_up_proj", 2 * experts.width, known.hidden),
        ("down_proj", known.hidden, experts.width),
    ):
        yield f"{stem}.experts.{name}_blocks", (experts.count, rows, columns // 32, 16)
        yield f"{stem}.experts.{name}_scales", (experts.count, rows, columns // 32)
        yield f"{stem}.experts.{name}_bias", (experts.count, rows)
    yield f"{stem}.router.weight", (experts.count, known.hidden)
    yield f"{stem}.router.bias", (experts.count,)


#: How GPT-OSS stores its experts.
OSS_DTYPES: Mapping[str, str] = {"_blocks": "U8", "_scales": "U8"}
