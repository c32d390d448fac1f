"""A layer's digest, taken while its file passes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild_cache import Store
from enginebuild_images.follow import LayerFollower
from enginebuild_images.layer import Layer, digest_of
from parts.image_files import Contents, noise

CONTENT = noise(3_000_000)


@pytest.fixture
def contents() -> Contents:
    return Contents(piece=70_001)


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


@pytest.fixture
def layer(contents: Contents) -> Layer:
    return contents.layer({"model/weights.safetensors": CONTENT})


def test_it_is_the_digest_that_reading_gives(contents: Contents, layer: Layer) -> None:
    follower = LayerFollower(layer)
    assert follower.descriptor is None
    for piece in contents.read(layer.entries[0].file):
        follower.update(piece)
    assert follower.descriptor is not None
    assert follower.descriptor.digest == digest_of(layer, contents.read)
    assert follower.descriptor.size == layer.size


def test_half_a_file_has_no_layer(layer: Layer) -> None:
    follower = LayerFollower(layer)
    follower.update(CONTENT[:-1])
    assert follower.descriptor is None
    follower.restart()
    follower.update(CONTENT)
    assert follower.descriptor is not None


def test_more_than_one_file_cannot_be_followed(contents: Contents) -> None:
    with pytest.raises(ValueError) as caught:
        LayerFollower(contents.layer({"a": b"1", "b": b"2"}))
    assert str(caught.value) == "a layer of 2 files has no one file to follow"


def test_a_resumed_download_shows_it_all_the_bytes(store: Store, contents: Contents, layer: Layer) -> None:
    file = layer.entries[0].file
    with store.download(file.digest, file.size) as partial:
        partial.write(CONTENT[:1_000_000])
    follower = LayerFollower(layer)
    with store.download(file.digest, file.size, follower=follower) as partial:
        assert partial.offset == 1_000_000
        partial.write(CONTENT[1_000_000:2_000_000])
        partial.restart()
        partial.write(CONTENT)
        partial.commit()
    assert follower.descriptor is not None
    assert follower.descriptor.digest == digest_of(layer, contents.read)
