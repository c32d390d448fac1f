"""Sending one blob: mount it, or send it in the way that this registry takes.

The ways, their order and their traps are those that the widely used clients have met: a `202` to a mount has
opened an upload; a commit that failed may have worked (jib #4301); GHCR takes at most 4 MiB with a
`Content-Range`, Google's registry none at all; Amazon's `Range` replies lie (containers-roadmap #2831).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeVar

from enginebuild_images.blob import Blob, Descriptor
from enginebuild_images.clone import unread
from enginebuild_images.errors import ImageError
from enginebuild_images.extent import Piece
from enginebuild_images.failure import Answer, Failure
from enginebuild_images.location import resolve, with_query
from enginebuild_images.pace import Pace
from enginebuild_images.pieces import PieceReader
from enginebuild_images.repository import Repository, Request, Way

P = TypeVar("P", bound=Piece)

#: Told of the bytes of one thing: its label, bytes done, bytes in all.
Report = Callable[[str, int, int], None]

#: Bytes per request where the way is CHUNKED; quartered after each 413 or 416 down to the smallest.
CHUNK_SIZE = 64 << 20
SMALLEST_CHUNK = 1 << 20

_DONE = frozenset({200, 201, 204})
_TAKEN = frozenset({200, 201, 202, 204})
_KEEPS_THE_WAY = frozenset({"NAME_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "BLOB_UNKNOWN", "DENIED", "NAME_INVALID"})


@dataclass(frozen=True, slots=True)
class Sent:
    """How a blob came to be in the repository. `size` is the bytes that travelled, repeats included."""

    how: Literal["present", "mounted", "sent"]
    size: int = 0


@dataclass(frozen=True, slots=True)
class OpenedUpload:
    """An upload that the registry has begun. `least_chunk`: bytes that it takes in one PATCH at least."""

    location: str
    least_chunk: int


class _OtherWay(Exception):  # noqa: N818 - a turn, not an error
    """This registry does not take blobs in the way that was tried; the next is chosen."""


@dataclass(slots=True)
class Upload:
    """One blob on its way to a repository. `source`: a repository of the same registry that has the blob."""

    repository: Repository
    blob: Blob
    pace: Pace
    report: Report
    source: str | None = None
    travelled: int = 0
    _tried: bool = False

    @property
    def descriptor(self) -> Descriptor:
        return self.blob.descriptor

    def run(self) -> Sent:
        """Mount or send. Raises RegistryError, and what the blob raises if it is not what was described."""
        size = self.descriptor.size
        action = f"upload {label(self.descriptor)} ({human(size)}) to {self.repository.name}"
        sent = self.pace.patiently(self.repository.registry, action, self._attempt)
        self.report(label(self.descriptor), size, size)
        return sent

    def _attempt(self, _number: int) -> Sent:
        while True:
            # A commit whose answer was lost may have worked, and a repeated one is answered with a 404.
            if self._tried and present(self.repository, self.descriptor):
                return Sent("sent", self.travelled)
            self._tried = True
            opened = self._open()
            if opened is None:
                return Sent("mounted", self.travelled)
            try:
                self._send(opened)
            except _OtherWay:
                continue
            return Sent("sent", self.travelled)

    def _open(self) -> OpenedUpload | None:
        """An upload, or None when the blob was mounted. Mounting is tried once, and never fails a push."""
        source, self.source = self.source, None
        if source is not None:
            with contextlib.suppress(Failure):
                answer = self._mount(source)
                if answer.status == 201:
                    return None
                if answer.status == 202:
                    return opened_upload(answer)
        answer = self.repository.send(Request("POST", self._uploads(), self.repository.push))
        if answer.status not in (201, 202):
            raise self.repository.refusal(answer)
        return opened_upload(answer)

    def _uploads(self) -> str:
        return self.repository.url("blobs/uploads/")

    def _mount(self, source: str) -> Answer:
        url = with_query(self._uploads(), mount=str(self.descriptor.digest), **{"from": source})
        scopes = self.repository.push | {f"repository:{source}:pull"}
        return self.repository.send(Request("POST", url, scopes))

    def _send(self, opened: OpenedUpload) -> None:
        host = self.repository.host
        way = host.way
        if way is Way.MONOLITHIC:
            self._monolithic(opened.location)
        elif way is Way.STREAMED:
            self._commit(self._streamed(opened.location))
        else:
            self._commit(self._chunked(opened.location, max(host.chunk, opened.least_chunk)))

    def _monolithic(self, location: str) -> None:
        answer = self._put(location, whole=True)
        if answer.status not in _DONE:
            self._refuse(answer, Way.MONOLITHIC)
        self._check(answer)

    def _streamed(self, location: str) -> str:
        size = self.descriptor.size
        headers = {"Content-Type": "application/octet-stream"}
        answer = self.repository.send(
            Request("PATCH", location, self.repository.push, headers, self._body, size)
        )
        if answer.status not in _TAKEN:
            self._refuse(answer, Way.STREAMED)
        return next_location(answer)

    def _chunked(self, location: str, chunk: int) -> str:
        size = self.descriptor.size
        with contextlib.closing(PieceReader(self._counted(self.blob.pieces()))) as reader:
            for start in range(0, size, chunk):
                length = min(chunk, size - start)
                headers = {
                    "Content-Type": "application/octet-stream",
                    "Content-Range": f"{start}-{start + length - 1}",
                }

                def body(length: int = length) -> Iterator[bytes]:
                    return reader.take(length)

                request = Request("PATCH", location, self.repository.push, headers, body, length, once=True)
                answer = self.repository.send(request)
                if answer.status not in _TAKEN:
                    self._refuse(answer, Way.CHUNKED)
                location = next_location(answer)
        return location

    def _commit(self, location: str) -> None:
        answer = self._put(location, whole=False)
        if answer.status not in _DONE:
            raise self._failure(answer)
        self._check(answer)

    def _put(self, location: str, *, whole: bool) -> Answer:
        url = with_query(location, digest=str(self.descriptor.digest))
        headers = {"Content-Type": "application/octet-stream"}
        body, length = (self._body, self.descriptor.size) if whole else (None, 0)
        return self.repository.send(
            Request("PUT", url, self.repository.push, headers, body, length, commit=True)
        )

    def _refuse(self, answer: Answer, way: Way) -> NoReturn:
        """Raise _OtherWay after an answer that speaks against the way, Failure after any other."""
        failure = self._failure(answer)
        host = self.repository.host
        if answer.status in (413, 416):
            self._shrink(way, failure)
        unwanted = answer.status in (404, 405, 501) and not failure.codes & _KEEPS_THE_WAY
        if way is not Way.CHUNKED and (unwanted or "UNSUPPORTED" in failure.codes):
            host.worse(Way(way + 1))
            raise _OtherWay
        raise failure

    def _shrink(self, way: Way, failure: Failure) -> NoReturn:
        host = self.repository.host
        if way is not Way.CHUNKED:
            host.worse(Way.CHUNKED)
        elif host.chunk // 4 >= SMALLEST_CHUNK:
            host.worse(Way.CHUNKED, host.chunk // 4)
        else:
            raise failure
        raise _OtherWay

    def _failure(self, answer: Answer) -> Failure:
        failure = self.repository.refusal(answer)
        if "DIGEST_INVALID" in failure.codes:
            self._blame()
            failure.hint = "the bytes sent are not those described: has a file changed since it was read?"
        elif answer.status == 401:
            failure.hint += (
                "; if small images do work, a proxy may hold uploads back until the token has ended "
                "(nginx: proxy_request_buffering off), or the registry's tokens are too short-lived"
            )
        return failure

    def _blame(self) -> None:
        """Let the blob find out which of its bytes are wrong, now that the registry has refused them."""
        for _ in self.blob.chunks():
            self.pace.stop.check()

    def _check(self, answer: Answer) -> None:
        check_digest(answer, self.descriptor)

    def _body(self) -> Iterator[Piece]:
        return self._counted(unread(self.blob))

    def _counted(self, pieces: Iterable[P]) -> Iterator[P]:
        described, name, done = self.descriptor.size, label(self.descriptor), 0
        for piece in pieces:
            self.pace.stop.check()
            if done + len(piece) > described:
                raise _wrong_size(name, "more", described)
            yield piece
            done += len(piece)
            self.travelled += len(piece)
            self.report(name, done, described)
        if done != described:
            raise _wrong_size(name, "fewer", described)


def opened_upload(answer: Answer) -> OpenedUpload:
    """The upload that an answer to a POST describes. Raises Failure for one without a Location."""
    location = answer.headers.get("location")
    if not location:
        raise Failure("the registry opened an upload without a Location", "see the registry's log")
    least = answer.headers.get("oci-chunk-min-length", "")
    count = int(least) if least.isascii() and least.isdigit() else 0
    return OpenedUpload(resolve(answer.url, location), count)


def next_location(answer: Answer) -> str:
    """The upload's URL for its next request: it may change after each."""
    location = answer.headers.get("location")
    return resolve(answer.url, location) if location else answer.url


def _wrong_size(name: str, more_or_fewer: str, described: int) -> ImageError:
    return ImageError(
        f"{name} has {more_or_fewer} than the {described} bytes described",
        "a file of it has changed since it was read: run again",
    )


def present(repository: Repository, descriptor: Descriptor) -> bool:
    """Does the repository have the blob? Raises Failure for an answer that is neither yes nor no."""
    url = repository.url(f"blobs/{descriptor.digest}")
    answer = repository.send(Request("HEAD", url, repository.push))
    if answer.status not in (200, 404):
        raise repository.refusal(answer)
    return answer.status == 200


def check_digest(answer: Answer, descriptor: Descriptor) -> None:
    """Raise Failure if the registry says that it stored other bytes than were sent."""
    stored = answer.headers.get("docker-content-digest")
    if stored and stored != str(descriptor.digest):
        raise Failure(
            f"the registry stored it as {stored}, not as {descriptor.digest}",
            "the registry, or a proxy before it, changes what it is sent: see its configuration",
        )


def label(descriptor: Descriptor) -> str:
    """What progress and errors call a blob: `blob 0123456789ab`."""
    return f"blob {descriptor.digest.short}"


def human(size: int) -> str:
    """Bytes for people, in powers of 1000: `4.3 GB`."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


__all__ = [
    "CHUNK_SIZE",
    "Report",
    "Sent",
    "Upload",
    "check_digest",
    "human",
    "label",
    "next_location",
    "opened_upload",
    "present",
]
