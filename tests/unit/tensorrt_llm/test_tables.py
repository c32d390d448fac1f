"""The option tables: derived again from the facts, and what every version is known to take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm import derive
from enginebuild.engines.tensorrt_llm.table import (
    CHOOSERS,
    KEYS_OF,
    Key,
    Option,
    holders,
    keys,
    options,
    table,
)
from enginebuild.engines.tensorrt_llm.versions import releases
from parts.checkout import ROOT
from parts.services import missing

_FACTS = ROOT.parent / "shared" / "facts" / "trtllm"
_FOLDER = Path(derive.__file__).parent


def test_the_tables_are_what_the_facts_say() -> None:
    if not _FACTS.is_dir():
        missing("no folder ../shared/facts/trtllm beside the checkout: the tables cannot be derived again")
    for name, text in derive.written(_FACTS).items():
        assert (_FOLDER / name).read_text() == text, f"run derive.py: {name} is another"


def test_what_is_left_out_is_in_the_facts() -> None:
    if not _FACTS.is_dir():
        missing("no folder ../shared/facts/trtllm beside the checkout: nothing says what is left out")
    described = [json.loads(path.read_text())["options"] for path in _FACTS.glob("*_*.json")]
    names = {option["dest"] for options in described if isinstance(options, list) for option in options}
    assert names >= derive.LEFT_OUT


def _facts(folder: Path, **commands: Any) -> Path:
    """A folder of facts; `build_0_12_0` is the file 0.12.0_build.json, `llmargs` that of 1.3.0rc3."""
    for name, described in {"llmargs": {}, **commands}.items():
        command, _, version = name.partition("_")
        version = {"": "1.3.0rc3", "old": "0.12.0", "new": "0.13.0"}[version]
        (folder / f"{version}_{command}.json").write_text(json.dumps({"options": described}))
    return folder


def _said(name: str, **parts: Any) -> dict[str, Any]:
    plain = {"flags": [f"--{name}"], "dest": name, "default": None, "choices": None}
    return {**plain, "nargs": None, "type": "str", "required": False, **parts}


def test_an_option_is_written_once_for_the_versions_that_agree(tmp_path: Path) -> None:
    old = [
        _said("a", type="int", default="1"),
        _said("gone"),
        _said("switch", nargs=0, type=None, default=False),
    ]
    new = [
        _said("a", type="int", default=1),
        _said("switch", choices=["x", None]),
        _said("b", default="<unset>"),
    ]
    written = json.loads(derive.written(_facts(tmp_path, build_old=old, build_new=new))["options.json"])
    both = ["0.12.0", "0.13.0"]
    assert written["commands"]["build"] == {
        "tables": both,
        "options": {
            "a": [{"flags": ["--a"], "type": "int", "default": 1, "versions": both}],
            "switch": [
                {
                    "flags": ["--switch"],
                    "type": "bool",
                    "nargs": "none",
                    "default": False,
                    "versions": ["0.12.0"],
                },
                {"flags": ["--switch"], "type": "str", "choices": ["x"], "versions": ["0.13.0"]},
            ],
            "b": [{"flags": ["--b"], "type": "str", "versions": ["0.13.0"]}],
            "gone": [{"flags": ["--gone"], "type": "str", "versions": ["0.12.0"]}],
        },
    }


def test_what_is_neither_written_nor_refused_is_left_out(tmp_path: Path) -> None:
    facts = _facts(
        tmp_path, quantize_old=[_said("qformat"), _said("nemo_ckpt_path")], build_old=[_said("vocab_size")]
    )
    written = json.loads(derive.written(facts)["options.json"])["commands"]
    assert list(written["quantize"]["options"]) == ["qformat"]
    assert list(written["build"]["options"]) == ["vocab_size"]


def _param(name: str, **parts: Any) -> dict[str, Any]:
    plain = {"flags": [f"--{name}"], "dest": name, "kind": "option", "required": False, "default": None}
    return {**plain, "choices": None, "is_flag": False, "multiple": False, "type": "text", **parts}


def test_options_of_click_with_and_without_subcommands(tmp_path: Path) -> None:
    params = [
        _param("model", kind="argument"),
        _param("port", type="integer", default=8000),
        _param("grpc", is_flag=True, type="boolean", default=False),
        _param("folder", multiple=True, type="path"),
    ]
    old: Any = {"name": "trtllm-serve", "params": params}
    new: Any = {"name": None, "params": [], "commands": {"serve": old, "other": {"params": [_param("x")]}}}
    written = json.loads(derive.written(_facts(tmp_path, serve_old=old, serve_new=new))["options.json"])
    both = ["0.12.0", "0.13.0"]
    assert written["commands"]["serve"]["options"] == {
        "port": [{"flags": ["--port"], "type": "int", "default": 8000, "versions": both}],
        "grpc": [{"flags": ["--grpc"], "type": "bool", "nargs": "none", "default": False, "versions": both}],
        "folder": [{"flags": ["--folder"], "type": "str", "nargs": "many", "versions": both}],
    }


_INNER = {"n": {"type": "int", "default": "PydanticUndefined", "alias": None}}


@pytest.mark.parametrize(
    ("kind", "default", "entry"),
    [
        ("int", 1, {"kinds": ["int"], "default": 1}),
        ("Optional[float]", None, {"kinds": ["float"], "nullable": True}),
        ("Optional[List[List[int]]]", None, {"kinds": ["list[list[int]]"], "nullable": True}),
        ("List[Any]", None, {"kinds": ["list"]}),
        ("Dict[str, str]", "<factory>", {"kinds": ["mapping[str]"]}),
        ("Optional[dict]", "<factory>", {"kinds": ["mapping"], "nullable": True}),
        ("dict[int, int]", None, {"kinds": ["mapping[int]"]}),
        ("Union[str, pathlib.Path]", "PydanticUndefined", {"kinds": ["str"], "required": True}),
        (
            "Union[float, Dict[str, float], NoneType]",
            None,
            {"kinds": ["float", "mapping[float]"], "nullable": True},
        ),
        (
            "Optional[Literal['a', 'b']]",
            "a",
            {"kinds": ["str"], "nullable": True, "choices": ["a", "b"], "default": "a"},
        ),
        ("Union[str, x.LoadFormat]", "LoadFormat.AUTO", {"kinds": ["str"], "default": "AUTO"}),
        ("Optional[object]", None, {"kinds": ["object"], "nullable": True}),
        ("Optional[x.Inner]", None, {"kinds": ["section"], "nullable": True, "classes": ["Inner"]}),
        ("Union[x.Inner, x.Oth", None, {"kinds": ["section"], "nullable": True, "classes": ["Inner"]}),
    ],
)
def test_the_kinds_of_keys(tmp_path: Path, kind: str, default: Any, entry: dict[str, Any]) -> None:
    field: dict[str, Any] = {"type": kind, "default": default, "alias": None}
    if "Inner" in kind:
        field["fields"] = {"Inner": _INNER}
    written = json.loads(derive.written(_facts(tmp_path, llmargs={"key": field}))["keys.json"])
    assert written["classes"]["TorchLlmArgs"] == {"key": entry}
    assert written["classes"].get("Inner", {}) == (
        {"n": {"kinds": ["int"], "required": True}} if "Inner" in kind else {}
    )


def test_two_classes_of_one_name_are_an_error(tmp_path: Path) -> None:
    other = {"n": {"type": "str", "default": None, "alias": None}}
    key = {"type": "x.Inner", "default": None, "alias": None}
    facts = _facts(
        tmp_path,
        llmargs={"a": {**key, "fields": {"Inner": _INNER}}, "b": {**key, "fields": {"Inner": other}}},
    )
    with pytest.raises(ValueError) as caught:
        derive.written(facts)
    assert str(caught.value) == "two classes are called Inner"


def test_it_runs_alone_and_writes_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    script = tmp_path / "derive.py"
    script.write_text(Path(derive.__file__).read_text())
    facts = _facts(tmp_path / "facts", build_old=[_said("a")])
    subprocess.run([sys.executable, "-I", str(script), str(facts)], check=True, timeout=60)
    assert {path.name: path.read_text() for path in tmp_path.glob("*.json")} == derive.written(facts)


def test_every_table_that_stands_for_a_version_is_there() -> None:
    for known in releases().values():
        assert set(known.tables) <= set(derive.TABLES)
    assert KEYS_OF == derive.KEYS_TABLE


@pytest.mark.parametrize(
    ("version", "command", "name", "option"),
    [
        (
            "0.13.0",
            "build",
            "max_batch_size",
            Option("max_batch_size", ("--max_batch_size",), "int", default=256),
        ),
        (
            "0.14.0",
            "build",
            "max_batch_size",
            Option("max_batch_size", ("--max_batch_size",), "int", default=2048),
        ),
        (
            "0.17.0",
            "build",
            "tokens_per_block",
            Option("tokens_per_block", ("--tokens_per_block",), "int", default=64),
        ),
        (
            "1.1.0",
            "build",
            "tokens_per_block",
            Option("tokens_per_block", ("--tokens_per_block",), "int", default=32, settled=False),
        ),
        (
            "1.2.1",
            "build",
            "tokens_per_block",
            Option("tokens_per_block", ("--tokens_per_block",), "int", default=32),
        ),
        (
            "0.12.0",
            "build",
            "use_fused_mlp",
            Option("use_fused_mlp", ("--use_fused_mlp",), "bool", "none", default=False),
        ),
        (
            "0.13.0",
            "build",
            "use_fused_mlp",
            Option("use_fused_mlp", ("--use_fused_mlp",), choices=("enable", "disable"), default="enable"),
        ),
        (
            "1.2.1",
            "build",
            "kv_cache_type",
            Option("kv_cache_type", ("--kv_cache_type",), choices=("continuous", "paged", "disabled")),
        ),
        (
            "1.2.1",
            "build",
            "max_seq_len",
            Option("max_seq_len", ("--max_seq_len", "--max_decoder_seq_len"), "int"),
        ),
        (
            "1.1.0",
            "serve",
            "tensor_parallel_size",
            Option("tensor_parallel_size", ("--tp_size",), "int", default=1),
        ),
        (
            "1.1.0",
            "serve",
            "backend",
            Option("backend", ("--backend",), choices=("pytorch", "trt"), default="pytorch"),
        ),
        (
            "1.2.1",
            "convert_gemma",
            "world_size",
            Option("world_size", ("--world-size",), "int", default=1),
        ),
        (
            "1.2.1",
            "convert_qwen",
            "model_dir",
            Option("model_dir", ("--model_dir",), required=True),
        ),
        (
            "1.2.1",
            "quantize",
            "kv_cache_dtype",
            Option("kv_cache_dtype", ("--kv_cache_dtype",), choices=("int8", "fp8")),
        ),
    ],
)
def test_an_option_of_a_version(version: str, command: str, name: str, option: Option) -> None:
    assert options(version, command)[name] == option


def test_the_properties_of_an_option() -> None:
    build = options("1.2.1", "build")
    assert build["max_seq_len"].flag == "--max_seq_len"
    assert build["multiple_profiles"].toggle
    assert not build["gemm_plugin"].toggle
    assert not build["strip_plan"].toggle


@pytest.mark.parametrize(
    ("older", "newer", "gone", "new"),
    [
        ("0.12.0", "0.13.0", set(), {"kv_cache_type", "low_latency_gemm_plugin"}),
        ("0.13.0", "0.14.0", {"builder_opt"}, set()),
        (
            "0.14.0",
            "0.17.0",
            {"builder_force_num_profiles", "lookup_plugin", "enable_xqa"},
            {"monitor_memory", "low_latency_gemm_swiglu_plugin", "user_buffer", "pp_reduce_scatter"},
        ),
        (
            "0.17.0",
            "1.2.1",
            {"auto_parallel", "gpus_per_node", "cluster_key"},
            {"dora_plugin", "gemm_allreduce_plugin", "norm_quant_fusion", "fuse_fp4_quant"},
        ),
    ],
)
def test_what_came_and_went(older: str, newer: str, gone: set[str], new: set[str]) -> None:
    before, after = set(options(older, "build")), set(options(newer, "build"))
    assert (before - after, after - before) == (gone, new)


def test_a_version_between_two_tables_has_what_both_have() -> None:
    older, newer, between = (options(v, "build") for v in ("0.17.0", "1.2.1", "0.20.0"))
    # A switch in the one and a folder in the other is neither here.
    assert set(between) == (set(older) & set(newer)) - {"visualize_network"}
    assert "nvfp4" in newer["gemm_plugin"].choices
    assert between["gemm_plugin"].choices == older["gemm_plugin"].choices
    assert between["speculative_decoding_mode"].choices == newer["speculative_decoding_mode"].choices
    assert {name for name, option in between.items() if not option.settled} == {
        "gemm_plugin",
        "tokens_per_block",
        "use_fp8_context_fmha",
        "use_paged_context_fmha",
    }


def test_choices_that_one_neighbour_alone_lists() -> None:
    assert options("0.15.0", "build")["log_level"].choices == options("0.14.0", "build")["log_level"].choices
    assert "eagle" not in options("0.15.0", "build")["speculative_decoding_mode"].choices


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("1.2.2", "build"),
        ("1.3.0rc22", "build"),
        ("1.3.0rc22", "quantize"),
        ("1.3.0rc22", "convert_llama"),
        ("1.2.1", "convert_mixtral"),
        ("1.1.0", "convert_gemma"),
        ("0.15.0", "serve"),
        ("0.12.0", "serve"),
    ],
)
def test_a_command_that_a_version_is_not_known_to_have(version: str, command: str) -> None:
    with pytest.raises(KeyError):
        options(version, command)


def test_a_table_alone() -> None:
    assert "max_output_len" in table("0.11.0", "build")
    with pytest.raises(KeyError):
        table("0.11.0", "serve")


def test_the_versions_that_have_an_option() -> None:
    assert holders("build", "builder_opt") == ("0.12.0", "0.13.0")
    assert holders("build", "max_output_len") == ()
    assert holders("serve", "reasoning_parser")[0] == "1.2.0"


def test_every_default_is_one_that_can_be_given() -> None:
    for version, known in releases().items():
        for command in ("build", "quantize", "serve", "convert_llama"):
            if command != "serve" and "engine" not in known.modes:
                continue
            if command == "serve" and version in ("0.12.0", "0.13.0", "0.14.0", "0.15.0"):
                continue
            for option in options(version, command).values():
                assert not option.choices or option.default in (None, *option.choices), option
                assert option.flags, option


def test_keys_of_the_yaml() -> None:
    known = keys("1.2.1")
    assert keys("1.3.0rc22") == known
    assert known["max_num_tokens"] == Key("max_num_tokens", ("int",), nullable=True, default=8192)
    assert known["cuda_graph_config"].nullable
    (inner,) = known["kv_cache_config"].sections.values()
    assert inner["free_gpu_memory_fraction"] == Key(
        "free_gpu_memory_fraction", ("float",), nullable=True, default=0.9
    )
    (scheduler,) = known["scheduler_config"].sections.values()
    assert list(scheduler["dynamic_batch_config"].sections) == ["DynamicBatchConfig"]


@pytest.mark.parametrize("version", ["0.21.0", "1.2.2"])
def test_a_version_without_a_yaml(version: str) -> None:
    with pytest.raises(KeyError):
        keys(version)


def test_every_section_with_alternatives_has_a_key_that_chooses() -> None:
    known = keys("1.2.1")
    several = {name: set(key.sections) for name, key in known.items() if len(key.sections) > 1}
    assert several == {name: set(classes.values()) for name, (_, classes) in CHOOSERS.items()}
