"""Before a push: what the registry cannot take is refused with nothing sent, what it may refuse warned of."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from enginebuild.errors import Exit, RefusedError, SourceError
from enginebuild.events import Event, Note
from enginebuild.lock import ModelLock
from enginebuild.publish.limits import require_model
from enginebuild.publish.registry import RegistryPublisher
from enginebuild.recipe import Recipe, parse
from enginebuild.resolve import Unresolved
from enginebuild_cache import Digest, File, Json, Tree
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base
from enginebuild_images.blob import LAYER, Descriptor, FileBlob
from enginebuild_images.image import Image
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from enginebuild_images.manifest import LINUX_AMD64
from enginebuild_images.reference import Reference
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents, described

GB = 10**9
GHCR = Reference.parse("ghcr.io/team/model")
RECIPE = (
    b"version: 1\nname: tiny\nmodel: file:./m\nengine: {type: vllm, version: 0.33.0}\n"
    b"image: {base: scratch, compression: none}\n"
)
REFUSED = (
    "the layer of /model/rank0.engine has 60.0 GB, and GitHub Container Registry takes 10 GB a layer at most "
    "(docs.github.com, Working with the Container registry)"
)
HINT = (
    "push to Azure Container Registry (200 GiB a layer) or a registry of your own, or save the model in "
    "smaller files"
)
SLOW = (
    "GitHub Container Registry ends an upload after 10 minutes (docs.github.com, Working with the Container "
    "registry), and the layer of /model/rank0.engine has 6.0 GB: it needs 80 Mb/s for itself; push over a "
    "fast uplink, one layer at a time: --jobs 1"
)


def _image(size: int, base: Base | None = None) -> Image:
    """An image that is described and could not be sent: nobody has its bytes."""
    layer = Layer.of([Entry("model/rank0.engine", described("rank0.engine", size))])
    blob = StreamedBlob(Descriptor(LAYER, Digest.of(b"layer"), layer.size), layer, Contents())
    return assemble(base or Base({}, (), LINUX_AMD64), [blob], ImageSettings())


def _no_registry() -> NoReturn:
    raise AssertionError("the registry was asked for")


def _publisher() -> RegistryPublisher:
    return RegistryPublisher(GHCR, ["v1"], _no_registry)


def test_a_layer_that_is_too_large_is_refused_before_the_registry_is_asked() -> None:
    events: list[Event] = []
    with pytest.raises(RefusedError) as caught:
        _publisher().publish(_image(60 * GB), events.append)
    assert (caught.value.message, caught.value.hint) == (REFUSED, HINT)
    assert caught.value.exit is Exit.REFUSED
    assert events == []


def test_a_layer_of_the_base_is_named_as_one() -> None:
    digest = Digest.of(b"base")
    config: dict[str, Json] = {"rootfs": {"type": "layers", "diff_ids": [str(digest)]}}
    base = Base(config, (FileBlob(Descriptor(LAYER, digest, 11 * 2**30), Path("base")),), LINUX_AMD64)
    with pytest.raises(RefusedError) as caught:
        _publisher().publish(_image(GB, base), lambda _event: None)
    assert caught.value.message == (
        f"the layer of the base image ({digest.short}) has 11.8 GB, and GitHub Container Registry takes 10 "
        "GB a layer at most (docs.github.com, Working with the Container registry)"
    )


def test_what_may_fail_is_warned_of_and_tried() -> None:
    events: list[Event] = []
    with pytest.raises(AssertionError, match="the registry was asked for"):
        _publisher().publish(_image(6 * GB), events.append)
    assert events == [Note(SLOW, "warning")]


def _recipe(compression: str = "none") -> Recipe:
    return parse(RECIPE.replace(b"compression: none", f"compression: {compression}".encode()), "r.yaml")


def _model(size: int) -> ModelLock:
    return ModelLock({}, None, Tree.of([File("rank0.engine", Digest.of(b"x"), size)]))


def test_a_model_is_refused_before_it_is_fetched() -> None:
    events: list[Event] = []
    with pytest.raises(RefusedError) as caught:
        require_model(GHCR, _recipe(), _model(60 * GB), events.append)
    assert (caught.value.message, caught.value.hint) == (REFUSED, HINT)
    require_model(GHCR, _recipe(), _model(6 * GB), events.append)
    assert events == [Note(SLOW, "warning")]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "auto"])
def test_nothing_is_said_of_a_size_that_is_not_known_yet(compression: str) -> None:
    events: list[Event] = []
    require_model(GHCR, _recipe(compression), _model(60 * GB), events.append)
    require_model(GHCR, _recipe(), Unresolved(SourceError("no network")), events.append)
    require_model(None, _recipe(), _model(60 * GB), events.append)
    assert events == []
