"""Starts of a server for the step `warm`: until a real completion, then it is stopped and its cache read."""

from __future__ import annotations

import io
import shutil
import tarfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from enginebuild.engines.vllm import warm
from enginebuild.errors import StepError, VerificationError
from enginebuild.events import Report
from enginebuild.recipe.verification import Verification
from enginebuild.recipe.warming import Warming
from enginebuild.runners.tar_stream import Pieces
from enginebuild.verify.gate import Gpus
from enginebuild.verify.server import Subject
from enginebuild.verify.session import FailedError, Session

if TYPE_CHECKING:  # imports Docker's SDK: slow
    from enginebuild.runners.served import ServedContainer, Start

NAME = "warm"
#: Seconds from SIGTERM to SIGKILL; vLLM 0.32.0 takes up to 3.2 on a busy machine.
_STOP = 60.0
_LAST_LINES = 20


class FailedStartError(Exception):
    """The server did not answer; `log` is all that it wrote."""

    def __init__(self, why: str, log: bytes) -> None:
        super().__init__(why)
        self.log = log

    def lines(self) -> list[str]:
        """The end of its log."""
        return list(deque(self.log.decode("utf-8", "replace").splitlines(), _LAST_LINES))


@dataclass(frozen=True, slots=True)
class Started:
    """A start that ended well: seconds to the first completion, its log, and the files of its cache."""

    seconds: float
    log: bytes
    files: frozenset[str]


@dataclass(frozen=True)
class Starter:
    """An image that the engine has, and what its server may have."""

    image: str
    subject: Subject
    warming: Warming
    gpus: Gpus
    report: Report

    def start(self, how: Start, folder: Path | None = None) -> Started:
        """Start, ask, stop, and look; the files go to `folder`, if there is one.

        Raises FailedStartError, and StepError if it cannot be started at all.
        """
        from enginebuild.runners.served import Room, served

        limits, gpus = self.warming, self.gpus
        room = Room(limits.timeout + _STOP, limits.shm_size, limits.memory, gpus.count, gpus.ids)
        begun = time.monotonic()
        try:
            with served(self.image, self.subject, room, how) as server:
                seconds = self._ready(server, begun)
                server.stop(_STOP)
                return Started(seconds, server.log(), kept(server.archive(PurePosixPath(warm.ROOT)), folder))
        except VerificationError as error:
            said = error.message.partition(" failed verification: ")[2]
            raise StepError(f"the step {NAME} failed: {said}") from error

    def _ready(self, server: ServedContainer, begun: float) -> float:
        wanted = Verification(timeout=self.warming.timeout, memory=self.warming.memory)
        session = Session(server, self.subject, wanted, begun, begun + wanted.timeout, self.report)
        try:
            return session.ready()
        except FailedError as error:
            raise FailedStartError(str(error).replace("verify.", f"{NAME}."), server.log()) from error


def kept(archive: Iterator[bytes], folder: Path | None) -> frozenset[str]:
    """The files in the archive of a cache folder that are of use elsewhere; they go to `folder`, if given."""
    found: dict[str, None] = {}
    reader = io.BufferedReader(Pieces(archive))
    if not reader.peek(1):
        return frozenset()
    with tarfile.open(fileobj=reader, mode="r|") as members:
        for member in members:
            path = member.name.partition("/")[2]
            if not path or not warm.is_kept(path) or not (member.isfile() or member.islnk()):
                continue
            found[path] = None
            if folder is not None:
                _write(members, member, folder, path)
    return frozenset(found)


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, path: str) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.islnk():  # a second name of a file that came before
        shutil.copyfile(folder / member.linkname.partition("/")[2], target)
        return
    content = members.extractfile(member)
    with content or nullcontext(io.BytesIO()) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
