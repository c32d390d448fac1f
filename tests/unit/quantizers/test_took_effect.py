"""A quantization that did nothing, half of it, or something else is told from headers and configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from enginebuild.errors import Exit, StepError
from enginebuild.quantizers.forms import FORMS, ToolName
from enginebuild.quantizers.methods import request
from enginebuild.quantizers.took_effect import check, summary
from enginebuild_cache import Json
from parts.quantized import (
    EVERY,
    LAYERS,
    Shape,
    Texts,
    Wanted,
    configuration,
    plain,
    quantized,
    write_plain,
    write_quantized,
    write_tensors,
)

HINT = "the step's log says what the quantizer did; nothing of this output was kept"
FP8 = FORMS["llm-compressor"]["fp8_per_channel_per_token"]
W4 = FORMS["llm-compressor"]["w4a16"]
DYNAMIC = Wanted("fp8_per_channel_per_token", "llm-compressor")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_plain(tmp_path / "source")
    return tmp_path / "source"


@pytest.mark.parametrize(("tool", "method"), EVERY)
def test_every_form_of_every_tool_is_recognised(source: Path, tool: ToolName, method: str) -> None:
    wanted = Wanted(method, tool, calibration=Texts())
    form, asked = FORMS[tool][method], request(wanted)
    output = source.with_name("output")
    write_quantized(output, quantized(form, form.group), configuration(tool, form), tool)
    effect = check(source, output, tool, asked)
    assert effect.quantized == tuple(sorted(layer.name for layer in LAYERS))
    assert effect.left == ("lm_head",)
    assert effect.to_json()["quantized_layers"] == 6
    assert effect.bytes_after < effect.bytes_before


def test_another_group_size_than_the_usual(source: Path) -> None:
    output = source.with_name("output")
    write_quantized(output, quantized(W4, 64), configuration("llm-compressor", W4), "llm-compressor")
    asked = request(Wanted("w4a16", "llm-compressor", group_size=64))
    assert check(source, output, "llm-compressor", asked).left == ("lm_head",)
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", request(Wanted("w4a16", "llm-compressor")))
    found = " and 1 more"
    names = ", ".join(f"{layer.name} (512 instead of 256)" for layer in sorted(LAYERS, key=str)[:5])
    assert (
        raised.value.message == f"6 layers have another number of scales than one per group: {names}{found}"
    )


def _dropped(*endings: str) -> Callable[[dict[str, Shape]], None]:
    def change(tensors: dict[str, Shape]) -> None:
        for name in [name for name in tensors if name.endswith(endings)]:
            del tensors[name]

    return change


def _replaced(**tensors: Shape) -> Callable[[dict[str, Shape]], None]:
    return lambda found: found.update({name.replace("__", "."): shape for name, shape in tensors.items()})


def _undone(tensors: dict[str, Shape]) -> None:
    tensors.clear()
    tensors.update(plain())


@dataclass(frozen=True)
class Fault:
    """Something wrong with an FP8 checkpoint, and what is said of it."""

    message: str
    change: Callable[[dict[str, Shape]], None] = lambda _: None
    said: Mapping[str, Json] | None = field(default_factory=dict)
    wanted: Wanted = DYNAMIC


FAULTS = {
    "no-op": Fault(
        "the quantization took no effect: none of 6 layers has a weight of F8_E4M3, such as "
        "model.layers.0.mlp.down_proj",
        _undone,
    ),
    "half": Fault(
        "2 of 6 layers are not quantized: model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj",
        lambda tensors: tensors.update(
            {f"model.layers.{number}.self_attn.q_proj.weight": ("BF16", (128, 256)) for number in range(2)}
        ),
    ),
    "another dtype in one layer": Fault(
        "1 of 6 layers are not quantized: model.layers.1.mlp.up_proj",
        _replaced(model__layers__1__mlp__up_proj__weight=("I8", (128, 256))),
    ),
    "a layer of another size": Fault(
        "1 of 6 layers are not quantized: model.layers.1.mlp.up_proj",
        _replaced(model__layers__1__mlp__up_proj__weight=("F8_E4M3", (128, 128))),
    ),
    "no scales": Fault(
        "2 layers have no weight_scale: model.layers.0.mlp.up_proj, model.layers.1.mlp.up_proj",
        _dropped("up_proj.weight_scale"),
    ),
    "scales of another form": Fault(
        "1 layers have another number of scales than one per channel: "
        "model.layers.1.mlp.up_proj (1 instead of 128)",
        _replaced(model__layers__1__mlp__up_proj__weight_scale=("F32", (1,))),
    ),
    "no configuration": Fault(
        "config.json has no quantization_config: an engine would take the weights for plain ones", said=None
    ),
    "another scheme": Fault(
        "quantization_config says scheme int-quantized, asked for was float-quantized",
        said={"format": "int-quantized"},
    ),
    "another tool's": Fault(
        "quantization_config says quant_method fbgemm_fp8, asked for was compressed-tensors",
        said={"quant_method": "fbgemm_fp8"},
    ),
    "a KV cache that nobody asked for": Fault(
        "quantization_config says kv_cache_dtype fp8, asked for was none",
        said={"kv_cache_scheme": {"num_bits": 8}},
    ),
    "a KV cache that was forgotten": Fault(
        "quantization_config says kv_cache_dtype none, asked for was fp8",
        wanted=Wanted("fp8_per_channel_per_token", "llm-compressor", kv_cache_dtype="fp8"),
    ),
    "excluded and quantized": Fault(
        "3 layers are quantized although excluded: model.layers.1.mlp.down_proj, model.layers.1.mlp.up_proj, "
        "model.layers.1.self_attn.q_proj",
        wanted=Wanted(
            "fp8_per_channel_per_token", "llm-compressor", exclude_modules=("lm_head", "model.layers.1.*")
        ),
    ),
    "excluded and not said to be": Fault(
        "quantization_config does not say that these layers are not quantized: lm_head", said={"ignore": []}
    ),
    "quantized and said not to be": Fault(
        "quantization_config says of quantized layers that they are not, so an engine would take their "
        "numbers for plain weights: model.layers.0.mlp.up_proj",
        said={"ignore": ["lm_head", "model.layers.0.mlp.up_proj"]},
    ),
    "the original kept beside": Fault(
        "the quantized model has 790016 bytes of tensors, 65536 more than its quantized layers and the rest "
        "of its original take",
        _replaced(model__layers__0__mlp__up_proj__original=("BF16", (128, 256))),
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_said_with_the_layers(source: Path, fault: Fault) -> None:
    tensors = quantized(FP8, None)
    said = configuration("llm-compressor", FP8)
    output = source.with_name("output")
    fault.change(tensors)
    whole = None if fault.said is None else {**said, **fault.said}
    write_quantized(output, tensors, whole, "llm-compressor")
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", request(fault.wanted))
    assert (raised.value.message, raised.value.hint) == (fault.message, HINT)
    assert raised.value.exit is Exit.STEP


def test_modelopts_form_needs_the_file_that_tensorrt_llm_reads(source: Path) -> None:
    form = FORMS["modelopt"]["fp8_per_channel_per_token"]
    output = source.with_name("output")
    write_quantized(output, quantized(form, None), configuration("modelopt", form), "modelopt")
    (output / "hf_quant_config.json").unlink()
    with pytest.raises(StepError) as raised:
        check(source, output, "modelopt", request(Wanted("fp8_per_channel_per_token", "modelopt")))
    assert raised.value.message == (
        "there is no hf_quant_config.json, from which TensorRT-LLM reads ModelOpt's form"
    )


def test_experts_in_one_tensor_that_stayed_plain_are_half_a_quantization(source: Path) -> None:
    stacked: dict[str, Shape] = {"model.layers.0.mlp.experts.down_proj": ("BF16", (4, 128, 64))}
    write_tensors(source / "model-2.safetensors", stacked)
    output = source.with_name("output")
    tensors = {**quantized(FP8, None), **stacked}
    write_quantized(output, tensors, configuration("llm-compressor", FP8), "llm-compressor")
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", request(DYNAMIC))
    assert raised.value.message == "1 of 6 layers are not quantized: model.layers.0.mlp.experts.down_proj"


def test_a_torn_file_and_an_empty_folder(source: Path) -> None:
    asked = request(DYNAMIC)
    output = source.with_name("output")
    output.mkdir()
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", asked)
    assert raised.value.message == "the quantizer left no safetensors file"
    write_tensors(output / "model.safetensors", quantized(FP8, None))
    whole = (output / "model.safetensors").read_bytes()
    (output / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", asked)
    assert raised.value.message == (
        f"model.safetensors is cut short: its header promises {len(whole)} bytes, "
        f"the file has {len(whole) - 1}"
    )
    (output / "model.safetensors").write_bytes(whole)
    with pytest.raises(StepError) as raised:
        check(source, output, "llm-compressor", asked)
    assert raised.value.message == "config.json is missing or is no JSON"


def test_a_summary_is_of_dtypes_and_bytes(source: Path) -> None:
    output = source.with_name("output")
    said = configuration("llm-compressor", FP8, "fp8")
    write_quantized(output, quantized(FP8, None), said, "llm-compressor")
    assert summary(output) == {
        "quantization": {
            "quant_method": "compressed-tensors",
            "scheme": "float-quantized",
            "kv_cache_dtype": "fp8",
            "ignore": ["lm_head"],
        },
        "tensors": {
            "BF16": {"count": 3, "bytes": 524800},
            "F32": {"count": 6, "bytes": 3072},
            "F8_E4M3": {"count": 6, "bytes": 196608},
        },
        "bytes": 724480,
    }
    assert summary(source)["quantization"] is None
