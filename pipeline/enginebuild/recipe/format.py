"""The recipe format, version 1: the one table that reading, the JSON Schema and the reference are made of."""

from __future__ import annotations

import re

from enginebuild.recipe import forms, references
from enginebuild.recipe.builder_section import BUILDER
from enginebuild.recipe.checks import REFUSING
from enginebuild.recipe.containers import ListOf, TextsByKey
from enginebuild.recipe.engine_section import ENGINE
from enginebuild.recipe.forms import anchored
from enginebuild.recipe.gpu import GpuName
from enginebuild.recipe.kinds import Choice, Complaint, Count, Switch, Text, Version
from enginebuild.recipe.matrix_section import MATRIX, VARIANTS
from enginebuild.recipe.quantization import QuantizationKind
from enginebuild.recipe.quantization_section import QUANTIZATION
from enginebuild.recipe.section import Field, Section, ShortOrSection
from enginebuild.recipe.unknown import answer
from enginebuild.recipe.verify_section import VERIFY
from enginebuild.recipe.warm_section import WARM_KIND
from enginebuild.recipe.words import COMPRESSIONS, DTYPES, LAYOUTS, LAZY, PLATFORMS

RECIPE_VERSION = 1
DEFAULT_TAGS = ("{key}",)
DEFAULT_AUTH = "HF_TOKEN"
BASE_EXAMPLE = "docker.io/vllm/vllm-openai:v0.33.0"


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
            Text("the name of an environment variable", forms.variable, anchored(forms.VARIABLE)),
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

IMAGE = Section(
    (
        Field(
            "base",
            Text(
                "scratch, oci:./layout or an image reference",
                references.base,
                anchored(references.BASE),
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
                anchored(references.REPOSITORY),
                "write for example registry.example.com/llm/llama-3.1-8b",
            ),
            "Where --push sends the image, without a tag.",
            "registry.example.com/llm/llama-3.1-8b",
        ),
        Field(
            "tags",
            ListOf(Text("a text", references.tag, anchored(references.TAG_PATTERN)), "{key}"),
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
                anchored(references.REPOSITORY),
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
            Text("a text", forms.name, anchored(forms.NAME)),
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
            "allow",
            ListOf(Choice(REFUSING, {}), "memory"),
            "Checks of the model against its GPUs that warn instead of refusing.",
            ["memory"],
        ),
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
            "warm",
            WARM_KIND,
            "Start the image where it is built, and ship its compile cache once a second start has used it; "
            "vLLM only.",
            True,
            False,
        ),
        Field(
            "verify",
            VERIFY,
            "What the image must do before it is published; {} for what every server must.",
            {"smoke": {"prompts": [{"prompt": "The capital of France is", "expect": "Paris"}]}},
        ),
        Field(
            "cache",
            CACHE,
            "What is shared with other machines.",
            {"remote": "registry.example.com/llm/cache"},
        ),
        Field(
            "matrix",
            MATRIX,
            "Builds a recipe for each combination of values: its axes are keys of the recipe, or names that "
            "variants ask for.",
            {"tensor_parallel_size": [1, 2]},
        ),
        Field(
            "variants",
            VARIANTS,
            "Parts of the recipe for those cells that have the values in when.",
            [{"when": {"tensor_parallel_size": 2}, "builder": {"gpus": 2}}],
        ),
    ),
    answer,
)
