"""What passes, what warns, what the numbers are, and what the recipe may allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enginebuild.check import read_checked, read_checked_cells
from enginebuild.fit.explain import explained
from enginebuild.fit.memory import GIB, memory_of
from enginebuild.fit.serving import Serving, serving_of
from enginebuild.fit.weights import stages, weight_bytes
from enginebuild.models import facts_of
from enginebuild.recipe import catalogue
from parts.fits import FORMS, L8, L70, L405, OSS_120B, QWEN_7B, QWEN_235B, V3, fitted, written
from parts.published_models import config, facts, shape
from parts.recipes import SHIPPED

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"

#: The shipped recipes, with the models that they name.
SHIPPED_MODELS = {
    "llama-3.1-8b-fleet": (L8, "-"),
    "llama-3.1-8b-fp8-h100-trtllm": (L8, "-"),
    "llama-3.1-8b-fp8-h100-vllm": (L8, "-"),
    "llama-3.1-8b-fp8-h100x2-trtllm": (L8, "-"),
    "llama-3.1-8b-h100-triton": (L8, "-"),
    "llama-3.1-8b-h100-vllm": (L8, "fp8-rows"),
    "llama-3.1-8b-nvfp4-b200-trtllm": (L8, "-"),
    "llama-3.3-70b-h100x4-vllm": (L70, "-"),
    "llama-3.3-70b-h100x8-trtllm": (L70, "-"),
    "quickstart": (SMOL, "-"),
    "qwen2.5-7b-awq-l4-trtllm": (QWEN_7B, "-"),
    "qwen2.5-7b-awq-l4-vllm": (QWEN_7B, "awq"),
    "smollm2-135m-vllm": (SMOL, "-"),
}


def test_every_shipped_recipe_is_in_the_table() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} <= set(SHIPPED_MODELS)


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_shipped_recipes_fit(name: str) -> None:
    model, form = SHIPPED_MODELS[name]
    for cell in read_checked_cells(SHIPPED / f"{name}.yaml"):
        assert fitted(cell, model, FORMS[form]).findings == ()


@pytest.mark.parametrize(
    ("target", "model", "form", "overrides"),
    [
        # What the makers of models and engines publish as working.
        ("vllm", V3, "-", ["gpu=H200-SXM-141GB", "tensor_parallel_size=8"]),
        (
            "vllm",
            V3,
            "-",
            ["gpu=B200-SXM-180GB", "tensor_parallel_size=8", "engine.args.max_model_len=163840"],
        ),
        ("vllm", OSS_120B, "-", ["engine.args.max_model_len=131072"]),
        ("vllm", OSS_120B, "-", ["tensor_parallel_size=8", "engine.args.max_model_len=131072"]),
        ("vllm", "openai/gpt-oss-20b", "-", ["gpu=L4", "engine.args.max_model_len=16384"]),
        ("vllm", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "-", ["tensor_parallel_size=8"]),
        ("vllm", L405, "fp8-rows", ["tensor_parallel_size=8", "engine.args.max_model_len=16384"]),
        ("vllm", L70, "-", ["tensor_parallel_size=4", "engine.args.max_model_len=131072"]),
        ("vllm", L70, "fp8-rows", ["tensor_parallel_size=2", "engine.args.max_model_len=32768"]),
        ("vllm", L70, "awq", ["engine.args.max_model_len=32768"]),
        ("vllm", QWEN_235B, "fp8-blocks", ["tensor_parallel_size=4"]),
        ("vllm", QWEN_235B, "-", ["tensor_parallel_size=8"]),
        ("vllm", "google/gemma-3-27b-it", "-", ["engine.args.max_model_len=32768"]),
        ("vllm", "mistralai/Mixtral-8x7B-Instruct-v0.1", "-", ["tensor_parallel_size=2"]),
        ("vllm", "mistralai/Mistral-Small-24B-Instruct-2501", "-", ["engine.args.max_model_len=32768"]),
        ("vllm", "microsoft/phi-4", "-", ["gpu=L40S", "engine.args.max_model_len=16384"]),
        ("vllm", L8, "-", ["gpu=L4", "engine.args.max_model_len=auto"]),
        ("vllm", L8, "-", ["gpu=A10G"]),
        ("pytorch", V3, "-", ["gpu=B200-SXM-180GB", "tensor_parallel_size=8"]),
        ("pytorch", L70, "fp8-rows", ["tensor_parallel_size=2"]),
        ("engine", L70, "-", ["tensor_parallel_size=8"]),
        ("engine", L8, "-", []),
    ],
)
def test_what_is_known_to_work_passes(
    target: str, model: str, form: str, overrides: list[str], tmp_path: Path
) -> None:
    assert fitted(written(tmp_path, target, overrides), model, FORMS[form]).findings == ()


@pytest.mark.parametrize(
    ("target", "model", "overrides", "check", "message"),
    [
        (
            "vllm",
            L8,
            ["gpu=L4", "engine.args.max_model_len=38000"],
            "kv_cache",
            (
                "one sequence of 38000 tokens takes 4.6 GiB of KV cache on each GPU; probably 4.4 GiB are "
                "left beside 15.0 GiB of weights on L4"
            ),
        ),
        (
            "pytorch",
            L8,
            ["engine.runtime.max_seq_len=262144"],
            "length",
            "max_seq_len 262144 is more than the 131072 positions of the model",
        ),
        (
            "vllm",
            L405,
            ["tensor_parallel_size=8", "pipeline_parallel_size=2"],
            "gpu_count",
            "the recipe needs 16 GPUs, and a machine with H100-SXM-80GB has 8 at most",
        ),
        (
            "vllm",
            L8,
            ["quantization=fp8_per_channel_per_token", "builder={image: a/b:c, memory: 12GiB}"],
            "builder_memory",
            (
                "the step quantize needs probably 15.5 GiB of memory (llm-compressor quantizes one file "
                "after another), and builder.memory is 12.0 GiB"
            ),
        ),
    ],
)
def test_warnings(
    target: str, model: str, overrides: list[str], check: str, message: str, tmp_path: Path
) -> None:
    found = fitted(written(tmp_path, target, overrides), model)
    assert [(each.check, each.message) for each in found.warnings] == [(check, message)]
    assert found.refusals == ()


def test_what_is_not_known_is_a_warning(tmp_path: Path) -> None:
    overrides = ["image.base=registry.example.com/vllm:own"]
    found = fitted(
        written(tmp_path, "vllm", overrides), L8, None, model_type="brandnew", architectures=["BrandNew"]
    )
    assert [(each.check, each.path, each.message) for each in found.warnings] == [
        (
            "architecture",
            ("model",),
            "vLLM 0.33.0 has no BrandNew, and neither has transformers 5.19.0 for its Transformers backend",
        ),
        (
            "unknown",
            ("model",),
            (
                "not known of the model: parameters by kind: no family is known for BrandNew; "
                "memory is not checked"
            ),
        ),
    ]
    assert (found.refusals, found.memory) == ((), None)


def test_allowed_refusals_are_warnings(tmp_path: Path) -> None:
    overrides = ["allow=[memory]", "tensor_parallel_size=3"]
    found = fitted(written(tmp_path, "vllm", overrides), L405)
    assert [(each.check, each.allowed) for each in found.warnings] == [("memory", True)]
    assert [each.check for each in found.refusals] == ["attention_heads", "widths"]


def test_without_a_gpu_only_sizes_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text((SHIPPED / "quickstart.yaml").read_text())
    found = fitted(read_checked(path, ["tensor_parallel_size=7"]), L70)
    assert {each.check for each in found.refusals} == {"attention_heads"}
    assert found.memory is None


def test_another_gpu_may_be_asked_for(tmp_path: Path) -> None:
    from enginebuild.fit import fit

    recipe = written(tmp_path, "vllm")
    assert fit(recipe, facts(L70), catalogue()["B200-SXM-180GB"]).findings == ()


@pytest.mark.parametrize(
    ("layers", "pipeline", "engine", "expected"),
    [
        (32, 1, "vllm", [32]),
        (61, 4, "vllm", [15, 15, 16, 15]),
        (62, 4, "vllm", [15, 16, 16, 15]),
        (61, 4, "tensorrt_llm", [16, 15, 15, 15]),
    ],
)
def test_stages(layers: int, pipeline: int, engine: str, expected: list[int]) -> None:
    found = stages(layers, pipeline, engine)
    assert [len(stage) for stage in found] == expected
    assert [layer for stage in found for layer in stage] == list(range(layers))


def _weights(model: str, **asked: Any) -> list[float]:
    return weight_bytes(facts(model), shape(model), Serving(**({"target": "vllm"} | asked)))


def test_weights_are_sharded_as_engines_do_it() -> None:
    whole = 16060522496
    assert _weights(L8) == [whole]
    norms = 65 * 4096 * 2
    assert _weights(L8, tensor=2) == [(whole - norms) / 2 + norms]
    # 8 KV heads over 16 GPUs: keys and values in eighths.
    keys = 32 * 2 * 4096 * 1024 * 2
    assert _weights(L8, tensor=16) == [(whole - norms - keys) / 16 + keys / 8 + norms]
    first, last = _weights(L8, pipeline=2)
    table = 128256 * 4096 * 2
    layers = (whole - 2 * table - 4096 * 2) / 2
    assert (first, last) == (layers + table, layers + table + 4096 * 2)
    # Tied embeddings are in the first stage and in the last.
    tied = _weights("meta-llama/Llama-3.2-1B-Instruct", pipeline=2)
    assert sum(tied) == 2471628800 + 128256 * 2048 * 2
    # trtllm-build repeats the embeddings.
    assert _weights(L8, tensor=2, target="engine")[0] - _weights(L8, tensor=2)[0] == table / 2
    # Data parallelism: experts over all, attention repeated.
    apart = _weights(V3, tensor=1, replicas=8, expert_parallel=8)[0]
    assert _weights(V3, tensor=8)[0] < apart < _weights(V3)[0] / 6
    assert _weights(L8, dtype="float32") == [2 * whole]


def test_memory_of_the_fullest_stage() -> None:
    gpu = catalogue()["H100-SXM-80GB"]
    found = memory_of(facts(L8), shape(L8), Serving("vllm", pipeline=2, length=8192), gpu)
    assert found.weights == max(_weights(L8, pipeline=2))
    assert (found.per_token, found.sequence) == (65536, 8192 * 65536)
    # vLLM on an H100 with Llama 3.1 8B: users' logs say 14.99 GiB of weights, 1.2 GiB of activations.
    whole = memory_of(facts(L8), shape(L8), Serving("vllm", sequences=256), gpu)
    assert whole.weights / GIB == pytest.approx(14.96, abs=0.01)
    assert whole.activations.low < 1.2 * GIB < whole.activations.high
    assert whole.cache.low > whole.cache.likely > whole.cache.high


def test_servings(tmp_path: Path) -> None:
    overrides = [
        (
            "engine.args={max_model_len: 16K, max_num_seqs: 64, kv_cache_dtype: fp8, cpu_offload_gb: 4, "
            "data_parallel_size: 2, enable_expert_parallel: true, gpu_memory_utilization: 0.8, "
            "enforce_eager: true}"
        ),
        "tensor_parallel_size=4",
    ]
    found = serving_of(written(tmp_path, "vllm", overrides))
    assert (found.length, found.sequences, found.kv_dtype, found.replicas) == (16384, 64, "fp8", 2)
    assert (found.expert_parallel, found.gpus, found.share, found.eager) == (8, 8, 0.8, True)
    assert found.offloaded == 4 * GIB
    pytorch = serving_of(
        written(
            tmp_path,
            "pytorch",
            ["engine.runtime={kv_cache_config: {dtype: fp8, free_gpu_memory_fraction: 0.7}}"],
        )
    )
    assert (pytorch.kv_dtype, pytorch.share, pytorch.length, pytorch.fitted) == ("fp8", 0.7, None, True)


def test_quantization_while_loading_counts(tmp_path: Path) -> None:
    found = fitted(written(tmp_path, "vllm", ["engine.args.quantization=fp8"]), L8)
    assert found.memory is not None
    assert found.memory.weights == 8030261248 + 2 * 128256 * 4096 + 65 * 4096


def test_the_explanation(tmp_path: Path) -> None:
    overrides = ["tensor_parallel_size=4", "engine.args={max_model_len: 65536, max_num_batched_tokens: 8192}"]
    found = fitted(written(tmp_path, "vllm", overrides), L70)
    assert explained(found) == EXPLAINED.splitlines()


def test_the_explanation_of_what_is_too_much(tmp_path: Path) -> None:
    lines = explained(fitted(written(tmp_path, "vllm"), L70))
    assert lines[-2] == f"[{'█' * 60}] too much by 55.7 GiB"


def test_the_explanation_of_experts_and_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text((SHIPPED / "quickstart.yaml").read_text())
    assert explained(fitted(read_checked(path), OSS_120B)) == [
        "model: GptOssForCausalLM",
        "  116.83 B parameters, 5.71 B of them for each token; checkpoint 60.8 GiB",
        (
            "  embeddings 0.58 B, lm_head 0.58 B, attention 0.96 B, experts 114.70 B, router 0.01 B, "
            "norms 0.21 M"
        ),
        "  36 layers, 64 heads, 8 KV heads of 64, 131072 positions",
        "",
        "memory: not reckoned, for the recipe names no gpu",
    ]
    assert explained(fitted(written(tmp_path, "vllm"), L8, None, model_type="new", architectures=None)) == [
        "model: new",
        "  32 layers, 32 heads, 8 KV heads of 128, 131072 positions",
        "  not known: parameters by kind: no family is known for new",
        "",
        "memory: not reckoned, for too little is known of the model",
    ]


def test_facts_of_a_published_model_are_a_pure_function() -> None:
    assert facts_of(config(L8)) == facts_of(config(L8))


EXPLAINED = """\
model: LlamaForCausalLM
  70.55 B parameters; checkpoint 131.4 GiB
  embeddings 1.05 B, lm_head 1.05 B, attention 12.08 B, mlp 56.37 B, norms 1.32 M
  80 layers, 64 heads, 8 KV heads of 128, 131072 positions

memory of H100-SXM-80GB, one of 4, in GiB         least   likely     most
  usable                                                    79.0
  granted (gpu_memory_utilization 0.92)                     72.7
  weights                                                   32.9
  activations of 8192 tokens                        0.9      1.8      3.6
  CUDA, libraries, communication                    0.3      1.0      2.5
  CUDA graphs                                       0.1      0.7      2.5
  then left for the KV cache                       38.6     37.0     33.7
  one sequence of 65536 tokens                               5.0
  81,920 bytes of KV cache per token; 7.4 sequences of that length at the same time

[█████████████████████████▓▓░░░░░░░░░░░░░░░░░░░░░░░░░░░░·····]
█ weights  ▓ running  ░ KV cache  · not used
"""
