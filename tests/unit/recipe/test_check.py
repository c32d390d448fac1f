"""An engine's part of a recipe is held against that engine's tables, and shown with the other mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.check import read_checked, warnings_of
from enginebuild.engines.vllm import VERSIONS
from enginebuild.errors import RecipeError


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "r.yaml"
    path.write_text(f"version: 1\nname: Tiny\nmodel: hf://org/tiny\n{text}")
    with pytest.raises(RecipeError) as caught:
        read_checked(path)
    return caught.value.message.replace(f"{tmp_path}/", "")


NAME = (
    "r.yaml:2:7: name must be lower-case letters, digits, '.', '_' and '-', 128 at most, not 'Tiny'\n"
    "  name: Tiny\n"
    "        ^\n"
    "  hint: write tiny\n\n"
)


def test_arguments_of_vllm(tmp_path: Path) -> None:
    text = "engine: {type: vllm, version: 0.33.0, args: {sed: 1}}\nimage: {base: scratch}\n"
    assert refusal(tmp_path, text) == (
        f"{NAME}r.yaml:4:46: vLLM 0.33.0 has no argument 'sed'\n"
        "  engine: {type: vllm, version: 0.33.0, args: {sed: 1}}\n"
        "                                               ^\n"
        "  hint: did you mean seed?\n\n"
        "2 mistakes"
    )


def test_options_of_tensorrt_llm(tmp_path: Path) -> None:
    text = (
        "gpu: L4\nengine: {type: tensorrt_llm, version: 1.2.1, build: {gemm_plugn: auto}}\n"
        "image: {base: scratch}\n"
    )
    assert refusal(tmp_path, text) == (
        f"{NAME}r.yaml:5:54: trtllm-build of TensorRT-LLM 1.2.1 has no option 'gemm_plugn'\n"
        "  engine: {type: tensorrt_llm, version: 1.2.1, build: {gemm_plugn: auto}}\n"
        "                                                       ^\n"
        "  hint: did you mean gemm_plugin?\n\n"
        "2 mistakes"
    )


def test_a_version_is_checked_beside_arguments_that_are_no_mapping(tmp_path: Path) -> None:
    text = "engine: {type: vllm, version: 0.1.0, args: [seed]}\nimage: {base: scratch}\n"
    assert refusal(tmp_path, text) == (
        f"{NAME}r.yaml:4:31: vLLM 0.1.0 is not a version that enginebuild knows\n"
        "  engine: {type: vllm, version: 0.1.0, args: [seed]}\n"
        "                                ^\n"
        f"  hint: supported versions: {', '.join(VERSIONS)}\n\n"
        "r.yaml:4:44: engine.args must be a mapping of arguments to values, not a list\n"
        "  engine: {type: vllm, version: 0.1.0, args: [seed]}\n"
        "                                             ^\n"
        "  hint: write argument: value pairs, one per line, or leave the key out\n\n"
        "3 mistakes"
    )


def test_a_quantization_that_the_gpu_does_not_serve(tmp_path: Path) -> None:
    text = (
        "gpu: B200-SXM-180GB\nquantization: w8a8_int8\nengine: {type: vllm, version: 0.33.0}\n"
        "image: {base: scratch}\n"
    )
    assert refusal(tmp_path, text) == (
        f"{NAME}r.yaml:5:1: vLLM has no w8a8_int8 for compute capability 10.0 and above, and the GPU has "
        "10.0; take fp8_per_channel_per_token\n"
        "  quantization: w8a8_int8\n"
        "  ^\n\n"
        "2 mistakes"
    )


def test_texts_are_a_choice_where_the_tool_does_without(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    texts = "calibration: {dataset: file:./texts}"
    for more in ("method: w8a8_int8", f"method: w8a8_int8, {texts}", "method: fp8_per_channel_per_token"):
        path.write_text(
            f"version: 1\nname: tiny\nmodel: hf://org/tiny\nquantization: {{{more}}}\n"
            "engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n"
        )
        assert read_checked(path).quantization is not None


@pytest.mark.parametrize(("gpu", "warned"), [("A100-SXM-80GB", True), ("H100-SXM-80GB", False)])
def test_a_quantization_that_saves_memory_and_no_time(tmp_path: Path, gpu: str, warned: bool) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        f"version: 1\nname: tiny\nmodel: hf://org/tiny\ngpu: {gpu}\n"
        "quantization: fp8_per_channel_per_token\n"
        "engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n"
    )
    text = (
        "fp8_per_channel_per_token on compute capability 8.0 saves memory and no time: weights are unpacked "
        "to 16 bits before they are multiplied; 8.9 and above compute in it"
    )
    assert warnings_of(read_checked(path)) == ((text,) if warned else ())
