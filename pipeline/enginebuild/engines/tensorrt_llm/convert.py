"""The command line of `convert_checkpoint.py`: a Hugging Face checkpoint becomes one of TensorRT-LLM.

There are 34 such scripts and no common command line (TensorRT-LLM 1.3.0rc3), and no module of that name: they
are files of NVIDIA's release image. The options of six are known for 1.2.0 to 1.3.0rc20, those of llama for
every version; `certainty` says how well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Literal

from enginebuild.engines.tensorrt_llm.families import (
    OTHER_WAY,
    Family,
    Prequantized,
    family_name,
    quantized_already,
)
from enginebuild.engines.tensorrt_llm.quantizations import weights_reason
from enginebuild.engines.tensorrt_llm.settings import (
    Settings,
    at_least,
    option_words,
    options_or_none,
)
from enginebuild.engines.tensorrt_llm.table import Option, options
from enginebuild.engines.tensorrt_llm.versions import release
from enginebuild.errors import RefusedError
from enginebuild_cache import Json

#: NVIDIA's examples in the release image.
EXAMPLES = PurePosixPath("/app/tensorrt_llm/examples")

#: `exact`: that version's own parser. `proxy`: a neighbour's. `shared`: what 1.3.0rc3's script of the family
#: has in common with that version's script for llama, and what the family cannot do without.
Certainty = Literal["exact", "proxy", "shared"]

#: The version whose scripts stand for those that are not known, and since when scripts lie in models/.
_KNOWN = "1.3.0rc3"
_MOVED = "0.19.0"

#: Options that a family's script has always needed and llama's never had.
_OWN = frozenset({"ckpt_type", "gpt_variant", "model_dir", "output_model_dir", "world_size"})

_FIRST = {"Qwen3ForCausalLM": "1.0.0", "Qwen3MoeForCausalLM": "1.0.0", "qwen3": "1.0.0", "qwen3_moe": "1.0.0"}

_PRECISIONS = {"w8a16": "int8", "w4a16": "int4", "w4a16_gptq": "int4_gptq"}


def convert_command(
    settings: Settings,
    family: Family,
    model: PurePosixPath,
    output: PurePosixPath,
    examples: PurePosixPath = EXAMPLES,
) -> tuple[str, ...]:
    """The words that convert `model` into `output`.

    Raises RefusedError for what no script of that version is known to do.
    """
    table = convert_options(settings.version, family)
    values = {**_places(family, model, output), **_wanted(settings, family, model)}
    _check_taken(values, table, settings, family)
    said = [w for name, value in values.items() for w in option_words(table[name], value)]
    return ("python3", str(script(settings.version, family, examples)), *said)


def script(version: str, family: Family, examples: PurePosixPath = EXAMPLES) -> PurePosixPath:
    """Where the script lies: `examples/<family>` up to 0.18, `examples/models/` from 0.19 on."""
    if not at_least(version, _MOVED):
        return examples / family.folder / "convert_checkpoint.py"
    folder = "contrib" if family.contrib else "core"
    return examples / "models" / folder / family.folder / "convert_checkpoint.py"


def certainty(version: str, family: Family) -> Certainty:
    """How well the options of a family's script are known. Raises RefusedError where they are not."""
    convert_options(version, family)
    if options_or_none(version, f"convert_{family.name}") is None:
        return "shared"
    known = release(version)
    return "exact" if known is not None and known.exact else "proxy"


def convert_options(version: str, family: Family) -> Mapping[str, Option]:
    """The options of a family's script. Raises RefusedError where they are not known."""
    _check_family(version, family)
    if (own := options_or_none(version, f"convert_{family.name}")) is not None:
        return own
    llama, newest = options(version, "convert_llama"), options(_KNOWN, f"convert_{family.name}")
    return {
        name: _narrowed(option, llama.get(name))
        for name, option in newest.items()
        if name in llama or name in _OWN
    }


def _narrowed(option: Option, llamas: Option | None) -> Option:
    """Only values that both take: `--dtype auto` came with 0.16."""
    if llamas is None or not llamas.choices:
        return option
    return replace(option, choices=tuple(c for c in option.choices if c in llamas.choices))


def is_compiled(architecture: str) -> bool:
    """Whether an engine can be made of a class, by the newest version that is known."""
    name = family_name(architecture)
    return name not in (None, "enc_dec") and options_or_none(_KNOWN, f"convert_{name}") is not None


def _check_family(version: str, family: Family) -> None:
    known = release(version)
    if known is None or "engine" not in known.modes:
        raise RefusedError(
            f"TensorRT-LLM {version} has no convert scripts",
            OTHER_WAY,
        )
    first = _FIRST.get(family.architecture)
    if first is not None and not at_least(version, first):
        raise RefusedError(
            f"TensorRT-LLM {version} has no engine for {family.architecture}",
            f"it came with {first}",
        )
    if family.name == "enc_dec":
        raise RefusedError(
            f"{family.architecture} has an encoder and a decoder, which become two engines; images have one",
            OTHER_WAY,
        )
    if options_or_none(_KNOWN, f"convert_{family.name}") is None:
        raise RefusedError(
            f"the options of TensorRT-LLM's convert_checkpoint.py for {family.name} are not known "
            f"({family.architecture})",
            f"quantization with calibration goes by quantize.py instead; {OTHER_WAY}",
        )


def _places(family: Family, model: PurePosixPath, output: PurePosixPath) -> dict[str, Json]:
    if family.name == "gemma":
        return {"ckpt_type": "hf", "model_dir": str(model), "output_model_dir": str(output)}
    return {"model_dir": str(model), "output_dir": str(output)}


def _wanted(settings: Settings, family: Family, model: PurePosixPath) -> dict[str, Json]:
    """All that is asked of the script, by argparse's names."""
    return {
        **({"gpt_variant": family.variant} if family.variant else {}),
        "dtype": family.dtype,
        **_parallel(settings, family),
        **_weights(settings, family, model),
        **_kv_cache(settings),
    }


def _kv_cache(settings: Settings) -> dict[str, Json]:
    """Of a GPTQ model alone, others go by quantize.py. FP8's scales are 1, INT8's would be measured."""
    dtype = settings.kv_cache_dtype
    if dtype in (None, "fp8"):
        return {"fp8_kv_cache": True} if dtype else {}
    raise RefusedError(
        f"a KV cache of {dtype} needs calibration, and a model that GPTQ has quantized is converted without",
        "write kv_cache_dtype: fp8, or remove the line",
    )


def _parallel(settings: Settings, family: Family) -> dict[str, Json]:
    if family.name == "gemma":
        if settings.pipeline_parallel_size > 1:
            raise RefusedError(
                "TensorRT-LLM's convert_checkpoint.py for gemma has no pipeline parallelism",
                "set pipeline_parallel_size: 1 and tensor_parallel_size to the number of GPUs",
            )
        return {"world_size": settings.tensor_parallel_size}
    sizes: dict[str, Json] = {
        "tp_size": settings.tensor_parallel_size,
        "pp_size": settings.pipeline_parallel_size,
    }
    experts = settings.runtime.get("moe_expert_parallel_size")
    if settings.server == "trtllm-serve" and isinstance(experts, int) and experts > 1:
        if settings.tensor_parallel_size % experts:
            raise RefusedError(
                f"engine.runtime.moe_expert_parallel_size is {experts}, which does not divide "
                f"tensor_parallel_size ({settings.tensor_parallel_size})",
                "the experts are spread over the GPUs that tensor parallelism has",
            )
        sizes |= {"moe_tp_size": settings.tensor_parallel_size // experts, "moe_ep_size": experts}
    return {**sizes, "workers": 1}


def _weights(settings: Settings, family: Family, model: PurePosixPath) -> dict[str, Json]:
    method = _method(settings, family)
    if method is None:
        return {}
    if method not in _PRECISIONS:
        raise ValueError(f"{method} is made by quantize.py")
    wanted: dict[str, Json] = {"use_weight_only": True, "weight_only_precision": _PRECISIONS[method]}
    if method != "w4a16_gptq":
        return wanted
    wanted |= {"per_group": True, "group_size": _group_size(settings, family)}
    # llama's script alone has a place of its own for quantized weights; here it is the model itself.
    return {**wanted, "quant_ckpt_path": str(model)} if family.name == "llama" else wanted


def _method(settings: Settings, family: Family) -> str | None:
    """The recipe's method; of a model that GPTQ has quantized, that. Raises RefusedError if they disagree."""
    source, method = family.prequantized, settings.method
    if source is None and method == "w4a16_gptq":
        raise RefusedError(
            "quantization w4a16_gptq needs a model that GPTQ has quantized already, and this one is not",
            "name such a model, or use w4a16_awq, which TensorRT-LLM's own quantize.py makes",
        )
    if source is None:
        return method
    if source.method != "gptq" or method not in (None, "w4a16_gptq"):
        raise quantized_already(source, settings)
    _check_gptq(source)
    _check_gpu(settings)
    return "w4a16_gptq"


def _check_gpu(settings: Settings) -> None:
    """What the recipe did not say could not be checked with it."""
    if settings.gpu is None:
        return
    reason = weights_reason("w4a16_gptq", "engine", settings.gpu.compute_capability, settings.version)
    if reason is not None:
        raise RefusedError(
            f"the model is quantized by GPTQ, and that engine does not run on {settings.gpu.name}: {reason}",
            f"name the model it was quantized from; {OTHER_WAY}",
        )


def _check_gptq(source: Prequantized) -> None:
    if source.desc_act:
        raise RefusedError(
            "TensorRT-LLM takes no GPTQ model with desc_act: true",
            "name one with desc_act: false, or use w4a16_awq",
        )
    if source.bits not in (None, 4):
        raise RefusedError(f"the model's GPTQ weights have {source.bits} bits, w4a16_gptq has 4")


def _group_size(settings: Settings, family: Family) -> int:
    """The model's own; a recipe that names another is mistaken."""
    wanted = settings.quantization.group_size if settings.quantization else None
    has = family.prequantized.group_size if family.prequantized else None
    if wanted is not None and has is not None and has != wanted:
        raise RefusedError(
            f"the model's GPTQ weights have groups of {has}, quantization.group_size is {wanted}",
            f"write group_size: {has}",
        )
    return has or wanted or 128


def _check_taken(
    values: Mapping[str, Json], table: Mapping[str, Option], settings: Settings, family: Family
) -> None:
    """Nothing is written that the script of that version does not take."""
    for name, value in values.items():
        option = table.get(name)
        if option is None:
            raise _not_taken(name, None, settings, family)
        if option.choices and value not in option.choices and option.nargs != "none":
            raise _not_taken(name, str(value), settings, family)


def _not_taken(name: str, value: str | None, settings: Settings, family: Family) -> RefusedError:
    said = f"--{name}" + (f" {value}" if value is not None else "")
    return RefusedError(
        f"TensorRT-LLM {settings.version}'s convert_checkpoint.py for {family.name} has no {said}",
        _hint(list(_takers(name, value)), family.name),
    )


def _takers(name: str, value: str | None) -> Iterator[str]:
    """The families whose script takes it at 1.3.0rc3."""
    for family in ("llama", "qwen", "phi", "gpt", "gemma"):
        option = options(_KNOWN, f"convert_{family}").get(name)
        if option is not None and (value is None or value in option.choices):
            yield family


def _hint(takers: list[str], family: str) -> str:
    if family in takers:
        return f"newer versions have it, {_KNOWN} for one"
    return f"at {_KNOWN} these have it: {', '.join(takers)}" if takers else f"none has it at {_KNOWN}"
