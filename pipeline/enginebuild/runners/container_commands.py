"""One command after another, each in a container of its own: started, followed, stopped, and removed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import docker
import docker.errors
from docker.types import DeviceRequest, Ulimit

from enginebuild.errors import EngineBuildError, StepError
from enginebuild.events import Note, Report
from enginebuild.execution import CommandFailed, Execution, Log
from enginebuild.runners.container import ULIMITS, Mounted
from enginebuild.runners.containers import container, mount
from enginebuild.runners.engine import COPY, LOST, NO_GPU_SUPPORT, host
from enginebuild.runners.log_lines import LogLines
from enginebuild.runners.machine import Gpu, gigabytes
from enginebuild.runners.words import cannot_start, failed, killed, secrets_of, timed_out

#: runc's words where the engine lacks CAP_SYS_RESOURCE: one that is rootless, or runs in a container.
_NO_LIMITS = "error setting rlimit"
_OWN_LIMITS = f"the Docker Engine may not raise limits: {' and '.join(ULIMITS)} stay as they are there"


@dataclass(slots=True)
class ContainerCommands:
    """What the containers of one execution share. `until`: when its time is over (monotonic seconds)."""

    client: docker.DockerClient
    image: str
    execution: Execution
    mounts: Sequence[Mounted]
    gpus: Sequence[Gpu]
    until: float
    report: Report
    ulimits: Mapping[str, int] = field(default_factory=lambda: ULIMITS)

    def run(self, command: tuple[str, ...], log: Log) -> None:
        """Run one in a container of its own. Raises CommandFailed and StepError."""
        with self._started(command) as name:
            stopped = self._follow(name, log)
            state = self.client.api.inspect_container(name)["State"]
        if stopped:
            raise timed_out(self.execution, command)
        if state.get("OOMKilled") and state["ExitCode"]:
            limit = self.execution.limits.memory
            raise killed(self.execution, command, 9, gigabytes(limit) if limit is not None else "")
        if state["ExitCode"]:
            raise failed(self.execution, command, state["ExitCode"])

    @contextmanager
    def _started(self, command: tuple[str, ...]) -> Iterator[str]:
        with contextlib.ExitStack() as stack:
            try:
                name = self._start(stack, command)
            except docker.errors.APIError as error:
                raise self._refusal(command, str(error.explanation or error)) from error
            yield name

    def _start(self, stack: contextlib.ExitStack, command: tuple[str, ...]) -> str:
        made = container(self.client, self.image, self.execution.step, **self._options(command))
        try:
            with contextlib.ExitStack() as attempt:
                name = attempt.enter_context(made)
                self.client.api.start(name)
                stack.push(attempt.pop_all())
        except docker.errors.APIError as error:
            if _NO_LIMITS not in str(error) or not self.ulimits:
                raise
            self.report(Note(f"{_OWN_LIMITS} (by hand, leave out --ulimit)", "warning"))
            self.ulimits = {}
            return self._start(stack, command)
        return name

    def _options(self, command: tuple[str, ...]) -> dict[str, Any]:
        execution, limits = self.execution, self.execution.limits
        gpus = [gpu.index for gpu in self.gpus]
        return {
            "entrypoint": [command[0]],
            "command": list(command[1:]),
            "ulimits": [Ulimit(name=name, soft=n, hard=n) for name, n in self.ulimits.items()],
            "labels": {"enginebuild.step": execution.step},
            "environment": {**execution.variables, **secrets_of(execution)},
            "mounts": [mount(each) for each in self.mounts],
            "network_mode": None if execution.network else "none",
            "mem_limit": limits.memory,
            "memswap_limit": limits.memory,  # no swap beside it: a build in swap takes days
            "shm_size": limits.shared_memory,
            "security_opt": ["no-new-privileges"],
            "device_requests": [DeviceRequest(device_ids=gpus, capabilities=[["gpu"]])] if gpus else [],
        }

    def _refusal(self, command: tuple[str, ...], said: str) -> EngineBuildError:
        step = self.execution.step
        if "could not select device driver" in said:
            return cannot_start(step, (NO_GPU_SUPPORT.format(host=host()),))
        if "executable file not found" in said or "no such file or directory" in said.lower():
            return CommandFailed(
                f"the step {step} failed: the image {self.image} has no program {command[0]}",
                command,
                "builder.image must be one that has it",
            )
        hint = ""
        if "bind source path does not exist" in said:
            hint = f"if the engine does not see this machine's disk, set {COPY}=1: folders are copied then"
        return StepError(f"the step {step} cannot start: the Docker Engine says: {said}", hint)

    def _follow(self, name: str, log: Log) -> bool:
        """Its log until it ends; True if it was stopped because its time was over."""
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            with contextlib.suppress(docker.errors.APIError, *LOST):
                self.client.api.kill(name)

        timer = threading.Timer(max(self.until - time.monotonic(), 0.0), stop)
        timer.daemon = True
        timer.start()
        lines = LogLines(secrets_of(self.execution).values())
        try:
            for piece in self.client.api.logs(name, stream=True, follow=True):
                for line in lines.feed(piece):
                    log(line)
            for line in lines.end():
                log(line)
            self.client.api.wait(name)
        finally:
            timer.cancel()
        return stopped.is_set()
