"""Values that others have and a recipe cannot, each with its whole answer."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.recipe.kinds import Complaint

_LEAVE_OUT = "leave the key out: the KV cache is then not quantized"

KV_CACHE_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word}", _LEAVE_OUT)
    for word in ("auto", "none", "float16", "fp16", "bfloat16", "bf16")
}

MODE_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word}, which is a prototype", "write pytorch")
    for word in ("_autodeploy", "autodeploy")
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

RUNNER_REFUSALS: Mapping[str, Complaint] = {
    word: Complaint(f"cannot be {word} in this version of enginebuild", "write docker or local")
    for word in ("kubernetes", "k8s", "slurm", "ssh")
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
