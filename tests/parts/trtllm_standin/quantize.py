"""Stand-in for examples/quantization/quantize.py."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from . import calibration, machine
from .checkpoint import dtype_of, mapping_of, quantization_of, read_model, write_checkpoint
from .machine import RefusedError
from .parser import argparse_parser, table, version

#: Format → algorithm in the checkpoint.
_ALGORITHMS = {
    "full_prec": None,
    "fp8": "FP8",
    "fp8_pc_pt": "FP8_PER_CHANNEL_PER_TOKEN",
    "int8_sq": "W8A8_SQ_PER_CHANNEL",
    "int4_awq": "W4A16_AWQ",
    "w4a8_awq": "W4A8_AWQ",
    "int8_wo": "W8A16",
    "int4_wo": "W4A16",
    "nvfp4": "NVFP4",
}
_NOT_CALIBRATED = ("full_prec", "int8_wo", "int4_wo")


def main() -> None:
    """What the installed script calls."""
    try:
        _quantize(argparse_parser(table("quantize"), "quantize.py").parse_args())
    except RefusedError as refusal:
        machine.end(refusal)


def _quantize(arguments: Namespace) -> None:
    print(f"[TensorRT-LLM] TensorRT-LLM version: {version()}", flush=True)
    if arguments.device == "cuda":
        machine.gpus()
    if arguments.model_dir is None:
        raise RefusedError("ValueError", "One source checkpoint needs to be specified!")
    model = Path(arguments.model_dir)
    config = read_model(model)
    faults = machine.Faults("quantize", config)
    faults.begin()
    if arguments.qformat not in _NOT_CALIBRATED or arguments.kv_cache_dtype is not None:
        calibration.require_dataset(arguments.calib_dataset)
        machine.log(f"Calibrating with {arguments.calib_size} samples, seed {arguments.seed}")
    kv = arguments.kv_cache_dtype
    write_checkpoint(
        Path(arguments.output_dir),
        model,
        config,
        dtype=dtype_of(arguments.dtype, config),
        mapping=mapping_of(arguments.tp_size, arguments.pp_size, vars(arguments).get("cp_size", 1)),
        quantization=quantization_of(
            _ALGORITHMS[arguments.qformat], kv.upper() if kv else None, arguments.awq_block_size
        ),
        faults=faults,
    )
    print("Quantized model exported to :", arguments.output_dir, flush=True)
