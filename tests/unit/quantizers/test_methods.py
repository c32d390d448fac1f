"""What the programs are asked, how they are started, and what the step's key holds."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from enginebuild.quantizers.forms import FORMS, TOOLS, ToolName
from enginebuild.quantizers.methods import command, key_fields, request, scripts
from enginebuild.recipe.methods import METHODS, SUPPORTED
from parts.checkout import ROOT
from parts.quantized import EVERY, Texts, Wanted

GPTQ = Wanted("w4a16_gptq", "llm-compressor", group_size=64, calibration=Texts())


def test_a_request_says_everything_that_the_program_needs() -> None:
    assert request(GPTQ, threads=2) == {
        "method": "w4a16_gptq",
        "scheme": "W4A16",
        "algorithm": "gptq",
        "group_size": 64,
        "adjustable": True,
        "exclude_modules": ["lm_head"],
        "never_quantized": [
            "*.mlp.gate",
            "*.block_sparse_moe.gate",
            "*.shared_expert_gate",
            "*router*",
            "*embed_vision*",
            "*vision_tower*",
            "*visual*",
            "*vision_model*",
            "*multi_modal_projector*",
        ],
        "kv_cache_dtype": None,
        "calibration": {
            "folder": "/enginebuild/input/calibration",
            "num_samples": 32,
            "max_seq_length": 64,
            "batch_size": 1,
            "seed": 1234,
        },
        "threads": 2,
        "versions": {"llmcompressor": "0.14.0.1", "compressed-tensors": "0.19.0", "transformers": "5.17.0"},
        "input": "/enginebuild/input/fetch",
        "output": "/enginebuild/output",
    }


def test_group_sizes_that_a_format_fixes_are_in_the_request_too() -> None:
    assert request(Wanted("mxfp4", "llm-compressor"))["group_size"] == 32
    assert request(Wanted("w4a16", "llm-compressor"))["group_size"] == 128
    assert request(Wanted("w8a8_int8", "llm-compressor"))["group_size"] is None


def test_programs_are_started_with_their_folders() -> None:
    assert command("llm-compressor", calibrated=False) == (
        "python3",
        "/enginebuild/scripts/llm_compressor_ptq.py",
        "/enginebuild/scripts/request.json",
        "--input",
        "/enginebuild/input/fetch",
        "--output",
        "/enginebuild/output",
    )
    assert command("modelopt", calibrated=True)[1:2] == ("/enginebuild/scripts/modelopt_ptq.py",)
    assert command("modelopt", calibrated=True)[-2:] == ("--calibration", "/enginebuild/input/calibration")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_program_brings_every_module_of_ours_that_it_imports(tool: ToolName) -> None:
    laid = scripts(tool, request(Wanted("fp8_per_channel_per_token", tool)))
    named = {
        name
        for content in laid.values()
        for name in re.findall(r'"(staging|calibration|layers)"', content.decode())
    }
    assert {f"{name}.py" for name in named} | {TOOLS[tool].script, "request.json"} == set(laid)
    assert json.loads(laid["request.json"])["method"] == "fp8_per_channel_per_token"


@pytest.mark.parametrize("name", ["calibration.py", "layers.py"])
def test_what_is_laid_beside_the_programs_needs_the_standard_library_alone(name: str) -> None:
    tree = ast.parse((files("enginebuild.quantizers") / name).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [module for module in modules if str(module).startswith("enginebuild")] == []


@pytest.mark.parametrize(
    "changed",
    [
        replace(GPTQ, method="w4a16_awq"),
        replace(GPTQ, tool="modelopt", method="w4a16_awq"),
        replace(GPTQ, group_size=32),
        replace(GPTQ, kv_cache_dtype="fp8"),
        replace(GPTQ, exclude_modules=()),
        replace(GPTQ, calibration=replace(Texts(), seed=1)),
        replace(GPTQ, calibration=replace(Texts(), num_samples=64)),
        replace(GPTQ, calibration=replace(Texts(), max_seq_length=128)),
        replace(GPTQ, calibration=replace(Texts(), batch_size=2)),
    ],
)
def test_what_decides_the_result_is_in_the_key(changed: Wanted) -> None:
    assert key_fields(changed) != key_fields(GPTQ)


def test_threads_and_programs_are_in_the_key() -> None:
    assert key_fields(GPTQ, threads=2) != key_fields(GPTQ, threads=4)
    fields = key_fields(GPTQ)
    assert set(fields) == {"tool", "request", "scripts"}
    assert isinstance(fields["scripts"], dict)
    assert sorted(fields["scripts"]) == [
        "calibration.py",
        "layers.py",
        "llm_compressor_ptq.py",
        "staging.py",
    ]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_locked_environment_is_what_the_key_says(tool: ToolName) -> None:
    text = (ROOT / "images" / "builders" / tool / "requirements.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))
    assert {name: locked[name] for name in TOOLS[tool].versions} == TOOLS[tool].versions
    assert len(locked) == len([line for line in text.splitlines() if not line.startswith("#")])


def test_what_a_recipe_may_ask_for_is_what_the_tools_make() -> None:
    for tools in SUPPORTED.values():
        for tool, made in tools.items():
            if tool != "quantize.py":
                assert set(made.methods) <= set(FORMS[tool])  # type: ignore[index] # any str
                assert set(made.kv_cache_dtypes) <= set(TOOLS[tool].kv_cache_dtypes)  # type: ignore[index] # any str


@pytest.mark.parametrize(("tool", "method"), EVERY)
def test_recipes_and_tools_agree_on_who_needs_texts_and_has_groups(tool: ToolName, method: str) -> None:
    form = FORMS[tool][method]
    assert METHODS[method].groups == form.adjustable
    if form.calibrates != "optionally":
        assert METHODS[method].calibrated == (form.calibrates == "always")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_program_refuses_an_environment_without_the_tool(tool: ToolName, tmp_path: Path) -> None:
    for name, content in scripts(tool, request(Wanted("fp8_per_channel_per_token", tool))).items():
        (tmp_path / name).write_bytes(content)
    words: list[str | Path] = [sys.executable, "-P", tmp_path / TOOLS[tool].script, tmp_path / "request.json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    package = min(TOOLS[tool].versions)
    assert (ended.returncode, ended.stderr) == (
        1,
        f"this environment has no {package}: builder.image or builder.environment must have it\n",
    )
