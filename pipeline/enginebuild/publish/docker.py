"""Loading into a Docker Engine: a stream that it unpacks, with nothing written on our side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import docker
import docker.constants
import docker.errors

from enginebuild.errors import PublishError, SourceError
from enginebuild.events import Progress, Report
from enginebuild.publish.use import use_of
from enginebuild.runners.engine import LOST
from enginebuild_cache import Json
from enginebuild_images.archive import archive_size, docker_archive
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image

#: Seconds of silence before the engine is given up; unpacking a large layer is silent for minutes.
_TIMEOUT = 3600

#: Layers below this many bytes are unpacked before a bar could be drawn.
_SHOWN = 64 << 20

_FULL = "no space left on device"


@dataclass(frozen=True)
class DockerPublisher:
    """The engine that DOCKER_HOST names, or the local one. `names` are repository:tag."""

    names: Sequence[str]

    @property
    def place(self) -> str:
        return f"docker:{self.names[0].rpartition(':')[0]}"

    def has(self, image: Image) -> bool:
        # Docker's classic store names an image by its config, containerd's by its manifest.
        known = {str(image.config.descriptor.digest), str(image.digest)}
        with _engine() as client:
            try:
                return all(client.images.get(name).id in known for name in self.names)
            except docker.errors.ImageNotFound:
                return False

    def missing(self, image: Image) -> int:
        return 0 if self.has(image) else archive_size(image, self.names)

    def publish(self, image: Image, report: Report) -> None:
        with _engine() as client:
            if (found := present(client, image)) is None:
                load(client, image, self.names, report)
            else:
                for name in self.names:
                    client.images.get(found).tag(name)
        if not self.has(image):
            raise PublishError(
                f"the Docker Engine took the image, but {self.names[0]} is another one",
                "somebody may have loaded the same name at the same time; run again",
            )

    def attach(self, artifact: Image, report: Report) -> None:
        """An engine keeps images alone."""

    def name(self, image: Image) -> str:
        return f"docker:{self.names[0]}@{image.digest}"

    def advice(self, image: Image) -> str:
        return use_of(image, self.names[0])


def present(client: docker.DockerClient, image: Image) -> str | None:
    """The engine's own id of an image that it has under whatever name."""
    # Docker's classic store names an image by its config, containerd's by its manifest.
    for digest in (image.digest, image.config.descriptor.digest):
        try:
            return str(client.images.get(str(digest)).id)
        except docker.errors.ImageNotFound:
            continue
    return None


def load(client: docker.DockerClient, image: Image, names: Sequence[str], report: Report) -> None:
    """Stream an image into an engine under some names. Raises PublishError."""
    total = archive_size(image, names)
    stream = _counted(docker_archive(image, names), total, report)
    try:
        answers = client.api.load_image(stream, quiet=False)  # type: ignore[no-untyped-call] # docker's
        refusal = _refusal(answers, report)
    except LOST as error:
        raise PublishError(
            f"the Docker Engine ended the connection while it loaded the image: {_cause(error)}",
            "its log says why (journalctl -u docker); run again",
        ) from error
    if refusal:
        raise PublishError(f"the Docker Engine refused the image: {refusal}", _advice(refusal))


def inspect_loaded(name: str) -> Mapping[str, Json]:
    """What the engine says of an image; a digest after @ is for people. Raises SourceError, PublishError."""
    with _engine() as client:
        try:
            attributes: Mapping[str, Json] = client.images.get(name.partition("@")[0]).attrs
        except docker.errors.ImageNotFound:
            raise SourceError(
                f"the Docker Engine has no image {name}", "see `docker image ls`, or leave out docker:"
            ) from None
        return attributes


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """A client. Its errors, and those of the image that is streamed, become PublishError."""
    client = None
    try:
        client = docker.from_env(timeout=_TIMEOUT)
        yield client
    except ImageError as error:
        raise PublishError(error.message, error.hint) from error
    except docker.errors.APIError as error:
        raise PublishError(f"the Docker Engine says: {error.explanation or error}") from error
    except (docker.errors.DockerException, *LOST) as error:
        raise PublishError(
            f"the Docker Engine at {_host()} cannot be reached: {_cause(error)}",
            "is it running, may you use its socket, and is DOCKER_HOST right?",
        ) from error
    finally:
        if client is not None:
            client.close()


def _counted(pieces: Iterator[bytes], total: int, report: Report) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        report(Progress("load into Docker", done, total))


def _refusal(answers: Iterable[Mapping[str, Json]] | None, report: Report) -> str:
    """What the engine says against the image while it unpacks it, or nothing.

    docker 7.2's load_image does not look at the status: an answer of 500 is one with a `message`.
    """
    for answer in answers or ():
        if said := answer.get("error") or answer.get("message"):
            return str(said)
        detail = cast("Mapping[str, int]", answer.get("progressDetail") or {})
        if detail.get("total", 0) >= _SHOWN:
            report(Progress(f"unpack {answer.get('id')}", detail.get("current", 0), detail["total"]))
    return ""


def _advice(refusal: str) -> str:
    if _FULL in refusal:
        return (
            "make room in its folder, the Docker Root Dir of `docker info` (`docker image prune` may do), "
            "and run again"
        )
    return "its log says more (journalctl -u docker)"


def _host() -> str:
    default: str = docker.constants.DEFAULT_UNIX_SOCKET
    return os.environ.get("DOCKER_HOST") or default.removeprefix("http+")


def _cause(error: BaseException) -> str:
    """What the system said, without what two libraries say around it."""
    inner, said = error, str(error)
    while (below := inner.__cause__ or inner.__context__) is not None:
        inner = below
        if isinstance(inner, OSError):
            said = inner.strerror or str(inner)
    return said
