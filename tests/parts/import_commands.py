"""Commands as people write them, and what the server of the imported recipe must then be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Sample:
    """`says` is what vLLM's configuration file has beside what every one has; `lost` are arguments that a
    recipe cannot hold.
    """

    command: str
    says: dict[str, Json] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


_MODEL = "meta-llama/Llama-3.1-8B-Instruct"
_SERVE = f"vllm serve {_MODEL}"

COMMANDS: dict[str, Sample] = {
    "nothing but a model": Sample(_SERVE),
    "the model as an option": Sample(f"vllm serve --model {_MODEL}"),
    "the model last": Sample(f"vllm serve --max-num-seqs 16 {_MODEL}", {"max-num-seqs": 16}),
    "short names": Sample(f"{_SERVE} -tp 2 -pp 4", {"tensor-parallel-size": 2, "pipeline-parallel-size": 4}),
    "short names with =": Sample(
        f"{_SERVE} -tp=2 -dp=2", {"tensor-parallel-size": 2, "data-parallel-size": 2}
    ),
    "underscores": Sample(
        f"{_SERVE} --max_model_len 8192 --tensor_parallel_size=2",
        {"max-model-len": 8192, "tensor-parallel-size": 2},
    ),
    "the issue's": Sample(
        f"{_SERVE} --max-model-len 8192 -tp 2 --no-enable-prefix-caching",
        {"max-model-len": 8192, "tensor-parallel-size": 2, "no-enable-prefix-caching": True},
    ),
    "switches": Sample(
        f"{_SERVE} --enforce-eager --enable-prefix-caching --no-enable-chunked-prefill",
        {"enforce-eager": True, "enable-prefix-caching": True, "no-enable-chunked-prefill": True},
    ),
    "a switch twice": Sample(f"{_SERVE} --enforce-eager --no-enforce-eager", {"no-enforce-eager": True}),
    "lengths for people": Sample(
        f"{_SERVE} --max-model-len 8K --max-num-batched-tokens 2k",
        {"max-model-len": "8K", "max-num-batched-tokens": "2k"},
    ),
    "a length to be found": Sample(f"{_SERVE} --max-model-len -1", {"max-model-len": -1}),
    "auto": Sample(f"{_SERVE} --max-model-len auto", {"max-model-len": "auto"}),
    "fractions": Sample(
        f"{_SERVE} --gpu-memory-utilization 0.95 --cpu-offload-gb 4",
        {"gpu-memory-utilization": 0.95, "cpu-offload-gb": 4},
    ),
    "the other name of memory": Sample(
        f"{_SERVE} --device-memory-utilization .8", {"gpu-memory-utilization": 0.8}
    ),
    "dtype": Sample(f"{_SERVE} --dtype half", {"dtype": "float16"}),
    "dtype that is the model's": Sample(f"{_SERVE} --dtype auto"),
    "a level in one word": Sample(f"{_SERVE} -O3", {"optimization-level": 3}),
    "a level in two words": Sample(f"{_SERVE} -O 1", {"optimization-level": 1}),
    "a level with =": Sample(f"{_SERVE} -O=0", {"optimization-level": 0}),
    "JSON": Sample(
        _SERVE + """ --override-generation-config '{"temperature": 0.5, "top_p": 0.9}'""",
        {"override-generation-config": {"temperature": 0.5, "top_p": 0.9}},
    ),
    "a mapping by dots": Sample(
        f"{_SERVE} --limit-mm-per-prompt.image 2 --limit-mm-per-prompt.video=0",
        {"limit-mm-per-prompt": {"image": 2, "video": 0}},
    ),
    "a short mapping by dots": Sample(
        f"{_SERVE} -cc.mode=3 -cc.cudagraph_mode FULL",
        {"compilation-config": {"mode": 3, "cudagraph_mode": "FULL"}},
    ),
    "a list by dots": Sample(
        f"{_SERVE} --compilation-config.cudagraph_capture_sizes+ 1,2 -O2",
        {"compilation-config": {"cudagraph_capture_sizes": [1, 2]}, "optimization-level": 2},
    ),
    "JSON and dots": Sample(
        _SERVE + """ --hf-overrides.rope_theta 1e6 --hf-overrides '{"a": 1}'""",
        {"hf-overrides": {"rope_theta": 1e6}},
    ),
    "lists": Sample(
        f"{_SERVE} --served-model-name llama llama-3 --cudagraph-capture-sizes 1 2 4",
        {"served-model-name": ["llama", "llama-3"], "cudagraph-capture-sizes": [1, 2, 4]},
    ),
    "a list as JSON": Sample(
        _SERVE + """ --allowed-origins '["https://a.example"]'""",
        {"allowed-origins": '["https://a.example"]'},
    ),
    "adapters": Sample(
        _SERVE
        + " --enable-lora --max-lora-rank 64"
        + """ --lora-modules sql=/loras/sql '{"name": "x", "path": "/x,y"}'""",
        {
            "enable-lora": True,
            "max-lora-rank": 64,
            "lora-modules": ["sql=/loras/sql", '{"name": "x", "path": "/x,y"}'],
        },
    ),
    "tools and reasoning": Sample(
        "vllm serve Qwen/Qwen3-8B --enable-auto-tool-choice --tool-call-parser hermes "
        "--reasoning-parser qwen3",
        {"enable-auto-tool-choice": True, "tool-call-parser": "hermes", "reasoning-parser": "qwen3"},
    ),
    "quantized while loading": Sample(
        f"{_SERVE} -q fp8 --kv-cache-dtype fp8", {"quantization": "fp8", "kv-cache-dtype": "fp8"}
    ),
    "a drafter without a model": Sample(
        _SERVE + """ -sc '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}'""",
        {"speculative-config": {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}},
    ),
    "a port": Sample(f"{_SERVE} --host 0.0.0.0 --port 9000", {"port": 9000}),
    "a host that is shut": Sample(f"{_SERVE} --host 127.0.0.1 --port 8000", lost=("host",)),
    "secrets": Sample(f"{_SERVE} --api-key token-abc123 --max-num-seqs 8", {"max-num-seqs": 8}, ("api_key",)),
    "a beginning of a name": Sample(f"{_SERVE} --max-num-batched 4096", {"max-num-batched-tokens": 4096}),
    "several lines": Sample(
        f"vllm serve {_MODEL} \\\n  --tensor-parallel-size 2 \\\n  --max-model-len 4096",
        {"tensor-parallel-size": 2, "max-model-len": 4096},
    ),
    "variables": Sample(
        f"export TP=4 && VLLM_LOGGING_LEVEL=DEBUG vllm serve {_MODEL} --tensor-parallel-size $TP > log 2>&1",
        {"tensor-parallel-size": 4},
    ),
    "the older module": Sample(
        f"python3 -m vllm.entrypoints.openai.api_server --model {_MODEL} "
        "--max-num-seqs 4 --trust-remote-code",
        {"max-num-seqs": 4, "trust-remote-code": True},
    ),
    "docker": Sample(
        "docker run --runtime nvidia --gpus all -v ~/.cache/huggingface:/root/.cache/huggingface "
        f'--env "HF_TOKEN=<secret>" -p 8000:8000 --ipc=host vllm/vllm-openai:v0.33.0 --model {_MODEL} -tp 2',
        {"tensor-parallel-size": 2},
    ),
    "docker and a shell": Sample(
        f"docker run --rm -it --entrypoint bash vllm/vllm-openai:v0.33.0 -c 'vllm serve {_MODEL} --seed 7'",
        {"seed": 7},
    ),
    "experts": Sample(
        "vllm serve deepseek-ai/DeepSeek-V3 -tp 8 -ep --enable-eplb --eplb-config '{\"window_size\": 1000}'",
        {
            "tensor-parallel-size": 8,
            "enable-expert-parallel": True,
            "enable-eplb": True,
            "eplb-config": {"window_size": 1000},
        },
    ),
    "patterns of files": Sample(
        f"{_SERVE} --ignore-patterns 'original/**' --max-num-seqs 3", {"max-num-seqs": 3}
    ),
    "files that are not there": Sample(
        f"{_SERVE} --chat-template ./t.jinja --tokenizer other/tokenizer --max-num-seqs 3",
        {"max-num-seqs": 3},
        ("chat_template", "tokenizer"),
    ),
}
