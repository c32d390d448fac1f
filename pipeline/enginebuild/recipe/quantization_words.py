"""Words of other tools for quantization, and ours; and words that have no equal, each with its answer."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.recipe.kinds import Complaint

#: Other names of quantization methods, in lower case → ours.
QUANTIZATIONS: Mapping[str, str] = {
    # llm-compressor 0.14
    "fp8_dynamic": "fp8_per_channel_per_token",
    "fp8_block": "fp8_block_scales",
    "w8a8": "w8a8_int8",
    "int8": "w8a8_int8",
    "w4a16_asym": "w4a16",
    "fp8_static": "fp8",
    # TensorRT-LLM's quantize.py and QuantAlgo, ModelOpt 0.47
    "fp8_pc_pt": "fp8_per_channel_per_token",
    "fp8_rowwise": "fp8_per_channel_per_token",
    "fp8_2d_blockwise_weight_only": "fp8_block_scales",
    "fp8_pb_wo": "fp8_block_scales",
    "int8_sq": "w8a8_int8",
    "int8_smoothquant": "w8a8_int8",
    "smoothquant": "w8a8_int8",
    "w8a8_sq_per_channel": "w8a8_int8",
    "int8_wo": "w8a16",
    "int8_weight_only": "w8a16",
    "int4_wo": "w4a16",
    "int4_blockwise_weight_only": "w4a16",
    "int4": "w4a16",
    "int4_awq": "w4a16_awq",
    "int4_gptq": "w4a16_gptq",
    "w4a8_awq_beta": "w4a8_awq",
    "nvfp4_awq": "nvfp4",
    "fp4": "nvfp4",
    "full_prec": "none",
    "no_quant": "none",
    # vLLM, Hugging Face
    "awq": "w4a16_awq",
    "awq_marlin": "w4a16_awq",
    "gptq": "w4a16_gptq",
    "gptq_marlin": "w4a16_gptq",
    "fp8_per_tensor": "fp8",
    "fp8_per_block": "fp8_block_scales",
    "modelopt_fp4": "nvfp4",
    "modelopt_fp8": "fp8",
}

QUANTIZATION_TOOLS: Mapping[str, str] = {
    "quantize": "quantize.py",
    "trtllm": "quantize.py",
    "tensorrt_llm": "quantize.py",
    # ModelOpt's former name, its package and its example
    "ammo": "modelopt",
    "nvidia_modelopt": "modelopt",
    "hf_ptq": "modelopt",
    "hf_ptq.py": "modelopt",
    "llmcompressor": "llm-compressor",
    "llm_compressor": "llm-compressor",
    "compressed_tensors": "llm-compressor",
}

KV_CACHE_DTYPES: Mapping[str, str] = {
    # vLLM, TensorRT-LLM's QuantAlgo, ModelOpt's --kv_cache_qformat
    "fp8_e4m3": "fp8",
    "fp8_cast": "fp8",
    "fp8_affine": "fp8",
    "nvfp4_cast": "nvfp4",
    "fp4": "nvfp4",
}

#: Methods that vLLM, llm-compressor 0.14 or ModelOpt 0.47 name, and names of formats and tools.
QUANTIZATION_REFUSALS: Mapping[str, Complaint] = {
    **{
        word: Complaint(
            f"cannot be {word}, which vLLM quantizes to while loading",
            "write quantization: none, and what vLLM is to do in engine.args.quantization",
        )
        for word in ("bitsandbytes", "bnb", "torchao", "experts_int8")
    },
    "gguf": Complaint(
        "cannot be gguf, the format of llama.cpp", "w4a16_awq is the nearest that both engines serve"
    ),
    "compressed-tensors": Complaint(
        "cannot be compressed-tensors, a format for many methods",
        "write a method; tool: llm-compressor writes that format",
    ),
    "modelopt": Complaint(
        "cannot be modelopt, a tool with many methods", "write {method: fp8, tool: modelopt}"
    ),
    "llm-compressor": Complaint(
        "cannot be llm-compressor, a tool with many methods",
        "write {method: fp8_per_channel_per_token, tool: llm-compressor}",
    ),
    "marlin": Complaint(
        "cannot be marlin, a kernel that vLLM chooses by itself", "write w4a16_awq or w4a16_gptq"
    ),
    "w4a8": Complaint(
        "cannot be w4a8, which has several forms", "write w4a8_awq: INT4 weights, FP8 activations"
    ),
    "mxfp8": Complaint("cannot be mxfp8 in this version of enginebuild", "write fp8_per_channel_per_token"),
    "nvfp4a16": Complaint("cannot be nvfp4a16 in this version of enginebuild", "write nvfp4, or w4a16_awq"),
}

TOOL_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(
        f"cannot be {word}, which is no longer maintained", f"write llm-compressor and method: {ours}"
    )
    for word, ours in {
        "autoawq": "w4a16_awq",
        "auto-awq": "w4a16_awq",
        "autogptq": "w4a16_gptq",
        "auto-gptq": "w4a16_gptq",
        "gptqmodel": "w4a16_gptq",
        "autofp8": "fp8",
    }.items()
}


_LEAVE_OUT = "leave the key out: the KV cache is then not quantized"

KV_CACHE_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word}", _LEAVE_OUT)
    for word in ("auto", "none", "float16", "fp16", "bfloat16", "bf16")
}
