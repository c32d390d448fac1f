"""Commands in containers of a Docker Engine, one container for each."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import docker
import docker.errors
import docker.types

from enginebuild.errors import EngineBuildError, StepError
from enginebuild.events import Note, Report
from enginebuild.execution import ContainerEnvironment, Execution, Folders, HostMemory, Log
from enginebuild.runners import Pullable
from enginebuild.runners.container import Mounted, docker_run, pinned, repository
from enginebuild.runners.container_commands import ContainerCommands
from enginebuild.runners.containers import ran, sweep
from enginebuild.runners.engine import (
    NO_GPU_SUPPORT,
    engine,
    gives_gpus,
    host,
    is_here,
    me_inside,
    sees_our_disk,
)
from enginebuild.runners.folders import copied, mounted
from enginebuild.runners.host_memory import host_memory
from enginebuild.runners.machine import QUERY, Machine, gigabytes, read, this_machine
from enginebuild.runners.pull import PullProgress
from enginebuild.runners.reservation import lacking, reserved
from enginebuild.runners.words import cannot_start, shown
from enginebuild_cache import Json
from enginebuild_images.errors import ImageError

#: Where NVIDIA's hook puts it in every container that gets a GPU, whatever the image's PATH is.
_NVIDIA_SMI = "/usr/bin/nvidia-smi"


@dataclass(frozen=True, slots=True)
class DockerRunner:
    """The engine that DOCKER_HOST names, or the local one."""

    report: Report
    pullable: Pullable | None = None
    name: Literal["docker", "local"] = "docker"

    def missing(self, execution: Execution) -> tuple[str, ...]:
        try:
            with engine() as client:
                facts = client.info()
                here = _image_of(client, _environment(execution)) is not None
                return (
                    *_gpu_support(execution, facts),
                    *_lacking_gpus(client, execution, here),
                    *(() if here else self._not_pullable(_environment(execution), facts)),
                )
        except StepError as error:
            return (error.message,)

    def memory(self) -> HostMemory | None:
        """Of the engine's machine, or its virtual one; elsewhere as much swap as RAM is assumed."""
        try:
            with engine() as client:
                total = client.info().get("MemTotal")
        except StepError:
            return None
        if not isinstance(total, int) or total <= 0:
            return None
        here = host_memory() if is_here() else None
        return HostMemory(total, total if here is None else here.swap, "the Docker Engine's machine")

    def run(self, execution: Execution, folders: Folders, log: Log) -> Mapping[str, Json]:
        started = time.monotonic()
        environment = _environment(execution)
        image = pinned(environment)
        with engine() as client:
            sweep(client)
            facts = client.info()
            if unsupported := _gpu_support(execution, facts):
                raise cannot_start(execution.step, unsupported)
            if _image_of(client, environment) is None:
                pull(client, environment, self.report)
            ask = functools.partial(swept_machine_of, client, image)
            with (
                self._folders(client, image, folders, facts) as mounts,
                reserved(execution.gpus, execution.step, ask, self.report) as gpus,
            ):
                until = time.monotonic() + execution.limits.timeout
                commands = ContainerCommands(client, image, execution, mounts, gpus, until, self.report)
                for command in execution.commands:
                    log(f"$ {shown(command)}")
                    commands.run(command, log)
        return {
            "runner": self.name,
            "image": image,
            "engine": str(facts.get("ServerVersion", "")),
            "gpus": [gpu.to_json() for gpu in gpus],
            "seconds": round(time.monotonic() - started, 3),
        }

    def by_hand(self, execution: Execution, command: tuple[str, ...], folders: Folders) -> str:
        return docker_run(execution, command, folders, execution.gpus.ids)

    def _not_pullable(self, environment: ContainerEnvironment, facts: Mapping[str, Any]) -> tuple[str, ...]:
        if self.pullable is None:
            return ()
        try:
            size = self.pullable(environment)
        except (EngineBuildError, ImageError) as error:
            return (f"the image {pinned(environment)} cannot be pulled: {error.message}",)
        return _too_little_disk(environment, size, facts)

    def _folders(
        self, client: docker.DockerClient, image: str, folders: Folders, facts: Mapping[str, Any]
    ) -> AbstractContextManager[Sequence[Mounted]]:
        if sees_our_disk(facts):
            return mounted(client, image, folders, me_inside(facts))
        return copied(client, image, folders, self.report)


def machine_of(client: docker.DockerClient, image: str) -> Machine:
    """The GPUs of the engine's machine; one elsewhere is asked in a container of an image that is there."""
    return this_machine() if is_here() else _their_machine(client, image)


def swept_machine_of(client: docker.DockerClient, image: str) -> Machine:
    """The same without what killed runs left: they have no reservation, and their containers use GPUs."""
    sweep(client)
    return machine_of(client, image)


def pull(client: docker.DockerClient, environment: ContainerEnvironment, report: Report) -> str:
    """Bring an image into the engine; its name there. Raises StepError."""
    name, progress = pinned(environment), PullProgress()
    report(Note(f"pulling {name}"))
    try:
        for answer in client.api.pull(
            repository(environment),
            tag=str(environment.digest),
            platform=environment.platform,
            stream=True,
            decode=True,
        ):
            if refusal := answer.get("error"):
                raise _not_pulled(name, refusal)
            for event in progress(answer):
                report(event)
    except docker.errors.APIError as error:
        raise _not_pulled(name, str(error.explanation or error)) from error
    return name


def _environment(execution: Execution) -> ContainerEnvironment:
    assert isinstance(execution.environment, ContainerEnvironment)
    return execution.environment


def _not_pulled(name: str, said: str) -> StepError:
    return StepError(
        f"the Docker Engine cannot pull {name}: {said}",
        f"does `docker pull {name}` work? `docker login` may be needed",
    )


def _gpu_support(execution: Execution, facts: Mapping[str, Any]) -> tuple[str, ...]:
    if not execution.gpus.wanted or gives_gpus(facts):
        return ()
    return (NO_GPU_SUPPORT.format(host=host()),)


def _lacking_gpus(client: docker.DockerClient, execution: Execution, here: bool) -> tuple[str, ...]:
    """`here`: whether the engine has the image, without which one elsewhere cannot be asked."""
    if not (is_here() or here):
        return ()
    image = pinned(_environment(execution))
    return lacking(execution.gpus, execution.step, lambda: machine_of(client, image))


def _image_of(client: docker.DockerClient, environment: ContainerEnvironment) -> object | None:
    try:
        return client.images.get(pinned(environment))
    except docker.errors.ImageNotFound:
        return None


def _too_little_disk(
    environment: ContainerEnvironment, size: int, facts: Mapping[str, Any]
) -> tuple[str, ...]:
    folder = Path(facts.get("DockerRootDir") or "/var/lib/docker")
    if not is_here() or not folder.is_dir():
        return ()
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free >= size:
        return ()
    need = f"the image {pinned(environment)} is {gigabytes(size)} before it is unpacked"
    return (f"too little disk: {need}, and Docker's folder {folder} has {gigabytes(free)} free",)


def _their_machine(client: docker.DockerClient, image: str) -> Machine:
    request = docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])
    try:
        code, said = ran(client, image, (_NVIDIA_SMI, *QUERY), device_requests=[request])
    except docker.errors.APIError as error:
        return Machine(trouble=f"the Docker Engine at {host()} gives no GPU: {error.explanation or error}")
    return read(said.decode("utf-8", "replace"), code)
