"""The weights of a model's layers, counted from its shape and family."""

from __future__ import annotations

from collections.abc import Iterator

from enginebuild.models.config import Config
from enginebuild.models.families import Family
from enginebuild.models.parts import FIRST, LAST, Part
from enginebuild.models.shape import Experts, Latent, Shape
from enginebuild.models.vision import vision_parts


def count_parts(config: Config, shape: Shape, family: Family) -> tuple[Part, ...]:
    """Every weight of the checkpoint, by kind and place."""
    return (
        *_ends(config, shape, family),
        *_attention(config, shape, family),
        *_mlp(config, shape, family),
        *_experts(config, shape, family),
        *_norms(config, shape, family),
        *vision_parts(config, shape.hidden),
        *_draft(config, shape, family),
    )


def _ends(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    table = shape.vocabulary * shape.hidden
    yield Part("embeddings", table, (FIRST,), "even")
    if family.positions is not None and shape.positions:
        yield Part("embeddings", (shape.positions + family.positions) * shape.hidden, (FIRST,))
    if not shape.tied:
        bias = shape.vocabulary if family.head_bias else 0
        yield Part("lm_head", table + bias, (LAST,), "even", linear=True)


def _attention(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    every = tuple(range(shape.layers))
    if shape.latent is not None:
        yield from _latent(shape, shape.latent, every)
        return
    hidden, queries, keys = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    biases = _biases(config, family)
    yield Part("attention", 2 * hidden * queries, every, "even", linear=True)
    yield Part("attention", 2 * hidden * keys, every, "kv_heads", linear=True)
    if biases:
        output = hidden if biases == "all" else 0
        yield Part("attention", queries + 2 * keys + output, every)
    if family.sinks:
        yield Part("attention", shape.heads, every)


def _biases(config: Config, family: Family) -> str:
    if family.biases == "config":
        return "all" if config.switch("attention_bias") else ""
    if config.model_type == "falcon":
        return "all" if config.switch("bias") else ""
    return "" if family.biases == "none" else family.biases


def _latent(shape: Shape, latent: Latent, every: tuple[int, ...]) -> Iterator[Part]:
    queries = shape.heads * (latent.nope + latent.rope)
    down, up = latent.q_rank, latent.q_rank or shape.hidden
    if down:
        yield Part("attention", shape.hidden * down, every, "whole", linear=True)
        yield Part("norms", down, every)
    yield Part("attention", up * queries, every, "even", linear=True)
    yield Part("attention", shape.hidden * latent.cached, every, "whole", linear=True)
    yield Part("norms", latent.kv_rank, every)
    spread = latent.kv_rank * shape.heads * (latent.nope + latent.value)
    yield Part("attention", spread + shape.heads * latent.value * shape.hidden, every, "even", linear=True)


def _mlp(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    dense = shape.dense_layers
    if not dense:
        return
    matrices = 3 if family.gated else 2
    yield Part("mlp", matrices * shape.hidden * shape.width, dense, "even", linear=True)
    if family.dense_bias or config.switch("mlp_bias"):
        yield Part("mlp", (matrices - 1) * shape.width + shape.hidden, dense)


def _experts(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    experts = shape.experts
    if experts is None:
        return
    yield Part("experts", _of_experts(shape, experts, family), experts.layers, "experts", linear=True)
    if (
        family.sinks
    ):  # GPT-OSS: biases of gate, up and down, which stay as they are when experts are quantized
        yield Part("experts", experts.count * (2 * experts.width + shape.hidden), experts.layers, "experts")
    yield Part("router", _router(config, shape, experts, family), experts.layers)
    if experts.shared_width:
        middle = 3 * shape.hidden * experts.shared_width
        yield Part("shared_experts", middle, experts.layers, "even", linear=True)


def _of_experts(shape: Shape, experts: Experts, family: Family) -> int:
    return experts.count * (3 if family.gated else 2) * shape.hidden * experts.width


def _router(config: Config, shape: Shape, experts: Experts, family: Family) -> int:
    count = shape.hidden * experts.count
    if family.sinks or config.text("topk_method") == "noaux_tc":  # a bias per expert
        count += experts.count
    if config.switch("shared_expert_gate"):
        count += shape.hidden
    return count


def _norms(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    every = tuple(range(shape.layers))
    width = shape.hidden * (2 if family.norm_bias else 1)
    yield Part("norms", _norms_per_layer(config, family) * width, every)
    if family.head_norms:
        yield Part("norms", 2 * shape.head_dim, every)
    yield Part("norms", width, (LAST,))


def _norms_per_layer(config: Config, family: Family) -> int:
    if config.model_type == "falcon" and not config.switch("new_decoder_architecture"):
        return 1 if config.get("parallel_attn") is not False else 2
    return family.norms


def _draft(config: Config, shape: Shape, family: Family) -> Iterator[Part]:
    """DeepSeek-V3's layer for multi-token prediction, with copies of the embeddings and of lm_head.

    Engines load it only to speculate with it.
    """
    layers = config.count("num_nextn_predict_layers")
    experts, latent = shape.experts, shape.latent
    if not layers or experts is None or latent is None:
        return
    place = (LAST,)
    matrices = [part for part in _latent(shape, latent, place) if part.linear]
    count = sum(part.count for part in matrices) + _of_experts(shape, experts, family)
    count += 3 * shape.hidden * experts.shared_width
    yield Part("draft", layers * count, place, "experts", linear=True)
    plain = 2 * shape.vocabulary * shape.hidden + 2 * shape.hidden**2
    plain += (
        _router(config, shape, experts, family) + 5 * shape.hidden + latent.kv_rank + (latent.q_rank or 0)
    )
    yield Part("draft", layers * plain, place)
