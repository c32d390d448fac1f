"""An execution: the commands of one step in a pinned environment, from input folders to an output folder.

A value and a Protocol; runners/ has the places where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from enginebuild.errors import StepError
from enginebuild_cache import Digest, Json

#: Where a command finds what it reads and leaves what it makes; a local runner puts real folders there.
INPUT = PurePosixPath("/enginebuild/input")
OUTPUT = PurePosixPath("/enginebuild/output")
SCRIPTS = PurePosixPath("/enginebuild/scripts")

#: Takes a line of a command's output, without its line break.
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ContainerEnvironment:
    """An image by digest. `reference` is its name as written in the recipe."""

    reference: str
    digest: Digest
    platform: str = "linux/amd64"

    def __str__(self) -> str:
        return str(self.digest)


@dataclass(frozen=True, slots=True)
class LocalEnvironment:
    """A folder with a Python environment on the builder; `versions` say what is in it, for the key."""

    folder: Path
    versions: Mapping[str, str]

    def __str__(self) -> str:
        return ",".join(f"{name}=={version}" for name, version in sorted(self.versions.items()))


Environment = ContainerEnvironment | LocalEnvironment


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """GPUs of the builder that an execution wants. `product` is what nvidia-smi calls them; None: any.

    `free_bytes`: memory that each must have free when it begins. `driver_floor`: the oldest driver that does.
    """

    count: int = 0
    ids: tuple[str, ...] = ()
    compute_capability: str | None = None
    product: str | None = None
    free_bytes: int = 0
    driver_floor: str | None = None

    @property
    def wanted(self) -> bool:
        return bool(self.count or self.ids)


@dataclass(frozen=True, slots=True)
class Limits:
    """`timeout` in seconds; `memory` and `shared_memory` in bytes, None for no limit."""

    timeout: float = 12 * 3600.0
    memory: int | None = None
    shared_memory: int | None = 16 << 30


@dataclass(frozen=True)
class Execution:
    """What a runner runs.

    `commands` run one after another in one environment, each of them with the folders of INPUT, SCRIPTS and
    OUTPUT; the first that fails ends it. `secrets` names variables of our own environment whose values are
    passed on, and never shown. `network`: whether the commands may reach one.
    """

    step: str
    environment: Environment
    commands: tuple[tuple[str, ...], ...]
    gpus: GpuNeed = GpuNeed()
    limits: Limits = Limits()
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True)
class Folders:
    """Real folders of one run: `inputs` by name and `scripts` are only read, `output` is empty."""

    inputs: Mapping[str, Path]
    scripts: Path
    output: Path


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes of memory, and of swap beside it, where commands run; `name` is that machine in a sentence."""

    size: int
    swap: int = 0
    name: str = "this machine"


class CommandFailed(StepError):  # noqa: N818 - what happened, as in FileNotFound
    """One command of an execution failed, was killed, or took too long. `command` is the one."""

    def __init__(self, message: str, command: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint)
        self.command = command


class Runner(Protocol):
    """Where executions happen."""

    @property
    def name(self) -> Literal["docker", "local"]: ...

    def missing(self, execution: Execution) -> tuple[str, ...]:
        """What this machine lacks for it, each as one sentence; fetches nothing large and changes nothing."""
        ...

    def memory(self) -> HostMemory | None:
        """What the machine has that commands run on; None where that is not known."""
        ...

    def run(self, execution: Execution, folders: Folders, log: Log) -> Mapping[str, Json]:
        """Run it to its end; what is worth recording of it (runner, seconds, GPUs, image).

        `log` hears every line live, with the values of secrets replaced. Raises CommandFailed, and StepError
        where no command could be started.
        """
        ...

    def by_hand(self, execution: Execution, command: tuple[str, ...], folders: Folders) -> str:
        """A shell's command line that repeats one command; secrets are named, their values are not in it."""
        ...
