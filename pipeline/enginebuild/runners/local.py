"""Commands as processes of this machine, in an environment that is a folder of programs."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from enginebuild.errors import StepError
from enginebuild.events import Report, silent
from enginebuild.execution import (
    INPUT,
    OUTPUT,
    SCRIPTS,
    Execution,
    Folders,
    HostMemory,
    LocalEnvironment,
    Log,
)
from enginebuild.runners.host_memory import host_memory
from enginebuild.runners.log_lines import LogLines
from enginebuild.runners.machine import Gpu, this_machine
from enginebuild.runners.reservation import lacking, reserved
from enginebuild.runners.words import failed, killed, secrets_of, shown, timed_out
from enginebuild_cache import Json

#: Variables of ours that a command gets: how text is written, and where NVIDIA's libraries lie.
_PASSED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "SSL_CERT_FILE")
#: The Hub's libraries try to reach it otherwise, and fail minutes later.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_TICK = 0.2  # seconds between two looks at the clock
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class LocalRunner:
    """Runs each command in a process group of its own; memory and network are not limited."""

    report: Report = silent
    name: Literal["docker", "local"] = "local"

    def missing(self, execution: Execution) -> tuple[str, ...]:
        environment = _environment(execution)
        if not (environment.folder / "bin").is_dir():
            return (f"no environment at {environment.folder}: it has no folder bin",)
        found = [
            f"no program {name} in {environment.folder / 'bin'}, and none on PATH"
            for name in dict.fromkeys(command[0] for command in execution.commands)
            if not name.startswith(str(SCRIPTS)) and shutil.which(name, path=_path(environment)) is None
        ]
        found += [
            f"no program {path}: NVIDIA's release image has it, and no package of TensorRT-LLM"
            for path in dict.fromkeys(map(_program_file, execution.commands))
            if path is not None and not path.exists()
        ]
        return (*found, *lacking(execution.gpus, execution.step, this_machine))

    def memory(self) -> HostMemory | None:
        return host_memory()

    def run(self, execution: Execution, folders: Folders, log: Log) -> Mapping[str, Json]:
        with reserved(execution.gpus, execution.step, this_machine, self.report) as gpus:
            return self._run_on(gpus, execution, folders, log)

    def _run_on(
        self, gpus: Sequence[Gpu], execution: Execution, folders: Folders, log: Log
    ) -> Mapping[str, Json]:
        environment = _environment(execution)
        started = time.monotonic()
        secrets = secrets_of(execution)
        # Not in /tmp: that is often small, or memory.
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=folders.output.parent) as scratch:
            variables = {**_variables(execution, environment, folders, gpus), **secrets}
            variables |= {"HOME": scratch, "TMPDIR": scratch}
            deadline = started + execution.limits.timeout
            for command in execution.commands:
                log(f"$ {shown(command)}")
                self._run(execution, command, _Process(folders, variables, Path(scratch), deadline), log)
        return {
            "runner": self.name,
            "environment": str(environment),
            "gpus": [gpu.to_json() for gpu in gpus],
            "seconds": round(time.monotonic() - started, 3),
        }

    def by_hand(self, execution: Execution, command: tuple[str, ...], folders: Folders) -> str:
        environment = _environment(execution)
        variables = _variables(execution, environment, folders, ())
        if execution.gpus.ids:
            variables |= _visible(execution.gpus.ids)
        for name in ("PATH", *_PASSED):  # the shell has them
            variables.pop(name, None)
        words = [f'PATH={shlex.quote(str(environment.folder / "bin"))}:"$PATH"']
        words += [f"{name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
        return " ".join([*words, shlex.join(_located(command, folders))])

    def _run(self, execution: Execution, command: tuple[str, ...], process: _Process, log: Log) -> None:
        try:
            code = process.run(command, LogLines(secrets_of(execution).values()), log)
        except TimeoutError:
            raise timed_out(execution, command) from None
        except OSError as error:
            raise StepError(
                f"the step {execution.step} cannot start {command[0]}: {error.strerror or error}",
                f"is it in {_environment(execution).folder / 'bin'}?",
            ) from error
        if code < 0:
            raise killed(execution, command, -code)
        if code > 0:
            raise failed(execution, command, code)


@dataclass(frozen=True, slots=True)
class _Process:
    """How a command is run: its variables, the folder that it is in, and until when."""

    folders: Folders
    variables: Mapping[str, str]
    folder: Path
    deadline: float

    def run(self, command: tuple[str, ...], lines: LogLines, log: Log) -> int:
        """Its exit code, negative for a signal. Raises TimeoutError and OSError."""
        words = _located(command, self.folders)
        program = shutil.which(words[0], path=self.variables["PATH"]) or words[0]
        process = subprocess.Popen(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.variables),
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C is for us; the group is ended as a whole
        )
        assert process.stdout is not None
        try:
            with process.stdout as output:
                for piece in self._pieces(process, output.fileno()):
                    for line in lines.feed(piece):
                        log(line)
            for line in lines.end():
                log(line)
            return process.wait()
        finally:
            _kill(process)
            process.wait()

    def _pieces(self, process: subprocess.Popen[bytes], descriptor: int) -> Iterator[bytes]:
        """Its output until it ends. Raises TimeoutError."""
        os.set_blocking(descriptor, False)
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                ended = process.poll() is not None
                if ended:
                    _kill(process)  # children that it left; what they still write is read, and no more
                if selector.select(0 if ended else _TICK):
                    piece = os.read(descriptor, _PIECE)
                    if not piece:
                        break
                    yield piece
                elif ended:
                    return
                if time.monotonic() > self.deadline:
                    raise TimeoutError
        # It may have closed its output and still be at work.
        try:
            process.wait(max(self.deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The whole group, with its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _program_file(command: tuple[str, ...]) -> Path | None:
    """The file that an interpreter is to run, where that is no program of ours."""
    path = command[1] if len(command) > 1 else ""
    foreign = path.startswith("/") and path.endswith(".py") and not path.startswith(str(SCRIPTS))
    return Path(path) if foreign else None


def _environment(execution: Execution) -> LocalEnvironment:
    assert isinstance(execution.environment, LocalEnvironment)
    return execution.environment


def _path(environment: LocalEnvironment) -> str:
    return f"{environment.folder / 'bin'}:{os.environ.get('PATH', os.defpath)}"


def _variables(
    execution: Execution, environment: LocalEnvironment, folders: Folders, gpus: Sequence[Gpu]
) -> dict[str, str]:
    """Few of our own: what a command makes must not hang on the shell it was started from."""
    variables = {name: os.environ[name] for name in _PASSED if name in os.environ}
    variables |= {"PATH": _path(environment), "VIRTUAL_ENV": str(environment.folder)}
    if not execution.network:
        variables |= _OFFLINE
    if gpus:
        variables |= _visible([gpu.index for gpu in gpus])
    elif not execution.gpus.wanted:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables | dict(
        zip(execution.variables, _located(tuple(execution.variables.values()), folders), strict=True)
    )


def _visible(ids: Sequence[str]) -> dict[str, str]:
    """CUDA numbers GPUs by speed unless it is told to do as nvidia-smi does."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(ids)}


def _located(words: tuple[str, ...], folders: Folders) -> list[str]:
    """The words with real folders: in a word that is such a path, begins with one, or has one after `=`."""
    real = {f"{INPUT}/{name}": folder for name, folder in folders.inputs.items()}
    real |= {str(OUTPUT): folders.output, str(SCRIPTS): folders.scripts}
    places = "|".join(re.escape(place) for place in sorted(real, key=len, reverse=True))
    pattern = re.compile(rf"(^|=)({places})(?=/|$)")
    return [pattern.sub(lambda found: f"{found[1]}{real[found[2]]}", word) for word in words]
