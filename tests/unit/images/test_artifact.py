"""Manifests of artifacts: the bytes that are written, and what is refused when one is read."""

from __future__ import annotations

import json

import pytest

from enginebuild_cache import Digest
from enginebuild_images.artifact import EMPTY_CONFIG, artifact, read_artifact
from enginebuild_images.blob import BytesBlob
from enginebuild_images.errors import ImageError

KIND = "application/vnd.example.thing.v1+json"


def test_bytes() -> None:
    blob = BytesBlob("text/plain", b"hello")
    made = artifact(KIND, [blob], {"a": "b"})
    assert json.loads(made.manifest.content) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": KIND,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [{"mediaType": "text/plain", "digest": str(Digest.of(b"hello")), "size": 5}],
        "annotations": {"a": "b"},
    }
    assert made.config is EMPTY_CONFIG
    assert made.layers == (blob,)


def test_reading_what_was_written() -> None:
    blob = BytesBlob("text/plain", b"hello")
    read = read_artifact(artifact(KIND, [blob], {"a": "b"}).manifest.content, "here")
    assert (read.artifact_type, read.layers, read.annotations) == (KIND, (blob.descriptor,), {"a": "b"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "the manifest of here is not JSON: it starts with b'<html>'"),
        (b"[" * 100_000, f"the manifest of here is not JSON: it starts with {b'[' * 40!r}"),
        (b"[]", "the manifest of here is not a JSON object"),
        (b"{}", "here is not an artifact: its manifest has no artifactType"),
        (b'{"artifactType":1,"layers":[]}', "here is not an artifact: its manifest has no artifactType"),
        (b'{"artifactType":"x"}', "the manifest of here is broken: it has no list of layers"),
        (
            b'{"artifactType":"x","layers":[1]}',
            "the manifest of here is broken: a descriptor is not an object: 1",
        ),
        (
            b'{"artifactType":"x","layers":[{"mediaType":"a","digest":"md5:1","size":1}]}',
            "the manifest of here is broken: not a sha256 digest: 'md5:1'",
        ),
    ],
)
def test_what_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_artifact(content, "here")
    assert caught.value.message == message
