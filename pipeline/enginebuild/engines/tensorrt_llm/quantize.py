"""The command line of examples/quantization/quantize.py: calibrate a model, and write a checkpoint.

Engine mode only; its options are known for every version (0.12.0 to 0.14.0 and 1.3.0rc3 exactly).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from enginebuild.engines.tensorrt_llm.convert import EXAMPLES
from enginebuild.engines.tensorrt_llm.settings import Settings, option_words, options_or_none
from enginebuild.engines.tensorrt_llm.table import Option, options
from enginebuild.engines.tensorrt_llm.versions import releases, spans
from enginebuild.errors import RefusedError
from enginebuild.recipe.methods import METHODS
from enginebuild_cache import Json

#: Our methods → `--qformat`. The others are not made by quantize.py in any version.
QFORMATS: Mapping[str, str] = {
    "fp8": "fp8",
    "fp8_per_channel_per_token": "fp8_pc_pt",
    "w8a8_int8": "int8_sq",
    "w8a16": "int8_wo",
    "w4a16": "int4_wo",
    "w4a16_awq": "int4_awq",
    "w4a8_awq": "w4a8_awq",
    "nvfp4": "nvfp4",
}

#: The script in the release image, of every version.
SCRIPT = PurePosixPath("quantization/quantize.py")

#: Texts in a dataset's path that quantize.py takes for the name of a dataset that it knows, and then
#: downloads or reads otherwise (1.3.0rc3). Of any other folder it reads the column `text` of split `train`.
DATASET_NAMES = ("cnn_dailymail", "pileval", "scienceqa", "ScienceQA", "lambada")

#: Tokens that the script's tokenizer keeps of a text unless it is told.
_TOKENIZER_LENGTH = 2048


def quantize_command(
    settings: Settings,
    model: PurePosixPath,
    calibration: PurePosixPath | None,
    output: PurePosixPath,
    *,
    dtype: str | None = None,
    examples: PurePosixPath = EXAMPLES,
) -> tuple[str, ...]:
    """The words that quantize `model` into `output`; `calibration` is a folder of texts.

    `dtype` is what `dtype_of` made of `auto`. Raises RefusedError for what that version cannot do.
    """
    table = options(settings.version, "quantize")
    values: dict[str, Json] = {
        "model_dir": str(model),
        "dtype": dtype or settings.dtype,
        "qformat": _qformat(settings, table),
        **_calibration(settings, calibration),
        **_groups(settings),
        **({"kv_cache_dtype": _kv_cache(settings, table)} if settings.kv_cache_dtype else {}),
        "tp_size": settings.tensor_parallel_size,
        "pp_size": settings.pipeline_parallel_size,
        "device": "cuda",
        "output_dir": str(output),
    }
    _check_dtype(str(values["dtype"]), table["dtype"])
    said = [word for name, value in values.items() for word in option_words(table[name], value)]
    return ("python3", str(examples / SCRIPT), *said)


def needs_calibration(settings: Settings) -> bool:
    """Whether quantize.py must be given texts: without, it downloads a dataset of its own choice."""
    wanted = settings.quantization
    return wanted is not None and (METHODS[wanted.method].calibrated or wanted.kv_cache_dtype is not None)


def _qformat(settings: Settings, table: Mapping[str, Option]) -> str:
    method = settings.method
    qformat = QFORMATS.get(method or "")
    if qformat is None:
        raise RefusedError(
            f"TensorRT-LLM's quantize.py cannot make {method}",
            f"it makes {', '.join(QFORMATS)}",
        )
    if qformat not in table["qformat"].choices:
        raise RefusedError(
            f"quantize.py of TensorRT-LLM {settings.version} has no --qformat {qformat}, so no {method}",
            f"these versions have it: {spans(_makers(qformat))}",
        )
    return qformat


def _makers(qformat: str) -> list[str]:
    """The versions whose quantize.py has a format."""
    tables = {version: options_or_none(version, "quantize") for version in releases()}
    return [version for version, table in tables.items() if table and qformat in table["qformat"].choices]


def _calibration(settings: Settings, folder: PurePosixPath | None) -> dict[str, Json]:
    assert settings.quantization is not None
    said = settings.quantization.calibration
    if folder is None or said is None:
        if needs_calibration(settings):
            raise RefusedError(
                f"quantization {settings.method} is calibrated, and the recipe names no calibration data",
                "add quantization.calibration: {dataset: file:FOLDER} or {dataset: hf://datasets/ORG/NAME}",
            )
        return {}
    if known := [name for name in DATASET_NAMES if name in str(folder)]:
        raise ValueError(f"quantize.py takes the folder {folder} for the dataset {known[0]}")
    longer = said.max_seq_length > _TOKENIZER_LENGTH
    return {
        "calib_dataset": str(folder),
        "calib_size": said.num_samples,
        "calib_max_seq_length": said.max_seq_length,
        **({"tokenizer_max_seq_length": said.max_seq_length} if longer else {}),
        "batch_size": said.batch_size,
        "seed": said.seed,
    }


def _groups(settings: Settings) -> dict[str, Json]:
    """Groups of weights with a common scale: AWQ alone has them here."""
    assert settings.quantization is not None
    size = settings.quantization.group_size
    return {"awq_block_size": size} if size is not None and "awq" in settings.quantization.method else {}


def _kv_cache(settings: Settings, table: Mapping[str, Option]) -> str:
    wanted = settings.kv_cache_dtype or ""
    choices = table["kv_cache_dtype"].choices
    if wanted not in choices:
        raise RefusedError(
            f"quantize.py of TensorRT-LLM {settings.version} makes no KV cache of {wanted}",
            f"it makes {' and '.join(map(str, choices))}",
        )
    return wanted


def _check_dtype(dtype: str, option: Option) -> None:
    """Up to 0.14.0 the parser takes any text, and `auto` fails only after the model is loaded."""
    if dtype == "auto" and "auto" not in option.choices:
        raise ValueError("this version's quantize.py has no --dtype auto: pass what dtype_of says")
