"""The command lines of quantize.py: formats, calibration, and every refusal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.quantize import QFORMATS, needs_calibration, quantize_command
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import RefusedError
from enginebuild.recipe.model import Calibration, Quantization
from parts.trtllm_parsers_standin import parse

MODEL, OUTPUT = PurePosixPath("/enginebuild/input/model"), PurePosixPath("/enginebuild/output")
TEXTS = PurePosixPath("/enginebuild/input/calibration")
CALIBRATION = Calibration("file:texts", None, num_samples=64, max_seq_length=256, batch_size=2, seed=7)


def settings(method: str, version: str = "1.2.1", **fields: Any) -> Settings:
    values: dict[str, Any] = {
        "tool": "quantize.py", "kv_cache_dtype": None, "group_size": None, "exclude_modules": None,
        "calibration": CALIBRATION,
    }  # fmt: skip
    of_settings = {name: fields.pop(name) for name in ("tensor_parallel_size", "dtype") if name in fields}
    return Settings(
        version, "engine", quantization=Quantization(method, **{**values, **fields}), **of_settings
    )


def words(wanted: Settings, calibration: PurePosixPath | None = TEXTS, **more: Any) -> list[str]:
    return list(quantize_command(wanted, MODEL, calibration, OUTPUT, **more))


def parsed(wanted: Settings, **more: Any) -> Mapping[str, Any]:
    return parse(wanted.version, "quantize", words(wanted, **more)[2:])


def refused(wanted: Settings, calibration: PurePosixPath | None = TEXTS) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        words(wanted, calibration)
    return caught.value.message, caught.value.hint


def test_the_whole_command() -> None:
    wanted = settings("fp8", kv_cache_dtype="fp8", tensor_parallel_size=2)
    assert " ".join(words(wanted, dtype="bfloat16")) == (
        "python3 /app/tensorrt_llm/examples/quantization/quantize.py --model_dir /enginebuild/input/model "
        "--dtype bfloat16 --qformat fp8 --calib_dataset /enginebuild/input/calibration --calib_size 64 "
        "--calib_max_seq_length 256 --batch_size 2 --seed 7 --kv_cache_dtype fp8 --tp_size 2 --pp_size 1 "
        "--device cuda --output_dir /enginebuild/output"
    )


@pytest.mark.parametrize("method", QFORMATS)
def test_every_method_has_its_format(method: str) -> None:
    assert parsed(settings(method))["qformat"] == QFORMATS[method]


def test_awq_alone_has_groups() -> None:
    assert parsed(settings("w4a16_awq", group_size=64))["awq_block_size"] == 64
    assert parsed(settings("w4a8_awq", group_size=128))["awq_block_size"] == 128
    assert "--awq_block_size" not in words(settings("w4a16", group_size=128))


def test_long_texts_are_not_cut_by_the_tokenizer() -> None:
    long = Calibration("file:texts", None, num_samples=8, max_seq_length=4096, batch_size=1, seed=1)
    assert parsed(settings("fp8", calibration=long))["tokenizer_max_seq_length"] == 4096
    assert "--tokenizer_max_seq_length" not in words(settings("fp8"))


def test_weights_alone_need_no_texts() -> None:
    wanted = settings("w8a16", calibration=None)
    assert not needs_calibration(wanted)
    assert "--calib_dataset" not in words(wanted, None)
    assert needs_calibration(settings("w8a16", kv_cache_dtype="int8"))
    assert not needs_calibration(Settings("1.2.1", "engine"))


def test_old_versions_take_no_auto() -> None:
    assert parsed(settings("fp8", "0.12.0"), dtype="float16")["dtype"] == "float16"
    with pytest.raises(ValueError) as caught:
        words(settings("fp8", "0.12.0"))
    assert str(caught.value) == "this version's quantize.py has no --dtype auto: pass what dtype_of says"
    assert parsed(settings("fp8", "0.16.0"))["dtype"] == "auto"


def test_a_folder_that_is_called_like_a_dataset_would_be_taken_for_it() -> None:
    with pytest.raises(ValueError) as caught:
        words(settings("fp8"), PurePosixPath("/enginebuild/input/my-cnn_dailymail"))
    assert str(caught.value) == (
        "quantize.py takes the folder /enginebuild/input/my-cnn_dailymail for the dataset cnn_dailymail"
    )


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        (
            settings("mxfp4"),
            "TensorRT-LLM's quantize.py cannot make mxfp4",
            "it makes fp8, fp8_per_channel_per_token, w8a8_int8, w8a16, w4a16, w4a16_awq, w4a8_awq, nvfp4",
        ),
        (
            settings("nvfp4", "1.1.0"),
            "quantize.py of TensorRT-LLM 1.1.0 has no --qformat nvfp4, so no nvfp4",
            "these versions have it: 1.2.0 to 1.3.0rc20",
        ),
        (
            settings("fp8", kv_cache_dtype="nvfp4"),
            "quantize.py of TensorRT-LLM 1.2.1 makes no KV cache of nvfp4",
            "it makes int8 and fp8",
        ),
        (
            settings("fp8", calibration=None),
            "quantization fp8 is calibrated, and the recipe names no calibration data",
            "add quantization.calibration: {dataset: file:FOLDER} or {dataset: hf://datasets/ORG/NAME}",
        ),
    ],
)
def test_what_is_refused(wanted: Settings, message: str, hint: str) -> None:
    assert refused(wanted) == (message, hint)
