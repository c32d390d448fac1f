"""Facts of models from the headers of their files: exact bytes, and the same as counted from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from enginebuild.fit.memory import memory_of
from enginebuild.fit.serving import Serving
from enginebuild.fit.weights import weight_bytes
from enginebuild.models import ModelFacts, facts_of
from enginebuild.recipe.gpu import catalogue
from enginebuild.sources.safetensors import Tensor
from parts import published_tensors as tensors_of
from parts.published_models import config, facts
from parts.published_tensors import LLAMA, OSS, PHI4, QWEN2, QWEN3, TIED, V3, named, stored, tensors

MODELS = (LLAMA, TIED, QWEN2, QWEN3, tensors_of.MIXTRAL, tensors_of.QWEN3_MOE, V3, OSS, PHI4)


def _read(model: str, found: tuple[Tensor, ...] | None = None, **changed: Any) -> ModelFacts:
    return facts_of(config(model) | changed, tensors=found or stored(model))


@cache
def _plain(model: str) -> ModelFacts:
    """Not quantized: DeepSeek-V3 is published in FP8."""
    return _read(model, quantization_config=None) if model == V3 else _read(model)


def _weights(found: ModelFacts, **asked: Any) -> list[float]:
    assert found.shape is not None
    return weight_bytes(found, found.shape, Serving(**({"target": "vllm"} | asked)))


@pytest.mark.parametrize("model", MODELS)
def test_two_ways_of_counting_agree(model: str) -> None:
    """By name and shape of each tensor, and by the family's rules."""
    read, counted = _plain(model), facts(model)
    assert read.by_kind() == counted.by_kind()
    assert (read.parameters, read.active_parameters) == (counted.parameters, counted.active_parameters)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", [{}, {"tensor": 2}, {"tensor": 8}, {"pipeline": 2, "tensor": 2}])
def test_they_are_divided_in_the_same_way(model: str, asked: Mapping[str, Any]) -> None:
    counted = facts_of(config(model) | {"quantization_config": None}) if model == V3 else facts(model)
    assert _weights(_plain(model), **asked) == pytest.approx(_weights(counted, **asked), rel=1e-4)


@pytest.mark.parametrize("model", [LLAMA, QWEN3, PHI4])
def test_bytes_are_those_of_the_files(model: str) -> None:
    found = stored(model)
    read = _read(model, found)
    assert read.stored is not None
    assert read.checkpoint_bytes == read.stored.size == found[-1].end
    assert read.stored.dtypes == (("BF16", found[-1].end),)
    assert _weights(read) == [found[-1].end]


def test_a_layer_for_speculation_is_stored_and_not_loaded() -> None:
    read = _plain(V3)
    assert read.stored is not None
    draft = [part for part in read.parts if part.kind == "draft"]
    assert 13e9 < sum(part.total for part in draft) < 14e9  # DeepSeek's own page: 14B
    assert _weights(read)[0] == read.stored.size - sum((part.size or 0) * len(part.layers) for part in draft)


def test_scales_of_blocks_are_counted_in_bytes_and_not_as_parameters() -> None:
    """DeepSeek-V3 as it is published: FP8 in blocks of 128 × 128, with a float32 for each."""
    plain = list(named(V3))
    matrices = [
        (name, sizes)
        for name, sizes in plain
        if len(sizes) == 2 and "embed" not in name and "head" not in name and ".gate.w" not in name
    ]
    scales = [(f"{name}_scale_inv", (-(-sizes[0] // 128), -(-sizes[1] // 128))) for name, sizes in matrices]
    dtypes = {"scale_inv": "F32"} | {name: "F8_E4M3" for name, _ in matrices if "layers.3." in name}
    found = tensors([*plain, *scales], dtypes)
    read = _read(V3, found)
    assert read.by_kind() == facts(V3).by_kind()
    assert read.stored is not None
    assert [dtype for dtype, _ in read.stored.dtypes] == ["BF16", "F8_E4M3", "F32"]
    # A layer in FP8 stays as it is stored, the others stay in 16 bits: exceptions that no pattern tells.
    assert sum((part.size or 0) * len(part.layers) for part in read.parts) == found[-1].end


def test_tied_embeddings_count_once_even_if_they_are_stored_twice() -> None:
    once, twice = _read(TIED), _read(TIED, tensors([*named(TIED), ("lm_head.weight", (128256, 2048))]))
    assert twice.parameters == once.parameters
    assert twice.checkpoint_bytes - once.checkpoint_bytes == 128256 * 2048 * 2
    assert _weights(twice) == _weights(once)


def test_without_an_lm_head_the_embeddings_are_tied_whatever_a_silent_config_means() -> None:
    silent = _read(TIED, tie_word_embeddings=None)
    assert silent.shape is not None
    assert silent.shape.tied
    assert _weights(silent, pipeline=2) == _weights(_read(TIED), pipeline=2)


def test_an_unknown_architecture_is_known_by_its_files() -> None:
    read = _read(LLAMA, model_type="brandnew", architectures=["BrandNewForCausalLM"])
    assert (read.family, read.unknown) == (None, ())
    assert read.by_kind() == facts(LLAMA).by_kind()
    assert _weights(read, tensor=4) == _weights(facts(LLAMA), tensor=4)


def test_what_has_no_known_name_is_other_and_counts() -> None:
    more = [("model.layers.3.mixer.in_proj.weight", (64, 32)), ("model.layers.3.mixer.A_log", (8,))]
    read = _read(LLAMA, tensors([*named(LLAMA), *more]))
    assert read.by_kind()["other"] == 64 * 32 + 8
    whole = _weights(facts(LLAMA))[0]
    assert _weights(read) == [whole + 2 * (64 * 32 + 8)]
    assert _weights(read, tensor=2)[0] == _weights(facts(LLAMA), tensor=2)[0] + 64 * 32 + 2 * 8


def test_layers_with_a_fixed_state_keep_no_keys_and_values() -> None:
    """Of every four layers one is plain attention, as in Qwen3-Next."""
    kept = [
        (
            name.replace("self_attn", "linear_attn")
            .replace("k_proj", "in_proj")
            .replace("v_proj", "out_proj"),
            sizes,
        )
        if "layers" in name and int(name.split(".")[2]) % 4 != 3
        else (name, sizes)
        for name, sizes in named(LLAMA)
    ]
    mixed = _read(LLAMA, tensors(kept), model_type="brandnew")
    assert mixed.shape is not None
    assert mixed.shape.cached == (3, 7, 11, 15, 19, 23, 27, 31)
    gpu, serving = catalogue()["H100-SXM-80GB"], Serving("vllm", length=8192)
    whole = memory_of(facts(LLAMA), facts(LLAMA).shape or mixed.shape, serving, gpu)
    found = memory_of(mixed, mixed.shape, serving, gpu)
    assert (found.weights, found.sequence) == (whole.weights, whole.sequence / 4)
    all_cached = _read(LLAMA, model_type="brandnew").shape
    assert all_cached is not None
    assert all_cached.cached == tuple(range(32))
    latent = _read(V3, model_type="brandnew").shape
    assert latent is not None
    assert latent.cached == tuple(range(61))


def test_tables_that_engines_make_themselves_are_not_loaded() -> None:
    more = [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", (64,)),
        ("model.layers.0.attn.bias", (1, 1, 1024, 1024)),
        ("model.layers.0.attn.masked_bias", ()),
    ]
    assert _weights(_read(LLAMA, tensors([*named(LLAMA), *more]))) == _weights(facts(LLAMA))


def test_an_encoder_of_images_is_known_by_its_files() -> None:
    inner = config(LLAMA)
    outer: dict[str, Any] = {
        "model_type": "mistral3",
        "text_config": inner,
        "vision_config": {"hidden_size": 1024},
    }
    assert facts_of(outer).unknown == ("the size of its image encoder",)
    encoder = [
        ("vision_tower.transformer.layers.40.attention.q_proj.weight", (1024, 1024)),
        ("multi_modal_projector.linear_1.weight", (4096, 1024)),
    ]
    language = [(f"language_model.{name}", sizes) for name, sizes in named(LLAMA)]
    read = facts_of(outer, tensors=tensors([*language, *encoder]))
    assert read.unknown == ()
    assert read.by_kind() == facts(LLAMA).by_kind() | {"vision": 5 * 1024 * 1024}


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128}


def test_packed_numbers_are_counted() -> None:
    """AWQ: eight weights in an int32, zero points likewise, a scale of 16 bits per 128."""
    found = []
    for name, sizes in named(LLAMA):
        if "proj" not in name:
            found.append((name, sizes))
            continue
        stem, (rows, columns) = name.removesuffix("weight"), (sizes[0], sizes[1])
        found += [
            (f"{stem}qweight", (columns, rows // 8)),
            (f"{stem}qzeros", (columns // 128, rows // 8)),
            (f"{stem}scales", (columns // 128, rows)),
        ]
    packed = tensors(found, {"qweight": "I32", "qzeros": "I32", "scales": "F16"})
    read = _read(LLAMA, packed, quantization_config=AWQ)
    assert read.by_kind() == facts(LLAMA).by_kind()
    counted = facts_of(config(LLAMA) | {"quantization_config": AWQ})
    assert _weights(read) == [packed[-1].end] == pytest.approx(_weights(counted), rel=1e-6)
    assert _weights(read, tensor=2) == pytest.approx(_weights(counted, tensor=2), rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "doubtful"),
    [
        ({}, False),
        ({"model_type": "brandnew"}, True),
        ({"quantization_config": AWQ}, True),
        ({"vocab_size": 200000}, True),
    ],
)
def test_when_config_json_leaves_doubt(changed: dict[str, Any], doubtful: bool) -> None:
    from enginebuild_cache import Digest, File, Tree

    size = facts(LLAMA).counted_bytes
    tree = Tree.of([File("model.safetensors", Digest.of(b""), size + 40_000)])
    assert facts_of(config(LLAMA) | changed, tree=tree).doubtful == doubtful
    assert not _read(LLAMA, **changed).doubtful


def test_a_silent_config_takes_the_dtype_of_most_numbers() -> None:
    silent = {"torch_dtype": None, "dtype": None}
    assert facts_of(config(LLAMA) | silent).dtype == "float32"
    assert _read(LLAMA, **silent).dtype == "bfloat16"
