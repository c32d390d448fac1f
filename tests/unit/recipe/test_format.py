"""The table of fields, the words of other tools and the catalogue of GPUs agree with each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import enginebuild
from enginebuild.recipe import catalogue, parse
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.gpu import candidates
from enginebuild.recipe.section import Field, Section, ShortOrSection
from enginebuild.recipe.unknown import PLACES
from enginebuild.recipe.words import DTYPES, ENGINE_ARGUMENTS, KEYS, LATER, PLATFORMS

PACKAGE = Path(enginebuild.__file__).parent


def fields(section: Section = RECIPE, prefix: str = "") -> Iterator[tuple[str, Field]]:
    for field in section.fields:
        yield prefix + field.name, field
        inner = field.kind.section if isinstance(field.kind, ShortOrSection) else field.kind
        if isinstance(inner, Section):
            yield from fields(inner, f"{prefix}{field.name}.")


PATHS = dict(fields())


def test_places_hold_every_key_whose_name_is_used_once() -> None:
    last = {path: path.rsplit(".", 1)[-1] for path in PATHS}
    once = {name: path for path, name in last.items() if list(last.values()).count(name) == 1}
    # A `name` in a wrong place may be the name of anything.
    assert once == {**PLACES, "name": "name"}


@pytest.mark.parametrize(("word", "ours"), KEYS.items())
def test_a_peers_word_is_answered_with_a_path_that_exists(word: str, ours: str) -> None:
    argument = ours.removeprefix("engine.args.")
    assert ours in PATHS or argument in ENGINE_ARGUMENTS
    assert word not in RECIPE.names()
    assert word == word.lower().replace("-", "_")


def test_words_of_other_tools_are_not_ours() -> None:
    assert not set(KEYS) & set(ENGINE_ARGUMENTS)
    assert not set(LATER) & {path.rsplit(".", 1)[-1] for path in PATHS}
    assert set(DTYPES.values()) <= {"float16", "bfloat16", "float32"}
    assert set(PLATFORMS.values()) == {"linux/amd64", "linux/arm64"}


def test_engine_arguments_are_those_of_vllm() -> None:
    table = json.loads((PACKAGE / "engines" / "vllm" / "tables" / "0.33.0.json").read_text("utf-8"))
    assert sorted(ENGINE_ARGUMENTS - set(table["arguments"])) == []


@pytest.mark.parametrize("path", PATHS)
def test_the_example_of_a_field_is_accepted(path: str) -> None:
    document: dict[str, object] = {field.name: field.example for field in RECIPE.fields if field.required}
    *above, name = path.split(".")
    section = document
    for key in above:
        value = section.get(key)
        section[key] = dict(value) if isinstance(value, dict) else {}
        section = section[key]  # type: ignore[assignment]
    if above == ["model"]:
        section["source"] = "hf://org/tiny"
    section[name] = PATHS[path].example
    parse(json.dumps(document).encode(), "r.yaml")


def test_texts_of_fields_are_sentences() -> None:
    for path, field in PATHS.items():
        assert re.fullmatch(r"[A-Z].*\.", field.text), path


def test_catalogue() -> None:
    document = json.loads((PACKAGE / "gpus.json").read_text("utf-8"))
    assert list(document["gpus"]) == list(catalogue())
    for name, entry in document["gpus"].items():
        assert set(entry) == {"compute_capability", "memory_gb", "product", "source"}, name
        assert set(entry["source"]) <= set(document["sources"]), name
        assert re.fullmatch(r"(7|8|9|10|12)\.\d", entry["compute_capability"]), name
        size = re.search(r"-(\d+)GB$", name)
        assert size is None or int(size[1]) == entry["memory_gb"], name
    products = [gpu.product for gpu in catalogue().values()]
    assert len(set(products)) == len(products)


@pytest.mark.parametrize(
    ("name", "capability", "memory"),
    [
        ("T4", "7.5", 16),
        ("A10G", "8.6", 24),
        ("A100-SXM-80GB", "8.0", 80),
        ("L40S", "8.9", 48),
        ("H100-SXM-80GB", "9.0", 80),
        ("H20-96GB", "9.0", 96),
        ("B200-SXM-180GB", "10.0", 180),
        ("B300-SXM-288GB", "10.3", 288),
        ("GB200-186GB", "10.0", 186),
        ("RTX-5090", "12.0", 32),
    ],
)
def test_facts_of_gpus(name: str, capability: str, memory: int) -> None:
    gpu = catalogue()[name]
    assert (gpu.compute_capability, gpu.memory_gb) == (capability, memory)


@pytest.mark.parametrize("name", catalogue())
def test_every_gpu_is_found_by_its_product_name(name: str) -> None:
    product = catalogue()[name].product
    assert candidates(product) == [name]
    assert candidates(product.replace(" ", "-").lower()) == [name]
