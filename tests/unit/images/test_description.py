"""An image as a small document: made again by the same digest, refused when it is not whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enginebuild_cache import Digest
from enginebuild_images.base import Base
from enginebuild_images.blob import Blob, Descriptor
from enginebuild_images.description import ImageDescription
from enginebuild_images.errors import ImageError
from parts.image_files import Contents, small_image

CONTENTS = Contents()
BASE = Base.of_image(small_image(), "base")
IMAGE = small_image(BASE, "b", CONTENTS)


def _base_blob(descriptor: Descriptor) -> Blob:
    return {layer.descriptor.digest: layer for layer in BASE.layers}[descriptor.digest]


def _document() -> Any:
    return json.loads(json.dumps(ImageDescription.of(IMAGE, "./base").to_json()))


def test_the_same_image_is_made_again() -> None:
    description = ImageDescription.from_json(_document())
    assert description == ImageDescription.of(IMAGE, "./base")
    assert (description.digest, description.base) == (IMAGE.digest, "./base")
    image = description.image(CONTENTS, _base_blob)
    assert image.digest == IMAGE.digest
    assert image.config == IMAGE.config
    for made, original in zip(image.layers, IMAGE.layers, strict=True):
        assert made.descriptor == original.descriptor
        assert Digest.of_chunks(made.chunks()) == original.descriptor.digest


def test_what_the_base_must_give_is_known() -> None:
    description = ImageDescription.of(IMAGE)
    assert description.base_layers == tuple(layer.descriptor for layer in BASE.layers)
    assert len(description.layers) == 2


def test_it_is_small() -> None:
    assert len(json.dumps(_document())) < 5000 < sum(layer.descriptor.size for layer in IMAGE.layers)


def _swapped_config(document: Any) -> None:
    document["config"] = "{}"


def _other_layers(document: Any) -> None:
    document["layers"].reverse()


def _more_layers(document: Any) -> None:
    document["layers"] *= 3


def _later_version(document: Any) -> None:
    document["version"] = 2


def _no_manifest(document: Any) -> None:
    del document["manifest"]


def _other_format(document: Any) -> None:
    document["layers"][0]["format"] = 9


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_swapped_config, "its config is not the one that its manifest names"),
        (_other_layers, "its layers are not of the size that its manifest names"),
        (_more_layers, "it describes more layers than its manifest names"),
        (_later_version, "version 2; this version reads 1"),
        (_no_manifest, "it lacks 'manifest'"),
        (_other_format, "layer format 9; this version writes 1"),
    ],
)
def test_a_broken_description_is_refused(change: Any, why: str) -> None:
    document = _document()
    change(document)
    with pytest.raises(ImageError) as caught:
        ImageDescription.from_json(document)
    assert caught.value.message == f"the description of an image is broken: {why}"
    assert caught.value.hint == "make the image again"


def test_a_description_that_is_no_object_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        ImageDescription.from_json([])
    assert caught.value.message == "the description of an image is broken: it is not a JSON object"
