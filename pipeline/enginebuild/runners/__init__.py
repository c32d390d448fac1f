"""Where executions happen: containers of a Docker Engine, or processes of this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from enginebuild.events import Report
from enginebuild.execution import ContainerEnvironment, Runner

#: Asks a registry for an image without fetching it: its bytes as they are downloaded. Raises EngineBuildError
#: or ImageError, which say why it cannot be pulled.
Pullable = Callable[[ContainerEnvironment], int]


def make(kind: Literal["docker", "local"], report: Report, pullable: Pullable | None = None) -> Runner:
    """The runner of this name. `pullable` is asked by `missing` for images that the engine does not have."""
    if kind == "local":
        from enginebuild.runners.local import LocalRunner

        return LocalRunner(report)
    from enginebuild.runners.docker import DockerRunner  # imports Docker's SDK: slow

    return DockerRunner(report, pullable)
