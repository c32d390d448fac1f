"""Stand-in for a family's convert_checkpoint.py. The family is the name of the script's folder."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from . import calibration, machine
from .checkpoint import dtype_of, mapping_of, quantization_of, read_model, write_checkpoint
from .machine import RefusedError
from .parser import argparse_parser, table, version

#: Architectures that each family's script takes (the table of models of 1.3.0rc3's documentation).
ARCHITECTURES = {
    "llama": (
        *("LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "GraniteForCausalLM"),
        *(
            "GraniteMoeForCausalLM",
            "ExaoneForCausalLM",
            "InternLMForCausalLM",
            "LlavaForConditionalGeneration",
        ),
        *("AquilaForCausalLM", "YiForCausalLM", "VilaForCausalLM", "LlavaLlamaModel"),
    ),
    "qwen": (
        *("QWenLMHeadModel", "QWenForCausalLM", "Qwen2ForCausalLM", "Qwen2MoeForCausalLM"),
        *("Qwen2ForSequenceClassification", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM"),
        *("Qwen2VLForConditionalGeneration", "Qwen2VLModel"),
    ),
    "phi": (
        *("PhiForCausalLM", "Phi3ForCausalLM", "Phi3VForCausalLM", "Phi3SmallForCausalLM"),
        *("PhiMoEForCausalLM", "Phi4MMForCausalLM"),
    ),
    "gpt": (
        *("GPT2LMHeadModel", "GPTBigCodeForCausalLM", "Starcoder2ForCausalLM", "PersimmonForCausalLM"),
        *("NemotronForCausalLM", "Kosmos2ForConditionalGeneration", "FuyuForCausalLM"),
        "GPT2LMHeadCustomModel",
    ),
    "gemma": ("GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"),
    "enc_dec": (
        *("T5ForConditionalGeneration", "BartForConditionalGeneration", "MBartForConditionalGeneration"),
        *("Pix2StructForConditionalGeneration", "Blip2ForConditionalGeneration"),
    ),
}

_WEIGHT_ONLY = {
    "int8": "W8A16",
    "int4": "W4A16",
    "int8_gptq": "W8A16_GPTQ",
    "int4_gptq": "W4A16_GPTQ",
    "int4_awq": "W4A16_AWQ",
    "w4a16_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
}


def main() -> None:
    """What the installed script calls."""
    try:
        _convert(Path(sys.argv[0]).resolve().parent.name)
    except RefusedError as refusal:
        machine.end(refusal)


def _convert(family: str) -> None:
    arguments = argparse_parser(table(f"convert_{family}"), "convert_checkpoint.py").parse_args()
    print(version(), flush=True)
    model = _model_folder(arguments)
    config = read_model(model)
    _require_family(family, config)
    _require_source(arguments, config)
    faults = machine.Faults("convert", config)
    faults.begin()
    algo, kv = _quantization(arguments)
    calibrated = bool(getattr(arguments, "smoothquant", None)) or kv == "INT8"
    if calibrated:
        machine.gpus()
        calibration.require_dataset(str(getattr(arguments, "calib_dataset", "")))
    mapping = _mapping(arguments)
    for folder in _folders(family, Path(vars(arguments).get("output_model_dir") or arguments.output_dir)):
        write_checkpoint(
            folder,
            model,
            config,
            dtype=dtype_of(arguments.dtype or "auto", config),
            mapping=mapping,
            quantization=quantization_of(algo, kv, getattr(arguments, "group_size", 128)),
            faults=faults,
        )
    print("Total time of converting checkpoints: 00:00:00", flush=True)


def _model_folder(arguments: Namespace) -> Path:
    if arguments.model_dir is None:
        raise RefusedError("AssertionError", "no model: neither --model_dir nor another source was given")
    return Path(arguments.model_dir)


def _require_family(family: str, config: dict[str, Any]) -> None:
    (architecture, *_) = config.get("architectures") or [""]
    if architecture not in ARCHITECTURES[family]:
        raise RefusedError("NotImplementedError", f"{family}: unsupported architecture {architecture!r}")


def _require_source(arguments: Namespace, config: dict[str, Any]) -> None:
    """What two families want to be told of their source."""
    given = vars(arguments)
    if "ckpt_type" in given and given["ckpt_type"] != "hf":
        raise RefusedError(
            "KeyError", f"the checkpoint is Hugging Face's, and not of the type {given['ckpt_type']}"
        )
    model_type = str(config.get("model_type", "")).removeprefix("m")
    if "model_type" in given and given["model_type"] != model_type:
        raise RefusedError("KeyError", f"'{given['model_type']}': the model is of the type {model_type}")


def _folders(family: str, output: Path) -> list[Path]:
    """An encoder-decoder model makes two checkpoints."""
    return [output / "encoder", output / "decoder"] if family == "enc_dec" else [output]


def _mapping(arguments: Namespace) -> dict[str, int]:
    sizes = vars(arguments)
    if "world_size" in sizes:  # gemma
        return mapping_of(sizes["world_size"] or 1, 1)
    return mapping_of(sizes.get("tp_size", 1), sizes.get("pp_size", 1), sizes.get("cp_size", 1))


def _quantization(arguments: Namespace) -> tuple[str | None, str | None]:
    """Quantization algorithms of weights and of the KV cache, by the switches of the script."""
    given = vars(arguments)
    kv = "FP8" if given.get("fp8_kv_cache") else "INT8" if given.get("int8_kv_cache") else None
    if given.get("use_weight_only") or given.get("use_weight_only_with_precision"):
        precision = given.get("use_weight_only_with_precision") or given.get("weight_only_precision")
        return _WEIGHT_ONLY[str(precision)], kv
    if given.get("smoothquant") or given.get("use_smooth_quant"):
        channel, token = given.get("per_channel"), given.get("per_token")
        kinds = {
            (True, True): "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN",
            (True, False): "W8A8_SQ_PER_CHANNEL_PER_TENSOR_PLUGIN",
            (False, True): "W8A8_SQ_PER_TENSOR_PER_TOKEN_PLUGIN",
            (False, False): "W8A8_SQ_PER_TENSOR_PLUGIN",
        }
        return kinds[bool(channel), bool(token)], kv
    for switch, algo in (
        ("use_fp8_rowwise", "FP8_PER_CHANNEL_PER_TOKEN"),
        ("use_meta_fp8_rowwise_recipe", "FP8_PER_CHANNEL_PER_TOKEN"),
        ("use_nvfp4", "NVFP4"),
        ("use_fp8", "FP8"),
        ("enable_fp8", "FP8"),
        ("use_qserve", "W4A8_QSERVE_PER_CHANNEL"),
    ):
        if given.get(switch):
            return algo, kv
    return None, kv
