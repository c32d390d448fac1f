"""`enginebuild check` of a model in a folder: its architecture is known before anything is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enginebuild.check import check_folder, read_checked
from enginebuild.errors import RefusedError, SourceError
from enginebuild.recipe import Recipe


def recipe(folder: Path, config: str | None, mode: str = "engine") -> Recipe:
    (folder / "model").mkdir()
    if config is not None:
        (folder / "model/config.json").write_text(config)
    path = folder / "tiny.yaml"
    build = "build: {max_batch_size: 8}, " if mode == "engine" else ""
    path.write_text(
        "version: 1\nname: tiny\nmodel: file:./model\ngpu: L4\n"
        f"engine: {{type: tensorrt_llm, version: 1.2.1, mode: {mode}, {build}runtime: {{}}}}\n"
        "image: {base: nvcr.io/nvidia/tensorrt-llm/release:1.2.1}\n"
    )
    return read_checked(path)


def architecture(name: str) -> str:
    return json.dumps({"architectures": [name], "torch_dtype": "bfloat16"})


def test_an_architecture_with_a_script_is_fine(tmp_path: Path) -> None:
    check_folder(recipe(tmp_path, architecture("LlamaForCausalLM")))


def test_an_architecture_of_which_no_engine_is_made(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        check_folder(recipe(tmp_path, architecture("DeepseekV3ForCausalLM")))
    assert caught.value.message.splitlines() == [
        f"{tmp_path}/tiny.yaml:3:8: TensorRT-LLM has no engine for DeepSeek-V3, in any version",
        "  model: file:./model",
        "         ^",
        "  hint: engine.mode: pytorch loads Hugging Face checkpoints as they are (from TensorRT-LLM 1.0 on)",
    ]


def test_pytorch_mode_asks_for_no_script(tmp_path: Path) -> None:
    check_folder(recipe(tmp_path, architecture("DeepseekV3ForCausalLM"), "pytorch"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "file:./model has no config.json"),
        (
            "{",
            (
                "file:./model: config.json cannot be read: Expecting property name enclosed in "
                "double quotes: line 1 column 2 (char 1)"
            ),
        ),
        ("[]", "file:./model: config.json is not a JSON object"),
    ],
)
def test_a_config_that_tells_nothing(tmp_path: Path, config: str | None, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        check_folder(recipe(tmp_path, config))
    assert caught.value.message == message
