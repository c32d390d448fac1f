"""The section `quantization`: how the weights are quantized while building."""

from __future__ import annotations

from enginebuild.recipe import forms
from enginebuild.recipe.containers import ListOf
from enginebuild.recipe.forms import DATASET_EXAMPLE
from enginebuild.recipe.kinds import Choice, Count, Text
from enginebuild.recipe.methods import GROUP_SIZE, METHODS, TARGETS, TOOLS
from enginebuild.recipe.quantization_words import (
    KV_CACHE_DTYPES,
    KV_CACHE_REFUSALS,
    QUANTIZATION_REFUSALS,
    QUANTIZATION_TOOLS,
    QUANTIZATIONS,
    TOOL_REFUSALS,
)
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.unknown import answer
from enginebuild_cache import Json

CALIBRATION = Section(
    (
        Field(
            "dataset",
            Text(
                "hf://datasets/org/name or file:./folder",
                forms.dataset,
                r"^(hf:(//)?datasets/[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*(@.+)?|file:.+)$",
                f"write for example {DATASET_EXAMPLE}",
            ),
            "Where the texts are: a data set of the Hugging Face Hub with an optional @revision, or a folder "
            "relative to the recipe.",
            DATASET_EXAMPLE,
            required=True,
        ),
        Field("num_samples", Count(), "How many texts are taken.", 512, 512),
        Field("max_seq_length", Count(), "Tokens of a text that are read at most.", 512, 512),
        Field("batch_size", Count(), "Texts that go through the model at once.", 1, 1),
        Field("seed", Count(0), "What the tool's random choices begin with.", 1234, 1234),
    ),
    answer,
)


def _method_in(*names: str) -> dict[str, Json]:
    return {"properties": {"method": {"enum": list(names)}}, "required": ["method"]}


def _without(*keys: str) -> dict[str, Json]:
    return {"properties": dict.fromkeys(keys, False)}


#: Whatever serves: a schema cannot tell.
_NEVER_TEXTS = [name for name, method in METHODS.items() if not any(map(method.needs_texts, TARGETS))]
_ALWAYS_TEXTS = [name for name, method in METHODS.items() if all(map(method.needs_texts, TARGETS))]
_NO_GROUPS = [method.name for method in METHODS.values() if not method.groups]

QUANTIZATION = Section(
    (
        Field(
            "method",
            Choice(("none", *METHODS), QUANTIZATIONS, QUANTIZATION_REFUSALS),
            "How numbers are stored and multiplied; none quantizes nothing.",
            "fp8",
            required=True,
        ),
        Field(
            "tool",
            Choice(TOOLS, QUANTIZATION_TOOLS, TOOL_REFUSALS),
            "What quantizes. By default llm-compressor for vLLM, quantize.py for TensorRT-LLM's mode engine, "
            "modelopt for its mode pytorch.",
            "modelopt",
        ),
        Field(
            "kv_cache_dtype",
            Choice(("fp8", "int8", "nvfp4"), KV_CACHE_DTYPES, KV_CACHE_REFUSALS),
            "Type of the KV cache, with scales in the checkpoint. Without it the KV cache is not quantized.",
            "fp8",
        ),
        Field(
            "group_size",
            Count(16, 16),
            f"Weights that share a scale, for methods that begin with w4; {GROUP_SIZE} by default.",
            64,
        ),
        Field(
            "exclude_modules",
            ListOf(Text("a text", forms.module), "lm_head"),
            'Modules that are not quantized, as patterns; ["lm_head"] by default. Not with quantize.py.',
            ["lm_head"],
        ),
        Field(
            "calibration",
            CALIBRATION,
            "Texts from which the tool takes scales, for methods that need them.",
            {"dataset": DATASET_EXAMPLE},
        ),
    ),
    answer,
    conditions={
        "allOf": [
            {
                "if": _method_in("none"),
                "then": _without("tool", "kv_cache_dtype", "group_size", "exclude_modules", "calibration"),
            },
            {"if": _method_in(*_NO_GROUPS), "then": _without("group_size")},
            {"if": _method_in(*_ALWAYS_TEXTS), "then": {"required": ["calibration"]}},
            {"if": {"required": ["kv_cache_dtype"]}, "then": {"required": ["calibration"]}},
            {
                "if": {"allOf": [_method_in(*_NEVER_TEXTS), _without("kv_cache_dtype")]},
                "then": _without("calibration"),
            },
        ]
    },
)
