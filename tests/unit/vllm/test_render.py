"""render: the configuration file, byte for byte, and every trap of vLLM's reader of it."""

from __future__ import annotations

import itertools

import pytest
import yaml

from enginebuild.engines.vllm import VERSIONS, VllmSettings, render
from enginebuild_cache import Json


def _settings(**args: Json) -> VllmSettings:
    return VllmSettings("0.33.0", served_model_name="org/name", fingerprint="sha256:ab", args=args)


def _own_lines(**args: Json) -> list[str]:
    """The lines that the arguments add, or change, in the file without them."""
    without = render(_settings()).decode().splitlines()
    return [line for line in render(_settings(**args)).decode().splitlines() if line not in without]


def test_the_file_without_arguments() -> None:
    settings = VllmSettings(
        "0.33.0",
        served_model_name="meta-llama/Llama-3.1-8B-Instruct",
        fingerprint="sha256:" + "ab" * 32,
        dtype="bfloat16",
        tensor_parallel_size=2,
    )
    expected = f"""\
# Written by enginebuild for vLLM 0.33.0: vllm serve --config <this file>
# Options on the command line win over these. vLLM ignores flag: false, hence no-flag: true.
model: "/model"
served-model-name: "meta-llama/Llama-3.1-8B-Instruct"
dtype: "bfloat16"
tensor-parallel-size: 2
pipeline-parallel-size: 1
host: "0.0.0.0"
port: 8000
generation-config: "auto"
fingerprint-mode: "custom"
fingerprint-value: "sha256:{"ab" * 32}"
"""
    assert render(settings).decode() == expected


def test_arguments_follow_by_name() -> None:
    lines = _own_lines(
        max_model_len="8k",
        gpu_memory_utilization=0.9,
        compilation_config={"mode": 3, "custom_ops": ["none"], "pass_config": {"fuse_act_quant": True}},
        async_scheduling=True,
    )
    assert lines == [
        "async-scheduling: true",
        'compilation-config: {"mode": 3, "custom_ops": ["none"], "pass_config": {"fuse_act_quant": true}}',
        "gpu-memory-utilization: 0.9",
        'max-model-len: "8k"',
    ]


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ({"enable_prefix_caching": False}, ["no-enable-prefix-caching: true"]),
        ({"enable_prefix_caching": True}, ["enable-prefix-caching: true"]),
        ({"disable_log_stats": False}, []),
        ({"disable_log_stats": True}, ["disable-log-stats: true"]),
        ({"lora_modules": ["a=/x"]}, ['lora-modules: ["a=/x"]']),
        ({"lora_modules": "a=/x"}, ['lora-modules: ["a=/x"]']),
        ({"lora_modules": [{"path": "/x", "name": "a"}]}, ['lora-modules: ["a=/x"]']),
        (
            {"lora_modules": [{"path": "/x", "name": "a", "base_model_name": "b"}]},
            [r'lora-modules: ["{\"base_model_name\": \"b\", \"name\": \"a\", \"path\": \"/x\"}"]'],
        ),
        (
            {"lora_modules": [{"path": "/x,y", "name": "a"}]},
            [r'lora-modules: ["{\"name\": \"a\", \"path\": \"/x,y\"}"]'],
        ),
        ({"allowed_origins": ["*"]}, [r'allowed-origins: "[\"*\"]"']),
        ({"allowed_origins": []}, ['allowed-origins: "[]"']),
        ({"served_model_name": ["a", "b"]}, ['served-model-name: ["a", "b"]']),
        ({"port": 9000}, ["port: 9000"]),
        ({"host": "::"}, ['host: "::"']),
        ({"generation_config": "vllm"}, ['generation-config: "vllm"']),
        ({"hf_overrides": {"eps": 1e-05}}, ['hf-overrides: {"eps": 1.0e-05}']),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", VERSIONS)
def test_traps_of_the_reader(version: str, args: dict[str, Json], lines: list[str]) -> None:
    assert _own_lines(**args) == lines
    settings = VllmSettings(version, served_model_name="m", fingerprint="f", args=args)
    assert set(lines) <= set(render(settings).decode().splitlines())


def test_a_yaml_reader_gets_what_vllm_turns_into_words() -> None:
    read = yaml.safe_load(render(_settings(max_model_len="8k", enable_prefix_caching=False, port=1)))
    assert read == {
        "model": "/model",
        "served-model-name": "org/name",
        "dtype": "auto",
        "tensor-parallel-size": 1,
        "pipeline-parallel-size": 1,
        "host": "0.0.0.0",
        "port": 1,
        "generation-config": "auto",
        "fingerprint-mode": "custom",
        "fingerprint-value": "sha256:ab",
        "no-enable-prefix-caching": True,
        "max-model-len": "8k",
    }
    assert False not in read.values()
    assert None not in read.values()


def test_the_order_in_which_arguments_are_given_changes_nothing() -> None:
    args: dict[str, Json] = {"seed": 1, "max_model_len": 2, "enforce_eager": True}
    orders = [dict(order) for order in itertools.permutations(args.items())]
    assert len({render(_settings(**order)) for order in orders}) == 1


def test_the_port() -> None:
    assert _settings().port == 8000
    assert _settings(port=9000).port == 9000


def test_an_unchecked_port_is_our_own_mistake() -> None:
    with pytest.raises(TypeError) as error:
        _ = _settings(port="9000").port
    assert str(error.value) == "engine.args.port is '9000'; check_arguments refuses that"
