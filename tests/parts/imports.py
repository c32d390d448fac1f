"""What is imported in tests, one of each kind; `python -m parts.imports` writes what must come out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginebuild.importing.sources import Request, imported
from enginebuild.importing.vllm_recipe import Choice

_FOLDER = Path(__file__).parents[1] / "unit" / "importing"
GIVEN, EXPECTED = _FOLDER / "given", _FOLDER / "expected"

_MOE = ["vllm-recipe", str(GIVEN / "moe.yaml")]
_BUILD = (
    "trtllm-build --checkpoint_dir ./ckpt --output_dir ./engine --gemm_plugin auto --max_batch_size 8 "
    "--use_paged_context_fmha enable --multiple_profiles=disable --workers 2 --log_level verbose"
)
_EXAMPLES = "python3 /app/tensorrt_llm/examples"

REQUESTS: Mapping[str, Request] = {
    "serve": Request(
        [
            (
                "export HF_TOKEN=x HF_HOME=/data; pip install flash-attn && "
                "VLLM_ATTENTION_BACKEND=FLASHINFER CUDA_VISIBLE_DEVICES=0,1 VLLM_USE_V1=1 "
                "MY_PASSWORD=secret vllm serve Qwen/Qwen3-8B "
                "--revision v1.0 -tp 2 --max-model-len 8K --api-key token-123 --download-dir /models "
                "--swap-space 4 --disable-log-requests --ssl-keyfile /k.pem --enable-auto-tool-choice "
                "--tool-call-parser hermes --dtype bfloat16 --ignore-patterns 'original/*' "
                "--max-num-seqs 8 --max-num-seqs 16 "
                """--enforce-eager --override-generation-config '{"temperature": 0.5}' | tee log"""
            )
        ],
        gpu="H100-SXM-80GB",
    ),
    "serve-config": Request([f"vllm serve --config {GIVEN / 'serve.yaml'} --max-num-seqs 16"]),
    "docker": Request(
        [
            (
                "docker run -d --name wren --gpus all --shm-size 16g -p 8000:8000 -e HUGGING_FACE_HUB_TOKEN "
                "-e VLLM_LOGGING_LEVEL=DEBUG -v /data/models:/models:ro --platform linux/arm64 "
                "vllm/vllm-openai:v0.11.0 --model /models/wren-8b/ --served-model-name wren"
            )
        ],
        name="wren",
    ),
    "docker-own-image": Request(
        ["podman run --rm registry.example.com/llm/vllm:2026-11 vllm serve a/b --tokenizer a/b"]
    ),
    "moe-h200": Request(_MOE, choice=Choice(hardware="h200")),
    "moe-nvfp4-b200": Request(
        _MOE, choice=Choice("nvfp4", ("spec_decoding=eagle", "long_context", "no-reasoning"), "b200")
    ),
    "dense": Request(["vllm-recipe", str(GIVEN / "dense.yml")]),
    "dense-l4": Request(["vllm-recipe", str(GIVEN / "dense.yml")], choice=Choice(hardware="L4")),
    "build-quantize": Request(
        [
            "trtllm-build",
            _BUILD,
            (
                f"{_EXAMPLES}/quantization/quantize.py --model_dir ./Wren-8B --qformat int4_awq "
                "--awq_block_size 64 --kv_cache_dtype int8 --tp_size 2 --calib_size 32 --dtype float16 "
                "--output_dir ./ckpt"
            ),
        ]
    ),
    "build-quantize-texts": Request(
        [
            (
                f"{_EXAMPLES}/quantization/quantize.py --model_dir example-org/Wren-8B --qformat fp8 "
                "--calib_dataset ./texts --batch_size 4 --seed 7 --quantize_lm_head --output_dir ./ckpt"
            ),
            "trtllm-build --checkpoint_dir ./ckpt --gemm_plugin fp8 --input_timing_cache ./model.cache",
        ],
        gpu="H100-SXM-80GB",
    ),
    "build-convert": Request(
        [
            f"{_BUILD} --use_custom_all_reduce disable --strip_plan --build_config b.json",
            (
                f"{_EXAMPLES}/models/core/llama/convert_checkpoint.py --model_dir /data/Wren --tp_size 2 "
                "--pp_size 2 --use_weight_only --weight_only_precision int4 --remove_duplicated_kv_heads "
                "--moe_ep_size 2 --moe_tp_size 1 --output_dir ./ckpt --dtype float16"
            ),
        ],
        version="1.2.0",
        gpu="L40S",
    ),
    "build-alone": Request(["trtllm-build --checkpoint_dir ./ckpt --gemm_plugin auto"]),
    "trtllm-serve": Request(
        [
            (
                "docker run --gpus all --ipc host nvcr.io/nvidia/tensorrt-llm/release:1.2.0 "
                "trtllm-serve serve example-org/Wren-8B --host 0.0.0.0 --tp_size 2 "
                "--kv_cache_free_gpu_memory_fraction 0.8 "
                "--tool_parser qwen3 --max_batch_size 4 --trust_remote_code --port 9000"
            )
        ],
        config=GIVEN / "extra.yaml",
    ),
    "trtllm-serve-engine": Request(["trtllm-serve ./Wren-8B --backend tensorrt --max_batch_size 4"]),
    "switch-to-pytorch": Request([str(GIVEN / "for-vllm.yaml")], engine="tensorrt_llm"),
    "switch-to-engine": Request([str(GIVEN / "for-vllm.yaml")], engine="tensorrt_llm", mode="engine"),
    "switch-from-triton": Request([str(GIVEN / "for-triton.yaml")], engine="vllm"),
    "switch-from-pytorch": Request([str(GIVEN / "for-trtllm.yaml")], engine="vllm", version="0.32.0"),
}


def main() -> None:
    for name, request in REQUESTS.items():
        (EXPECTED / f"{name}.yaml").write_text(imported(request).text, encoding="utf-8")


if __name__ == "__main__":
    main()
