"""The section `engine`: what serves, and what each engine is told."""

from __future__ import annotations

from enginebuild.recipe import forms
from enginebuild.recipe.containers import Arguments
from enginebuild.recipe.forms import anchored
from enginebuild.recipe.kinds import Choice, Switch, Text
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.tensorrt_llm_words import MODE_REFUSALS, MODES, SERVERS, TENSORRT_LLM
from enginebuild.recipe.unknown import TENSORRT_LLM_ALONE, VLLM_ALONE, answer
from enginebuild_cache import Json


def _none_of(keys: tuple[str, ...]) -> dict[str, Json]:
    return {"properties": dict.fromkeys(keys, False)}


ENGINE = Section(
    (
        Field(
            "type",
            Choice(("vllm", "tensorrt_llm"), dict.fromkeys(TENSORRT_LLM, "tensorrt_llm")),
            "The inference engine.",
            "vllm",
            required=True,
        ),
        Field(
            "version",
            Text(
                "a version with three parts",
                forms.engine_version,
                anchored(forms.VERSION),
                'quote it and give all three parts, such as "0.33.0"',
            ),
            "The engine's version, all three parts.",
            "0.33.0",
            required=True,
        ),
        Field(
            "args",
            Arguments(),
            "Arguments of vLLM by their long names, with underscores; checked against that version.",
            {"max_model_len": 8192},
            {},
        ),
        Field(
            "validate",
            Switch(),
            "Before the image is made, ask the vLLM that is in image.base or builder.environment what it "
            "makes of its configuration and chat template; needs no GPU.",
            True,
            False,
        ),
        Field(
            "mode",
            Choice(("engine", "pytorch"), MODES, MODE_REFUSALS),
            "TensorRT-LLM only: compile an engine with trtllm-build, or let the PyTorch backend load the "
            "model. By default engine where build is given or the version has nothing else, else pytorch.",
            "engine",
        ),
        Field(
            "build",
            Arguments("a mapping of options to values", "option"),
            "TensorRT-LLM, mode engine: options of trtllm-build, with underscores; checked as args are.",
            {"max_batch_size": 64, "gemm_plugin": "auto"},
        ),
        Field(
            "runtime",
            Arguments("a mapping of options to values", "option", nulls=True),
            "TensorRT-LLM only: how it serves: in mode pytorch the keys of trtllm-serve's YAML, in mode "
            "engine the options of trtllm-serve or, with server triton, the keys of Triton's templates.",
            {"max_batch_size": 64},
            {},
        ),
        Field(
            "server",
            Choice(("trtllm-serve", "triton"), SERVERS),
            "TensorRT-LLM only: the server in the image.",
            "triton",
            "trtllm-serve",
        ),
    ),
    answer,
    conditions={
        "if": {"properties": {"type": {"const": "tensorrt_llm"}}, "required": ["type"]},
        "then": {
            **_none_of(VLLM_ALONE),
            "if": {"properties": {"mode": {"const": "pytorch"}}, "required": ["mode"]},
            "then": _none_of(("build",)),
        },
        "else": _none_of(TENSORRT_LLM_ALONE),
    },
)
