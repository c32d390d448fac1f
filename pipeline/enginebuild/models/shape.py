"""The sizes that a config.json tells: heads, layers, experts, windows, positions."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.models.config import Config


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (DeepSeek): widths of what is cached and of the projections."""

    kv_rank: int
    q_rank: int | None
    rope: int
    nope: int
    value: int

    @property
    def cached(self) -> int:
        """Numbers per token and layer in the KV cache: the latent and the rotated key, once for all heads."""
        return self.kv_rank + self.rope


@dataclass(frozen=True, slots=True)
class Experts:
    """`width`: of one expert's middle; `shared_width`: of the shared experts together, 0 for none."""

    count: int
    top_k: int
    width: int
    shared_width: int
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """`width`: of the dense MLP's middle. `windows`: per layer, how many tokens attention looks back (None:
    all). `positions`: the longest sequence as written; `scaled_positions`: with its RoPE scaling, as vLLM
    counts; `longest`: what its maker lets ask for (model_max_length), which may be more. `cached`: the layers
    that keep keys and values, where not all do.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocabulary: int
    windows: tuple[int | None, ...]
    positions: int | None
    scaled_positions: int | None
    tied: bool
    latent: Latent | None
    experts: Experts | None
    cached: tuple[int, ...] | None = None
    longest: int | None = None

    @property
    def dense_layers(self) -> tuple[int, ...]:
        sparse = set(self.experts.layers) if self.experts else set()
        return tuple(layer for layer in range(self.layers) if layer not in sparse)


def shape_of(config: Config) -> Shape | None:
    """None where not even layers, heads and widths are written."""
    hidden = config.number("hidden_size", "n_embd", "d_model")
    layers = config.number("num_hidden_layers", "n_layer", "num_layers")
    heads = config.number("num_attention_heads", "n_head")
    vocabulary = config.number("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=config.number("head_dim") or hidden // heads,
        width=_width(config, hidden),
        vocabulary=vocabulary,
        windows=_windows(config, layers),
        positions=_positions(config),
        scaled_positions=_scaled(config),
        tied=config.switch("tie_word_embeddings"),
        latent=_latent(config),
        experts=_experts(config, layers),
        longest=config.number("model_max_length"),
    )


def _kv_heads(config: Config, heads: int) -> int:
    if config.model_type == "falcon" and not config.switch("new_decoder_architecture"):
        return 1 if config.get("multi_query") is not False else heads
    return config.number("num_key_value_heads", "num_kv_heads") or heads


def _width(config: Config, hidden: int) -> int:
    # Llama 4 calls the dense one intermediate_size_mlp.
    return (
        config.number("intermediate_size_mlp", "intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner")
        or 4 * hidden
    )


def _latent(config: Config) -> Latent | None:
    rank = config.number("kv_lora_rank")
    if not rank:
        return None
    return Latent(
        rank,
        config.number("q_lora_rank"),
        config.count("qk_rope_head_dim"),
        config.count("qk_nope_head_dim"),
        config.count("v_head_dim"),
    )


def _experts(config: Config, layers: int) -> Experts | None:
    count = config.number("num_local_experts", "num_experts", "n_routed_experts")
    if not count:
        return None
    width = config.number("moe_intermediate_size", "intermediate_size") or 0
    shared = config.count("n_shared_experts", "num_shared_experts") * width
    return Experts(
        count,
        config.number("num_experts_per_tok", "experts_per_token") or 1,
        width,
        config.number("shared_expert_intermediate_size") or shared,
        tuple(layer for layer in range(layers) if _sparse(config, layer)),
    )


def _sparse(config: Config, layer: int) -> bool:
    """Whether a layer has experts: the rules of DeepSeek, Llama 4, Qwen's and of those that always have."""
    if (first := config.number("first_k_dense_replace")) is not None:
        return layer >= first and layer % (config.number("moe_layer_freq") or 1) == 0
    if "interleave_moe_layer_step" in {*config.inner, *config.defaults}:
        named = config.numbers("moe_layers")
        return layer in named if named else (layer + 1) % config.count("interleave_moe_layer_step") == 0
    if layer in config.numbers("mlp_only_layers"):
        return False
    return (layer + 1) % (config.number("decoder_sparse_step") or 1) == 0


def _windows(config: Config, layers: int) -> tuple[int | None, ...]:
    """Sliding windows: as `layer_types` says, by the family's pattern, or of all layers."""
    window = config.number("sliding_window")
    chunk = config.number("attention_chunk_size")
    if types := config.texts("layer_types"):
        size = {"sliding_attention": window, "chunked_attention": chunk}
        return tuple(size.get(types[layer]) if layer < len(types) else None for layer in range(layers))
    if chunk:  # Llama 4: every fourth layer looks at everything
        return tuple(None if (layer + 1) % 4 == 0 else chunk for layer in range(layers))
    if window is None or config.get("use_sliding_window") is False:
        return (None,) * layers
    pattern = config.number("sliding_window_pattern")
    if pattern:
        return tuple(None if (layer + 1) % pattern == 0 else window for layer in range(layers))
    return (window,) * layers


def _positions(config: Config) -> int | None:
    return config.number("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def _scaled(config: Config) -> int | None:
    """As vLLM derives it (config/model.py, _get_and_verify_max_len): the kinds longrope, su, mrope and llama3
    are in max_position_embeddings already, yarn multiplies its original length, the others multiply.
    """
    positions = _positions(config)
    scaling = config.section("rope_scaling") or config.section("rope_parameters")
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    factor = scaling.get("factor")
    if positions is None or kind in ("default", "su", "longrope", "llama3", "mrope"):
        return positions
    if not isinstance(factor, int | float) or config.model_type in ("gemma3_text", "gemma3", "gpt_oss"):
        return positions
    original = scaling.get("original_max_position_embeddings")
    base = original if kind == "yarn" and isinstance(original, int) else positions
    return int(base * factor)
