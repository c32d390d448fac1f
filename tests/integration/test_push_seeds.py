"""A hundred pushes in which things go wrong at random: each ends right, or with a clear error.

In no case does the registry hold a manifest that names a blob which it does not have, and the next push, when
nothing goes wrong any more, always finishes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from enginebuild_images.errors import RegistryError
from enginebuild_images.reference import Reference
from parts.registry_images import GivenCredentials, SyntheticBlob, client, image_of
from parts.registry_quirks import PASSWORD, USER, QuirkRegistry, quirk_registry

SEEDS = 100
SIZES = (300_000, 70_000, 2_500_000)
BUILDER = GivenCredentials(USER, PASSWORD)

_IMAGE = image_of(*(SyntheticBlob.of(size, str(size).encode()) for size in SIZES))


@pytest.fixture
def quirks() -> Iterator[QuirkRegistry]:
    with quirk_registry() as registry:
        yield registry


def spoil(quirks: QuirkRegistry, dice: random.Random) -> None:
    """Between one and six things that go wrong, each at a request drawn by lot."""
    quirks.auth = dice.choice(("none", "basic", "token"))
    quirks.location = dice.choice(("absolute", "relative", "query"))
    for _ in range(dice.randint(1, 6)):
        method, path = dice.choice(
            (
                ("HEAD", "/blobs/"),
                ("POST", "/blobs/uploads/"),
                ("PUT", "/blobs/uploads/"),
                ("PUT", "/blobs/uploads/"),
                ("PUT", "/manifests/"),
            )
        )
        skip, times = dice.randint(0, 3), dice.randint(1, 4)
        kind = dice.choice(("drop", "drop", "late", "status", "slow down", "token", "lost answer"))
        if kind == "drop":
            quirks.fault(method, path, skip=skip, times=times, drop=True, read=dice.randint(0, 400_000))
        elif kind == "late":
            quirks.fault(method, path, skip=skip, times=times, read=dice.randint(0, 400_000), status=500)
        elif kind == "status":
            status = dice.choice((500, 502, 503, 504, 429))
            quirks.fault(method, path, skip=skip, times=times, status=status)
        elif kind == "slow down":
            quirks.fault(method, path, skip=skip, times=times, status=429, headers={"Retry-After": "0"})
        elif kind == "token":
            quirks.fault(method, path, skip=skip, times=times, forget=True)
        else:
            quirks.fault(method, path, skip=skip, times=1, apply=True, drop=True)


def assert_whole(quirks: QuirkRegistry) -> None:
    """Every manifest's blobs are there, byte for byte."""
    expected = {str(blob.descriptor.digest): blob for blob in _IMAGE.blobs}
    for (name, _), (_, content) in quirks.manifests.items():
        document = json.loads(content)
        for entry in (*document["layers"], document["config"]):
            held = quirks.blobs[(name, entry["digest"])]
            assert held == b"".join(expected[entry["digest"]].chunks())


def push(quirks: QuirkRegistry) -> RegistryError | None:
    """The error, if there was one; a push without an error has put the image there."""
    with client(BUILDER, jobs=3) as registry:
        try:
            result = registry.push(_IMAGE, Reference.parse(f"{quirks.host}/team/app:v1"))
        except RegistryError as error:
            return error
    assert result.digest == _IMAGE.digest
    assert quirks.manifests[("team/app", "v1")][1] == _IMAGE.manifest.content
    return None


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_push_ends_right_or_with_an_error(seed: int, quirks: QuirkRegistry) -> None:
    spoil(quirks, random.Random(seed))
    error = push(quirks)
    if error is not None:
        assert error.message.startswith(f"{quirks.host}: cannot ")
        assert error.hint
    assert_whole(quirks)
    quirks.clear_faults()
    assert push(quirks) is None
    assert_whole(quirks)
