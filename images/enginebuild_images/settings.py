"""What an image says to the engine that runs it: command, environment, labels, ports, health check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enginebuild_cache import Json

_SECOND = 1_000_000_000  # Docker counts a health check's times in nanoseconds


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """A command that an engine runs beside the server. Times are in seconds.

    Docker's extension of the OCI config: Docker and Podman honour it, Kubernetes has probes of its own.
    """

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3

    def to_json(self) -> dict[str, Json]:
        return {
            "Test": ["CMD", *self.command],
            "Interval": round(self.interval * _SECOND),
            "Timeout": round(self.timeout * _SECOND),
            "StartPeriod": round(self.start_period * _SECOND),
            "Retries": self.retries,
        }


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Changes to the base's configuration. None, and what is not named, leaves the base's value.

    As in a Dockerfile, an entrypoint takes the base's cmd away; an empty one takes the entrypoint away.
    `exposed_ports`: TCP port numbers. `created`: seconds since 1970, SOURCE_DATE_EPOCH where it is set.
    `annotations` go to the manifest, `labels` to the config, where `docker inspect` shows them.
    """

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    exposed_ports: tuple[int, ...] = ()
    working_dir: str | None = None
    user: str | None = None
    healthcheck: Healthcheck | None = None
    created: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)
