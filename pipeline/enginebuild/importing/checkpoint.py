"""What convert_checkpoint.py and quantize.py are told, as a recipe's model, dtype, quantization and sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from enginebuild.importing.draft import Draft
from enginebuild.importing.launch import Launch
from enginebuild.importing.model import put_model
from enginebuild.importing.trtllm_words import Words, no_positional, read_words
from enginebuild.recipe.methods import METHODS
from enginebuild.recipe.quantization_words import QUANTIZATIONS
from enginebuild_cache import Json

FAMILIES = ("llama", "qwen", "phi", "gpt", "gemma", "enc_dec")

#: Set by enginebuild, or of no consequence for what comes out.
_OURS = frozenset(
    """
    output_dir output_model_dir workers log_level load_model_on_cpu load_by_shard device device_map
    tokenizer_max_seq_length ckpt_type calib_tp_size calib_pp_size decoder_type use_weight_only
    weight_only_precision per_group per_channel per_token save_config_only
    """.split()
)
_MODEL = ("model_dir", "meta_ckpt_dir", "nemo_ckpt_path")
_SIZES: Mapping[str, str] = {
    "tp_size": "tensor_parallel_size",
    "world_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
}
_TEXTS: Mapping[str, str] = {
    "calib_size": "num_samples",
    "calib_max_seq_length": "max_seq_length",
    "batch_size": "batch_size",
    "seed": "seed",
}
#: convert_checkpoint.py's switches (llama's, 1.3.0rc3) → methods; --weight_only_precision → methods.
_SWITCHES: Mapping[str, str] = {
    "use_fp8": "fp8",
    "use_nvfp4": "nvfp4",
    "use_fp8_rowwise": "fp8_per_channel_per_token",
    "enable_fp8": "fp8",
    "use_smooth_quant": "w8a8_int8",
}
_PRECISIONS: Mapping[str, str] = {
    "int8": "w8a16",
    "int4": "w4a16",
    "int4_gptq": "w4a16_gptq",
    "int4_awq": "w4a16_awq",
    "w4a8_awq": "w4a8_awq",
    "w4a16_awq": "w4a16_awq",
}
#: Options whose value says nothing if it is this.
_SILENT: Mapping[str, Json] = {
    "cp_size": 1,
    "moe_tp_size": -1,
    "moe_ep_size": -1,
    "awq_block_size": 128,
    "group_size": 128,
    "embedding_sharding_dim": 0,
    "qformat": "full_prec",
}
_SET_BY_THE_LIBRARY = "no key of a recipe: enginebuild converts with the script's own value"


def read_checkpoint(draft: Draft, started: Launch, version: str) -> list[str]:
    """Write what one of the two scripts says. Returns its mistakes."""
    words = read_words(started.program, version, _commands(started), started.words)
    mistakes = [*words.mistakes, *no_positional(started.program, words)]
    model = next((str(words.values.pop(name)) for name in _MODEL if name in words.values), None)
    if model is None:
        mistakes.append(f"{started.program} names no model: --model_dir")
    elif mistake := put_model(draft, model, started.volumes):
        mistakes.append(mistake)
    if not mistakes:
        _carry(draft, words, quantizes=started.program == "quantize.py")
    return mistakes


def _commands(started: Launch) -> tuple[str, ...]:
    """The tables to look into: quantize.py's, or of the scripts first that of the family in the path."""
    if started.program == "quantize.py":
        return ("quantize",)
    parts = re.split(r"[/\\]", started.script.lower())
    own = [family for family in FAMILIES if family in parts]
    return tuple(f"convert_{family}" for family in [*own, *(f for f in FAMILIES if f not in own)])


def _carry(draft: Draft, words: Words, *, quantizes: bool) -> None:
    values = {name: value for name, value in words.values.items() if _SILENT.get(name) != value}
    for name, place in _SIZES.items():
        if (size := values.pop(name, 1)) != 1:
            draft.put((place,), size)
    dtype = values.pop("dtype", "auto")
    if dtype != "auto":
        draft.put(("dtype",), dtype)
    _quantization(draft, values, quantizes=quantizes)
    if experts := values.pop("moe_ep_size", None):
        draft.put(("engine", "runtime", "moe_expert_parallel_size"), experts, "--moe_ep_size")
        values.pop("moe_tp_size", None)
    for name, value in values.items():
        if name not in _OURS and value is not False:
            draft.lose(words.spelled.get(name, f"--{name}"), _why(name))


def _why(name: str) -> str:
    if name == "cp_size":
        return "context parallelism is not built for"
    if name == "quant_ckpt_path":
        return "the quantized weights are the recipe's model: name their folder there"
    if name in ("smoothquant", "int8_kv_cache"):
        return "made by quantize.py, which chooses the strength of SmoothQuant by itself"
    return _SET_BY_THE_LIBRARY


def _quantization(draft: Draft, values: dict[str, Json], *, quantizes: bool) -> None:
    method = _method(values, quantizes=quantizes)
    cache = _kv_cache(values)
    texts = {ours: values.pop(name) for name, ours in _TEXTS.items() if name in values}
    dataset = values.pop("calib_dataset", None)
    group = values.pop("awq_block_size", None) or values.pop("group_size", None)
    if method is None:
        if cache:
            draft.lose("the KV cache's type", "a KV cache is quantized together with weights")
        return
    said: dict[str, Json] = {"method": method}
    if cache:
        said["kv_cache_dtype"] = cache
    if group is not None and METHODS[method].groups:
        said["group_size"] = group
    draft.put(("quantization",), said if len(said) > 1 else method)
    if METHODS[method].needs_texts("engine") or cache:
        _texts(draft, method, dataset, texts)


def _texts(draft: Draft, method: str, dataset: Json, texts: Mapping[str, Json]) -> None:
    """The texts' place. Data sets that the scripts know by name have other columns than a recipe's texts."""
    from enginebuild.recipe import forms

    if isinstance(draft.get(("quantization",)), str):
        draft.put(("quantization",), {"method": method})
    place = ("quantization", "calibration")
    source = _dataset(str(dataset)) if dataset is not None else ""
    named = "calib_dataset" if dataset is not None else "calib_dataset, cnn_dailymail by default,"
    if source and forms.dataset(source) is None and "cnn_dailymail" not in source:
        draft.put((*place, "dataset"), source, "--calib_dataset")
    else:
        why = f"the scripts' {named} is no data set with the columns text or messages: choose texts"
        draft.gap((*place, "dataset"), why, forms.DATASET_EXAMPLE)
    for name, value in texts.items():
        draft.put((*place, name), value)
    if not texts and draft.get(place) is None:
        draft.put((*place, "num_samples"), 512)


def _dataset(text: str) -> str:
    if text.startswith(("/", ".", "~")):
        return f"file:{text}"
    return f"hf://datasets/{text}"


def _method(values: dict[str, Json], *, quantizes: bool) -> str | None:
    if quantizes:
        word = str(values.pop("qformat", "full_prec")).lower()
        method = QUANTIZATIONS.get(word, word)
        return method if method in METHODS else None
    smooth = values.get("smoothquant")
    for name, method in _SWITCHES.items():
        if values.pop(name, False) is True:
            return method
    if smooth is not None:
        return "w8a8_int8"
    if values.get("use_weight_only") is True:
        return _PRECISIONS.get(str(values.get("weight_only_precision", "int8")))
    return None


def _kv_cache(values: dict[str, Json]) -> str | None:
    said = values.pop("kv_cache_dtype", None)
    if values.pop("fp8_kv_cache", False) is True:
        return "fp8"
    if values.pop("int8_kv_cache", False) is True:
        return "int8"
    return str(said) if said is not None else None
