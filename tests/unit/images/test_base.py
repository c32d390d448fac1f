"""Base images: manifests, indexes and configs as registries give them, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enginebuild_cache import Digest, Json, canonical_json
from enginebuild_images import blob as media
from enginebuild_images.base import Base, RelabelledBlob, scratch
from enginebuild_images.blob import Blob, BytesBlob, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.manifest import Index, Manifest, Platform, read_config, read_manifest
from parts.image_files import small_image

HERE = "a.b/base:1"
ARM = Platform("linux", "arm64")
AMD = Platform("linux", "amd64")


def _descriptor(media_type: str, text: str = "", **more: Json) -> dict[str, Json]:
    return {"mediaType": media_type, "digest": str(Digest.of(text.encode())), "size": len(text), **more}


def _manifest(*layers: str, **changes: Json) -> dict[str, Json]:
    document: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "config": _descriptor(media.CONFIG, "{}"),
        "layers": [_descriptor(layer, layer) for layer in layers],
    }
    return document | changes


def _config(layers: int, **changes: Json) -> bytes:
    document: dict[str, Json] = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"%d" % n)) for n in range(layers)]},
    }
    return canonical_json(document | changes)


def _image(**changes: Json) -> Manifest:
    read = read_manifest(canonical_json(_manifest(media.LAYER_GZIP, **changes)), HERE)
    assert isinstance(read, Manifest)
    return read


def _index(*entries: Json, **changes: Json) -> Index:
    document: dict[str, Json] = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": list(entries)}
    read = read_manifest(canonical_json(document | changes), HERE)
    assert isinstance(read, Index)
    return read


def _for(architecture: str, os: str = "linux", **more: Json) -> dict[str, Json]:
    platform: Json = {"os": os, "architecture": architecture}
    return _descriptor(media.MANIFEST, f"{os} {architecture}", platform=platform, **more)


def _error(attempt: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        attempt()
    return caught.value.message, caught.value.hint


def _fake_blob(descriptor: Descriptor) -> Blob:
    return BytesBlob(descriptor.media_type, b"")


def _base(manifest: dict[str, Json], config: bytes, platform: Platform = AMD) -> Base:
    return Base.of(canonical_json(manifest), config, _fake_blob, HERE, platform)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (media.DOCKER_LAYER_GZIP, media.LAYER_GZIP),
        (media.DOCKER_LAYER, media.LAYER),
        (media.DOCKER_LAYER_ZSTD, media.LAYER_ZSTD),
        (media.LAYER_GZIP, media.LAYER_GZIP),
        (media.LAYER_ZSTD, media.LAYER_ZSTD),
        (media.LAYER, media.LAYER),
    ],
)
def test_layers_get_oci_types_and_keep_their_digests(theirs: str, ours: str) -> None:
    read = read_manifest(canonical_json(_manifest(theirs)), HERE)
    assert isinstance(read, Manifest)
    assert read.layers == (Descriptor(ours, Digest.of(theirs.encode()), len(theirs)),)


def test_docker_schema_2_is_an_image() -> None:
    config = _descriptor(media.DOCKER_CONFIG, "{}")
    document = _manifest(media.DOCKER_LAYER_GZIP, mediaType=media.DOCKER_MANIFEST, config=config)
    read = read_manifest(canonical_json(document), HERE)
    assert isinstance(read, Manifest)
    assert (read.media_type, read.config.digest) == (media.DOCKER_MANIFEST, Digest.of(b"{}"))


def test_a_document_that_does_not_say_what_it_is_is_told_by_the_registry_or_its_form() -> None:
    manifest, index = _manifest(media.LAYER), _for("amd64")
    del manifest["mediaType"]
    assert isinstance(read_manifest(canonical_json(manifest), HERE), Manifest)
    assert isinstance(read_manifest(canonical_json(manifest), HERE, media.MANIFEST), Manifest)
    listing: dict[str, Json] = {"schemaVersion": 2, "manifests": [index]}
    assert isinstance(read_manifest(canonical_json(listing), HERE), Index)


def test_an_index_gives_the_image_of_the_platform() -> None:
    index = _index(_for("arm64"), _for("amd64", "windows"), _for("amd64"))
    assert index.choose(AMD, HERE).digest == Digest.of(b"linux amd64")
    assert index.choose(ARM, HERE).digest == Digest.of(b"linux arm64")


def test_dockers_index_and_a_lone_image_without_a_platform() -> None:
    index = _index(_descriptor(media.MANIFEST, "alone"), mediaType=media.DOCKER_INDEX)
    assert index.choose(AMD, HERE).digest == Digest.of(b"alone")


def test_an_index_without_the_platform_says_what_it_has() -> None:
    index = _index(_for("arm64"), _for("s390x"))
    assert _error(lambda: index.choose(AMD, HERE)) == (
        "a.b/base:1 has no image for linux/amd64",
        "it has linux/arm64, linux/s390x",
    )


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [_for("unknown", "unknown")],
        [_for("amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"})],
    ],
)
def test_attestations_are_no_images(entries: list[Json]) -> None:
    assert _error(lambda: _index(*entries).choose(AMD, HERE)) == (
        "a.b/base:1 has no image for linux/amd64",
        "it holds no image at all, or attestations only",
    )


SCHEMA1 = (
    "a.b/base:1 is an image in Docker's old schema 1, which no longer names its layers reliably",
    "pull it and push it again with Docker 20.10 or newer, or name a newer tag",
)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"<html>", ("the manifest of a.b/base:1 is not JSON: it starts with b'<html>'", "")),
        (b"\xff", ("the manifest of a.b/base:1 is not JSON: it starts with b'\\xff'", "")),
        (b"[]", ("the manifest of a.b/base:1 is not a JSON object", "")),
        (
            b"{}",
            ("a.b/base:1 is not an image but a document without a media type", "name an OCI or Docker image"),
        ),
        (b'{"schemaVersion":1,"fsLayers":[]}', SCHEMA1),
        (b'{"mediaType":"application/vnd.docker.distribution.manifest.v1+prettyjws"}', SCHEMA1),
        (
            b'{"mediaType":"application/vnd.in-toto+json"}',
            ("a.b/base:1 is not an image but application/vnd.in-toto+json", "name an OCI or Docker image"),
        ),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, error: tuple[str, str]) -> None:
    assert _error(lambda: read_manifest(content, HERE)) == error


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": None}, "a descriptor is not an object: None"),
        ({"config": {"mediaType": media.CONFIG}}, "a descriptor lacks mediaType or digest"),
        ({"config": _descriptor(media.CONFIG, size=-1)}, "a descriptor's size is -1"),
        ({"config": _descriptor(media.CONFIG, size=True)}, "a descriptor's size is True"),
        ({"config": _descriptor(media.CONFIG, digest="sha512:00")}, "not a sha256 digest: 'sha512:00'"),
        ({"config": _descriptor(media.CONFIG, annotations=[1])}, "a descriptor's annotations are [1]"),
        ({"layers": None}, "a manifest without a list of layers"),
        ({"layers": ["x"]}, "a descriptor is not an object: 'x'"),
    ],
)
def test_a_broken_manifest_is_refused(changes: dict[str, Json], why: str) -> None:
    assert _error(lambda: _image(**changes)) == (f"the manifest of a.b/base:1 is broken: {why}", "")


def test_a_broken_index_is_refused() -> None:
    why = "the manifest of a.b/base:1 is broken: an index without a list of manifests"
    assert _error(lambda: _index(manifests=3)) == (why, "")


def test_an_artifact_is_no_image() -> None:
    config = _descriptor("application/vnd.cncf.helm.config.v1+json")
    assert _error(lambda: _image(config=config)) == (
        "a.b/base:1 is an artifact of type application/vnd.cncf.helm.config.v1+json, not an image",
        "name an image that can be run",
    )


def test_a_layer_of_an_unknown_type_is_refused() -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    assert _error(lambda: _image(layers=[_descriptor(foreign)])) == (
        f"a.b/base:1 has a layer of type {foreign}, on which no image can be put",
        f"layers are {media.LAYER}, {media.LAYER_GZIP}, {media.LAYER_ZSTD}",
    )


def test_a_base_has_its_config_and_layers() -> None:
    base = _base(_manifest(media.DOCKER_LAYER_GZIP), _config(1, config={"User": "1000"}))
    assert base.config["config"] == {"User": "1000"}
    assert [layer.descriptor.media_type for layer in base.layers] == [media.LAYER_GZIP]
    assert base.diff_ids == (str(Digest.of(b"0")),)
    named = base.named(HERE, Digest.of(b"index"))
    assert (named.reference, named.digest) == (HERE, Digest.of(b"index"))


@pytest.mark.parametrize(
    ("config", "why", "hint"),
    [
        (
            _config(1, architecture="arm64"),
            "is made for linux/arm64, not for linux/amd64",
            "name an image for the platform",
        ),
        (_config(2), "is broken: 1 layers in its manifest, 2 in its config", ""),
        (_config(1, rootfs=None), "is broken: 1 layers in its manifest, 0 in its config", ""),
        (_config(1, history={}), "is broken: its history is not a list of objects", ""),
        (_config(1, history=[3]), "is broken: its history is not a list of objects", ""),
        (_config(1, history=[{}, {}]), "is broken: its history tells of 2 layers, but it has 1", ""),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: bytes, why: str, hint: str) -> None:
    assert _error(lambda: _base(_manifest(media.LAYER), config)) == (f"a.b/base:1 {why}", hint)


def test_a_config_that_is_no_json_is_refused() -> None:
    why = "the config of a.b/base:1 is not JSON: it starts with b'nonsense'"
    assert _error(lambda: read_config(b"nonsense", HERE)) == (why, "")


def test_an_index_is_no_base() -> None:
    index: dict[str, Json] = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}
    error = ("a.b/base:1 is an index where an image was expected", "name the image by its digest")
    assert _error(lambda: _base(index, _config(0))) == error


def test_an_image_can_be_a_base() -> None:
    image = small_image()
    base = Base.of_image(image, "./layout")
    assert [layer.descriptor for layer in base.layers] == [layer.descriptor for layer in image.layers]
    assert b"".join(base.layers[1].chunks()) == b"".join(image.layers[1].chunks())
    assert isinstance(base.layers[1], RelabelledBlob)


def test_scratch_has_nothing_but_a_platform() -> None:
    base = scratch(ARM)
    assert (base.layers, base.diff_ids, base.history, base.platform) == ((), (), (), ARM)
    assert (base.config["os"], base.config["architecture"]) == ("linux", "arm64")


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7"])
def test_a_platform_is_two_words(text: str) -> None:
    assert str(Platform.parse("linux/amd64")) == "linux/amd64"
    assert _error(lambda: Platform.parse(text)) == (
        f"{text!r} is not a platform",
        "write it like linux/amd64",
    )
