"""The recipe format, version 1: the one table that reading, the JSON Schema and the reference are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping

from enginebuild.recipe import forms, references
from enginebuild.recipe.containers import ARGUMENT_SCHEMAS, Arguments, ListOf, TextsByKey
from enginebuild.recipe.gpu import GpuName
from enginebuild.recipe.kinds import (
    Choice,
    Complaint,
    Count,
    Switch,
    Text,
    Version,
)
from enginebuild.recipe.methods import GROUP_SIZE, METHODS, TOOLS
from enginebuild.recipe.quantization import QuantizationKind
from enginebuild.recipe.refusals import (
    KV_CACHE_REFUSALS,
    MODE_REFUSALS,
    QUANTIZATION_REFUSALS,
    RUNNER_REFUSALS,
    TOOL_REFUSALS,
)
from enginebuild.recipe.section import Field, Section, ShortOrSection
from enginebuild.recipe.units import DURATION_KIND, SIZE_KIND, Gpus
from enginebuild.recipe.unknown import answer
from enginebuild.recipe.words import (
    COMPRESSIONS,
    DTYPES,
    KV_CACHE_DTYPES,
    LAYOUTS,
    LAZY,
    MODES,
    PLATFORMS,
    QUANTIZATION_TOOLS,
    QUANTIZATIONS,
    RUNNERS,
    SERVERS,
    TENSORRT_LLM,
)
from enginebuild_cache import Json

RECIPE_VERSION = 1
DEFAULT_TAGS = ("{key}",)
DEFAULT_AUTH = "HF_TOKEN"
DEFAULT_TIMEOUT = "12h"
DEFAULT_SHM_SIZE = "16GB"
BASE_EXAMPLE = "docker.io/vllm/vllm-openai:v0.33.0"
DATASET_EXAMPLE = "hf://datasets/abisee/cnn_dailymail"


def _anchored(pattern: str) -> str:
    return f"^(?:{pattern})$"


_PATTERN = Text("a text", forms.pattern)

MODEL = Section(
    (
        Field(
            "source",
            Text(
                "hf://org/name or file:./folder",
                forms.model_source,
                r"^(hf:(//)?[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*(@.+)?|file:.+)$",
                "write for example hf://meta-llama/Llama-3.1-8B-Instruct",
            ),
            "Where the weights are: a model of the Hugging Face Hub, or a folder relative to the recipe.",
            "hf://meta-llama/Llama-3.1-8B-Instruct",
            required=True,
        ),
        Field(
            "revision",
            Text("a text", forms.revision),
            "Branch, tag or commit on the Hub; may be written as @revision after the source.",
            "main",
        ),
        Field(
            "auth",
            Text("the name of an environment variable", forms.variable, _anchored(forms.VARIABLE)),
            "Name of the environment variable that holds the Hub's access token, never the token.",
            "HF_TOKEN",
            DEFAULT_AUTH,
        ),
        Field(
            "allow_patterns",
            ListOf(_PATTERN, "*.safetensors"),
            "Only files that match one of these patterns are taken.",
            ["*.safetensors", "*.json"],
        ),
        Field(
            "ignore_patterns",
            ListOf(_PATTERN, "original/*"),
            "Files that match one of these patterns are left out.",
            ["original/*"],
        ),
        Field(
            "allow_pickle",
            Switch(),
            "Take pickled weights (*.bin, *.pt), which can run code when they are loaded.",
            False,
            False,
        ),
    ),
    answer,
)

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
                _anchored(forms.VERSION),
                'quote it and give all three parts, such as "0.33.0"',
            ),
            "The engine's version, all three parts.",
            "0.33.0",
            required=True,
        ),
        Field(
            "args",
            Arguments(),
            "vLLM only: its arguments by their long names, with underscores; checked against that version.",
            {"max_model_len": 8192},
            {},
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
            Arguments("a mapping of options to values"),
            "TensorRT-LLM, mode engine: options of trtllm-build, with underscores; checked as args are.",
            {"max_batch_size": 64, "gemm_plugin": "auto"},
        ),
        Field(
            "runtime",
            Arguments("a mapping of options to values", nulls=True),
            "TensorRT-LLM only: how it serves: in mode pytorch the keys of trtllm-serve's YAML, in mode "
            "engine the options of trtllm-serve, with server triton the keys of Triton's templates.",
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
)

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
            Count(),
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
)

BUILDER = Section(
    (
        Field(
            "runner",
            Choice(("docker", "local"), RUNNERS, RUNNER_REFUSALS),
            "Where a step's commands run: in a container, or as processes of this machine.",
            "docker",
            "docker",
        ),
        Field(
            "image",
            Text("an image reference", references.builder_image, _anchored(references.IMAGE)),
            "runner docker: the image to run, with tag or digest. By default TensorRT-LLM's own, by version.",
            "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
        ),
        Field(
            "environment",
            Text("a folder", forms.environment, "", "write for example /opt/trtllm"),
            "runner local: folder of the Python environment whose programs run, relative to the recipe.",
            "/opt/trtllm",
        ),
        Field("gpus", Gpus(), "GPUs of the builder that a step may use: how many, or which.", 1, 1),
        Field("timeout", DURATION_KIND, "The longest that a step may take.", "4h", DEFAULT_TIMEOUT),
        Field("memory", SIZE_KIND, "runner docker: the container's limit. By default none.", "200GB"),
        Field(
            "shm_size",
            SIZE_KIND,
            "runner docker: shared memory of the container.",
            "16GB",
            DEFAULT_SHM_SIZE,
        ),
        Field(
            "timing_cache",
            Text("file:./path", forms.timing_cache, r"^file:.+$", "write for example file:./model.cache"),
            "TensorRT's timing cache of an earlier build, a file relative to the recipe; part of the key.",
            "file:./model.cache",
        ),
    ),
    answer,
)

IMAGE = Section(
    (
        Field(
            "base",
            Text(
                "scratch, oci:./layout or an image reference",
                references.base,
                _anchored(references.BASE),
                "write for example docker.io/vllm/vllm-openai:v0.33.0",
            ),
            "What the image stands on: scratch, an OCI layout relative to the recipe, or a reference with "
            "tag or digest. Required, unless layout is model or modelpack.",
            BASE_EXAMPLE,
        ),
        Field(
            "layout",
            Choice(("server", "model", "modelpack"), LAYOUTS),
            "What the image is: a server with its model; the model alone, for image volumes; or the model as "
            "a ModelPack artifact.",
            "server",
            "server",
        ),
        Field(
            "repository",
            Text(
                "the name of a repository",
                references.repository,
                _anchored(references.REPOSITORY),
                "write for example registry.example.com/llm/llama-3.1-8b",
            ),
            "Where --push sends the image, without a tag.",
            "registry.example.com/llm/llama-3.1-8b",
        ),
        Field(
            "tags",
            ListOf(Text("a text", references.tag, _anchored(references.TAG_PATTERN)), "{key}"),
            "Tags of the image. {key} and {commit} become 12 digits, {name} and {version} the recipe's name "
            "and the engine's version.",
            ["fp8-{key}", "latest"],
            list(DEFAULT_TAGS),
        ),
        Field(
            "labels",
            TextsByKey(
                Text("a text", forms.label_key, rf"^(?!{re.escape(forms.OWN_LABELS)})(?:{forms.LABEL_KEY})$"),
                Text("a text", forms.any_text),
            ),
            "Labels of the image beside those that enginebuild sets.",
            {"org.opencontainers.image.vendor": "Example"},
            {},
        ),
        Field(
            "platform",
            Choice(("linux/amd64", "linux/arm64"), PLATFORMS),
            "The platform that is taken from the base.",
            "linux/amd64",
            "linux/amd64",
        ),
        Field(
            "compression",
            Choice(
                ("none", "gzip", "zstd", "auto"),
                COMPRESSIONS,
                {
                    word: Complaint(
                        f"cannot be {word}: lazy loading gains nothing for a model, which is read whole",
                        "write none",
                    )
                    for word in LAZY
                },
            ),
            "How our layers are compressed; auto compresses those that shrink by a fifth or more.",
            "none",
            "none",
        ),
    ),
    answer,
    conditions={
        "if": {"properties": {"layout": {"enum": ["model", "modelpack"]}}, "required": ["layout"]},
        "then": {"properties": {"base": {"const": "scratch"}}},
        "else": {"required": ["base"]},
    },
)

CACHE = Section(
    (
        Field(
            "remote",
            Text(
                "the name of a repository",
                references.cache_repository,
                _anchored(references.REPOSITORY),
                "write for example registry.example.com/llm/cache",
            ),
            "Repository from which records are taken and to which they are sent, without a tag.",
            "registry.example.com/llm/cache",
            required=True,
        ),
    ),
    answer,
)

RECIPE = Section(
    (
        Field(
            "version",
            Version(RECIPE_VERSION),
            "Version of the recipe format.",
            RECIPE_VERSION,
            required=True,
        ),
        Field(
            "name",
            Text("a text", forms.name, _anchored(forms.NAME)),
            "Name of what is built, shown in lists and usable in tags.",
            "llama-3.1-8b",
            required=True,
        ),
        Field(
            "model",
            ShortOrSection(MODEL, "source"),
            "The model, as its source alone or as a mapping.",
            "hf://meta-llama/Llama-3.1-8B-Instruct@main",
            required=True,
        ),
        Field(
            "dtype",
            Choice(("auto", "float16", "bfloat16", "float32"), DTYPES),
            "Type the engine computes in; auto takes the checkpoint's.",
            "bfloat16",
            "auto",
        ),
        Field(
            "quantization",
            QuantizationKind(QUANTIZATION, "method", "none, a method or a mapping"),
            "How the weights are quantized while building.",
            "fp8_per_channel_per_token",
            "none",
        ),
        Field(
            "tensor_parallel_size",
            Count(),
            "GPUs that share each layer.",
            2,
            1,
        ),
        Field(
            "pipeline_parallel_size",
            Count(),
            "Groups of GPUs that hold consecutive layers.",
            1,
            1,
        ),
        Field("gpu", GpuName(), "The GPU that will serve.", "H100-SXM-80GB"),
        Field(
            "engine",
            ENGINE,
            "What will serve the model.",
            {"type": "vllm", "version": "0.33.0"},
            required=True,
        ),
        Field(
            "image",
            IMAGE,
            "The image to build.",
            {"base": "docker.io/vllm/vllm-openai:v0.33.0"},
            required=True,
        ),
        Field("builder", BUILDER, "What builds, where a step needs a program of the engine.", {"gpus": 2}),
        Field(
            "cache",
            CACHE,
            "What is shared with other machines.",
            {"remote": "registry.example.com/llm/cache"},
        ),
    ),
    answer,
)


def json_schema() -> dict[str, Json]:
    """The format as JSON Schema, draft 2020-12. What no schema can say is checked on reading alone."""
    body: Mapping[str, Json] = RECIPE.schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "enginebuild recipe, version 1",
        **body,
        "$defs": ARGUMENT_SCHEMAS,
    }
