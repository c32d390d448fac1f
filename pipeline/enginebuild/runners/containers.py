"""Containers and volumes of an engine: named before they are made, labelled, and removed whatever happens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import docker
import docker.errors
import docker.types

from enginebuild.runners.container import Mounted
from enginebuild.runners.engine import LOST
from enginebuild.runners.owner import LABEL, is_gone, myself, owner_in, tag
from enginebuild_images.image import Image

#: Repositories of images that are there for a step alone begin with it.
IMAGES = "enginebuild-"
#: The engine's own choice may be a place from which no log can be read, or only at the end.
LOG = docker.types.LogConfig(type="json-file")


@contextmanager
def container(client: docker.DockerClient, image: str, what: str, **options: Any) -> Iterator[str]:
    """The name of a container that was made and not started; it is gone with the block, killed if it runs.

    Its environment, secrets among it, goes with it. `what` is part of its name.
    """
    name = f"enginebuild-{what}-{os.urandom(6).hex()}"
    options = {"network_mode": "none", "user": "0:0", "log_config": LOG, **options}
    options["labels"] = {LABEL: myself(), **options.get("labels", {})}
    try:
        client.containers.create(image, name=name, **options)
        yield name
    finally:
        with contextlib.suppress(docker.errors.APIError, *LOST):
            client.api.remove_container(name, force=True, v=True)


@contextmanager
def volume(client: docker.DockerClient) -> Iterator[str]:
    """The name of a new volume that is gone with the block."""
    name = f"enginebuild-{os.urandom(6).hex()}"
    try:
        client.volumes.create(name, labels={LABEL: myself()})
        yield name
    finally:
        with contextlib.suppress(docker.errors.APIError, *LOST):
            client.api.remove_volume(name, force=True)


def ran(client: docker.DockerClient, image: str, words: Sequence[str], **options: Any) -> tuple[int, bytes]:
    """The exit code and the output of a short command. Raises docker's APIError."""
    program, *rest = words
    options |= {"entrypoint": [program], "command": rest}
    with container(client, image, program.rpartition("/")[2], **options) as name:
        client.api.start(name)
        code = int(client.api.wait(name)["StatusCode"])
        return code, client.api.logs(name)


def mount(mounted: Mounted) -> docker.types.Mount:
    """For docker's SDK."""
    target, source = str(mounted.target), str(mounted.source)
    if isinstance(mounted.source, str):
        return docker.types.Mount(target, source, type="volume", read_only=mounted.read_only)
    return docker.types.Mount(target, source, type="bind", read_only=mounted.read_only)


def image_name(image: Image, step: str) -> str:
    """For an image that is in the engine for a step of this run alone. Its labels are a part of its digest,
    so the name says whose it is.
    """
    return f"{IMAGES}{step}:{tag(image.digest.short)}"


def is_ours_alone(names: Sequence[str]) -> bool:
    """Whether an image has names, and all of them are of runs."""
    return bool(names) and all(name.startswith(IMAGES) and owner_in(name) for name in names)


def sweep(client: docker.DockerClient) -> None:
    """Remove what killed runs of this host left: it holds GPUs, secrets and room.

    Another run may be at the same: what cannot be removed is left to it.
    """
    for found in client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True):
        if is_gone(found.labels.get(LABEL, "")):
            with contextlib.suppress(docker.errors.APIError):
                found.remove(force=True, v=True)
    for left in client.volumes.list(filters={"label": LABEL}):
        if is_gone((left.attrs.get("Labels") or {}).get(LABEL, "")):
            with contextlib.suppress(docker.errors.APIError):
                left.remove(force=True)
    for image in client.images.list(filters={"reference": f"{IMAGES}*"}):
        for name in image.tags:
            if name.startswith(IMAGES) and is_gone(owner_in(name)):
                with contextlib.suppress(docker.errors.APIError):  # a container of another run may use it
                    client.images.remove(name)
