"""How an image serves with `trtllm-serve`: its YAML, entry point, environment.

pytorch mode has every setting in the YAML, for flags lost against it without a message until about June 2026
(TensorRT-LLM issue 10710); the entry point has the model, the address and the file. Engine mode has flags:
the YAML of that backend is another one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from enginebuild.engines.tensorrt_llm.compile import build_options
from enginebuild.engines.tensorrt_llm.settings import (
    Settings,
    at_least,
    option_words,
    options_or_none,
)
from enginebuild.engines.tensorrt_llm.table import Option, options
from enginebuild.engines.tensorrt_llm.values import normalised
from enginebuild.errors import RefusedError
from enginebuild.yaml_text import emit_lines
from enginebuild_cache import Json, Tree

#: Where things are in every image.
MODEL_PATH = "/model"
ENGINE_PATH = "/engine"
TOKENIZER_PATH = "/tokenizer"
CONFIG_PATH = "/etc/enginebuild/trtllm.yaml"
PORT = 8000

#: Offline; and for ranks that MPI starts as root, which containers run as. MPI refuses that otherwise.
ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "TRANSFORMERS_OFFLINE": "1",
}

#: The first version for which the word `serve` is known; before, it may be left out (0.18) or must be (0.17).
_SUBCOMMANDS = "1.2.0"
#: The first version whose parser is known to have `--config`.
_CONFIG = "1.3.0rc3"

#: The engine's own sizes, which the server must not exceed: build option → option of trtllm-serve.
_SIZES = ("max_beam_width", "max_batch_size", "max_num_tokens", "max_seq_len")

_TOKENIZER_NAMES = re.compile(
    r"tokenizer[^/]*\.(?:json|model(?:\.v\d+)?|jinja)|[^/]*\.tiktoken|tekken\.json|(?:special_tokens_map|added_tokens|vocab"
    r"|chat_template|config|generation_config|preprocessor_config|processor_config)\.json|merges\.txt|vocab\.txt"
    r"|[^/]*(?:spiece|bpe)\.model|chat_template\.jinja|additional_chat_templates/[^/]+\.jinja"
    r"|(?:tokenization|tokenizer|configuration)_[^/]*\.py"
)


def serve_yaml(settings: Settings) -> bytes:
    """The file of `trtllm-serve --config` in pytorch mode. Equal settings give equal bytes."""
    head = (
        f"# Written by enginebuild for TensorRT-LLM {settings.version}: trtllm-serve {MODEL_PATH} "
        f"{_config_flag(settings.version)} <this file>\n"
        "# Up to mid-2026 these win over options on the command line, since then it is the other way round.\n"
    )
    return (head + emit_lines(pytorch_keys(settings).items())).encode()


def pytorch_keys(settings: Settings) -> dict[str, Json]:
    """The keys of pytorch mode, ours in a fixed order, then the recipe's by name; the recipe's win."""
    given = dict(sorted(settings.runtime.items()))
    given.pop("triton_config", None)
    ours: dict[str, Json] = {
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "dtype": settings.dtype,
    }
    if settings.kv_cache_dtype is not None:
        ours["kv_cache_config"] = {
            "dtype": settings.kv_cache_dtype,
            **cast("Mapping[str, Json]", given.pop("kv_cache_config", None) or {}),
        }
    return {**ours, **given}


def entrypoint(settings: Settings, engine: Mapping[str, Json] | None = None) -> tuple[str, ...]:
    """The image's entry point; `engine` is `compile.resolved` of what was built. The command stays empty.

    The server starts a rank for each of tensor × pipeline parallel GPUs by itself. Raises RefusedError for a
    version without `trtllm-serve`.
    """
    if options_or_none(settings.version, "serve") is None:
        raise RefusedError(
            f"TensorRT-LLM {settings.version} has no trtllm-serve",
            "set engine.server: triton, or a version from 0.16.0 on",
        )
    address = ("--host", "0.0.0.0", "--port", str(PORT))  # noqa: S104 - inside the container
    start = ("trtllm-serve", "serve") if at_least(settings.version, _SUBCOMMANDS) else ("trtllm-serve",)
    if settings.mode == "pytorch":
        return (*start, MODEL_PATH, *address, _config_flag(settings.version), CONFIG_PATH)
    return (
        *start,
        ENGINE_PATH,
        *address,
        *_backend(settings.version),
        *_engine_words(settings, engine or {}),
    )


def _config_flag(version: str) -> str:
    """`--config` where a parser has shown it; the older spelling, which later versions take too, before."""
    return "--config" if at_least(version, _CONFIG) else "--extra_llm_api_options"


def _backend(version: str) -> tuple[str, ...]:
    """Nothing before 1.0, where engines are the default. `trt` is the older spelling, later an alias."""
    option = options(version, "serve").get("backend")
    if option is None:
        return ()
    return (option.flag, "tensorrt" if "tensorrt" in option.choices else "trt")


def _engine_words(settings: Settings, engine: Mapping[str, Json]) -> tuple[str, ...]:
    """Tokenizer, parallelism and sizes of the engine, then what the recipe says."""
    table = options(settings.version, "serve")
    built = {**build_options(settings), **engine}
    values: dict[str, Json] = {
        "tokenizer": TOKENIZER_PATH,
        _parallel(table, "tensor"): settings.tensor_parallel_size,
        _parallel(table, "pipeline"): settings.pipeline_parallel_size,
        **{name: built[name] for name in _SIZES if isinstance(built.get(name), int)},
        **dict(sorted(settings.runtime.items())),
    }
    return tuple(word for name, value in values.items() for word in _words(table[name], value))


def _parallel(table: Mapping[str, Option], kind: str) -> str:
    """tp_size was renamed to tensor_parallel_size within the parser; the flag stayed."""
    return f"{kind}_parallel_size" if f"{kind}_parallel_size" in table else f"{kind[0]}p_size"


def _words(option: Option, value: Json) -> tuple[str, ...]:
    """click wants a repeated option where argparse takes many words."""
    value = normalised(option, value)
    if isinstance(value, list):
        return tuple(word for item in value for word in option_words(option, item))
    return option_words(option, value)


def tokenizer_files(tree: Tree) -> tuple[str, ...]:
    """Of a model's files those that a tokenizer is loaded from, sorted: an engine has none of its own.

    The model's config.json is among them, for transformers asks it which tokenizer it is.
    """
    return tuple(file.path for file in tree if _TOKENIZER_NAMES.fullmatch(file.path))
