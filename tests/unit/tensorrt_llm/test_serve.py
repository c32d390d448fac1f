"""How an image serves: YAML, entry points by version, health check, and the tokenizer's files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
import yaml

from enginebuild.engines.health import healthcheck
from enginebuild.engines.tensorrt_llm.serve import (
    ENVIRONMENT,
    entrypoint,
    serve_yaml,
    tokenizer_files,
)
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import RefusedError
from enginebuild.recipe.model import Quantization
from enginebuild_cache import Digest, File, Tree
from parts.trtllm_parsers_standin import parse, unknown_keys

FP8_CACHE = Quantization("fp8", "modelopt", "fp8", None, ("lm_head",), None)


def pytorch(version: str = "1.3.0rc22", **fields: Any) -> Settings:
    return Settings(version, "pytorch", **fields)


def engine(version: str = "1.2.1", **fields: Any) -> Settings:
    return Settings(version, "engine", **fields)


def parsed(settings: Settings, built: Mapping[str, Any] | None = None) -> dict[str, Any]:
    words = entrypoint(settings, built)[1:]
    return parse(settings.version, "serve", words[1:] if words[0] == "serve" else words)


def test_the_yaml() -> None:
    settings = pytorch(
        tensor_parallel_size=2,
        dtype="bfloat16",
        quantization=FP8_CACHE,
        runtime={"max_seq_len": 4096, "kv_cache_config": {"free_gpu_memory_fraction": 0.8}},
    )
    assert serve_yaml(settings).decode() == (
        "# Written by enginebuild for TensorRT-LLM 1.3.0rc22: trtllm-serve /model --config <this file>\n"
        "# Up to mid-2026 these win over options on the command line, since then it is the other way round.\n"
        "tensor_parallel_size: 2\n"
        "pipeline_parallel_size: 1\n"
        'dtype: "bfloat16"\n'
        'kv_cache_config: {"dtype": "fp8", "free_gpu_memory_fraction": 0.8}\n'
        "max_seq_len: 4096\n"
    )


def test_the_yaml_does_not_depend_on_the_order_in_the_recipe() -> None:
    one, other = {"max_seq_len": 8, "max_batch_size": 2}, {"max_batch_size": 2, "max_seq_len": 8}
    assert serve_yaml(pytorch(runtime=one)) == serve_yaml(pytorch(runtime=other))


def test_every_key_is_the_servers() -> None:
    runtime = {
        "moe_expert_parallel_size": 2,
        "cuda_graph_config": {"enable_padding": True, "batch_sizes": [1, 2]},
        "speculative_config": {"decoding_type": "NGram", "max_draft_len": 4},
        "cuda_graph": None,
    }
    document = yaml.safe_load(serve_yaml(pytorch(quantization=FP8_CACHE, runtime=runtime)))
    assert unknown_keys("1.3.0rc22", document)[:1] == ["cuda_graph"]
    del document["cuda_graph"]
    assert unknown_keys("1.3.0rc22", document) == []
    document["kv_cache_config"]["dtypes"] = 1
    assert unknown_keys("1.3.0rc22", document)[:1] == ["kv_cache_config.dtypes"]
    assert document["speculative_config"] == {"decoding_type": "NGram", "max_draft_len": 4}


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.4.0rc1", "trtllm-serve serve /model --host 0.0.0.0 --port 8000 --config"),
        ("1.3.0rc3", "trtllm-serve serve /model --host 0.0.0.0 --port 8000 --config"),
        ("1.2.1", "trtllm-serve serve /model --host 0.0.0.0 --port 8000 --extra_llm_api_options"),
        ("1.1.0", "trtllm-serve /model --host 0.0.0.0 --port 8000 --extra_llm_api_options"),
    ],
)
def test_pytorch_mode_names_the_model_and_the_file(version: str, words: str) -> None:
    assert " ".join(entrypoint(pytorch(version))) == f"{words} /etc/enginebuild/trtllm.yaml"
    assert parsed(pytorch(version))["extra_llm_api_options"] == "/etc/enginebuild/trtllm.yaml"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.2.1", "trtllm-serve serve /engine --host 0.0.0.0 --port 8000 --backend tensorrt"),
        ("1.1.0", "trtllm-serve /engine --host 0.0.0.0 --port 8000 --backend trt"),
        ("0.21.0", "trtllm-serve /engine --host 0.0.0.0 --port 8000"),
        ("0.16.0", "trtllm-serve /engine --host 0.0.0.0 --port 8000"),
    ],
)
def test_engine_mode_names_the_backend_where_it_is_not_the_default(version: str, words: str) -> None:
    parallel = "--tensor_parallel_size 2 --pipeline_parallel_size 2"
    if version != "1.2.1":
        parallel = "--tp_size 2 --pp_size 2"
    settings = engine(version, tensor_parallel_size=2, pipeline_parallel_size=2)
    assert " ".join(entrypoint(settings)) == (
        f"{words} --tokenizer /tokenizer {parallel} "
        "--max_beam_width 1 --max_batch_size 2048 --max_num_tokens 8192"
    )
    assert parsed(settings)["model"] == "/engine"


def test_the_server_has_the_engines_sizes_unless_the_recipe_says_smaller() -> None:
    built = {"max_batch_size": 8, "max_num_tokens": 4096, "max_seq_len": 2048, "kv_cache_type": "paged"}
    settings = engine(
        build={"max_batch_size": 8}, runtime={"max_num_tokens": 1024, "trust_remote_code": True}
    )
    values = parsed(settings, built)
    assert [values[name] for name in ("max_batch_size", "max_num_tokens", "max_seq_len")] == [8, 1024, 2048]
    assert values["trust_remote_code"] is True
    assert "--trust_remote_code" not in entrypoint(engine(runtime={"trust_remote_code": False}))


def test_the_first_versions_have_no_server() -> None:
    with pytest.raises(RefusedError) as caught:
        entrypoint(engine("0.15.0"))
    assert caught.value.message == "TensorRT-LLM 0.15.0 has no trtllm-serve"
    assert caught.value.hint == "set engine.server: triton, or a version from 0.16.0 on"


def test_the_environment_keeps_the_server_off_the_network_and_lets_root_start_ranks() -> None:
    assert ENVIRONMENT == {
        "HF_HUB_OFFLINE": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


class _HealthStandin(BaseHTTPRequestHandler):
    """Answers one path with one status, everything else with 404."""

    answers: Mapping[str, int] = {}

    def do_GET(self) -> None:
        self.send_response(self.answers.get(self.path, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def _server(answers: Mapping[str, int]) -> Iterator[int]:
    handler = type("Standin", (_HealthStandin,), {"answers": answers})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "status", "healthy"),
    [
        ("/health", 200, True),
        ("/health", 503, False),
        ("/v2/health/ready", 200, True),
        ("/v2/health/ready", 400, False),
    ],
)
def test_the_health_check_asks_the_server(path: str, status: int, healthy: bool) -> None:
    with _server({path: status}) as port:
        _python, *words = healthcheck(port, path)
        assert (subprocess.run([sys.executable, *words]).returncode == 0) is healthy


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    with _server({}) as port:
        pass
    _python, *words = healthcheck(port)
    assert subprocess.run([sys.executable, *words], stderr=subprocess.DEVNULL).returncode != 0


def test_the_files_of_the_tokenizer() -> None:
    tokenizer = (
        *("additional_chat_templates/tool.jinja", "added_tokens.json", "chat_template.jinja", "config.json"),
        *("configuration_qwen.py", "generation_config.json", "merges.txt", "qwen.tiktoken"),
        *("sentencepiece.bpe.model", "special_tokens_map.json", "spiece.model", "tekken.json"),
        *("tokenization_qwen.py", "tokenizer.json", "tokenizer.model", "tokenizer.model.v3"),
        *("tokenizer_config.json", "vocab.json", "vocab.txt"),
    )
    other = (
        *("README.md", "model.safetensors", "model.safetensors.index.json", "modeling_qwen.py"),
        *("original/tokenizer.model", "pytorch_model.bin", "adapter.model", "quantize_config.json"),
    )
    tree = Tree.of(File(path, Digest.of(b""), 0) for path in (*tokenizer, *other))
    assert tokenizer_files(tree) == tuple(sorted(tokenizer))
