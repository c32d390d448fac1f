"""What an image with a server says beside its files, and how an engine serves what was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from enginebuild.engines.health import TIMEOUT_SECONDS
from enginebuild.step import Step
from enginebuild_cache import Json, Store, Tree
from enginebuild_images.settings import Healthcheck, ImageSettings

#: Health check times. A large model is ready after minutes (vllm issue 50282): failures count only after
#: that.
HEALTH_INTERVAL_SECONDS = 10
HEALTH_START_SECONDS = 1800
HEALTH_RETRIES = 3


@dataclass(frozen=True)
class Server:
    """`entrypoint` makes the image's from its base's; `fields` are what decides it, for the key."""

    port: int
    environment: Mapping[str, str]
    healthcheck: tuple[str, ...]
    entrypoint: Callable[[Sequence[str] | None], tuple[str, ...]]
    fields: Mapping[str, Json] = field(default_factory=dict)

    def key_fields(self) -> dict[str, Json]:
        """Its part of the key of the step `image`."""
        return {
            "environment": dict(self.environment),
            "healthcheck": list(self.healthcheck),
            "port": self.port,
            **self.fields,
        }

    def settings(
        self, base_entrypoint: Sequence[str] | None, told: Told, labels: Mapping[str, str], created: int
    ) -> ImageSettings:
        return ImageSettings(
            entrypoint=told.entrypoint or self.entrypoint(base_entrypoint),
            env=self.environment,
            labels={**told.labels, **labels},
            exposed_ports=(self.port,),
            healthcheck=Healthcheck(
                self.healthcheck,
                interval=HEALTH_INTERVAL_SECONDS,
                timeout=TIMEOUT_SECONDS,
                start_period=HEALTH_START_SECONDS,
                retries=HEALTH_RETRIES,
            ),
            created=created,
        )


@dataclass(frozen=True)
class Told:
    """What is known of an image only when its parts are made. `entrypoint` None: the server's own."""

    labels: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None


#: Reads it from the image's inputs. What it says follows from them and from the step's version alone.
Tell = Callable[[Mapping[str, Tree], Store], Told]


def nothing(inputs: Mapping[str, Tree], store: Store) -> Told:
    """Nothing that was made has more to say."""
    return Told()


@dataclass(frozen=True)
class Serving:
    """An engine's part of an image.

    `configuration` decides the files that `files` writes, given what responses are to carry as the build's
    key. `folder` is where they stand in the image, `paths` where what was made does, by step. `steps` are
    made for the image alone. `labels` are known beforehand; `tell` reads more from what was made.
    """

    configuration: Mapping[str, Json]
    files: Callable[[str], Mapping[str, bytes]]
    folder: str
    paths: Mapping[str, str]
    server: Server
    steps: tuple[Step, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    tell: Tell = nothing
