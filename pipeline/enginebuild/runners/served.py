"""An image's server in a container: started as the image says, without a network, asked from inside."""

from __future__ import annotations

import contextlib
import functools
import io
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import docker
import docker.errors
from docker.types import DeviceRequest

from enginebuild.errors import PublishError, StepError, VerificationError
from enginebuild.events import Note, Report
from enginebuild.execution import ContainerEnvironment, GpuNeed
from enginebuild.publish.docker import load, present
from enginebuild.runners.containers import container, image_name, is_ours_alone, sweep
from enginebuild.runners.docker import pull, swept_machine_of
from enginebuild.runners.engine import LOST, NO_GPU_SUPPORT, engine, gives_gpus, host, is_here
from enginebuild.runners.machine import choose, this_machine
from enginebuild.runners.reservation import reserved
from enginebuild.verify.gate import Gpus
from enginebuild.verify.server import FOLDER, Ended, Ran, Subject
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image

#: Seconds for our program in the container to say that the time is over, before the server is killed.
_GRACE = 15.0
#: What ends by SIGKILL has this exit code.
_KILLED = 137
_MOMENT = 3.0  # seconds


@dataclass(frozen=True, slots=True)
class Room:
    """What the container may have. `memory` and `shm_size` in bytes, `seconds` in all.

    `gpus`: how many, unless `ids` says which.
    """

    seconds: float
    shm_size: int
    memory: int | None = None
    gpus: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """For which step a server is started, and how other than its image says.

    `words`: instead of its entry point. `archive`: a tar whose files are put into the container beforehand.
    """

    step: str = "verify"
    variables: Mapping[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    archive: Path | None = None


def gpus_for(need: GpuNeed) -> tuple[Gpus, tuple[str, ...]]:
    """The GPUs for a server, and what is lacking, a sentence each.

    A machine elsewhere is not asked: its engine chooses, and its address stands for their names.
    """
    if not need.wanted:
        return Gpus(), ()
    if not is_here():
        return Gpus(need.count, (f"of {host()}",) * (need.count or len(need.ids)), need.ids), ()
    choice = choose(need, "verify", this_machine())
    names = tuple(gpu.name for gpu in choice.gpus)
    # Which of several equal ones is decided when the server starts.
    ids = need.ids if len(set(names)) == 1 else tuple(gpu.index for gpu in choice.gpus)
    return Gpus(len(names), names, ids), choice.lacking


@contextmanager
def reserved_gpus(gpus: Gpus, image: str, step: str, tell: Report) -> Iterator[Gpus]:
    """GPUs of the same names with their ids, which nobody else gets while the block runs; waits for them.

    `image` is one that the engine has: an engine elsewhere is asked in its container, and chooses by itself
    where that tells nothing. Raises StepError.
    """
    need = GpuNeed(gpus.count, gpus.ids)
    if not need.wanted:
        yield gpus
        return
    with ExitStack() as held:
        with engine() as client:
            ask = functools.partial(swept_machine_of, client, image)
            if is_here():
                need = replace(need, product=gpus.names[0] if len(set(gpus.names)) == 1 else None)
            elif trouble := ask().trouble:
                tell(Note(f"GPUs of {host()} are not reserved: {trouble}", "warning"))
                need = GpuNeed()
            chosen = held.enter_context(reserved(need, step, ask, tell))
        yield replace(gpus, ids=tuple(gpu.index for gpu in chosen)) if chosen else gpus


def lacking(need: GpuNeed) -> tuple[str, ...]:
    """What this machine lacks to serve an image, each as one sentence."""
    try:
        with engine() as client:
            if need.wanted and not gives_gpus(client.info()):
                return (NO_GPU_SUPPORT.format(host=host()),)
    except StepError as error:
        return (error.message,)
    return gpus_for(need)[1]


_VERIFY = Start()


@contextmanager
def loaded(image: Image, report: Report, step: str = "verify") -> Iterator[str]:
    """An image of ours in the engine, by its id; taken away again if it was not there. Raises StepError.

    `step`: for which it is there and for nothing else, which is part of its name.
    """
    name = image_name(image, step)
    with engine() as client:
        try:
            yield _present(client, image, name) or _load(client, image, name, report)
        finally:
            with contextlib.suppress(docker.errors.APIError, *LOST):
                client.images.remove(name)


def _present(client: docker.DockerClient, image: Image, name: str) -> str | None:
    """What another run put there, one that may end or was killed, is kept by a name of ours."""
    found = present(client, image)
    if found is not None and is_ours_alone((there := client.images.get(found)).tags):
        there.tag(name)
    return found


def _load(client: docker.DockerClient, image: Image, name: str, report: Report) -> str:
    try:
        load(client, image, [name], report)
    except (ImageError, PublishError) as error:
        raise StepError(f"the image cannot be verified: {error.message}", error.hint) from error
    return str(client.images.get(name).id)


@contextmanager
def pulled(environment: ContainerEnvironment, report: Report) -> Iterator[str]:
    """A registry's image in the engine, where it stays. Raises StepError."""
    with engine() as client:
        yield pull(client, environment, report)


@dataclass(slots=True)
class ServedContainer:
    """A server that was started. Implements `verify.server.Server`."""

    client: docker.DockerClient
    name: str
    over: threading.Event = field(default_factory=threading.Event)

    def put(self, files: Mapping[str, bytes]) -> None:
        self.client.api.put_archive(self.name, "/", _archive(files))

    def run(self, words: Sequence[str]) -> Ran:
        try:
            made = self.client.api.exec_create(self.name, list(words))["Id"]
            out, err = b"", b""
            for piece, complaint in self.client.api.exec_start(made, stream=True, demux=True):
                out += piece or b""
                err += complaint or b""
            code = self.client.api.exec_inspect(made)["ExitCode"]
        except docker.errors.APIError as error:
            self._settle()
            if self.ended() is None:
                raise StepError(f"the Docker Engine says: {error.explanation or error}") from error
            return Ran(_KILLED, b"", b"")
        if code in (None, _KILLED):
            self._settle()
        return Ran(_KILLED if code is None else int(code), out, err)

    def _settle(self) -> None:
        """A program ends with its container, which the engine calls running for a moment more."""
        until = time.monotonic() + _MOMENT
        while self.ended() is None and time.monotonic() < until:
            time.sleep(0.05)

    def read(self, path: PurePosixPath) -> bytes | None:
        try:
            pieces, _ = self.client.api.get_archive(self.name, str(path))
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            found = archive.extractfile(archive.getmembers()[0])
            return None if found is None else found.read()

    def stop(self, seconds: float) -> None:
        """End the server as Docker does: by SIGTERM, and by SIGKILL when its time is over."""
        self.client.api.stop(self.name, timeout=int(seconds))

    def archive(self, path: PurePosixPath) -> Iterator[bytes]:
        """A tar of a file or folder, whether the server runs or not. Nothing if there is none."""
        try:
            pieces, _ = self.client.api.get_archive(self.name, str(path))
        except docker.errors.NotFound:
            return
        yield from pieces

    def ended(self) -> Ended | None:
        if self.over.is_set():
            return Ended(_KILLED, over=True)
        state = self.client.api.inspect_container(self.name)["State"]
        if state["Running"]:
            return None
        return Ended(int(state["ExitCode"]), bool(state.get("OOMKilled")))

    def log(self) -> bytes:
        said: bytes = self.client.api.logs(self.name)
        return said


@contextmanager
def served(image: str, subject: Subject, room: Room, start: Start = _VERIFY) -> Iterator[ServedContainer]:
    """The server of an image that the engine has; killed when its time is over, gone with the block."""
    with engine() as client:
        sweep(client)
        with container(client, image, start.step, **_options(room, start)) as name:
            found = ServedContainer(client, name)
            found.put({".keep": b""})
            if start.archive is not None:
                with start.archive.open("rb") as file:
                    client.api.put_archive(name, "/", file)
            timer = threading.Timer(room.seconds + _GRACE, _kill, (found,))
            timer.daemon = True
            try:
                client.api.start(name)
                timer.start()
            except docker.errors.APIError as error:
                raise _refusal(subject, start.step, str(error.explanation or error)) from error
            try:
                yield found
            finally:
                timer.cancel()


def _options(room: Room, start: Start) -> dict[str, Any]:
    """The image's own user, and nothing to reach the world with."""
    requests = []
    if room.ids:
        requests = [DeviceRequest(device_ids=list(room.ids), capabilities=[["gpu"]])]
    elif room.gpus:
        requests = [DeviceRequest(count=room.gpus, capabilities=[["gpu"]])]
    words = {"entrypoint": list(start.words)} if start.words else {}
    return {
        **words,
        "environment": dict(start.variables),
        "user": None,
        "labels": {"enginebuild.step": start.step},
        "mem_limit": room.memory,
        "memswap_limit": room.memory,
        "shm_size": room.shm_size,
        "security_opt": ["no-new-privileges"],
        "device_requests": requests,
    }


def _kill(server: ServedContainer) -> None:
    server.over.set()
    with contextlib.suppress(docker.errors.APIError, *LOST):
        server.client.api.kill(server.name)


def _refusal(subject: Subject, step: str, said: str) -> StepError | VerificationError:
    if "could not select device driver" in said:
        return StepError(f"the step {step} cannot start: {NO_GPU_SUPPORT.format(host=host())}")
    return VerificationError(
        f"{subject.name} failed verification: its server cannot be started: the Docker Engine says: {said}"
    )


def _archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of files in FOLDER, which a server's user may write to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, mode in ((FOLDER.parent, 0o755), (FOLDER, 0o777)):
            folder = tarfile.TarInfo(str(path.relative_to("/")))
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(str((FOLDER / name).relative_to("/")))
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
