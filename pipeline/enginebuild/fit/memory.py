"""The memory of one GPU: what is certain, and what is estimated with its bounds.

Weights and KV cache are counted. The rest cannot be known without running: of activations the largest tensors
of one step are counted and taken half and twice; what CUDA, NCCL, the engine's own workspace and CUDA graphs
take are ranges seen in users' logs. A refusal goes by the smallest, a warning by the likely value.
"""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.fit.serving import VLLM_LARGE, VLLM_SMALL, Serving
from enginebuild.fit.weights import computing_bytes, stages, weight_bytes
from enginebuild.models import ModelFacts
from enginebuild.models.kv_cache import BLOCK_TOKENS, KV_BYTES, sequence_bytes, token_bytes
from enginebuild.models.shape import Shape
from enginebuild.recipe.gpu import Gpu

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes: the least, the likely, the most."""

    low: float
    likely: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the fullest GPU, in bytes. `granted` is what the engine may use of `usable`; `cache` what is left
    for the KV cache (negative: nothing), the most first; `sequence` what one of `length` tokens takes.
    """

    usable: int
    granted: float
    weights: float
    activations: Range
    overhead: Range
    graphs: Range
    cache: Range
    per_token: float
    length: int
    sequence: float
    sequences: int
    tokens: int

    @property
    def together(self) -> float:
        """Sequences of full length that the KV cache likely holds at the same time."""
        return max(0.0, self.cache.likely) / self.sequence if self.sequence else 0.0


def memory_of(facts: ModelFacts, shape: Shape, serving: Serving, gpu: Gpu) -> Memory:
    """Pure. `shape` is that of `facts`."""
    usable = gpu.usable_bytes
    tokens, sequences = batch_of(serving, gpu)
    heads = 1 if serving.attention_whole else serving.tensor
    size = KV_BYTES.get(serving.kv_dtype or "", computing_bytes(facts, serving))
    length = serving.length or shape.scaled_positions or tokens
    fullest = max(
        zip(
            weight_bytes(facts, shape, serving),
            stages(shape.layers, serving.pipeline, serving.engine),
            strict=True,
        ),
        key=lambda stage: stage[0],
    )
    weights = max(fullest[0] - serving.offloaded, 0)
    layers = [layer for layer in fullest[1] if shape.cached is None or layer in shape.cached]
    activations = _activations(facts, shape, serving, tokens, sequences)
    overhead, graphs = _overhead(serving), _graphs(serving)
    block = BLOCK_TOKENS[serving.engine]
    return Memory(
        usable=usable,
        granted=usable * serving.share if serving.target == "vllm" else usable,
        weights=weights,
        activations=activations,
        overhead=overhead,
        graphs=graphs,
        cache=_cache(serving, usable, weights, activations, overhead),
        per_token=token_bytes(shape, heads, size, layers),
        length=length,
        sequence=sequence_bytes(shape, length, tokens, heads, size, layers, block),
        sequences=sequences,
        tokens=tokens,
    )


def batch_of(serving: Serving, gpu: Gpu) -> tuple[int, int]:
    """Tokens of one step and sequences at once: as asked, or what the engine takes by itself."""
    if serving.target == "vllm":
        large = gpu.usable_bytes >= 70 * GIB and "A100" not in gpu.name
        tokens, sequences = VLLM_LARGE if large else VLLM_SMALL
    else:
        tokens, sequences = 8192, 2048
    return serving.tokens or tokens, serving.sequences or sequences


def _activations(facts: ModelFacts, shape: Shape, serving: Serving, tokens: int, sequences: int) -> Range:
    """One layer's largest tensors for the tokens of a step, and the logits of all sequences in float32."""
    size = computing_bytes(facts, serving)
    middle = 3 * shape.width / serving.tensor if shape.dense_layers else 0.0
    if (experts := shape.experts) is not None:
        chosen = experts.top_k * (3 * experts.width + shape.hidden) / serving.expert_ranks
        middle = max(middle, chosen + 3 * experts.shared_width / serving.tensor)
    step = tokens * (4 * shape.hidden + middle) * size
    logits = min(sequences, tokens) * shape.vocabulary * 4.0
    found = step + 2 * logits
    return Range(found / 2, found, 2 * found)


def _overhead(serving: Serving) -> Range:
    """CUDA's own, libraries, and NCCL's buffers where several GPUs work together."""
    several = GIB if serving.gpus > 1 else 0
    least, likely, most = (0.2, 0.5, 1.5) if serving.target == "vllm" else (0.4, 1.0, 2.5)
    return Range(least * GIB + several / 8, likely * GIB + several / 2, most * GIB + several)


def _graphs(serving: Serving) -> Range:
    """CUDA graphs; vLLM captures them outside of what it was granted."""
    if serving.eager or serving.target == "engine":
        return Range(0, 0, 0)
    return Range(0.1 * GIB, 0.7 * GIB, 2.5 * GIB)


def _cache(serving: Serving, usable: int, weights: float, activations: Range, overhead: Range) -> Range:
    """What is left for the KV cache, by the engine's rule; `low` is the most: it goes with the least need."""
    if serving.kv_bytes is not None:
        return Range(serving.kv_bytes, serving.kv_bytes, serving.kv_bytes)
    needs = activations + overhead
    if serving.target == "vllm":
        return Range(
            *(usable * serving.share - weights - need for need in (needs.low, needs.likely, needs.high))
        )
    return Range(
        *((usable - weights - need) * serving.share for need in (needs.low, needs.likely, needs.high))
    )
