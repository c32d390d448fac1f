"""check: names in engine.runtime that belong elsewhere, are ours, or cannot be in an image."""

from __future__ import annotations

import pytest

from enginebuild.engines.tensorrt_llm import reserved
from enginebuild.engines.tensorrt_llm.check import check
from enginebuild.errors import Problem
from enginebuild_cache import Json
from parts.trtllm_values import serve, triton, yaml

_SET = ("is set by enginebuild", "remove the line")
_MACHINE = "differs from machine to machine, an image is the same on all"
_REVISION = (
    "does nothing in an image: the model is a folder in it",
    "name the revision in the recipe's model: hf://org/name@revision",
)
_SHUT = (
    "is set by enginebuild: the server listens on all addresses of its container",
    "choose with docker run -p who reaches it",
)


def _top(field: str) -> tuple[str, str]:
    return ("does not belong here", f"write {field}: … at the recipe's top level")


_SERVER: dict[str, tuple[str, str]] = {
    "model": _top("model"),
    "tensor_parallel_size": _top("tensor_parallel_size"),
    "tp_size": _top("tensor_parallel_size"),
    "pipeline_parallel_size": _top("pipeline_parallel_size"),
    "pp_size": _top("pipeline_parallel_size"),
    "backend": ("is set by enginebuild", "write engine: {mode: …}"),
    "revision": _REVISION,
    "tokenizer_revision": _REVISION,
    "host": _SHUT,
    "port": _SHUT,
    "gpus_per_node": (_MACHINE, "give it when the container starts: --gpus_per_node"),
    "context_parallel_size": (
        "is not built for: the server has tensor_parallel_size × pipeline_parallel_size GPUs",
        "remove the line",
    ),
}
_SERVE = {
    **_SERVER,
    "tokenizer": _SET,
    "config": _SET,
    "extra_llm_api_options": _SET,
    "custom_module_dirs": (
        "names what is not among the recipe's inputs, and would not be there",
        "remove the line",
    ),
    "metadata_server_config_file": (
        _MACHINE,
        "give it when the container starts: --metadata_server_config_file",
    ),
    "server_role": (_MACHINE, "give it when the container starts: --server_role"),
    "disagg_cluster_uri": (_MACHINE, "give it when the container starts: --disagg_cluster_uri"),
    "grpc": (
        "turns off what the image's port and health check rely on, the HTTP server",
        "remove the line",
    ),
    "moe_cluster_parallel_size": (
        "is not built for: no convert_checkpoint.py has it",
        "remove the line",
    ),
}
_YAML = {
    **_SERVER,
    "dtype": _top("dtype"),
    "quantization": _top("quantization"),
    "tokenizer": (
        "is set by enginebuild: the tokenizer is in the model's folder",
        "remove the line",
    ),
    "postprocess_tokenizer_dir": _SET,
    "quant_config": (
        "is refused by the pytorch backend: the checkpoint says how it is quantized",
        "write quantization: … at the recipe's top level, and for the KV cache kv_cache_config: {dtype: …}",
    ),
    "build_config": (
        "belongs to engines, which pytorch mode does not compile",
        "write max_batch_size, max_num_tokens and max_seq_len here",
    ),
    "triton_config": _SET,
    "decoding_config": (
        "is an object of a program, no value of a file",
        "write speculative_config: …",
    ),
}
_TRITON = {
    "engine_dir": _SET,
    "tokenizer_dir": _SET,
    "triton_backend": _SET,
    "triton_max_batch_size": (
        "is set by enginebuild, from the engine",
        "write max_batch_size: … in engine.build",
    ),
    "encoder_input_features_data_type": _SET,
    "prompt_embedding_table_data_type": _SET,
    "logits_datatype": _SET,
}


def _at(*path: str | int) -> tuple[str | int, ...]:
    return ("engine", "runtime", *path)


def _in_triton(runtime: dict[str, Json]) -> list[Problem]:
    return check(triton("1.2.1", "26.07", {"runtime": runtime}))


def test_every_reserved_name_is_answered() -> None:
    assert set(_SERVE) == set(reserved.SERVE)
    assert set(_YAML) == set(reserved.YAML)
    assert set(_TRITON) == set(reserved.TRITON)


@pytest.mark.parametrize("name", _SERVE)
def test_a_reserved_option_of_the_server(name: str) -> None:
    message, hint = _SERVE[name]
    assert serve({name: "x"}) == [Problem(_at(name), f"{name} {message}", hint, on_key=True)]


@pytest.mark.parametrize("name", _YAML)
def test_a_reserved_key_of_the_yaml(name: str) -> None:
    message, hint = _YAML[name]
    assert yaml({name: "x"}) == [Problem(_at(name), f"{name} {message}", hint, on_key=True)]


@pytest.mark.parametrize("name", _TRITON)
def test_a_reserved_placeholder(name: str) -> None:
    message, hint = _TRITON[name]
    assert _in_triton({name: "x"}) == [Problem(_at(name), f"{name} {message}", hint, on_key=True)]
