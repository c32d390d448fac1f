"""Quantize a checkpoint with NVIDIA's ModelOpt 0.47: `modelopt_ptq.py request.json`.

Writes the unified Hugging Face form (safetensors, `hf_quant_config.json`), which is independent of tensor
parallel size and GPU.
"""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginebuild.quantizers.scripts import staging
else:
    sys.path.insert(0, str(Path(__file__).parent))
    staging = importlib.import_module("staging")

#: Beside a method's configuration. With data the range is measured; without, FP8's full range is taken.
_KV_CACHE = {
    ("fp8", True): "configs/ptq/presets/kv/fp8",
    ("fp8", False): "configs/ptq/presets/kv/fp8_cast",
    ("nvfp4", True): "configs/ptq/presets/kv/nvfp4",
    ("nvfp4", False): "configs/ptq/presets/kv/nvfp4_cast",
}


def configuration(request: staging.Request, mtq: Any) -> dict[str, Any]:
    """ModelOpt's configuration of that name with our group size, KV cache and exclusions (the last word
    counts).
    """
    config: dict[str, Any] = copy.deepcopy(getattr(mtq, request.scheme))
    if request.group_size is not None and request.values["adjustable"]:
        for entry in config["quant_cfg"]:
            _set_group_size(entry.get("cfg"), request.group_size)
    if request.kv_cache_dtype is not None:
        name = _KV_CACHE[request.kv_cache_dtype, request.calibration is not None]
        config["quant_cfg"] += _preset(name)["quant_cfg"]
    config["quant_cfg"] += [
        {"quantizer_name": f"{pattern}.*quantizer", "enable": False} for pattern in request.patterns
    ]
    return config


def _preset(name: str) -> Any:
    loader: Any = importlib.import_module("modelopt.torch.quantization.config")
    return copy.deepcopy(loader._load_quantize_config_dict(name))


def _set_group_size(cfg: Any, size: int) -> None:
    for part in cfg if isinstance(cfg, list) else [cfg or {}]:
        if -1 in part.get("block_sizes", {}):
            part["block_sizes"][-1] = size


def main() -> None:
    """Read the request, quantize, lay out the checkpoint."""
    request = staging.begin(sys.argv[1:])
    layers = staging.check_input(request)
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    device = staging.settle_torch(torch, request)
    staging.say(f"{request.scheme} for {len(layers)} layers on {device}, {request.threads} threads")
    placed = {"device_map": "auto"} if device != "cpu" else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(str(request.input), dtype="auto", **placed)
    mtq: Any = importlib.import_module("modelopt.torch.quantization")
    export: Any = importlib.import_module("modelopt.torch.export")
    loop = None
    if request.calibration is not None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(request.input))
        batches = staging.calibration_batches(request, tokenizer, torch)

        def loop(model: Any) -> None:
            for batch in batches:
                model(**{name: tensor.to(model.device) for name, tensor in batch.items()})

    with torch.inference_mode():
        model = mtq.quantize(model.eval(), configuration(request, mtq), loop)
        exported = request.output / ".exported"
        export.export_hf_checkpoint(model, export_dir=exported)
    staging.finish(request, exported)


if __name__ == "__main__":
    main()
