"""Reading a blob from a registry: streamed, verified as it streams, resumed where it broke off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

from enginebuild_images.blob import Descriptor
from enginebuild_images.errors import RegistryError
from enginebuild_images.failure import Answer, Failure
from enginebuild_images.pace import Pace
from enginebuild_images.pieces import in_chunks
from enginebuild_images.repository import Repository, Request
from enginebuild_images.transport import Exchange

_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)\Z")


@dataclass(frozen=True, slots=True)
class RegistryBlob:
    """A blob that lies in a registry. Made by `Registry.blob`."""

    repository: Repository = field(repr=False)
    descriptor: Descriptor
    pace: Pace = field(repr=False, compare=False)

    def chunks(self) -> Generator[bytes]:
        """The bytes in pieces of at most 1 MiB.

        A dropped connection is resumed with `Range`; each piece that arrives makes the patience whole again.
        Raises RegistryError, after the last byte at the latest, if they are not what the descriptor says.
        """
        running = hashlib.sha256()
        with closing(in_chunks(self._stream())) as pieces:
            for piece in pieces:
                running.update(piece)
                yield piece
        if running.hexdigest() != self.descriptor.digest.hex:
            raise self._wrong(f"the bytes have the digest sha256:{running.hexdigest()}")

    #: Checked here as well: else the registry that takes the bytes were blamed for the one that gave them.
    pieces = chunks

    def _stream(self) -> Generator[bytes]:
        size, done, failures = self.descriptor.size, 0, 0
        while True:
            failure: Failure | None = None
            try:
                with closing(self._from(done)) as pieces:
                    for piece in pieces:
                        done += len(piece)
                        failures = 0
                        if done > size:
                            raise self._wrong(f"the registry sends more than {size} bytes")
                        yield piece
            except Failure as error:
                failure = error
            if done == size and (size or failure is None):
                return
            failures += 1
            self.pace.pause(self.repository.registry, self._action, failure or self._short(done), failures)

    def _short(self, done: int) -> Failure:
        return Failure(
            f"the registry ended after {done} of {self.descriptor.size} bytes",
            "the registry's copy may be damaged: see its log, or push the image there anew",
            again=True,
        )

    def _from(self, offset: int) -> Generator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = self.repository.url(f"blobs/{self.descriptor.digest}")
        request = Request("GET", url, self.repository.pull, headers)
        with self.repository.exchange(request) as exchange:
            skipped = offset - self._starts_at(exchange, offset)
            for piece in exchange.pieces():
                rest = piece[skipped:] if skipped else piece
                skipped -= len(piece) - len(rest)
                if rest:
                    yield rest

    def _starts_at(self, exchange: Exchange, offset: int) -> int:
        if exchange.status == 200:
            return 0
        if exchange.status == 206:
            match = _RANGE.match(exchange.headers.get("content-range", ""))
            if match and int(match[1]) <= offset:
                return int(match[1])
            raise Failure("the registry answered a Range with another one", "see its log", again=True)
        answer: Answer = exchange.answer()
        raise self.repository.refusal(answer)

    @property
    def _action(self) -> str:
        return f"read {self.descriptor.digest} of {self.repository.name}"

    def _wrong(self, what: str) -> RegistryError:
        return Failure(
            what, "the registry's copy is damaged: push the image there anew, or use another registry"
        ).error(self.repository.registry, self._action)
