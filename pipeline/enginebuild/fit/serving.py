"""What a recipe asks of the GPUs that will serve, in the same words for both engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enginebuild.engines.vllm.values import readable_int
from enginebuild.models.quantized import Quantized, of_method
from enginebuild.recipe.methods import Target, target
from enginebuild.recipe.model import Recipe
from enginebuild_cache import Json

Path = tuple[str, ...]

#: vLLM 0.33.0's gpu_memory_utilization; TensorRT-LLM's free_gpu_memory_fraction (1.3.0rc3).
VLLM_SHARE, TENSORRT_LLM_SHARE = 0.92, 0.9
#: Of `vllm serve`: tokens of one step and sequences, on GPUs of 70 GiB and more, and on others. The A100
#: counts with the others (engine/arg_utils.py, _get_batch_defaults).
VLLM_LARGE, VLLM_SMALL = (8192, 1024), (2048, 256)

#: What vLLM quantizes while it loads (`engine.args.quantization`), by the recipe's words.
_AT_LOAD = {
    "fp8": "fp8",
    "fp8_per_tensor": "fp8",
    "fp8_per_channel": "fp8_per_channel_per_token",
    "fp8_per_block": "fp8_block_scales",
    "int8_per_channel_weight_only": "w8a16",
    "nvfp4_per_token": "nvfp4",
    "mxfp4": "mxfp4",
}

_VLLM: Mapping[str, Path] = {
    name: ("engine", "args", argument)
    for name, argument in (
        ("length", "max_model_len"),
        ("sequences", "max_num_seqs"),
        ("tokens", "max_num_batched_tokens"),
        ("share", "gpu_memory_utilization"),
        ("kv_dtype", "kv_cache_dtype"),
        ("experts", "enable_expert_parallel"),
    )
}


@dataclass(frozen=True, slots=True)
class Serving:
    """What decides the memory of one GPU. None: the recipe leaves it to the engine.

    `share` is vLLM's part of the whole memory, TensorRT-LLM's part of what weights leave. `expert_parallel`
    is the number of groups that experts are dealt out to whole, 1 for none. `quantization` is made by us, or
    by the engine on loading. `attention_whole`: attention is not sharded (TensorRT-LLM's attention DP).
    `fitted`: the engine takes a length for which the KV cache is large enough. `at_load`: it is the engine
    that quantizes.
    `paths` leads from a field here to where it is, or would be, in the recipe.
    """

    target: Target
    dtype: str = "auto"
    tensor: int = 1
    pipeline: int = 1
    replicas: int = 1
    expert_parallel: int = 1
    attention_whole: bool = False
    quantization: Quantized | None = None
    kv_dtype: str | None = None
    length: int | None = None
    sequences: int | None = None
    tokens: int | None = None
    share: float = VLLM_SHARE
    kv_bytes: int | None = None
    offloaded: float = 0
    eager: bool = False
    overridden: bool = False
    fitted: bool = False
    at_load: bool = False
    paths: Mapping[str, Path] = field(default_factory=lambda: _VLLM)

    @property
    def engine(self) -> str:
        return "vllm" if self.target == "vllm" else "tensorrt_llm"

    @property
    def gpus(self) -> int:
        """All that one server uses."""
        return self.tensor * self.pipeline * self.replicas

    @property
    def expert_ranks(self) -> int:
        """GPUs that share the experts of a layer; vLLM's replicas share them, too."""
        return self.tensor * self.replicas

    def where(self, name: str) -> Path:
        top = {
            "tensor": ("tensor_parallel_size",),
            "pipeline": ("pipeline_parallel_size",),
            "gpu": ("gpu",),
            "quantization": ("quantization",),
            "memory": ("builder", "memory"),
        }
        return top.get(name) or self.paths[name]


def serving_of(recipe: Recipe) -> Serving:
    """Of a recipe that has passed its checks."""
    return _vllm(recipe) if recipe.engine.type == "vllm" else _tensorrt_llm(recipe)


def _made(recipe: Recipe) -> Quantized | None:
    wanted = recipe.quantization
    if wanted is None:
        return None
    # TensorRT-LLM's weight-only INT4 scales whole channels (convert_checkpoint.py, 1.3.0rc3).
    grouped = not (wanted.method == "w4a16" and recipe.engine.mode == "engine")
    return of_method(wanted.method, wanted.group_size if grouped else None)


def _vllm(recipe: Recipe) -> Serving:
    args = recipe.engine.args
    at_load = _AT_LOAD.get(str(args.get("quantization")))
    replicas = _number(args.get("data_parallel_size")) or 1
    made = recipe.quantization
    whole = args.get("enable_expert_parallel") is True
    kv_dtype = args.get("kv_cache_dtype")
    return Serving(
        target="vllm",
        dtype=recipe.dtype,
        tensor=recipe.tensor_parallel_size,
        pipeline=recipe.pipeline_parallel_size,
        replicas=replicas,
        expert_parallel=recipe.tensor_parallel_size * replicas if whole else 1,
        quantization=_made(recipe) or (of_method(at_load, None) if at_load else None),
        kv_dtype=str(kv_dtype) if kv_dtype not in (None, "auto") else made.kv_cache_dtype if made else None,
        length=_length(args.get("max_model_len")),
        sequences=_number(args.get("max_num_seqs")),
        tokens=_number(args.get("max_num_batched_tokens")),
        share=_fraction(args.get("gpu_memory_utilization")) or VLLM_SHARE,
        kv_bytes=_number(args.get("kv_cache_memory_bytes")),
        offloaded=(_fraction(args.get("cpu_offload_gb")) or 0) * 2**30,
        eager=args.get("enforce_eager") is True,
        overridden="hf_overrides" in args,
        fitted=args.get("max_model_len") in ("auto", -1),
        at_load=at_load is not None and made is None,
    )


def _tensorrt_llm(recipe: Recipe) -> Serving:
    engine, made = recipe.engine, recipe.quantization
    served = target(engine.type, engine.mode)
    section = "build" if served == "engine" else "runtime"
    sizes: Mapping[str, Json] = (engine.build or {}) if served == "engine" else engine.runtime
    cache = _mapping(engine.runtime.get("kv_cache_config"))
    share_name = next((name for name in _SHARES if name in engine.runtime), "free_gpu_memory_fraction")
    share_path: Path = ("engine", "runtime", share_name)
    if "free_gpu_memory_fraction" in cache or served == "pytorch":
        share_path = ("engine", "runtime", "kv_cache_config", "free_gpu_memory_fraction")
    said_dtype = cache.get("dtype")
    paths: dict[str, Path] = {
        "length": ("engine", section, "max_seq_len"),
        "sequences": ("engine", section, "max_batch_size"),
        "tokens": ("engine", section, "max_num_tokens"),
        "share": share_path,
        "kv_dtype": ("quantization", "kv_cache_dtype"),
        "experts": ("engine", "runtime", "moe_expert_parallel_size"),
    }
    return Serving(
        target=served,
        dtype=recipe.dtype,
        tensor=recipe.tensor_parallel_size,
        pipeline=recipe.pipeline_parallel_size,
        expert_parallel=_number(engine.runtime.get("moe_expert_parallel_size")) or 1,
        attention_whole=engine.runtime.get("enable_attention_dp") is True,
        quantization=_made(recipe),
        kv_dtype=str(said_dtype)
        if said_dtype not in (None, "auto")
        else made.kv_cache_dtype
        if made
        else None,
        length=_number(sizes.get("max_seq_len")),
        fitted="max_seq_len" not in sizes,
        sequences=_number(sizes.get("max_batch_size")),
        tokens=_number(sizes.get("max_num_tokens")),
        share=_fraction(cache.get("free_gpu_memory_fraction"))
        or _fraction(engine.runtime.get(share_name))
        or TENSORRT_LLM_SHARE,
        paths=paths,
    )


#: Options of trtllm-serve and of Triton's template for the same number.
_SHARES = ("free_gpu_memory_fraction", "kv_cache_free_gpu_memory_fraction", "kv_cache_free_gpu_mem_fraction")


def _length(value: Json) -> int | None:
    """None for auto and -1, which ask vLLM for what fits."""
    found = _number(value)
    return found if found and found > 0 else None


def _number(value: Json) -> int | None:
    if isinstance(value, str):
        return readable_int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _fraction(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
