"""Bytes of the weights on each GPU, as the engines shard them."""

from __future__ import annotations

from enginebuild.fit.serving import Serving
from enginebuild.models import ModelFacts
from enginebuild.models.parts import FIRST, LAST, Part
from enginebuild.models.quantized import BYTES
from enginebuild.models.shape import Shape


def stages(layers: int, pipeline: int, engine: str) -> list[range]:
    """The layers of each stage. What does not divide goes, in vLLM, to the stages before the last one, from
    behind (distributed/utils.py, get_pp_indices); in TensorRT-LLM to the first ones (Mapping.pp_layers).
    """
    each, rest = divmod(layers, pipeline)
    counts = [each] * pipeline
    for index in range(rest):
        counts[-(index + 2) if engine == "vllm" else index] += 1
    starts = [sum(counts[:index]) for index in range(pipeline)]
    return [range(start, start + count) for start, count in zip(starts, counts, strict=True)]


def weight_bytes(facts: ModelFacts, shape: Shape, serving: Serving) -> list[float]:
    """Of one GPU of each stage. Where the kinds are not known, the files' size is divided evenly."""
    if not facts.parts:
        return [facts.checkpoint_bytes / serving.tensor / serving.pipeline] * serving.pipeline
    return [
        sum(
            _here(part, stage, index, shape, serving) * _sharded(part, facts, shape, serving)
            for part in facts.parts
            if part.kind != "draft"
        )
        for index, stage in enumerate(stages(shape.layers, serving.pipeline, serving.engine))
    ]


def _here(part: Part, stage: range, index: int, shape: Shape, serving: Serving) -> int:
    """In how many layers of a stage it is. Tied embeddings are in the first and, once more, in the last."""
    last = index == serving.pipeline - 1
    if part.layers == (FIRST,):
        again = part.kind == "embeddings" and shape.tied and last
        return int(index == 0 or again)
    if part.layers == (LAST,):
        return int(last)
    return sum(layer in stage for layer in part.layers)


def _sharded(part: Part, facts: ModelFacts, shape: Shape, serving: Serving) -> float:
    """Bytes of one layer's part on one GPU."""
    return loaded_bytes(part, facts, serving) / _shares(part, shape, serving)


def _shares(part: Part, shape: Shape, serving: Serving) -> int:
    if part.split == "experts":
        return serving.expert_ranks
    if part.split == "whole" or (part.kind == "attention" and serving.attention_whole):
        return 1
    if part.split == "kv_heads":
        return min(serving.tensor, shape.kv_heads)
    # trtllm-build repeats the embeddings, unless --use_parallel_embedding is given to the convert script.
    if part.kind == "embeddings" and serving.target == "engine":
        return 1
    return serving.tensor


def loaded_bytes(part: Part, facts: ModelFacts, serving: Serving) -> float:
    """Of one layer's part on all GPUs together: as we or the engine quantize it, as the checkpoint has it,
    else in the dtype of serving.
    """
    made = serving.quantization
    if made is not None and part.linear and part.kind in made.kinds:
        return made.bytes_of(part.count)
    if part.kept and part.size is not None:
        return part.size
    stored = facts.quantization if made is None and part.size is None else None
    if stored is not None and part.linear and part.kind in stored.kinds:
        return stored.bytes_of(part.count)
    return part.count * computing_bytes(facts, serving)


def computing_bytes(facts: ModelFacts, serving: Serving) -> int:
    """Per number of what is not quantized. `auto` makes 16 bits of float32 in both engines."""
    return min(BYTES[facts.dtype], 2) if serving.dtype == "auto" else BYTES[serving.dtype]
