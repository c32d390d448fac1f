"""A container for one command: what the Docker Engine is asked for, and the same as a shell's words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from enginebuild.execution import INPUT, OUTPUT, SCRIPTS, ContainerEnvironment, Execution, Folders
from enginebuild.runners.words import quoted
from enginebuild_images.reference import Reference

#: NVIDIA's containers want both (their documentation, and the banner of the NGC images): pinned memory for
#: transfers, and stacks of 64 MiB. -1: no limit.
ULIMITS = {"memlock": -1, "stack": 64 << 20}


@dataclass(frozen=True, slots=True)
class Mounted:
    """A folder in the container: one of this machine, or a volume of the engine by its name."""

    source: Path | str
    target: PurePosixPath
    read_only: bool


def mounts_of(folders: Folders) -> tuple[Mounted, ...]:
    """Inputs and scripts are only read."""
    inputs = [Mounted(path, INPUT / name, True) for name, path in sorted(folders.inputs.items())]
    return (*inputs, Mounted(folders.scripts, SCRIPTS, True), Mounted(folders.output, OUTPUT, False))


def pinned(environment: ContainerEnvironment) -> str:
    """The image by digest alone: a tag beside it would be ignored, and may have moved."""
    return f"{repository(environment)}@{environment.digest}"


def repository(environment: ContainerEnvironment) -> str:
    """Registry and repository. Raises ImageError."""
    return Reference.parse(environment.reference).name


def docker_run(execution: Execution, command: tuple[str, ...], folders: Folders, ids: Sequence[str]) -> str:
    """`docker run …` with everything that decides what the command does."""
    environment, limits = execution.environment, execution.limits
    assert isinstance(environment, ContainerEnvironment)
    words = ["docker", "run", "--rm", "--user", "0:0", *_gpu_words(execution, ids)]
    if not execution.network:
        words += ["--network", "none"]
    if limits.memory is not None:
        words += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    if limits.shared_memory is not None:
        words += ["--shm-size", str(limits.shared_memory)]
    for name, value in ULIMITS.items():
        words += ["--ulimit", f"{name}={value}"]
    words += ["--security-opt", "no-new-privileges"]
    for name, text in sorted(execution.variables.items()):
        words += ["-e", f"{name}={text}"]
    for name in execution.secrets:
        words += ["-e", name]  # docker takes the value from the shell's environment
    mounts = [
        f"-v {quoted(Path(mount.source))}:{mount.target}{':ro' if mount.read_only else ''}"
        for mount in mounts_of(folders)
    ]
    last = ["--entrypoint", command[0], pinned(environment), *command[1:]]
    return " ".join([shlex.join(words), *mounts, shlex.join(last)])


def _gpu_words(execution: Execution, ids: Sequence[str]) -> list[str]:
    if ids:
        return ["--gpus", f'"device={",".join(ids)}"']
    return ["--gpus", str(execution.gpus.count)] if execution.gpus.count else []
