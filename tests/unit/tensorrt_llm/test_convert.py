"""The command lines of convert_checkpoint.py: families, versions, quantization, and every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.convert import certainty, convert_command, convert_options, script
from enginebuild.engines.tensorrt_llm.families import Family, family_of
from enginebuild.engines.tensorrt_llm.settings import Settings, dtype_of
from enginebuild.errors import RefusedError
from enginebuild.recipe.gpu import catalogue
from enginebuild.recipe.model import Quantization
from parts.trtllm_parsers_standin import parse, parse_family

MODEL, OUTPUT = PurePosixPath("/enginebuild/input/model"), PurePosixPath("/enginebuild/output")
LLAMA: Mapping[str, Any] = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}
GPTQ: Mapping[str, Any] = {
    **LLAMA,
    "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 64, "desc_act": False},
}
PYTORCH = "engine.mode: pytorch loads Hugging Face checkpoints as they are (from TensorRT-LLM 1.0 on)"


def settings(version: str = "1.2.1", **fields: Any) -> Settings:
    return Settings(version, "engine", **fields)


def quantized(method: str, **fields: Any) -> Quantization:
    values: dict[str, Any] = {
        "tool": "quantize.py", "kv_cache_dtype": None, "group_size": None, "exclude_modules": None,
        "calibration": None,
    }  # fmt: skip
    return Quantization(method, **{**values, **fields})


def family(config: Mapping[str, Any] = LLAMA, wanted: Settings | None = None) -> Family:
    return family_of(config, wanted or settings())


def convert(config: Mapping[str, Any], wanted: Settings) -> list[str]:
    return list(convert_command(wanted, family_of(config, wanted), MODEL, OUTPUT))


def refused(config: Mapping[str, Any], wanted: Settings) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        convert(config, wanted)
    return caught.value.message, caught.value.hint


def test_llama() -> None:
    words = convert(LLAMA, settings(tensor_parallel_size=2, pipeline_parallel_size=2))
    assert " ".join(words) == (
        "python3 /app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py "
        "--model_dir /enginebuild/input/model --output_dir /enginebuild/output --dtype bfloat16 "
        "--tp_size 2 --pp_size 2 --workers 1"
    )


def test_gemma_has_a_command_line_of_its_own() -> None:
    config = {"architectures": ["Gemma2ForCausalLM"], "torch_dtype": "float32"}
    words = convert(config, settings(tensor_parallel_size=4, quantization=quantized("w8a16")))
    assert " ".join(words[2:]) == (
        "--ckpt-type hf --model-dir /enginebuild/input/model --output-model-dir /enginebuild/output "
        "--dtype float16 --world-size 4 --use_weight_only --weight_only_precision int8"
    )


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [
        ("GPT2LMHeadModel", "gpt2"),
        ("GPTBigCodeForCausalLM", "starcoder"),
        ("Starcoder2ForCausalLM", "starcoder2"),
        ("PersimmonForCausalLM", "persimmon"),
        ("NemotronForCausalLM", "nemotron"),
    ],
)
def test_gpt_is_told_its_variant(architecture: str, variant: str) -> None:
    words = convert({"architectures": [architecture]}, settings())
    assert parse("1.2.1", "convert_gpt", words[2:])["gpt_variant"] == variant


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("MistralForCausalLM", "llama"),
        ("MixtralForCausalLM", "llama"),
        ("GraniteForCausalLM", "llama"),
        ("ExaoneForCausalLM", "llama"),
        ("Qwen2ForCausalLM", "qwen"),
        ("Phi3ForCausalLM", "phi"),
        ("GemmaForCausalLM", "gemma"),
        ("FalconForCausalLM", "falcon"),
    ],
)
def test_the_architecture_decides_the_family(word: str, name: str) -> None:
    assert family({"architectures": [word], "model_type": "llama"}).name == name


def test_without_a_known_architecture_the_model_type_does() -> None:
    assert family({"architectures": ["MyOwn"], "model_type": "mixtral"}).name == "llama"
    assert family({"model_type": "gemma2"}).name == "gemma"


def test_scripts_moved_with_0_19() -> None:
    llama, bloom = family(), family({"architectures": ["BloomForCausalLM"]})
    assert str(script("0.18.2", llama)) == "/app/tensorrt_llm/examples/llama/convert_checkpoint.py"
    assert (
        str(script("0.19.0", llama)) == "/app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py"
    )
    assert str(script("0.18.2", bloom)) == "/app/tensorrt_llm/examples/bloom/convert_checkpoint.py"
    assert str(script("1.2.1", bloom)).endswith("/examples/models/contrib/bloom/convert_checkpoint.py")
    assert str(script("1.2.1", llama, PurePosixPath("/x"))) == "/x/models/core/llama/convert_checkpoint.py"


@pytest.mark.parametrize(
    ("said", "wanted", "dtype"),
    [
        ({"torch_dtype": "bfloat16"}, "auto", "bfloat16"),
        ({"dtype": "torch.float16"}, "auto", "float16"),
        ({"torch_dtype": "float32"}, "auto", "float16"),
        ({"text_config": {"dtype": "bfloat16"}}, "auto", "bfloat16"),
        ({"torch_dtype": "int8"}, "auto", "float16"),
        ({}, "auto", "float16"),
        ({"torch_dtype": "bfloat16"}, "float32", "float32"),
    ],
)
def test_auto_is_written_out(said: Mapping[str, Any], wanted: str, dtype: str) -> None:
    assert dtype_of(settings(dtype=wanted), said) == dtype
    words = convert({"architectures": ["LlamaForCausalLM"], **said}, settings("0.12.0", dtype=wanted))
    assert words[words.index("--dtype") + 1] == dtype


@pytest.mark.parametrize(
    ("method", "kv_cache_dtype", "route"),
    [
        ("w8a16", None, "convert"),
        ("w4a16", None, "convert"),
        ("w4a16_gptq", None, "convert"),
        ("w4a16_gptq", "fp8", "convert"),
        ("w8a16", "fp8", "quantize"),
        ("fp8", None, "quantize"),
        ("fp8_per_channel_per_token", None, "quantize"),
        ("w8a8_int8", "int8", "quantize"),
        ("w4a16_awq", None, "quantize"),
        ("nvfp4", "fp8", "quantize"),
    ],
)
def test_what_needs_no_data_is_converted(method: str, kv_cache_dtype: str | None, route: str) -> None:
    wanted = settings(quantization=quantized(method, kv_cache_dtype=kv_cache_dtype))
    assert (wanted.route, settings().route) == (route, "convert")


def test_weights_only() -> None:
    int8 = convert(LLAMA, settings(quantization=quantized("w8a16")))
    int4 = convert(LLAMA, settings(quantization=quantized("w4a16", group_size=128)))
    assert int8[-3:] == ["--use_weight_only", "--weight_only_precision", "int8"]
    assert int4[-3:] == ["--use_weight_only", "--weight_only_precision", "int4"]


@pytest.mark.parametrize("method", [None, quantized("w4a16_gptq", group_size=64)])
def test_a_model_that_gptq_has_quantized_is_taken_as_it_is(method: Quantization | None) -> None:
    words = convert(GPTQ, settings(quantization=method))
    assert words[-8:] == [
        "--use_weight_only", "--weight_only_precision", "int4_gptq", "--per_group", "--group_size", "64",
        "--quant_ckpt_path", "/enginebuild/input/model",
    ]  # fmt: skip
    qwen = convert({**GPTQ, "architectures": ["Qwen2ForCausalLM"]}, settings(quantization=method))
    assert qwen[-5:] == ["--weight_only_precision", "int4_gptq", "--per_group", "--group_size", "64"]


def test_the_kv_cache_of_a_gptq_model() -> None:
    wanted = settings(quantization=quantized("w4a16_gptq", kv_cache_dtype="fp8"))
    assert convert(GPTQ, wanted)[-1] == "--fp8_kv_cache"


def test_experts_are_spread_as_the_server_is_told() -> None:
    mixtral = {"architectures": ["MixtralForCausalLM"]}
    wanted = settings(tensor_parallel_size=4, runtime={"moe_expert_parallel_size": 2})
    values = parse("1.2.1", "convert_llama", convert(mixtral, wanted)[2:])
    assert (values["moe_tp_size"], values["moe_ep_size"]) == (2, 2)
    assert "--moe_ep_size" not in convert(mixtral, replace(wanted, server="triton"))
    assert refused(mixtral, replace(wanted, tensor_parallel_size=3)) == (
        "engine.runtime.moe_expert_parallel_size is 2, which does not divide tensor_parallel_size (3)",
        "the experts are spread over the GPUs that tensor parallelism has",
    )


@pytest.mark.parametrize(
    ("version", "model", "known"),
    [
        ("1.3.0rc3", "LlamaForCausalLM", "exact"),
        ("0.12.0", "LlamaForCausalLM", "exact"),
        ("1.2.1", "LlamaForCausalLM", "proxy"),
        ("1.2.1", "Qwen2ForCausalLM", "proxy"),
        ("0.18.0", "LlamaForCausalLM", "proxy"),
        ("0.14.0", "Qwen2ForCausalLM", "shared"),
        ("1.1.0", "GemmaForCausalLM", "shared"),
    ],
)
def test_it_says_how_well_it_knows_a_script(version: str, model: str, known: str) -> None:
    assert certainty(version, family({"architectures": [model]})) == known


@pytest.mark.parametrize(
    "model", ["Qwen2ForCausalLM", "PhiForCausalLM", "GPT2LMHeadModel", "GemmaForCausalLM"]
)
def test_an_unknown_script_gets_what_its_later_self_and_llamas_share(model: str) -> None:
    words = convert({"architectures": [model]}, settings("0.12.0", quantization=quantized("w4a16")))
    assert parse_family(family({"architectures": [model]}).name, words[2:])["weight_only_precision"] == "int4"


def test_it_knows_of_an_unknown_script_only_what_both_have() -> None:
    qwen = family({"architectures": ["Qwen2ForCausalLM"]})
    older, newer = convert_options("0.12.0", qwen), convert_options("1.2.1", qwen)
    assert set(newer) - set(older) == {"cp_size"}
    assert (older["dtype"].choices, newer["dtype"].choices[0]) == (("float16", "bfloat16", "float32"), "auto")
    gemma = convert_options("0.12.0", family({"architectures": ["GemmaForCausalLM"]}))
    assert {"ckpt_type", "model_dir", "output_model_dir", "world_size"} <= set(gemma)
    assert "use_smooth_quant" not in gemma


@pytest.mark.parametrize(
    ("config", "wanted", "message", "hint"),
    [
        (
            {"architectures": ["DeepseekV3ForCausalLM"]},
            settings(),
            "TensorRT-LLM has no engine for DeepSeek-V3, in any version",
            PYTORCH,
        ),
        (
            {"architectures": ["NewForCausalLM"], "model_type": "new"},
            settings(),
            "no convert_checkpoint.py of TensorRT-LLM is known to take NewForCausalLM (model_type new)",
            PYTORCH,
        ),
        (
            {"architectures": ["NewForCausalLM"]},
            settings(),
            "no convert_checkpoint.py of TensorRT-LLM is known to take NewForCausalLM",
            PYTORCH,
        ),
        (
            {"architectures": []},
            settings(),
            "the model's config.json names neither architectures nor model_type: no convert script is known",
            PYTORCH,
        ),
        (
            {"architectures": ["OPTForCausalLM"]},
            settings(),
            "the options of TensorRT-LLM's convert_checkpoint.py for opt are not known (OPTForCausalLM)",
            f"quantization with calibration goes by quantize.py instead; {PYTORCH}",
        ),
        (
            {"model_type": "t5"},
            settings(),
            "t5 has an encoder and a decoder, which become two engines; images have one",
            PYTORCH,
        ),
        (
            {"architectures": ["Qwen3ForCausalLM"]},
            settings("0.21.0"),
            "TensorRT-LLM 0.21.0 has no engine for Qwen3ForCausalLM",
            "it came with 1.0.0",
        ),
        (LLAMA, settings("1.3.0rc22"), "TensorRT-LLM 1.3.0rc22 has no convert scripts", PYTORCH),
        (
            {"architectures": ["GemmaForCausalLM"]},
            settings(pipeline_parallel_size=2),
            "TensorRT-LLM's convert_checkpoint.py for gemma has no pipeline parallelism",
            "set pipeline_parallel_size: 1 and tensor_parallel_size to the number of GPUs",
        ),
        (
            LLAMA,
            settings(quantization=quantized("w4a16_gptq")),
            "quantization w4a16_gptq needs a model that GPTQ has quantized already, and this one is not",
            "name such a model, or use w4a16_awq, which TensorRT-LLM's own quantize.py makes",
        ),
        (
            GPTQ,
            settings(quantization=quantized("w8a16")),
            "the model is quantized already (gptq), and an engine with w8a16 cannot be made from it",
            f"name the model it was quantized from; {PYTORCH}",
        ),
        (
            GPTQ,
            settings(quantization=quantized("fp8")),
            "the model is quantized already (gptq), and an engine with fp8 cannot be made from it",
            f"name the model it was quantized from; {PYTORCH}",
        ),
        (
            {"architectures": ["Qwen2ForCausalLM"]},
            settings(quantization=quantized("nvfp4")),
            (
                "no engine with nvfp4 can be made of Qwen2ForCausalLM: "
                "engines with nvfp4 are made of LlamaForCausalLM or MixtralForCausalLM alone"
            ),
            PYTORCH,
        ),
        (
            LLAMA,
            settings(build={"pp_reduce_scatter": True}),
            (
                "engine.build: pp_reduce_scatter is supported for Mixtral alone, "
                "and the model is LlamaForCausalLM"
            ),
            "remove the line",
        ),
        (
            {**LLAMA, "quantization_config": {"quant_method": "awq"}},
            settings(),
            "the model is quantized already (awq), and an engine cannot be made from it",
            f"name the model it was quantized from; {PYTORCH}",
        ),
        (
            {**LLAMA, "quantization_config": {"quant_method": "gptq", "desc_act": True}},
            settings(),
            "TensorRT-LLM takes no GPTQ model with desc_act: true",
            "name one with desc_act: false, or use w4a16_awq",
        ),
        (
            {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 8}},
            settings(),
            "the model's GPTQ weights have 8 bits, w4a16_gptq has 4",
            "",
        ),
        (
            GPTQ,
            settings(quantization=quantized("w4a16_gptq", group_size=128)),
            "the model's GPTQ weights have groups of 64, quantization.group_size is 128",
            "write group_size: 64",
        ),
        (
            GPTQ,
            settings(gpu=catalogue()["B200-SXM-180GB"]),
            (
                "the model is quantized by GPTQ, and that engine does not run on B200-SXM-180GB: "
                "it needs compute capability 8.0, 8.6, 8.9, 9.0 or 12.0"
            ),
            f"name the model it was quantized from; {PYTORCH}",
        ),
        (
            {**GPTQ, "architectures": ["PhiForCausalLM"]},
            settings(),
            "TensorRT-LLM 1.2.1's convert_checkpoint.py for phi has no --weight_only_precision int4_gptq",
            "at 1.3.0rc3 these have it: llama, qwen",
        ),
        (
            {**GPTQ, "architectures": ["Qwen2ForCausalLM"]},
            settings(quantization=quantized("w4a16_gptq", kv_cache_dtype="fp8")),
            "TensorRT-LLM 1.2.1's convert_checkpoint.py for qwen has no --fp8_kv_cache",
            "at 1.3.0rc3 these have it: llama, gemma",
        ),
        (
            GPTQ,
            settings(quantization=quantized("w4a16_gptq", kv_cache_dtype="int8")),
            "a KV cache of int8 needs calibration, and a model that GPTQ has quantized is converted without",
            "write kv_cache_dtype: fp8, or remove the line",
        ),
        (
            {"architectures": ["GPT2LMHeadModel"]},
            settings(tensor_parallel_size=2, runtime={"moe_expert_parallel_size": 2}),
            "TensorRT-LLM 1.2.1's convert_checkpoint.py for gpt has no --moe_tp_size",
            "at 1.3.0rc3 these have it: llama, qwen, phi",
        ),
    ],
)
def test_what_is_refused(config: Mapping[str, Any], wanted: Settings, message: str, hint: str) -> None:
    assert refused(config, wanted) == (message, hint)


def test_mixtral_alone_scatters() -> None:
    mixtral = {"architectures": ["MixtralForCausalLM"]}
    assert convert(mixtral, settings(build={"pp_reduce_scatter": "enable"}))


def test_what_is_calibrated_is_not_converted() -> None:
    with pytest.raises(ValueError) as caught:
        convert(LLAMA, settings(quantization=quantized("fp8")))
    assert str(caught.value) == "fp8 is made by quantize.py"
