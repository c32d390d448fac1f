"""Both quantizers for real, on the CPU, each in its locked environment: a tiny Llama in many forms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from enginebuild.errors import StepError
from enginebuild.quantizers import methods, took_effect
from enginebuild.quantizers.forms import TOOLS, Tool, ToolName
from parts.quantized import Texts, Wanted
from parts.quantizers import Made, quantize, write_texts
from parts.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.slow

LAYERS = 14  # of the tiny Llama: 2 times 4 of attention and 3 of the MLP

DYNAMIC = Wanted("fp8_per_channel_per_token", "llm-compressor")
GPTQ = Wanted("w4a16_gptq", "llm-compressor", group_size=64, calibration=Texts(num_samples=8))
MODELOPT = Wanted("fp8_per_channel_per_token", "modelopt")
NVFP4 = Wanted("nvfp4", "modelopt", kv_cache_dtype="fp8", calibration=Texts(num_samples=8))
TWICE = (DYNAMIC, GPTQ, MODELOPT, NVFP4)
ONCE = (
    Wanted("w8a8_int8", "llm-compressor"),
    Wanted("w4a16", "llm-compressor"),
    Wanted("mxfp4", "llm-compressor", exclude_modules=("lm_head", "model.layers.0.*", "*.down_proj")),
    Wanted("fp8_block_scales", "modelopt", exclude_modules=("lm_head", "model.layers.0.*", "*.down_proj")),
)

Quantize = Callable[[Wanted, str], Made]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_llama(folder, width=4)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts") / "calibration"
    write_texts(folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, model: Path, texts: Path) -> Quantize:
    """Quantizes once for each request and name of a run."""
    known: dict[tuple[Wanted, str], Made] = {}

    def run(wanted: Wanted, name: str = "first") -> Made:
        if (wanted, name) not in known:
            folder = tmp_path_factory.mktemp("run")
            known[wanted, name] = quantize(wanted, model, texts, folder, [])
        return known[wanted, name]

    return run


def _name(wanted: Wanted) -> str:
    return f"{wanted.tool}-{wanted.method}"


@pytest.mark.parametrize("wanted", TWICE, ids=_name)
def test_twice_the_same_bytes_in_every_file(made: Quantize, model: Path, wanted: Wanted) -> None:
    first = made(wanted, "first")
    assert len(first.effect.quantized) == LAYERS
    assert made(wanted, "second").digests() == first.digests()
    config = json.loads((first.folder / "config.json").read_text())
    original = json.loads((model / "config.json").read_text())
    assert {name: config[name] for name in original} == original
    assert set(config) - set(original) == {"quantization_config"}


@pytest.mark.parametrize("wanted", ONCE, ids=_name)
def test_exclusions_are_kept(made: Quantize, wanted: Wanted) -> None:
    effect = made(wanted, "first").effect
    left = 7 + 1 if wanted.exclude_modules else 0
    assert (len(effect.quantized), len(effect.left)) == (LAYERS - left, left)
    assert effect.bytes_after < effect.bytes_before * 0.85


@pytest.mark.parametrize("wanted", [DYNAMIC, GPTQ, MODELOPT], ids=_name)
def test_the_folder_holds_what_an_engine_needs_and_nothing_of_this_machine(
    made: Quantize, model: Path, wanted: Wanted
) -> None:
    folder = made(wanted, "first").folder
    files = {path.name for path in folder.iterdir()}
    extra = {"hf_quant_config.json"} if wanted.tool == "modelopt" else {"model.safetensors.index.json"}
    assert files - extra == {path.name for path in model.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (model / name).read_bytes()
    text = "".join((folder / name).read_text() for name in files if name.endswith("config.json"))
    assert str(folder.parent) not in text
    assert str(model) not in text


def _in_two_files(model: Path, folder: Path) -> None:
    """The same model as large ones come: two files and an index; q_proj apart from k_proj and v_proj."""
    shutil.copytree(model, folder)
    whole = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    header = {name: entry for name, entry in json.loads(whole[8:start]).items() if name != "__metadata__"}
    (folder / "model.safetensors").unlink()
    index: dict[str, str] = {}
    for number in (1, 2):
        name, part, body = f"model-0000{number}-of-00002.safetensors", {}, b""
        for tensor, entry in header.items():
            if ("q_proj" in tensor) == (number == 1):
                begin, end = entry["data_offsets"]
                part[tensor] = {**entry, "data_offsets": [len(body), len(body) + end - begin]}
                body += whole[start + begin : start + end]
                index[tensor] = name
        text = json.dumps(part).encode()
        (folder / name).write_bytes(len(text).to_bytes(8, "little") + text + body)
    document = {"metadata": {"total_size": len(whole) - start}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document))


@pytest.mark.parametrize("wanted", [DYNAMIC, ONCE[2]], ids=_name)
def test_a_model_in_several_files_stays_in_several_files(
    made: Quantize, model: Path, texts: Path, tmp_path: Path, wanted: Wanted
) -> None:
    _in_two_files(model, tmp_path / "model")
    parted = quantize(wanted, tmp_path / "model", texts, tmp_path / "run", [])
    index = json.loads((parted.folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(took_effect.tensors_of(parted.folder))
    assert {path.name for path in parted.folder.glob("*.safetensors")} == set(index["weight_map"].values())
    assert took_effect.summary(parted.folder) == took_effect.summary(made(wanted, "first").folder)


def test_a_broken_result_is_refused_with_the_layers(made: Quantize, model: Path, tmp_path: Path) -> None:
    asked = methods.request(DYNAMIC)
    broken = tmp_path / "broken"
    shutil.copytree(made(DYNAMIC, "first").folder, broken)
    shutil.copy(model / "model.safetensors", broken)
    with pytest.raises(StepError) as raised:
        took_effect.check(model, broken, "llm-compressor", asked)
    assert raised.value.message == (
        "the quantization took no effect: none of 14 layers has a weight of F8_E4M3, such as "
        "model.layers.0.mlp.down_proj"
    )


#: What is asked, and the program's last line.
REFUSED = {
    "width": (
        replace(GPTQ, group_size=96),
        (
            "14 of 14 layers have a width (256, 512) that is no multiple of the group size 96, such as "
            "model.layers.0.mlp.down_proj: set quantization.group_size to 128, or leave them out with "
            'exclude_modules: ["*.down_proj", "*.gate_proj", "*.k_proj", "*.o_proj", "*.q_proj", '
            '"*.up_proj", "*.v_proj"]'
        ),
    ),
    "exclusion": (
        replace(MODELOPT, exclude_modules=("lm_head", "layers.0")),
        (
            "quantization.exclude_modules: 'layers.0' is no module of the model (full names, with * for any "
            "text, such as model.layers.0.*)"
        ),
    ),
    "nothing left": (
        replace(DYNAMIC, exclude_modules=("*",)),
        "nothing is left to quantize: every linear layer is excluded",
    ),
    "too few texts": (
        replace(GPTQ, calibration=Texts(num_samples=512)),
        (
            "the calibration data have 32 samples, quantization.calibration.num_samples is 512: add samples, "
            "or set num_samples to 32"
        ),
    ),
}


def _refusal(wanted: Wanted, model: Path, texts: Path, folder: Path) -> str:
    """The last line of a program that refuses."""
    log: list[str] = []
    with pytest.raises(StepError):
        quantize(wanted, model, texts, folder, log)
    return log[-1]


@pytest.mark.parametrize(("wanted", "line"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_the_last_line(
    model: Path, texts: Path, tmp_path: Path, wanted: Wanted, line: str
) -> None:
    assert _refusal(wanted, model, texts, tmp_path / "run") == line


@pytest.mark.parametrize("tool", TOOLS)
def test_a_quantized_model_is_not_quantized_again(
    made: Quantize, texts: Path, tmp_path: Path, tool: ToolName
) -> None:
    folder = made(DYNAMIC, "first").folder
    assert _refusal(replace(DYNAMIC, tool=tool), folder, texts, tmp_path / "run") == (
        "the model is quantized already (compressed-tensors): quantize its original, or say none"
    )


def test_another_version_than_the_steps_is_refused(
    model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(TOOLS["modelopt"], versions={"nvidia-modelopt": "0.46.0"})
    monkeypatch.setitem(cast("dict[ToolName, Tool]", TOOLS), "modelopt", other)
    assert _refusal(MODELOPT, model, texts, tmp_path / "run") == (
        "this environment has nvidia-modelopt 0.47.0, the step is keyed on 0.46.0: "
        "install the locked requirements"
    )
