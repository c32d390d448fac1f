"""Quantize a checkpoint with llm-compressor 0.14: `llm_compressor_ptq.py request.json`.

Schemes without calibration go through `model_free_ptq`, one shard after another: memory for a shard, no model
definition, no GPU. The others load the model and go through `oneshot`.
"""

from __future__ import annotations

import fnmatch
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginebuild.quantizers.layers import Linear
    from enginebuild.quantizers.scripts import staging
else:
    sys.path.insert(0, str(Path(__file__).parent))
    staging = importlib.import_module("staging")


def scheme_of(request: staging.Request) -> Any:
    """The preset with our group size."""
    quantization: Any = importlib.import_module("compressed_tensors.quantization")
    scheme = quantization.preset_name_to_scheme(request.scheme, ["Linear"])
    if request.method == "w8a16":  # the preset has groups of 128; one scale per row is what engines know
        scheme.weights.strategy = quantization.QuantizationStrategy.CHANNEL
        scheme.weights.group_size = None
    elif request.group_size is not None and request.values["adjustable"]:
        scheme.weights.group_size = request.group_size
    return scheme


def shard_by_shard(request: staging.Request, layers: list[Linear], exported: Path, device: str) -> None:
    """Without data and without the model: every tensor that is no linear layer's weight is left alone."""
    llmcompressor: Any = importlib.import_module("llmcompressor")
    quantized = {layer.name for layer in layers}
    others = {
        name.removesuffix(".weight")
        for name in staging.shapes(request.input)
        if name.endswith(".weight") and name.removesuffix(".weight") not in quantized
    }
    llmcompressor.model_free_ptq(
        model_stub=str(request.input),
        save_directory=str(exported),
        scheme=scheme_of(request),
        ignore=sorted(others | {"lm_head"} if "lm_head" in request.patterns else others),
        device=device,
        max_workers=1,
    )


def modifiers(request: staging.Request) -> list[Any]:
    """llm-compressor's recipe for the algorithm."""
    found: Any = importlib.import_module("llmcompressor.modifiers.quantization")
    common: dict[str, Any] = {
        "config_groups": {"group_0": scheme_of(request)},
        "ignore": [f"re:{fnmatch.translate(pattern)}" for pattern in request.patterns],
    }
    if request.kv_cache_dtype == "fp8":
        arguments: Any = importlib.import_module("compressed_tensors.quantization").QuantizationArgs
        common["kv_cache_scheme"] = arguments(
            num_bits=8, type="float", strategy="tensor", dynamic=False, symmetric=True
        )
    if request.algorithm == "gptq":
        return [found.GPTQModifier(**common)]
    if request.algorithm == "smoothquant+gptq":
        smooth: Any = importlib.import_module("llmcompressor.modifiers.transform.smoothquant")
        return [smooth.SmoothQuantModifier(smoothing_strength=0.8), found.GPTQModifier(**common)]
    if request.algorithm == "awq":
        awq: Any = importlib.import_module("llmcompressor.modifiers.transform.awq")
        return [awq.AWQModifier(), found.QuantizationModifier(**common)]
    return [found.QuantizationModifier(**common)]


def calibrated(request: staging.Request, exported: Path, torch: Any) -> None:
    """The model loaded, the samples in the order chosen: what the loader yields is not shuffled."""
    llmcompressor: Any = importlib.import_module("llmcompressor")
    transformers: Any = importlib.import_module("transformers")
    if not torch.accelerator.is_available():
        # AWQModifier of 0.14.0.1 pins memory unasked, which PyTorch refuses where there is no accelerator.
        cache: Any = importlib.import_module("llmcompressor.pipelines.cache")
        cache.IntermediatesCache.pin_memory = lambda *_, **__: None
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(request.input))
    batches = staging.calibration_batches(request, tokenizer, torch)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, shuffle=False)
    llmcompressor.oneshot(
        model=str(request.input),
        tokenizer=tokenizer,
        recipe=modifiers(request),
        dataset=loader,
        num_calibration_samples=request.values["calibration"]["num_samples"],
        max_seq_length=request.values["calibration"]["max_seq_length"],
        shuffle_calibration_samples=False,
        output_dir=str(exported),
    )


def main() -> None:
    """Read the request, quantize, lay out the checkpoint."""
    request = staging.begin(sys.argv[1:])
    layers = staging.check_input(request)
    torch: Any = importlib.import_module("torch")
    device = staging.settle_torch(torch, request)
    exported = request.output / ".exported"
    staging.say(f"{request.scheme} for {len(layers)} layers on {device}, {request.threads} threads")
    if request.calibration is None:
        shard_by_shard(request, layers, exported, device)
    else:
        calibrated(request, exported, torch)
    staging.finish(request, exported)


if __name__ == "__main__":
    main()
