"""Which layers get quantized is told from names and shapes; so is a width that does not divide."""

from __future__ import annotations

import pytest

from enginebuild.quantizers.layers import Form, Linear, linears, misfit, stacked_experts

TENSORS: dict[str, Form] = {
    "lm_head.weight": ("BF16", (512, 64)),
    "model.embed_tokens.weight": ("BF16", (512, 64)),
    "transformer.wte.weight": ("F16", (512, 64)),
    "model.norm.weight": ("BF16", (64,)),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", (64, 64)),
    "model.layers.0.self_attn.q_proj.bias": ("BF16", (64,)),
    "model.layers.0.mlp.gate.weight": ("F32", (4, 64)),
    "model.layers.0.mlp.experts.down_proj": ("BF16", (4, 64, 32)),
    "model.layers.1.mlp.up_proj.weight": ("I8", (32, 64)),
}


def test_linear_layers_are_floats_of_two_dimensions_and_no_embeddings() -> None:
    assert [layer.name for layer in linears(TENSORS)] == [
        "lm_head",
        "model.layers.0.mlp.gate",
        "model.layers.0.self_attn.q_proj",
    ]
    assert linears(TENSORS, ["lm_head", "*.mlp.gate"]) == [Linear("model.layers.0.self_attn.q_proj", 64, 64)]


def test_experts_that_lie_in_one_tensor_are_seen() -> None:
    assert stacked_experts(TENSORS) == ["model.layers.0.mlp.experts.down_proj"]
    assert stacked_experts(TENSORS, ["*.experts.*"]) == []


SMOLLM2 = [Linear("a.0.q_proj", 576, 576), Linear("a.0.down_proj", 576, 1536)]


@pytest.mark.parametrize(
    ("layers", "size", "message"),
    [
        (SMOLLM2, None, None),
        (SMOLLM2, 64, None),
        (
            SMOLLM2,
            128,
            (
                "1 of 2 layers have a width (576) that is no multiple of the group size 128, such as "
                "a.0.q_proj: set quantization.group_size to 64, or leave them out with exclude_modules: "
                '["*.q_proj"]'
            ),
        ),
        (
            [Linear("a.q_proj", 8, 100), *SMOLLM2],
            128,
            (
                "2 of 3 layers have a width (100, 576) that is no multiple of the group size 128, such as "
                'a.q_proj: leave them out with exclude_modules: ["*.q_proj"]'
            ),
        ),
    ],
)
def test_a_width_that_no_group_divides(layers: list[Linear], size: int | None, message: str | None) -> None:
    assert misfit(layers, size) == message
