"""The KV cache: bytes per token and per sequence on one GPU, as the engines reckon them.

- Attention with heads: 2 (key, value) × KV heads of this GPU × head_dim × bytes, per layer. vLLM:
  AttentionSpec.page_size_bytes in v1/kv_cache_interface.py, and ModelConfig.get_num_kv_heads: max(1, heads //
  tp), so that each head is kept more than once where there are more GPUs than KV heads. TensorRT-LLM:
  KVCacheManager.get_cache_size_per_token, which repeats heads the same way (1.3.0rc3).
- MLA: (kv_lora_rank + qk_rope_head_dim) × bytes per layer, once and on every GPU. vLLM: MLAAttentionSpec;
  TensorRT-LLM: kv_factor 1 (1.3.0rc3).
- A sequence takes whole blocks. Layers with a sliding window keep window − 1 tokens, those of one step, and a
  block more (vLLM: SlidingWindowSpec.max_memory_usage_bytes); chunked layers are counted the same way.
  TensorRT-LLM keeps windows only where kv_cache_config.max_attention_window names them: it may need more than
  what is counted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from enginebuild.models.shape import Shape

#: Bytes of a number in the cache, by the engines' names. NVFP4 has a scale of 8 bits per 16 numbers.
KV_BYTES: Mapping[str, float] = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "fp8_inc": 1,
    "fp8_per_token_head": 1,
    "int8": 1,
    "int8_per_token_head": 1,
    "nvfp4": 0.5625,
}

#: Tokens of a block: vLLM's on CUDA, TensorRT-LLM's tokens_per_block.
BLOCK_TOKENS: Mapping[str, int] = {"vllm": 16, "tensorrt_llm": 32}


def layer_bytes(shape: Shape, tensor: int, size: float) -> float:
    """Per token and layer on each of `tensor` GPUs; `size` is bytes per number."""
    if shape.latent is not None:
        return shape.latent.cached * size
    return 2 * max(1, shape.kv_heads // tensor) * shape.head_dim * size


def token_bytes(shape: Shape, tensor: int, size: float, layers: Iterable[int] | None = None) -> float:
    """Per token on each GPU, all `layers` (None: of the whole model) remembering it."""
    count = shape.layers if layers is None else len(tuple(layers))
    return count * layer_bytes(shape, tensor, size)


def sequence_bytes(
    shape: Shape, length: int, step: int, tensor: int, size: float, layers: Iterable[int], block: int
) -> float:
    """Of one sequence of `length` tokens on a GPU with these layers; `step`: the most tokens in one step."""
    per_layer = layer_bytes(shape, tensor, size)
    return sum(_tokens(shape, layer, length, step, block) * per_layer for layer in layers)


def _tokens(shape: Shape, layer: int, length: int, step: int, block: int) -> int:
    """The tokens that a layer has room for, in whole blocks."""
    window = shape.windows[layer]
    if window is None:
        return ceil(length / block) * block
    return (ceil(min(window - 1 + step, length) / block) + 1) * block
