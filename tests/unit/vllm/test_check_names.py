"""check_arguments: names that are not arguments of a version, belong elsewhere, are secrets or are ours."""

from __future__ import annotations

import pytest

from enginebuild.engines.vllm import check_arguments, check_version
from enginebuild.errors import Problem
from enginebuild_cache import Json

_UNKNOWN = "vLLM 0.33.0 has no argument {!r}"
_SECRET = "is a secret: in the image, anybody who can pull it could read it"
_TLS = "has no place in an image: a private key in it is everybody's, and the health check speaks HTTP"
_NO_HTTP = "turns off what the image's port and health check rely on, the HTTP server on its port"
_REVISION = "does nothing in an image: the model is a folder in it"
_MACHINE = "differs from machine to machine, an image is the same on all"
_FINGERPRINT = "is set by enginebuild: every response carries the build's key"
_ELSEWHERE = "is not an engine argument of a recipe"


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0"])
def test_supported_versions(version: str) -> None:
    assert check_version(version) is None


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("0.31.0", "supported versions: 0.32.0, 0.33.0"),
        ("1.2.1", "supported versions: 0.32.0, 0.33.0"),
        ("latest", "supported versions: 0.32.0, 0.33.0"),
        ("", "supported versions: 0.32.0, 0.33.0"),
        ("0.33.1", "supported versions: 0.32.0, 0.33.0; of that minor version, 0.33.0"),
        ("0.33", "write all three parts: 0.33.0"),
        ("v0.33.0", "write 0.33.0, without the v"),
    ],
)
def test_an_unsupported_version_is_the_only_problem(version: str, hint: str) -> None:
    expected = Problem(("engine", "version"), f"vLLM {version} is not a version that enginebuild knows", hint)
    assert check_arguments(version, {"nonsense": None, "model": "x"}) == [expected]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_modl_len", "did you mean max_model_len?"),
        ("maxModelLen", "did you mean max_model_len?"),
        ("gpu_mem_utilization", "did you mean gpu_memory_utilization?"),
        ("max-model-len", "write max_model_len"),
        ("--max-model-len", "write max_model_len"),
        ("MAX_MODEL_LEN", "write max_model_len"),
        ("cc", "write compilation_config"),
        ("q", "write quantization"),
        ("compilation_config.mode", "write a mapping: compilation_config: {mode: …}"),
        (
            "compilation-config.pass_config.fuse_allreduce_rms",
            "write a mapping: compilation_config: {pass_config: {fuse_allreduce_rms: …}}",
        ),
        ("no_enable_prefix_caching", "write enable_prefix_caching with the opposite value"),
        ("no-enable-prefix-caching", "write enable_prefix_caching with the opposite value"),
        ("disable_prefix_caching", "write enable_prefix_caching with the opposite value"),
        ("enable_log_stats", "write disable_log_stats with the opposite value"),
        ("disable_log_requests", "write enable_log_requests with the opposite value"),
        ("max_seq_len", "write max_model_len"),
        ("mem_fraction_static", "write gpu_memory_utilization"),
        ("task", "write runner"),
        ("zzz", "vllm serve --help=all lists the arguments of vLLM 0.33.0"),
        ("", "vllm serve --help=all lists the arguments of vLLM 0.33.0"),
    ],
)
def test_an_unknown_name(name: str, hint: str) -> None:
    expected = Problem(("engine", "args", name), _UNKNOWN.format(name), hint, on_key=True)
    assert check_arguments("0.33.0", {name: 1}) == [expected]


def test_an_argument_that_another_version_has() -> None:
    assert check_arguments("0.32.0", {"monokernel": True}) == [
        Problem(
            ("engine", "args", "monokernel"),
            "vLLM 0.32.0 has no argument 'monokernel'",
            "vLLM 0.33.0 has it",
            on_key=True,
        )
    ]
    assert check_arguments("0.33.0", {"monokernel": True}) == []


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("model", _ELSEWHERE, "write model: … at the recipe's top level"),
        ("model_path", _ELSEWHERE, "write model: … at the recipe's top level"),
        ("dtype", _ELSEWHERE, "write dtype: … at the recipe's top level"),
        (
            "tensor_parallel_size",
            _ELSEWHERE,
            "write tensor_parallel_size: … at the recipe's top level",
        ),
        (
            "tensor-parallel-size",
            _ELSEWHERE,
            "write tensor_parallel_size: … at the recipe's top level",
        ),
        ("tp", _ELSEWHERE, "write tensor_parallel_size: … at the recipe's top level"),
        ("tp_size", _ELSEWHERE, "write tensor_parallel_size: … at the recipe's top level"),
        ("pp", _ELSEWHERE, "write pipeline_parallel_size: … at the recipe's top level"),
        ("revision", _REVISION, "name the revision in the recipe's model: hf://org/name@revision"),
        (
            "tokenizer_revision",
            _REVISION,
            "name the revision in the recipe's model: hf://org/name@revision",
        ),
        (
            "download_dir",
            "does nothing in an image: the model is in it, nothing is downloaded",
            "remove the line",
        ),
        (
            "api_key",
            _SECRET,
            "give it when the container starts, in the environment variable VLLM_API_KEY",
        ),
        (
            "hf_token",
            _SECRET,
            "remove the line: the server is offline, and the build finds the token in the environment",
        ),
        (
            "ssl_keyfile",
            _TLS,
            "end TLS in front of the container, or give --ssl-keyfile and --ssl-certfile when it starts",
        ),
        (
            "config",
            "is set by enginebuild: these arguments become the file that it names",
            "remove the line",
        ),
        ("fingerprint_mode", _FINGERPRINT, "remove the line"),
        ("fingerprint_value", _FINGERPRINT, "remove the line"),
        (
            "headless",
            _NO_HTTP,
            "give it when the container starts, with a health check of your own: --headless",
        ),
        ("uds", _NO_HTTP, "give it when the container starts, with a health check of your own: --uds"),
        ("node_rank", _MACHINE, "give it when the container starts: --node-rank"),
        ("master_addr", _MACHINE, "give it when the container starts: --master-addr"),
    ],
)
def test_a_name_that_does_not_belong_here(name: str, message: str, hint: str) -> None:
    expected = Problem(("engine", "args", name), f"{name} {message}", hint, on_key=True)
    assert check_arguments("0.33.0", {name: "anything"}) == [expected]


def test_a_secret_is_never_repeated() -> None:
    for name in ("api_key", "hf_token"):
        (problem,) = check_arguments("0.33.0", {name: "hf_abcdefghijklmnopqrstuvwxyz"})
        assert "abcdef" not in problem.message + problem.hint


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (
            {"kv_transfer_config": {"kv_connector_extra_config": {"password": "open sesame"}}},
            ("kv_transfer_config", "kv_connector_extra_config", "password"),
        ),
        (
            {"additional_config": {"servers": [{"api_key": "open sesame"}]}},
            ("additional_config", "servers", 0, "api_key"),
        ),
        ({"additional_config": {"x": "hf_" + "a1" * 17}}, ("additional_config", "x")),
        ({"otlp_traces_endpoint": "https://me:pass@traces:4317"}, ("otlp_traces_endpoint",)),
    ],
)
def test_a_secret_within_a_value(args: dict[str, Json], path: tuple[str | int, ...]) -> None:
    where = ".".join(map(str, path))
    expected = Problem(
        ("engine", "args", *path),
        f"{where} holds a secret: in the image, anybody who can pull it could read it",
        "give it when the container starts",
    )
    assert check_arguments("0.33.0", args) == [expected]


def test_words_that_only_look_like_secrets() -> None:
    args: dict[str, Json] = {
        "additional_config": {"pad_token": "x", "max_tokens": 3, "password": "", "secret": 7},
        "otlp_traces_endpoint": "http://traces:4317/a:b@c",
        "served_model_name": "hf_model",
    }
    assert check_arguments("0.33.0", args) == []


def test_all_mistakes_are_found_at_once_in_the_order_of_the_arguments() -> None:
    args: dict[str, Json] = {"zzz": 1, "max_model_len": "many", "dtype": "bf16", "max_num_seqs": 0}
    assert [problem.path[2] for problem in check_arguments("0.33.0", args)] == list(args)
