"""Loading into a Docker Engine: a stream that it unpacks, with nothing written on our side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import docker
import docker.errors
import requests.exceptions

from enginebuild.errors import PublishError, SourceError
from enginebuild.events import Progress, Report
from enginebuild_cache import Json
from enginebuild_images.archive import archive_size, docker_archive
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image

#: Seconds of silence before the engine is given up; unpacking a large layer is silent for minutes.
_TIMEOUT = 3600


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

    def publish(self, image: Image, report: Report) -> None:
        total = archive_size(image, self.names)
        with _engine() as client:
            stream = _counted(docker_archive(image, self.names), total, report)
            answers = client.api.load_image(stream, quiet=True)  # type: ignore[no-untyped-call]
            for answer in answers or ():
                if "error" in answer:
                    raise PublishError(f"the Docker Engine refused the image: {answer['error']}")
        if not self.has(image):
            raise PublishError(
                f"the Docker Engine took the image, but {self.names[0]} is another one",
                "somebody may have loaded the same name at the same time; run again",
            )

    def name(self, image: Image) -> str:
        return f"docker:{self.names[0]}@{image.digest}"

    def advice(self, image: Image) -> str:
        return f"run it:  docker run --rm -p 8000:8000 --ipc=host [--gpus all] {self.names[0]}"


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
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise PublishError(
            f"the Docker Engine cannot be reached: {error}",
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
