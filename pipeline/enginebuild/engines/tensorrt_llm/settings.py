"""The typed values that every command and file is generated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from enginebuild.engines.tensorrt_llm.table import Option, options
from enginebuild.engines.tensorrt_llm.versions import Mode, releases
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.methods import METHODS
from enginebuild.recipe.model import Quantization, Recipe, Server
from enginebuild_cache import Json

#: What makes the checkpoint that `trtllm-build` reads.
Route = Literal["convert", "quantize"]

#: What `auto` becomes, by the model's own dtype. A float32 source becomes float16, as TensorRT-LLM's own
#: `--dtype auto` has it (1.3.0rc3).
_DTYPES = {"bfloat16": "bfloat16", "float16": "float16", "float32": "float16"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a recipe for TensorRT-LLM says and `check` accepted. `gpu` is what the image is for.

    `build` has trtllm-build's options by argparse's names. `runtime` has keys of `trtllm-serve`'s YAML
    (pytorch mode), options of `trtllm-serve` (engine mode), or what Triton's templates take.
    """

    version: str
    mode: Mode
    server: Server = "trtllm-serve"
    dtype: str = "auto"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    quantization: Quantization | None = None
    build: Mapping[str, Json] = field(default_factory=dict)
    runtime: Mapping[str, Json] = field(default_factory=dict)
    gpu: Gpu | None = None

    @property
    def world_size(self) -> int:
        """Ranks, and GPUs of the server. Context parallelism, the third factor, is always 1."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    @property
    def method(self) -> str | None:
        return self.quantization.method if self.quantization else None

    @property
    def kv_cache_dtype(self) -> str | None:
        return self.quantization.kv_cache_dtype if self.quantization else None

    @property
    def route(self) -> Route:
        """Whether the checkpoint is converted as it is or needs data: calibrated, or a quantized KV cache.

        GPTQ is converted: its source is quantized already, and quantize.py cannot make it.
        """
        wanted = self.quantization
        if wanted is None or wanted.method == "w4a16_gptq":
            return "convert"
        by_nature = METHODS[wanted.method].calibrated or wanted.method not in ("w8a16", "w4a16")
        return "quantize" if by_nature or wanted.kv_cache_dtype or wanted.calibration else "convert"


def settings_of(recipe: Recipe) -> Settings:
    """The settings of a recipe that has passed `check`."""
    engine = recipe.engine
    if engine.mode is None:
        raise ValueError(f"a recipe for {engine.type} has no settings of TensorRT-LLM")
    return Settings(
        version=engine.version,
        mode=engine.mode,
        server=engine.server,
        dtype=recipe.dtype,
        tensor_parallel_size=recipe.tensor_parallel_size,
        pipeline_parallel_size=recipe.pipeline_parallel_size,
        quantization=recipe.quantization,
        build=engine.build or {},
        runtime=engine.runtime,
        gpu=catalogue()[recipe.gpu] if recipe.gpu else None,
    )


def dtype_of(settings: Settings, config: Mapping[str, Json]) -> str:
    """The recipe's dtype; for `auto` that of the model's config.json, float16 where it says none we know.

    Written out because commands up to 0.14 do not take `auto`, and a resolved value is a better record.
    """
    if settings.dtype != "auto":
        return settings.dtype
    inner = config.get("text_config")
    for section in (config, inner if isinstance(inner, dict) else {}):
        for key in ("dtype", "torch_dtype"):
            if isinstance(said := section.get(key), str):
                return _DTYPES.get(said.removeprefix("torch."), "float16")
    return "float16"


def at_least(version: str, first: str) -> bool:
    """Whether a known version is `first` or a later one. Raises ValueError for an unknown one."""
    known = list(releases())
    return known.index(version) >= known.index(first)


def options_or_none(version: str, command: str) -> Mapping[str, Option] | None:
    """The options of a command; None where it is not there or not known."""
    try:
        return options(version, command)
    except KeyError:
        return None


def option_words(option: Option, value: Json) -> tuple[str, ...]:
    """The words of one option: none for a null, or for a switch that is off."""
    if value is None:
        return ()
    if option.nargs == "none":
        return (option.flag,) if value is True else ()
    if isinstance(value, list):
        return (option.flag, *map(str, value)) if value else ()
    return (option.flag, str(value))
