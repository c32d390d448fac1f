"""Whether a checkpoint that is quantized already runs on the engine and the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginebuild.fit.finding import Change, Finding
from enginebuild.models import ModelFacts
from enginebuild.quantizers.compatibility import refusal
from enginebuild.recipe.gpu import Gpu
from enginebuild.recipe.model import Recipe

#: Served by packages of their own, which vLLM's images lack (vLLM 0.32.0: "Unknown quantization method").
_PLUGINS = {"bitsandbytes": "vllm-bnb-plugin", "gguf": "vllm-gguf-plugin"}

#: Words of quantization_config, and those of engine.args.quantization that go with each. vLLM 0.33.0 was
#: asked with each pair: others are "Quantization method specified in the model config … does not match". A
#: checkpoint of ModelOpt's is taken for itself, whatever is asked.
_ALIKE: Mapping[str, frozenset[str]] = {
    "awq": frozenset(("awq", "auto_awq", "awq_marlin", "moe_wna16")),
    "gptq": frozenset(("gptq", "auto_gptq", "gptq_marlin", "moe_wna16")),
    "fp8": frozenset(("fp8",)),
    "compressed-tensors": frozenset(("compressed-tensors",)),
    "mxfp4": frozenset(("mxfp4", "gpt_oss_mxfp4")),
}
#: What else is known to disagree with all of these.
_ONLINE = ("fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "online")
_OTHERS = frozenset(("modelopt", "modelopt_fp4", *_PLUGINS, *_ONLINE))
_ASKED = frozenset().union(*_ALIKE.values()) | _OTHERS

#: Who makes what says so, by the words of quantizers/compatibility.json.
_TOOLS = {"modelopt": "modelopt", "modelopt_fp4": "modelopt"}

#: GPT-OSS: the experts alone are MXFP4, which run on Hopper as well (NVIDIA/TensorRT-LLM#12591, W4A16_MXFP4).
_HOPPER = "9.0"


def checkpoint_quantization(recipe: Recipe, facts: ModelFacts, gpu: Gpu | None) -> Iterator[Finding]:
    """Nothing for a model that is not quantized."""
    if not facts.quantized:
        return
    if recipe.engine.type == "vllm":
        yield from _asked(recipe, facts)
        yield from _plugin(recipe, facts)
    reason = _reason(recipe, facts, gpu)
    if reason is not None and gpu is not None:
        method = facts.quantization.method if facts.quantization else ""
        changes = tuple(_gpus(recipe, facts, gpu))
        message = f"the model is quantized already ({method}): {reason}"
        yield Finding("quantization", ("gpu",), message, changes, "take another form of the model")


def _asked(recipe: Recipe, facts: ModelFacts) -> Iterator[Finding]:
    asked, stored = recipe.engine.args.get("quantization"), facts.named.quant_method
    if asked not in _ASKED or stored not in _ALIKE or asked in _ALIKE[stored]:
        return
    path = ("engine", "args", "quantization")
    message = f"quantization {asked} is asked for, and the model is quantized already: {stored}"
    change = Change(((".".join(path), stored),))
    yield Finding("quantization", path, message, (change,), "remove the line")


def _plugin(recipe: Recipe, facts: ModelFacts) -> Iterator[Finding]:
    plugin = _PLUGINS.get(facts.named.quant_method)
    if plugin is None:
        return
    ours = "vllm/vllm-openai" in recipe.image.base
    message = f"the model is quantized by {facts.named.quant_method}, for which vLLM needs {plugin}"
    hint = f"write an image.base that has {plugin}: vLLM's own has it not"
    yield Finding("quantization", ("image", "base"), message, hint=hint, refused=ours)


def _reason(recipe: Recipe, facts: ModelFacts, gpu: Gpu | None) -> str | None:
    """By the tables of what we would make ourselves; None for a form that they do not know."""
    found, capability = facts.quantization, gpu.compute_capability if gpu else None
    if found is None or recipe.engine.mode == "engine":
        return None
    tool = _TOOLS.get(facts.named.quant_method, "llm-compressor")
    engine = recipe.engine
    if engine.type == "vllm":
        if facts.named.quant_method == "gptq":
            return None  # runs from compute capability 6.0 on (auto_gptq.py, get_min_capability)
    elif found.method == "mxfp4" and capability == _HOPPER:
        return None
    try:
        reason = refusal(found.method, tool, engine.type, engine.version, capability)
    except KeyError:
        return None
    return None if reason is None else reason.removeprefix(f"{found.method}: ")


def _gpus(recipe: Recipe, facts: ModelFacts, gpu: Gpu) -> Iterator[Change]:
    """The next GPU that runs it, with as much memory or more."""
    from enginebuild.recipe.gpu import catalogue

    others = sorted(catalogue().values(), key=lambda each: each.distance(gpu))
    for other in others:
        if other.memory_gb >= gpu.memory_gb and _reason(recipe, facts, other) is None:
            yield Change((("gpu", other.name),))
            return
