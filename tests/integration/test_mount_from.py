"""Mounting from a repository that was named: nothing is sent if it has the blob, and nothing fails if not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.reference import Reference
from parts import services
from parts.registry_images import GivenCredentials, client, image_of
from parts.registry_login import certificate, token_server
from parts.registry_quirks import PASSWORD, USER, QuirkRegistry, quirk_registry
from parts.registry_real import docker_registry

IMAGE = image_of(b"one layer", b"another")


@pytest.fixture
def quirks() -> Iterator[QuirkRegistry]:
    with quirk_registry() as registry:
        yield registry


def name(quirks: QuirkRegistry, text: str) -> Reference:
    return Reference.parse(f"{quirks.host}/{text}")


def test_all_blobs_are_mounted(quirks: QuirkRegistry) -> None:
    with client() as registry:
        registry.push(IMAGE, name(quirks, "llm/cache:v1"))
        quirks.seen.clear()
        registry.mount_from(name(quirks, "llm/cache"))
        result = registry.push(IMAGE, name(quirks, "llm/model:v1"))
    assert (result.present, result.mounted, result.sent, result.bytes_sent) == (0, 3, 0, 0)
    assert {seen.query["from"] for seen in quirks.seen if "mount" in seen.query} == {"llm/cache"}


@pytest.mark.parametrize("status", [202, 400, 401, 403, 404, 500])
def test_a_refusal_becomes_an_upload(quirks: QuirkRegistry, status: int) -> None:
    with client() as registry:
        registry.push(IMAGE, name(quirks, "llm/cache:v1"))
        quirks.mount = status
        registry.mount_from(name(quirks, "llm/cache"))
        result = registry.push(IMAGE, name(quirks, "llm/model:v1"))
    assert (result.mounted, result.sent) == (0, 3)
    assert quirks.manifests["llm/model", "v1"][1] == IMAGE.manifest.content


def test_a_repository_is_not_asked_for_its_own_blobs_nor_for_those_of_another_registry(
    quirks: QuirkRegistry,
) -> None:
    with quirk_registry() as other, client() as registry:
        registry.mount_from(name(quirks, "llm/cache"))
        registry.push(IMAGE, name(quirks, "llm/cache:v1"))
        registry.push(IMAGE, name(other, "llm/model:v1"))
        assert all("mount" not in seen.query for seen in (*quirks.seen, *other.seen))


def test_what_the_base_has_is_mounted_from_the_base(quirks: QuirkRegistry) -> None:
    with client() as registry:
        registry.push(IMAGE, name(quirks, "base/image:v1"))
        base = registry.base(name(quirks, "base/image:v1"))
        registry.mount_from(name(quirks, "llm/cache"))
        quirks.seen.clear()
        result = registry.push(image_of(*base.layers), name(quirks, "llm/model:v1"))
    assert result.mounted == 2
    mounted = {seen.query["mount"]: seen.query["from"] for seen in quirks.seen if "mount" in seen.query}
    assert [mounted[str(layer.descriptor.digest)] for layer in base.layers] == ["base/image"] * 2


@pytest.mark.registry
def test_with_tokens_of_a_real_registry(tmp_path: Path) -> None:
    """A mount needs a token for both repositories."""
    services.program("docker-registry")
    signer = certificate(tmp_path)
    with (
        token_server(signer) as (_, section),
        docker_registry(tmp_path / "registry", token=section) as host,
        client(GivenCredentials(USER, PASSWORD)) as registry,
    ):
        registry.push(IMAGE, Reference.parse(f"{host}/llm/cache:v1"))
        registry.mount_from(Reference.parse(f"{host}/llm/cache"))
        result = registry.push(IMAGE, Reference.parse(f"{host}/llm/model:v1"))
        assert (result.mounted, result.bytes_sent) == (3, 0)
        assert registry.tags(Reference.parse(f"{host}/llm/cache")) == ["v1"]
