"""Commands that cannot be understood: every mistake at once, each message whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enginebuild.errors import RecipeError
from enginebuild.importing.sources import Request, imported
from enginebuild.importing.vllm_recipe import Choice
from parts.imports import GIVEN

_HEAD = "the command cannot be understood: "
_MOE = str(GIVEN / "moe.yaml")

COMMANDS: dict[str, str] = {
    "": _HEAD + "it is empty",
    "vlm serve a/b": _HEAD + "'vlm' is no program that enginebuild knows; did you mean vllm?",
    "ls -l": _HEAD
    + "'ls' is no program that enginebuild knows; known are vllm serve, trtllm-build and trtllm-serve",
    "vllm bench latency": _HEAD + "'vllm bench' serves nothing: a recipe is made of vllm serve",
    "vllm": _HEAD + "'vllm' serves nothing: a recipe is made of vllm serve",
    "docker run -it --gpus all": _HEAD + "docker run names no image",
    "vllm serve": _HEAD + "it names no model",
    "vllm serve 'a/b": _HEAD + "a quote in it does not end (No closing quotation)",
    "vllm serve a/b && trtllm-serve c/d": _HEAD
    + "it starts 2 programs, vllm serve and trtllm-serve: give one at a time",
    "vllm serve a/b -tp $N": _HEAD
    + "$N is a variable whose value is not in the command: write N=… before it",
    "vllm serve a/b --seed `date`": _HEAD
    + "'`date`' is what another command prints: write that in its place",
    "vllm serve a/b --seed $(date)": _HEAD + "'$' is what another command prints: write that in its place",
    "vllm serve a/b c/d": _HEAD + "'c/d' is neither an option nor its value",
    "vllm serve a/b --max-num-seqs": _HEAD + "--max-num-seqs is followed by no value",
    "vllm serve a/b --enforce-eager=maybe": _HEAD + "--enforce-eager takes no value, and has 'maybe'",
    "vllm serve a/b --seed.x 1": _HEAD + "--seed.x: --seed takes no mapping",
    "vllm serve a/b --max-model-len 1.5K": _HEAD
    + "--max-model-len takes a whole number, text such as 8k (8000) or 8K (8192), or auto, not '1.5K'",
    "vllm serve s3://bucket/model": _HEAD
    + "the model must be hf://org/name or file:./folder, not 's3://bucket/model'; s3:// is no source of this "
    "version: fetch the folder first and write file:./folder",
    "vllm serve a/b --revision 'x y'": _HEAD + "--revision must be a branch, a tag or a commit, not 'x y'",
    "vllm serve gpt2 --foo --max-seq 1 --max-num-seqs many --hf-overrides '{a' --gpu-memory-utilization x": (
        "the command cannot be understood:\n"
        "  vLLM 0.33.0 has no option '--foo'\n"
        "  vLLM 0.33.0 has no option '--max-seq'; did you mean --max-num-seqs?\n"
        "  --max-num-seqs takes a whole number, not 'many'\n"
        "  --hf-overrides takes text or a mapping as JSON, not '{a'\n"
        "  --gpu-memory-utilization takes a number, not 'x'\n"
        "  the model must name a model as hf://org/name, not 'hf://gpt2'; both parts are needed, such as "
        "hf://openai-community/gpt2"
    ),
    "trtllm-build --checkpoint_dir x y --use_paged_context_fmha --max_batch_size z --frob 1": (
        "the command cannot be understood:\n"
        "  --use_paged_context_fmha needs a value: enable or disable\n"
        "  --max_batch_size takes a whole number, not 'z'\n"
        "  trtllm-build has no option '--frob' in any version that is known\n"
        "  'y': trtllm-build takes options alone"
    ),
    "quantize.py --qformat fp8": (
        "these do not go together: give one trtllm-build, and what made its checkpoint"
    ),
    "trtllm-serve --tp_size 2 --backend _autodeploy": (
        "the command cannot be understood:\n"
        "  it names no model\n"
        "  --backend _autodeploy is a prototype, for which nothing is built"
    ),
    "x.yaml": (
        "no command to import: 'x.yaml' is a file; for one of vLLM's own recipes write vllm-recipe x.yaml; "
        "for another engine add --engine"
    ),
    "vllm-recipes": "no command to import: 'vllm-recipes' is no command; did you mean vllm-recipe?",
}


def _refused(request: Request) -> str:
    with pytest.raises(RecipeError) as caught:
        imported(request)
    return caught.value.message


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_refused(command: str) -> None:
    assert _refused(Request([command])) == COMMANDS[command]


REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no version": (
        {"words": ["vllm serve a/b"], "version": "0.1.0"},
        (
            "--version cannot be used: vLLM 0.1.0 is not a version that enginebuild knows; "
            "supported versions: "
            "0.32.0, 0.33.0"
        ),
    ),
    "a version without engines": (
        {"words": ["trtllm-build"], "version": "1.4.0rc1"},
        "--version cannot be used: TensorRT-LLM 1.4.0rc1 has no mode engine; 1.3.0rc20 was the last with it",
    ),
    "a version without the PyTorch backend": (
        {"words": ["trtllm-serve a/b"], "version": "0.20.0"},
        "--version cannot be used: TensorRT-LLM 0.20.0 has no mode pytorch; it came with 1.0.0",
    ),
    "a family for a GPU": (
        {"words": ["vllm serve a/b"], "gpu": "H100"},
        (
            "--gpu cannot be used: 'H100' is no GPU of the catalogue; write H100-PCIe-80GB "
            "or H100-SXM-80GB or "
            "H100-NVL-94GB"
        ),
    ),
    "a name": (
        {"words": ["vllm serve a/b"], "name": "A b"},
        (
            "--name cannot be used: it must be lower-case letters, digits, '.', '_' and '-', "
            "128 at most, not "
            "'A b'; write a-b"
        ),
    ),
    "no recipe to switch": (
        {"words": [], "engine": "vllm"},
        "nothing to import: name one recipe beside --engine",
    ),
    "a recipe for the same engine": (
        {"words": [str(GIVEN / "for-vllm.yaml")], "engine": "vllm"},
        f"{GIVEN / 'for-vllm.yaml'} cannot be switched: its engine is vLLM already",
    ),
    "a mode that the version has not": (
        {"words": [str(GIVEN / "for-vllm.yaml")], "engine": "tensorrt_llm", "version": "0.20.0"},
        "--version cannot be used: TensorRT-LLM 0.20.0 has no mode pytorch",
    ),
    "two files": ({"words": ["vllm-recipe", "a", "b"]}, "nothing to import: name one file after vllm-recipe"),
    "no file": (
        {"words": ["vllm-recipe", "/nowhere.yaml"]},
        "/nowhere.yaml: cannot be read: No such file or directory",
    ),
    "no recipe of vLLM": (
        {"words": ["vllm-recipe", str(GIVEN / "extra.yaml")]},
        f"{GIVEN / 'extra.yaml'} is no recipe of vLLM: it has no model.model_id",
    ),
    "a variant": (
        {"words": ["vllm-recipe", _MOE], "choice": Choice("awq")},
        "--variant: the recipe has no variant 'awq'; it has default, nvfp4",
    ),
    "features": (
        {"words": ["vllm-recipe", _MOE], "choice": Choice(features=("x", "spec_decoding=y", "reasoning=z"))},
        (
            "--feature:\n"
            "  the recipe has no feature 'x'; it has tool_calling, reasoning, spec_decoding, long_context\n"
            "  the feature reasoning has no modes\n"
            "  the feature spec_decoding has no mode 'y'; it has mtp, eagle"
        ),
    ),
    "another vendor's GPU": (
        {"words": ["vllm-recipe", _MOE], "choice": Choice(hardware="mi300x")},
        (
            "--hardware: 'mi300x' is no NVIDIA GPU that enginebuild knows; known are a100, "
            "l4, l40s, h100, h200, "
            "h20, gh200, b200, b300, gb200, gb300, rtx_5090, rtx_pro_6000"
        ),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_refused(name: str) -> None:
    fields, message = REQUESTS[name]
    assert _refused(Request(**fields)) == message


def test_a_recipe_for_vllm_omni_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    path.write_text("model: {model_id: a/b}\nomni: {tasks: [t2i]}\n")
    message = f"{path} cannot be imported: it is for vllm-omni, and enginebuild builds for vLLM"
    assert _refused(Request(["vllm-recipe", str(path)])) == message
