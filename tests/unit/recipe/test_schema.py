"""The JSON Schema: the checked-in file is the generated one, sound recipes validate, mistakes do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import enginebuild.recipe
from enginebuild.recipe import json_schema, read_cells
from parts.recipe_mistakes import recipes

FILE = Path(enginebuild.recipe.__file__).parent / "recipe.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

#: Mistakes of the text or of YAML, which a schema never sees.
NOT_OF_THE_DOCUMENT = ("file-", "yaml-", "place-", "image-tags-unquoted-brace-within")
#: Mistakes of single texts or of two fields together, which no schema can express.
BEYOND = {
    "builder-environment-file",
    "builder-environment-home",
    "builder-image-no-tag",
    "builder-timing-cache-folder",
    "builder-timing-cache-home",
    "builder-timing-cache-of-vllm",
    "image-base-archive",
    "image-base-layout-home",
    "image-base-layout-url",
    "image-base-no-tag",
    "image-base-of-tensorrt-llm",
    "image-base-of-triton",
    "image-base-other-vllm",
    "image-base-triton-vllm",
    "image-layout-model-of-an-engine",
    "image-layout-model-of-build",
    "image-layout-modelpack-of-an-engine",
    "image-tags-commit-of-folder",
    "image-tags-too-long",
    "matrix-axis-misspelled",
    "matrix-axis-nobody-asks-for",
    "matrix-axis-within-another",
    "matrix-below-a-value",
    "matrix-exclude-all",
    "matrix-exclude-fits-no-cell",
    "matrix-exclude-no-axis",
    "matrix-include-replaces-an-axis",
    "matrix-include-unknown",
    "matrix-include-version",
    "matrix-mistake-in-one-cell",
    "matrix-mistake-in-some-cells",
    "matrix-too-many",
    "matrix-word-of-another-tool",
    "model-auth-is-a-token",
    "model-bad-revision",
    "model-double-dash",
    "model-file-home",
    "model-file-host",
    "model-revision-of-folder",
    "model-revision-spaces",
    "model-revision-twice",
    # Python's re lets $ match before a final line break; ECMA's, which JSON Schema names, does not.
    "name-line-break",
    "quantization-calibration-missing-rowwise",
    "quantization-calibration-needless",
    "quantization-dataset-home",
    "quantization-dataset-revision",
    "quantization-dataset-token",
    "quantization-engine-gptq",
    "quantization-engine-modelopt",
    "quantization-engine-mxfp4",
    "builder-gpus-zero",
    "quantization-exclude-of-quantize-py",
    "quantization-exclude-space",
    "quantization-group-size-of-channels",
    "quantization-kv-cache-int8-vllm",
    "quantization-kv-cache-nvfp4-engine",
    "quantization-pytorch-int8",
    "quantization-pytorch-llm-compressor-awq",
    "quantization-pytorch-quantize-py",
    "quantization-twice",
    "quantization-vllm-gptq",
    "quantization-vllm-modelopt-awq",
    "quantization-vllm-modelopt-int8",
    "quantization-vllm-quantize-py",
    "quantization-vllm-w4a8",
    "variants-for-no-cell",
    "variants-replace-an-axis",
    "variants-set-an-axis",
    "variants-unknown-key",
    "variants-when-not-written",
    "variants-when-unknown",
    "verify-layout-model",
    "verify-perplexity-of-tensorrt-llm",
    "verify-quality-of-nothing",
    "verify-triton",
    "warm-eager",
    "warm-layout-model",
    "warm-of-tensorrt-llm",
    "warm-scratch",
    # 1.0 is an integer to JSON Schema.
    "version-float",
    "validate-of-a-model-alone",
}


def test_the_file_is_what_is_generated() -> None:
    generated = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert FILE.read_text("utf-8") == generated, "write it anew: enginebuild schema > " + FILE.name


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_examples_in_the_schema_are_valid() -> None:
    def check(schema: dict[str, Any]) -> int:
        examples: list[Any] = schema.get("examples", [])
        for example in examples:
            jsonschema.Draft202012Validator({**schema, "$defs": json_schema()["$defs"]}).validate(example)
        inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
        return len(examples) + sum(check(each) for each in inner)

    assert check(json_schema()) > 20


@pytest.mark.parametrize("recipe", sorted((Path(__file__).parents[3] / "recipes").glob("*.yaml")), ids=str)
def test_recipes_that_ship_are_valid(recipe: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(recipe.read_text("utf-8")))
    read_cells(recipe)


MISTAKES = [recipe for recipe in recipes() if not recipe.stem.startswith(NOT_OF_THE_DOCUMENT)]


@pytest.mark.parametrize("recipe", MISTAKES, ids=lambda recipe: recipe.stem)
def test_mistakes_are_invalid(recipe: Path) -> None:
    document = yaml.safe_load(recipe.read_text("utf-8"))
    assert VALIDATOR.is_valid(document) is (recipe.stem in BEYOND)


def test_what_is_beyond_the_schema_is_among_the_mistakes() -> None:
    assert {recipe.stem for recipe in MISTAKES} >= BEYOND
