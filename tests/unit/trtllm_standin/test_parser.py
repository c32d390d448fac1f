"""The stand-ins' parsers take all that the option tables list, of every version, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.versions import releases
from parts.trtllm_standin.parser import argparse_parser, click_parser
from parts.trtllm_tables import tables

ENGINES = [version for version, release in releases().items() if "engine" in release.modes]
_EXAMPLES = {"int": "3", "integer": "3", "float": "0.5", "CheckpointType": "hf", "KVCacheType": "paged"}


def lists(version: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for command, content in tables(version).items():
        table = json.loads(content)
        if isinstance(table, list):
            yield command, table


def required(table: list[dict[str, Any]], besides: str) -> list[str]:
    wanted = [option for option in table if option["required"] and option["dest"] != besides]
    return [word for option in wanted for word in (option["flags"][0], example(option))]


def example(option: Mapping[str, Any]) -> str:
    return str(next(iter(choices(option)), _EXAMPLES.get(option["type"], "text")))


def choices(option: Mapping[str, Any]) -> list[Any]:
    return [choice for choice in option["choices"] or [] if choice is not None]


@pytest.mark.parametrize("version", ENGINES)
def test_every_spelling_and_choice_is_taken(version: str) -> None:
    for command, table in lists(version):
        parser = argparse_parser(table, command)
        for option in table:
            rest = required(table, option["dest"])
            for flag in option["flags"]:
                if option["nargs"] == 0:
                    assert vars(parser.parse_args([flag, *rest]))[option["dest"]] is True
                    continue
                for value in choices(option) or [example(option)]:
                    found = vars(parser.parse_args([flag, str(value), *rest]))[option["dest"]]
                    assert found in (value, [value], 3, 0.5, value), (command, flag)


@pytest.mark.parametrize("version", ENGINES)
def test_a_wrong_choice_a_bare_option_and_a_word_after_a_switch_are_refused(version: str) -> None:
    refused = 0
    for command, table in lists(version):
        parser = argparse_parser(table, command)
        for option in table:
            rest = required(table, option["dest"])
            words = [option["flags"][0]] if option["nargs"] != 0 else [option["flags"][0], "enable"]
            if choices(option):
                words = [option["flags"][0], "no-such-choice"]
            if option["nargs"] == "?" and not choices(option):
                continue
            with pytest.raises(SystemExit):
                parser.parse_args([*words, *rest])
            refused += 1
    assert refused > 100


def test_the_bare_switch_of_many_recipes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse_parser(json.loads(tables("1.2.1")["build"]), "trtllm-build")
    with pytest.raises(SystemExit):
        parser.parse_args(["--use_paged_context_fmha"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "trtllm-build: error: argument --use_paged_context_fmha: expected one argument"


def test_an_option_that_leaves_no_trace() -> None:
    table = [
        {
            "flags": ["--kv_cache_type"],
            "dest": "kv_cache_type",
            "default": "<unset>",
            "choices": None,
            "nargs": None,
            "type": "KVCacheType",
            "required": False,
        }
    ]
    parser = argparse_parser(table, "trtllm-build")
    assert vars(parser.parse_args([])) == {}
    assert vars(parser.parse_args(["--kv_cache_type", "PAGED"])) == {"kv_cache_type": "paged"}


@pytest.mark.parametrize("version", [v for v in releases() if "serve" in tables(v)])
def test_the_server_takes_its_options_and_no_abbreviation(version: str) -> None:
    params = json.loads(tables(version)["serve"])
    params = params["commands"]["serve"]["params"] if "commands" in params else params["params"]
    parser = click_parser(params, "trtllm-serve")
    for param in params:
        if param["kind"] == "argument":
            continue
        words = [param["flags"][0], *([] if param["is_flag"] else [example(param)])]
        assert param["dest"] in vars(parser.parse_args(["model", *words]))
    with pytest.raises(SystemExit):
        parser.parse_args(["model", "--max_batch", "3"])


def test_versions_without_engines_have_no_builder() -> None:
    newest = tables("1.3.0rc22")
    assert set(newest) == {"serve", "llmargs"}
    assert set(tables("0.12.0")) == {"build", "quantize", "convert_llama"}
