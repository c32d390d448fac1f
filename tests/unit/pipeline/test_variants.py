"""Publishing several images under one name, in layouts: what each entry says, and every refusal whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enginebuild.errors import EngineBuildError, PublishError, RecipeError, SourceError
from enginebuild.events import silent
from enginebuild.inspect import IndexInspection, Inspection, inspect
from enginebuild.variants import PublishedIndex, annotations_of, publish_index
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.image import Image
from enginebuild_images.layout import write_layout
from enginebuild_images.manifest import Platform
from enginebuild_images.modelpack import ModelCard, assemble_modelpack
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents

if TYPE_CHECKING:
    from enginebuild_images.registry import Registry

KEY = "enginebuild.key"
PLATFORM = "linux/amd64"


def image_for(gpu: str, platform: Platform | None = None) -> Image:
    labels = {KEY: f"sha256:{gpu}", "enginebuild.gpu": gpu, "enginebuild.engine": "vllm", "team": "ml"}
    layer = Contents().blob({"model/weights": b"weights"})
    return assemble(scratch(platform or Platform()), [layer], ImageSettings(labels=labels))


H100, L4 = image_for("H100-SXM-80GB"), image_for("L4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A layout with an image per GPU."""
    write_layout(H100, tmp_path / "a", ["h100"])
    write_layout(L4, tmp_path / "a", ["l4"])
    return tmp_path / "a"


def no_registry() -> Registry:
    raise AssertionError("no registry is asked")


def publish(name: str, *images: str) -> PublishedIndex:
    return publish_index(name, images, no_registry, silent)


def test_an_entry_repeats_our_labels_and_adds_what_follows_from_the_gpu() -> None:
    labels = {
        KEY: "sha256:0",
        "enginebuild.gpu": "H100-SXM-80GB",
        "enginebuild.engine.version": "0.33.0",
        "org.opencontainers.image.licenses": "mit",
        "org.opencontainers.image.vendor": "Example",
        "team": "ml",
    }
    assert annotations_of(labels) == {
        KEY: "sha256:0",
        "enginebuild.gpu": "H100-SXM-80GB",
        "enginebuild.gpu.compute_capability": "9.0",
        "enginebuild.engine.version": "0.33.0",
        "org.opencontainers.image.licenses": "mit",
    }


@pytest.mark.parametrize("labels", [{}, {"enginebuild.gpu": "GPU-OF-NEXT-YEAR"}])
def test_a_gpu_that_is_not_in_the_catalogue_has_no_capability(labels: dict[str, str]) -> None:
    assert annotations_of(labels) == labels


def test_images_of_one_layout_are_listed_and_nothing_else_is_written(folder: Path) -> None:
    before = {path.name for path in (folder / "blobs/sha256").iterdir()}
    published = publish(f"oci:{folder}:v1", f"oci:{folder}:h100", f"oci:{folder}@{L4.digest}")
    after = {path.name for path in (folder / "blobs/sha256").iterdir()}
    assert after - before == {published.digest.hex}
    assert published.name == f"oci:{folder}@{published.digest}"
    assert [name for name, _ in published.variants] == [
        f"oci:{folder}@{H100.digest}",
        f"oci:{folder}@{L4.digest}",
    ]
    listed = json.loads((folder / "index.json").read_text())["manifests"]
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in listed] == [
        "h100",
        "l4",
        "v1",
    ]
    assert publish(f"oci:{folder}:v1", f"oci:{folder}:h100", f"oci:{folder}:l4") == published


def test_images_of_other_layouts_are_brought_along(folder: Path, tmp_path: Path) -> None:
    write_layout(image_for("T4"), tmp_path / "b")
    published = publish(f"oci:{tmp_path}/c:v1", f"oci:{folder}:h100", f"oci:{tmp_path}/b")
    assert [annotations["enginebuild.gpu.compute_capability"] for _, annotations in published.variants] == [
        "9.0",
        "7.5",
    ]
    for name, _ in published.variants:
        assert isinstance(inspect(name, PLATFORM, no_registry), Inspection)


def test_what_it_says_to_programs(folder: Path) -> None:
    published = publish(f"oci:{folder}:v1", f"oci:{folder}:l4")
    assert published.to_json() == {
        "index": {"digest": str(published.digest), "name": f"oci:{folder}@{published.digest}"},
        "variants": [
            {
                "name": f"oci:{folder}@{L4.digest}",
                "annotations": {
                    KEY: "sha256:L4",
                    "enginebuild.gpu": "L4",
                    "enginebuild.gpu.compute_capability": "8.9",
                    "enginebuild.engine": "vllm",
                },
            }
        ],
    }


def test_inspect_lists_the_images_of_one_platform(folder: Path) -> None:
    published = publish(f"oci:{folder}:v1", f"oci:{folder}:h100", f"oci:{folder}:l4")
    found = inspect(f"oci:{folder}:v1", PLATFORM, no_registry)
    assert isinstance(found, IndexInspection)
    assert found.digest == str(published.digest)
    assert [(each.name, each.platform, each.annotations) for each in found.variants] == [
        (name, PLATFORM, annotations) for name, annotations in published.variants
    ]
    by_digest = inspect(published.name, PLATFORM, no_registry)
    assert isinstance(by_digest, IndexInspection)
    assert by_digest.variants == found.variants


def test_inspect_reads_the_only_image_of_a_platform(folder: Path) -> None:
    arm = image_for("GH200-96GB", Platform("linux", "arm64"))
    write_layout(arm, folder, ["arm"])
    publish(f"oci:{folder}:v1", f"oci:{folder}:h100", f"oci:{folder}:arm")
    for platform, image in ((PLATFORM, H100), ("linux/arm64", arm)):
        found = inspect(f"oci:{folder}:v1", platform, no_registry)
        assert isinstance(found, Inspection)
        assert (found.digest, found.platform) == (str(image.digest), platform)


def refusal(error: type[EngineBuildError], name: str, *images: str) -> tuple[str, str]:
    with pytest.raises(error) as caught:
        publish(name, *images)
    return caught.value.message, caught.value.hint


NO_TAG = "cannot be the name of an index: that ends with a tag, and its digest is yet to be made"


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("registry.example.com/llm/a", "registry.example.com/llm/a:TAG"),
        ("registry.example.com/llm/a@sha256:" + "0" * 64, "registry.example.com/llm/a:TAG"),
        ("registry.example.com/llm/a:v1@sha256:" + "0" * 64, "registry.example.com/llm/a:TAG"),
        ("oci:dist/a", "oci:FOLDER:TAG"),
        ("oci:dist/a@sha256:" + "0" * 64, "oci:FOLDER:TAG"),
    ],
)
def test_a_name_without_a_tag(name: str, better: str) -> None:
    assert refusal(RecipeError, name, "oci:dist/a:v1") == (f"{name} {NO_TAG}", f"write {better}")


def test_a_name_that_is_none() -> None:
    assert refusal(RecipeError, "https://registry.example.com/a:v1", "oci:dist/a:v1") == (
        "'https://registry.example.com/a:v1' is not an image name: it starts like a URL",
        "leave out https://",
    )


def test_an_image_named_twice(folder: Path) -> None:
    twice = (f"oci:{folder}:l4", f"oci:{folder}@{L4.digest}")
    assert refusal(RecipeError, f"oci:{folder}:v1", *twice) == (
        f"{twice[0]} and {twice[1]} are one image, {L4.digest}",
        "name each image once",
    )


def test_an_image_in_a_docker_engine() -> None:
    assert refusal(RecipeError, "oci:dist/a:v1", "docker:llama:v1") == (
        "docker:llama:v1 lies in a Docker Engine, which keeps no manifests that an index could name",
        "push it or write it into a layout, with enginebuild run and --push or --output",
    )


def test_an_index_of_an_index(folder: Path) -> None:
    publish(f"oci:{folder}:v1", f"oci:{folder}:h100", f"oci:{folder}:l4")
    assert refusal(SourceError, f"oci:{folder}:v2", f"oci:{folder}:v1") == (
        f"oci:{folder}:v1 is an index itself",
        f"name its images: oci:{folder}@{H100.digest}, oci:{folder}@{L4.digest}",
    )


def test_an_artifact(folder: Path) -> None:
    layer = Contents().blob({"model/a.safetensors": b"a"})
    write_layout(assemble_modelpack([layer], ModelCard(), {}), folder, ["pack"])
    assert refusal(SourceError, f"oci:{folder}:v1", f"oci:{folder}:pack") == (
        f"oci:{folder}:pack is a ModelPack artifact, which has no platform by which an index could offer it",
        "give it a name of its own, or pack the model with image.layout: model",
    )


def test_an_image_that_is_not_there(folder: Path) -> None:
    assert refusal(SourceError, f"oci:{folder}:v1", f"oci:{folder}:a100") == (
        f"{folder} has no image 'a100' for linux/amd64",
        f"name one of: {folder}:h100, {folder}:l4",
    )
    assert refusal(SourceError, "oci:dist/a:v1", "registry.example.com/llm/a") == (
        "registry.example.com/llm/a has neither a tag nor a digest",
        "name one: registry.example.com/llm/a@sha256:…",
    )


def test_a_place_that_is_something_else(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").touch()
    assert refusal(PublishError, f"oci:{tmp_path}/b:v1", f"oci:{folder}:l4") == (
        f"{tmp_path}/b is neither empty nor an OCI layout",
        "name a new or an empty folder",
    )
