"""What the program is asked, and what is made of its document: problems at the recipe's lines, notes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from enginebuild.engines.vllm import VllmSettings
from enginebuild.engines.vllm.validation import (
    METADATA,
    command,
    is_metadata,
    key_fields,
    request,
    scripts,
    sentence,
    validation,
)
from enginebuild.errors import Problem
from enginebuild_cache import Json

ARGS: dict[str, Json] = {
    "enable_prefix_caching": False,
    "max_model_len": "8K",
    "max_num_seqs": 7,
    "kv_cache_dtype": "fp8",
    "lora_modules": ["sql=/loras/sql", {"name": "chat", "path": "/loras/chat"}],
}
ASKED = request(VllmSettings("0.33.0", "org/m", "sha256:ab", dtype="float16", args=ARGS))


#: As vLLM 0.32.0 says it.
_HEADS = """\
ValidationError: 1 validation error for VllmConfig
  Value error, Total number of attention heads (2) must be divisible by tensor parallel size (3). [type=value]
    For further information visit https://errors.pydantic.dev"""
_SEQUENCES = """\
ValidationError: 1 validation error for SchedulerConfig
max_num_seqs
  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0, input_type=int]
    For further information visit https://errors.pydantic.dev"""


def read(rungs: Mapping[str, Any], **more: Any) -> Any:
    return validation(json.dumps({"vllm": "0.33.0", "rungs": rungs, **more}).encode(), ASKED)


def test_the_request_has_what_the_parser_has() -> None:
    assert ASKED["asked"] == {
        "served_model_name": "org/m",
        "dtype": "float16",
        "tensor_parallel_size": 1,
        "pipeline_parallel_size": 1,
        "host": "0.0.0.0",
        "port": 8000,
        "generation_config": "auto",
        "enable_prefix_caching": False,
        "kv_cache_dtype": "fp8",
        "lora_modules": [
            {"name": "sql", "path": "/loras/sql"},
            {"name": "chat", "path": "/loras/chat"},
        ],
        "max_model_len": 8192,
        "max_num_seqs": 7,
    }
    assert ASKED["version"] == "0.33.0"


def test_the_key_does_not_know_the_build_s_own_key() -> None:
    other = request(VllmSettings("0.33.0", "org/m", "sha256:cd", dtype="float16", args=ARGS))
    assert key_fields(other) == key_fields(ASKED)
    programs = key_fields(ASKED)["programs"]
    assert isinstance(programs, dict)
    assert list(programs) == ["compare.py", "validate.py"]


def test_the_programs_and_their_command() -> None:
    assert sorted(scripts(ASKED)) == ["compare.py", "request.json", "validate.py"]
    assert json.loads(scripts(ASKED)["request.json"]) == ASKED
    assert command() == (
        "python3",
        "/enginebuild/scripts/validate.py",
        "/enginebuild/scripts/request.json",
        f"/enginebuild/input/{METADATA}",
        "/enginebuild/input/configure/vllm.yaml",
        "/enginebuild/output/validation.json",
    )


def test_all_but_weights_is_metadata() -> None:
    names = ["config.json", "tokenizer.model", "model-00001-of-00002.safetensors", "x.BIN", "chat.jinja"]
    names.append("model.safetensors.index.json")
    assert [name for name in names if is_metadata(name)] == [
        "config.json",
        "tokenizer.model",
        "chat.jinja",
        "model.safetensors.index.json",
    ]


def test_all_is_well() -> None:
    config = {"arguments": {"kv_cache_dtype": "fp8_e4m3"}, "differs": ["kv_cache_dtype"], "contradicts": []}
    found = read(
        {
            "parser": {"arguments": {}, "contradicts": []},
            "config": config,
            "render": {"token_ids": [1, 2, 3]},
        }
    )
    assert found.problems == ()
    assert found.summary == (
        "vLLM 0.33.0 reads it as it was meant (parser, config, render), 3 token ids rendered"
    )
    assert found.notes == ('vLLM makes "fp8_e4m3" of kv_cache_dtype',)


def test_a_rung_that_was_left_out_says_why() -> None:
    found = read(
        {
            "parser": {"arguments": {}, "contradicts": []},
            "config": {"left_out": "it cannot be made without a GPU: no libcuda"},
            "render": {"left_out": "the model has no chat template"},
        }
    )
    assert found.summary == "vLLM 0.33.0 reads it as it was meant (parser)"
    assert found.notes == (
        "not validated by vLLM's config: it cannot be made without a GPU: no libcuda",
        "not validated by vLLM's render: the model has no chat template",
    )


def test_nothing_could_be_asked() -> None:
    found = validation(b'{"rungs": {"parser": {"left_out": "no vLLM is installed here"}}}', ASKED)
    assert found.problems == (
        Problem(
            ("engine", "validate"),
            "vLLM could not be asked: no vLLM is installed here",
            "run it where that vLLM is: image.base, or the folder of its environment",
            on_key=True,
        ),
    )


def test_a_contradiction_is_at_its_line() -> None:
    config = {
        "arguments": {"enable_prefix_caching": True, "dtype": "bfloat16"},
        "differs": ["enable_prefix_caching", "dtype"],
        "contradicts": ["enable_prefix_caching", "dtype"],
    }
    found = read({"parser": {"arguments": {}, "contradicts": []}, "config": config})
    assert found.problems == (
        Problem(
            ("engine", "args", "enable_prefix_caching"),
            "enable_prefix_caching is false, and vLLM makes true of it (config)",
            "write true if that will do",
        ),
        Problem(
            ("dtype",),
            'dtype is "float16", and vLLM makes "bfloat16" of it (config)',
            'write "bfloat16" if that will do',
        ),
    )
    assert found.notes == ()


@pytest.mark.parametrize(
    ("rung", "said", "path", "shown"),
    [
        (
            "parser",
            "vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
            ("engine", "args", "max_num_seqs"),
            "vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
        ),
        (
            "config",
            _HEADS,
            ("tensor_parallel_size",),
            "Total number of attention heads (2) must be divisible by tensor parallel size (3).",
        ),
        (
            "config",
            _SEQUENCES,
            ("engine", "args", "max_num_seqs"),
            "max_num_seqs: Input should be greater than or equal to 1",
        ),
        ("config", "RuntimeError: no such kernel", ("engine",), "RuntimeError: no such kernel"),
        ("render", "Expected an expression", ("engine",), "Expected an expression"),
    ],
)
def test_a_refusal_is_at_the_line_that_it_speaks_of(
    rung: str, said: str, path: tuple[str, ...], shown: str
) -> None:
    hints = {
        "parser": "its own command line does not take the file that this recipe makes",
        "config": "a server with this configuration would not start",
        "render": "a server with this configuration could not answer a chat request",
    }
    found = read({}, refused={"rung": rung, "said": said})
    assert found.problems == (
        Problem(path, f"vLLM refuses it ({rung}): {shown}", hints[rung], on_key=path == ("engine",)),
    )


def test_another_version_is_refused() -> None:
    found = read({}, refused={"rung": "version", "said": "this is vLLM 0.32.0"})
    assert found.problems == (
        Problem(
            ("engine", "version"),
            "this is vLLM 0.32.0",
            "run that version, or give engine.version the one that is run",
        ),
    )


def test_a_template_of_the_recipe_is_where_rendering_fails() -> None:
    asked = request(VllmSettings("0.33.0", "org/m", "", args={"chat_template": "{% for x in %}"}))
    document = {"rungs": {}, "refused": {"rung": "render", "said": "Expected an expression"}}
    (problem,) = validation(json.dumps(document).encode(), asked).problems
    assert problem.path == ("engine", "args", "chat_template")


def test_an_error_without_a_word() -> None:
    assert sentence("") == ""
