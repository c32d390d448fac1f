"""Facts of models from their config.json: against what was published of more than fifty of them."""

from __future__ import annotations

from typing import Any

import pytest

from enginebuild.models import facts_of
from enginebuild.models.parts import KINDS
from enginebuild_cache import Digest, File, Tree
from parts.published_models import config, facts, published, shape

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
#: Published to the last digit for all but these two.
ROUNDED = {"mistralai/Mixtral-8x22B-Instruct-v0.1", "deepseek-ai/DeepSeek-V3"}


def test_the_table_is_long_enough() -> None:
    assert len(published()) >= 50
    assert len({facts(model).family for model in published()}) >= 17
    assert sum("weight_bytes" in entry for entry in published().values()) >= 30


@pytest.mark.parametrize("model", published())
def test_parameters_are_those_that_were_published(model: str) -> None:
    expected = published()[model]["parameters"]
    found = facts(model)
    assert found.unknown == ()
    if model in ROUNDED:
        assert found.parameters == pytest.approx(expected, rel=0.0005)
    else:
        assert found.parameters == expected
    kinds = found.by_kind()
    assert sum(kinds.values()) - kinds.get("draft", 0) == found.parameters
    assert set(kinds) <= set(KINDS)


@pytest.mark.parametrize("model", [m for m, entry in published().items() if "weight_bytes" in entry])
def test_weights_are_as_large_as_the_files(model: str) -> None:
    assert facts(model).checkpoint_bytes == pytest.approx(published()[model]["weight_bytes"], rel=0.001)


@pytest.mark.parametrize("model", [m for m, entry in published().items() if "active" in entry])
def test_active_parameters(model: str) -> None:
    assert facts(model).active_parameters == pytest.approx(published()[model]["active"], rel=0.03)


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        (
            LLAMA_8B,
            {
                "embeddings": 128256 * 4096,
                "lm_head": 128256 * 4096,
                "attention": 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024),
                "mlp": 32 * 3 * 4096 * 14336,
                "norms": 65 * 4096,
            },
        ),
        (
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            {
                "embeddings": 32000 * 4096,
                "lm_head": 32000 * 4096,
                "attention": 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024),
                "experts": 32 * 8 * 3 * 4096 * 14336,
                "router": 32 * 8 * 4096,
                "norms": 65 * 4096,
            },
        ),
    ],
)
def test_kinds(model: str, kinds: dict[str, int]) -> None:
    assert facts(model).by_kind() == kinds


def test_tied_embeddings_are_counted_once() -> None:
    tied = config("meta-llama/Llama-3.2-1B-Instruct")
    apart = facts_of(tied | {"tie_word_embeddings": False})
    assert apart.parameters - facts_of(tied).parameters == 128256 * 2048
    assert facts_of(tied).shape != apart.shape


def test_shapes() -> None:
    v3 = shape("deepseek-ai/DeepSeek-V3")
    assert v3.latent is not None
    assert v3.experts is not None
    assert (v3.latent.cached, v3.latent.q_rank) == (576, 1536)
    assert (v3.experts.count, v3.experts.top_k, v3.experts.width, v3.experts.shared_width) == (
        256,
        8,
        2048,
        2048,
    )
    assert v3.dense_layers == (0, 1, 2)
    maverick, scout = (
        shape(f"meta-llama/Llama-4-{name}-Instruct") for name in ("Maverick-17B-128E", "Scout-17B-16E")
    )
    assert maverick.experts is not None
    assert scout.experts is not None
    assert maverick.experts.layers == tuple(range(1, 48, 2))
    assert scout.experts.layers == tuple(range(48))
    assert scout.windows[:5] == (8192, 8192, 8192, None, 8192)
    qwen = shape("Qwen/Qwen3-235B-A22B")
    assert (qwen.heads, qwen.kv_heads, qwen.head_dim) == (64, 4, 128)
    assert shape("Qwen/Qwen2.5-7B-Instruct").windows == (None,) * 28  # use_sliding_window: false
    assert shape("mistralai/Mistral-7B-v0.1").windows == (4096,) * 32
    assert shape("google/gemma-2-9b-it").windows[:3] == (4096, None, 4096)
    assert shape("google/gemma-3-27b-it").windows[4:7] == (1024, None, 1024)
    assert shape("openai/gpt-oss-20b").windows[:2] == (128, None)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({}, 32768),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 131072),
        (
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}},
            32768,
        ),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, 65536),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, 65536),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 32768),
        ({"rope_scaling": {"type": "longrope", "factor": 8.0}}, 32768),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 32768),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, 65536),
        ({"rope_scaling": {"rope_type": "yarn"}}, 32768),
    ],
)
def test_positions_with_rope_scaling(scaling: dict[str, Any], expected: int) -> None:
    found = facts_of(config("Qwen/Qwen2.5-7B-Instruct") | scaling).shape
    assert found is not None
    assert (found.positions, found.scaled_positions) == (32768, expected)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LLAMA_8B, 131072),
        ("deepseek-ai/DeepSeek-V3", 163840),
        ("openai/gpt-oss-120b", 131072),
        ("google/gemma-3-27b-it", 131072),
        ("microsoft/phi-4", 16384),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 10485760),
    ],
)
def test_positions_of_models(model: str, expected: int) -> None:
    assert shape(model).scaled_positions == expected


def _quantized(**section: Any) -> tuple[str, float, int | None] | None:
    found = facts_of(config(LLAMA_8B) | {"quantization_config": section}).quantization
    return None if found is None else (found.method, found.bits, found.group)


def _compressed(group: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **more}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, ("w4a16_awq", 4.15625, 128)),
        ({"quant_method": "awq", "w_bit": 4, "group_size": 64}, ("w4a16_awq", 4.3125, 64)),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, ("w4a16_gptq", 4.15625, 128)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("w8a16", 8, None)),
        ({"quant_method": "fp8"}, ("fp8", 8, None)),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            ("fp8_block_scales", 8.001953125, 128),
        ),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4.25, 32)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("nvfp4", 4.5, 16)),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ("fp8", 8, None)),
        ({"quant_method": "modelopt", "quant_algo": "fp8_pb_wo"}, ("fp8_block_scales", 8.001953125, 128)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes 4 bits", 4.5, None)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes 8 bits", 8, None)),
        (
            _compressed({"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}),
            ("fp8_per_channel_per_token", 8, None),
        ),
        (
            _compressed({"weights": {"num_bits": 8, "type": "float", "strategy": "block"}}),
            ("fp8_block_scales", 8.001953125, 128),
        ),
        (
            _compressed({"weights": {"num_bits": 4, "type": "float", "group_size": 16}}),
            ("nvfp4", 4.5, 16),
        ),
        (
            _compressed({"weights": {"num_bits": 4, "type": "float", "group_size": 32}}),
            ("mxfp4", 4.25, 32),
        ),
        (
            _compressed({"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}),
            ("w4a16", 4.125, 128),
        ),
        (
            _compressed(
                {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}},
            ),
            ("w8a8_int8", 8, None),
        ),
        (_compressed({"weights": {"num_bits": 8, "type": "int"}}), ("w8a16", 8, None)),
    ],
)
def test_existing_quantization(section: dict[str, Any], expected: tuple[str, float, int | None]) -> None:
    assert _quantized(**section) == expected


@pytest.mark.parametrize(
    "section",
    [
        {"quant_method": "squeezellm"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "modelopt", "quant_algo": "SECRET"},
        {"bits": 4},
    ],
)
def test_an_unknown_quantization_is_said(section: dict[str, Any]) -> None:
    found = facts_of(config(LLAMA_8B) | {"quantization_config": section})
    assert (found.quantization, found.quantized) == (None, True)
    assert found.unknown == (f"the quantization {section.get('quant_method')}",)


def test_what_a_checkpoint_leaves_out_keeps_its_size() -> None:
    group = {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}
    scout = config("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    ignore = [
        "re:.*lm_head",
        "re:.*self_attn",
        "re:.*router",
        "re:.*vision_model",
        "re:.*multi_modal_projector",
    ]
    found = facts_of(scout | {"quantization_config": _compressed(group, ignore=ignore)})
    assert found.quantization is not None
    assert found.quantization.kinds == {"experts", "shared_experts", "mlp", "draft"}
    oss = facts("openai/gpt-oss-20b").quantization
    assert oss is not None
    assert oss.kinds == {"experts"}
    one_layer = {"quant_method": "fp8", "ignored_layers": ["model.layers.3.self_attn.q_proj"]}
    kept = facts_of(config(LLAMA_8B) | {"quantization_config": one_layer}).quantization
    assert kept is not None
    assert "attention" in kept.kinds
    assert facts_of(config(LLAMA_8B) | {"quantization_config": {"quant_method": "fp8"}}).checkpoint_bytes == (
        32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 2 * (2 * 128256 * 4096 + 65 * 4096)
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "bfloat16", "torch_dtype": None}, "bfloat16"),
        ({"torch_dtype": "torch.float32"}, "float32"),
        ({"torch_dtype": None}, "float32"),
        ({"torch_dtype": "float8_e4m3fn"}, "bfloat16"),
    ],
)
def test_dtypes(said: dict[str, Any], expected: str) -> None:
    assert facts_of(config(LLAMA_8B) | said).dtype == expected


def test_an_unknown_architecture_gives_what_can_be_known() -> None:
    found = facts_of(config(LLAMA_8B) | {"model_type": "brandnew", "architectures": ["BrandNewForCausalLM"]})
    assert (found.architecture, found.family) == ("BrandNewForCausalLM", None)
    assert found.shape is not None
    assert found.shape.heads == 32
    assert (found.parameters, found.checkpoint_bytes) == (0, 0)
    assert found.unknown == ("parameters by kind: no family is known for BrandNewForCausalLM",)


@pytest.mark.parametrize(
    "nothing", [{}, {"hidden_size": "large"}, {"text_config": 3}, {"architectures": [1]}]
)
def test_a_config_that_says_nothing(nothing: dict[str, Any]) -> None:
    found = facts_of(nothing)
    assert found.shape is None
    assert found.unknown == (
        "layers and heads: config.json does not name them",
        "parameters by kind: no family is known for this model",
    )


def test_an_encoder_that_is_not_counted_is_said() -> None:
    inner: dict[str, Any] = {
        "model_type": "mistral",
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "vocab_size": 131072,
    }
    inner |= {
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 32768,
    }
    found = facts_of({"model_type": "mistral3", "text_config": inner, "vision_config": {"hidden_size": 1024}})
    assert found.unknown == ("the size of its image encoder",)
    assert found.parameters > 23e9


def test_listed_files_are_more_exact_than_a_count() -> None:
    digest = Digest.of(b"")
    names = {
        "model-1.safetensors": 10,
        "model-2.safetensors": 7,
        "original/a.safetensors": 99,
        "config.json": 3,
    }
    tree = Tree.of([File(name, digest, size) for name, size in names.items()])
    assert facts_of(config(LLAMA_8B), tree=tree, licence="llama3.1").checkpoint_bytes == 17
    assert facts_of(config(LLAMA_8B), licence="llama3.1").licence == "llama3.1"
    assert facts_of(config(LLAMA_8B), tree=Tree.of([])).checkpoint_bytes == 16060522496
