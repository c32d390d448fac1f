"""Images of the model alone, as steps: what their keys hold, and how shards are grouped."""

from __future__ import annotations

import pytest

from enginebuild.bases import Bases
from enginebuild.errors import SourceError
from enginebuild.lock import BaseLock, ModelLock
from enginebuild.recipe import Recipe, parse
from enginebuild.resolve import Resolution, Unresolved
from enginebuild.steps import RecipeSteps, steps_of
from enginebuild.steps.image import Pack
from enginebuild_cache import Digest, File, Json, Tree
from enginebuild_images.base import Base, scratch
from enginebuild_images.blob import LAYER, Descriptor, FileBlob
from enginebuild_images.policy import LARGE
from enginebuild_images.registry import Registry

COMMIT = "c" * 40
BASE = BaseLock("docker.io/vllm/vllm-openai:v0.33.0", "linux/amd64", Digest.of(b"base"))


def no_registry() -> Registry:
    raise AssertionError("no registry is asked")


def recipe(layout: str, more: str = "", name: str = "tiny") -> Recipe:
    base = f", base: {BASE.reference}" if layout == "server" else ""
    return parse(
        f"version: 1\nname: {name}\nmodel: hf://org/Tiny@main\nengine: {{type: vllm, version: 0.33.0}}\n"
        f"image: {{layout: {layout}{base}}}\n{more}".encode(),
        "tiny.yaml",
    )


def model(shards: int = 2, licence: str | None = "mit") -> ModelLock:
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    files = [File(name, Digest.of(name.encode()), LARGE) for name in names]
    small = File("config.json", Digest.of(b"{}"), 2)
    return ModelLock({}, COMMIT, Tree.of([*files, small]), licence)


def steps(read: Recipe, locked: ModelLock | Unresolved) -> RecipeSteps:
    base = BASE if read.image.layout == "server" else BaseLock("scratch", read.image.platform, None)
    return steps_of(read, Resolution(locked, base, {}), Bases(read.folder, no_registry), 1)


@pytest.mark.parametrize("layout", ["model", "modelpack"])
def test_the_whole_of_what_is_in_the_key(layout: str) -> None:
    made = steps(recipe(layout), model())
    assert [step.name for step in made.steps] == ["fetch", "image"]
    step = made.steps[-1]
    assert step.inputs == ("fetch",)
    only: dict[str, dict[str, Json]] = {
        "model": {"platform": "linux/amd64"},
        "modelpack": {
            "card": {
                "name": "Tiny",
                "sourceURL": "https://huggingface.co/org/Tiny",
                "revision": COMMIT,
                "licenses": ["mit"],
            }
        },
    }
    assert step.fields == {
        "layout": layout,
        "paths": {"fetch": "/model"},
        "layers": {"format": 1, "large": 64 << 20, "bundle": 512 << 20, "most": 69},
        "labels": {
            "enginebuild.key": str(made.key),
            "enginebuild.layout": layout,
            "enginebuild.model": "hf://org/Tiny",
            "enginebuild.model.commit": COMMIT,
            "enginebuild.model.digest": str(model().tree.digest),
            "org.opencontainers.image.licenses": "mit",
        },
        "created": 0,
        **only[layout],
    }


def test_each_layout_has_a_key_of_its_own() -> None:
    keys = {steps(recipe(layout), model()).key for layout in ("server", "model", "modelpack")}
    assert len(keys) == 3


@pytest.mark.parametrize("layout", ["model", "modelpack"])
def test_what_decides_nothing(layout: str) -> None:
    other = recipe(layout, "gpu: L4\ndtype: float16\ntensor_parallel_size: 2\n", name="other")
    assert steps(other, model()).key == steps(recipe(layout), model()).key
    assert steps(other, model()).steps[-1].fields == steps(recipe(layout), model()).steps[-1].fields


def test_a_model_without_a_licence_has_no_label_of_one() -> None:
    labels = steps(recipe("model"), model(licence=None)).steps[-1].fields["labels"]
    assert isinstance(labels, dict)
    assert "org.opencontainers.image.licenses" not in labels


def test_a_server_says_the_licence_too() -> None:
    labels = steps(recipe("server"), model()).steps[-1].fields["labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.licenses"] == "mit"


def test_what_is_not_resolved_is_planned_all_the_same() -> None:
    made = steps(recipe("model"), Unresolved(SourceError("the Hub cannot be reached")))
    assert made.key is None
    assert [(step.name, step.unresolved) for step in made.steps] == [
        ("fetch", "the Hub cannot be reached"),
        ("image", "the Hub cannot be reached"),
    ]


def base_of(layers: int) -> Base:
    blobs = [
        FileBlob(Descriptor(LAYER, Digest.of(bytes([number])), 1), recipe("model").folder)
        for number in range(layers)
    ]
    return Base({}, tuple(blobs), scratch().platform)


@pytest.mark.parametrize("shards", [1, 30, 68, 80, 163, 300])
@pytest.mark.parametrize("base_layers", [26, 29, 30])
def test_shards_are_grouped_as_in_the_image_of_the_server(shards: int, base_layers: int) -> None:
    grouped = {}
    for layout, base in (("server", base_of(base_layers)), ("model", scratch()), ("modelpack", scratch())):
        action = steps(recipe(layout), model(shards)).steps[-1].action
        assert isinstance(action, Pack)
        configuration = Tree.of([File("vllm.yaml", Digest.of(b""), 0)])
        layers = action.layers({"fetch": model(shards).tree, "configure": configuration}, base)
        grouped[layout] = [layer for layer in layers if layer.entries[0].path.startswith("model/")]
    assert grouped["model"] == grouped["server"]
    assert grouped["modelpack"] == grouped["server"]
