"""What has to divide: heads, widths, experts and groups by the GPUs that share them.

Source: the assertions of vLLM 0.33.0's parallel layers (`divide`, QKVParallelLinear, FusedMoE) and of its
quantized ones (group and block sizes), and of TensorRT-LLM 1.3.0rc3's Mapping.
"""

from __future__ import annotations

from collections.abc import Iterator

from enginebuild.fit.finding import Finding
from enginebuild.fit.serving import Serving
from enginebuild.models import ModelFacts
from enginebuild.models.quantized import Quantized
from enginebuild.models.shape import Experts, Shape


def divisibility(facts: ModelFacts, shape: Shape, serving: Serving) -> Iterator[Finding]:
    """Every division that leaves a rest."""
    yield from _heads(shape, serving)
    yield from _widths(shape, serving)
    if shape.experts is not None:
        yield from _experts(shape.experts, serving)
    if serving.pipeline > shape.layers:
        message = f"pipeline_parallel_size {serving.pipeline} is more than the {shape.layers} layers"
        yield Finding("layers", serving.where("pipeline"), message)
    quantized = serving.quantization or facts.quantization
    if quantized is not None and quantized.group is not None:
        yield from _groups(shape, serving, quantized, quantized.group)


def _heads(shape: Shape, serving: Serving) -> Iterator[Finding]:
    tensor, keys = serving.tensor, shape.kv_heads
    if serving.attention_whole:
        return
    if shape.heads % tensor:
        yield _uneven("attention_heads", serving, f"{shape.heads} attention heads")
    elif shape.latent is None and max(keys, tensor) % min(keys, tensor):
        yield _uneven("attention_heads", serving, f"{keys} KV heads")


def _uneven(check: str, serving: Serving, what: str) -> Finding:
    message = f"tensor_parallel_size {serving.tensor} does not divide the {what} of the model"
    if check == "attention_heads":
        return Finding("attention_heads", serving.where("tensor"), message)
    return Finding("widths", serving.where("tensor"), message)


def _widths(shape: Shape, serving: Serving) -> Iterator[Finding]:
    if shape.dense_layers and shape.width % serving.tensor:
        yield _uneven("widths", serving, f"MLP's width {shape.width}")
    experts = shape.experts
    if experts is not None and _sliced(serving) > 1 and experts.width % _sliced(serving):
        message = f"{_sliced(serving)} GPUs do not divide the width {experts.width} of an expert"
        yield Finding("widths", serving.where("tensor"), message)


def _sliced(serving: Serving) -> int:
    """GPUs that share one expert."""
    return max(1, serving.expert_ranks // serving.expert_parallel)


def _experts(experts: Experts, serving: Serving) -> Iterator[Finding]:
    """vLLM deals out what is left over; TensorRT-LLM does not. The recipe's rules see to groups and GPUs."""
    groups = serving.expert_parallel
    if serving.target == "vllm" or groups == 1:
        return
    if experts.count % groups:
        message = (
            f"moe_expert_parallel_size {groups} does not divide the {experts.count} experts of the model"
        )
        yield Finding("experts", serving.where("experts"), message)


def _groups(shape: Shape, serving: Serving, quantized: Quantized, group: int) -> Iterator[Finding]:
    """Weights that share a scale must lie on one GPU."""
    for what, width, gpus in _grouped(shape, serving, quantized):
        if width % gpus == 0 and (width // gpus) % group:
            spread = f" over {gpus} GPUs" if gpus > 1 else ""
            message = (
                f"{quantized.method} has groups of {group} weights, and {what} of {width}{spread} is "
                f"{width // gpus} wide, no multiple of that"
            )
            made = serving.quantization is not None
            path = serving.where("quantization" if made else "tensor")
            hint = _smaller_groups(quantized, width // gpus) if made else ""
            yield Finding("quantization_groups", path, message, hint=hint)


def _smaller_groups(quantized: Quantized, width: int) -> str:
    sizes = (size for size in (64, 32) if width % size == 0)
    size = next(sizes, None) if quantized.method.startswith("w4") else None
    return f"write quantization: {{method: {quantized.method}, group_size: {size}}}" if size else ""


def _grouped(shape: Shape, serving: Serving, quantized: Quantized) -> Iterator[tuple[str, int, int]]:
    """The sharded inputs of matrices: of the output projection, of the way down in an MLP and in experts."""
    if "attention" in quantized.kinds and shape.latent is None:
        yield "attention's output", shape.heads * shape.head_dim, _attention_gpus(serving)
    if "mlp" in quantized.kinds and shape.dense_layers:
        yield "the MLP", shape.width, serving.tensor
    # GPT-OSS: engines fill up MXFP4's experts (2880 / 8 = 360), and its kernels take that; vLLM fills up what
    # it quantizes itself (vllm#44763).
    filled = quantized.method == "mxfp4" or serving.at_load
    if "experts" in quantized.kinds and shape.experts is not None and not filled:
        yield "an expert", shape.experts.width, _sliced(serving)


def _attention_gpus(serving: Serving) -> int:
    return 1 if serving.attention_whole else serving.tensor
