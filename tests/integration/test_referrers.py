"""What is attached to an image in a registry: listed by it, or by us at a tag where it keeps no list."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from enginebuild_images.artifact import artifact
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.blob import INDEX, BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.reference import Reference
from enginebuild_images.referrers import attach, attached
from enginebuild_images.registry import Registry
from enginebuild_images.settings import ImageSettings
from parts.registry_images import GivenCredentials
from parts.registry_images import client as registry_client
from parts.registry_quirks import PASSWORD, USER, QuirkRegistry, quirk_registry

TYPE = "application/vnd.example.report.v1+json"


@pytest.fixture
def client() -> Iterator[Registry]:
    with registry_client(GivenCredentials(USER, PASSWORD)) as client:
        yield client


@pytest.fixture
def quirk() -> Iterator[QuirkRegistry]:
    with quirk_registry() as quirk:
        yield quirk


def made_image() -> Image:
    return assemble(scratch(), [], ImageSettings(entrypoint=("x",)))


def report(image: Image, text: str, kind: str = TYPE) -> Image:
    content = BytesBlob(kind, json.dumps({"text": text}).encode())
    return artifact(kind, [content], {"title": text}, subject=image.manifest.descriptor)


def digests(client: Registry, place: Reference, kind: str = TYPE) -> list[str]:
    return [str(found.digest) for found in attached(client, place, kind)]


def test_a_registry_without_a_list_has_one_at_a_tag(client: Registry, registry: str) -> None:
    image, place = made_image(), Reference.parse(f"{registry}/llm/listed:v1")
    client.push(image, place)
    pinned = place.with_digest(image.digest)
    assert digests(client, pinned) == []
    first, second = report(image, "one"), report(image, "two")
    for each in (first, second, report(image, "else", "application/vnd.example.other"), first):
        attach(client, each, place)
    assert digests(client, pinned) == [str(first.digest), str(second.digest)]
    tag = f"sha256-{image.digest.hex}"
    assert client.tags(place) == sorted([tag, "v1"])
    listed = json.loads(client.manifest(place.with_tag(tag))[1])
    assert [entry["artifactType"] for entry in listed["manifests"]].count(TYPE) == 2
    assert listed["manifests"][0]["annotations"] == {"title": "one"}


def test_a_registry_s_own_list_is_believed_and_no_tag_is_written(
    client: Registry, quirk: QuirkRegistry
) -> None:
    image = made_image()
    place = Reference.parse(f"{quirk.host}/llm/m:v1")
    one = report(image, "one")
    entry = {**one.manifest.descriptor.to_json(), "artifactType": TYPE}
    listed = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    client.push(image, place)
    quirk.fault("GET", f"/referrers/{image.digest}", status=200, body=listed, times=2)
    attach(client, one, place)
    assert not any("manifests/sha256-" in line for line in quirk.lines("PUT"))
    assert digests(client, place.with_digest(image.digest)) == [str(one.digest)]


def test_a_server_that_answers_everything_with_a_page_keeps_no_list(
    client: Registry, quirk: QuirkRegistry
) -> None:
    image = made_image()
    place = Reference.parse(f"{quirk.host}/llm/m:v1")
    client.push(image, place)
    quirk.fault("GET", f"/referrers/{image.digest}", status=200, body=b"<html>", times=2)
    one = report(image, "one")
    attach(client, one, place)
    assert digests(client, place.with_digest(image.digest)) == [str(one.digest)]


def test_what_has_no_subject_is_attached_to_nothing(client: Registry, registry: str) -> None:
    alone = artifact(TYPE, [BytesBlob(TYPE, b"{}")], {})
    with pytest.raises(ImageError) as caught:
        attach(client, alone, Reference.parse(f"{registry}/llm/alone"))
    assert caught.value.message == "an artifact without a subject is attached to nothing"
