"""Sending a layer whose digest nobody knows yet: it is taken in the pass that sends the bytes.

POST, one PATCH with the whole archive, an empty PUT that names the digest: so do docker and
go-containerregistry. Where a registry does not take that, the caller digests first and sends as usual.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from enginebuild_cache import Digest
from enginebuild_images.blob import LAYER, Descriptor
from enginebuild_images.layer import Layer, Unaltered
from enginebuild_images.location import with_query
from enginebuild_images.pace import Pace
from enginebuild_images.repository import Repository, Request
from enginebuild_images.upload import Report, check_digest, human, next_location, opened_upload

_BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class StreamedUpload:
    """One layer on its way to a repository, digested as it goes."""

    repository: Repository
    layer: Layer
    source: Unaltered
    pace: Pace
    report: Report

    def run(self) -> Descriptor:
        """What the layer turned out to be. Raises RegistryError, and what the source raises."""
        size = human(self.layer.size)
        action = f"upload the layer of {self.layer.summary} ({size}) to {self.repository.name}"
        return self.pace.patiently(self.repository.registry, action, self._attempt)

    def _attempt(self, _number: int) -> Descriptor:
        scopes, size = self.repository.push, self.layer.size
        answer = self.repository.send(Request("POST", self.repository.url("blobs/uploads/"), scopes))
        if answer.status not in (201, 202):
            raise self.repository.refusal(answer)
        running = hashlib.sha256()
        location = opened_upload(answer).location

        def body() -> Iterator[bytes]:
            nonlocal running
            running = hashlib.sha256()  # a body that is sent again begins again
            return self._digested(running)

        answer = self.repository.send(Request("PATCH", location, scopes, _BINARY, body, size))
        if answer.status not in (200, 201, 202, 204):
            raise self.repository.refusal(answer)
        descriptor = Descriptor(LAYER, Digest(running.hexdigest()), size)
        url = with_query(next_location(answer), digest=str(descriptor.digest))
        answer = self.repository.send(Request("PUT", url, scopes, _BINARY, commit=True))
        if answer.status not in (200, 201, 204):
            raise self.repository.refusal(answer)
        check_digest(answer, descriptor)
        return descriptor

    def _digested(self, running: hashlib._Hash) -> Iterator[bytes]:
        label, done = self.layer.summary, 0
        # Nobody else could tell an altered file from a sound one here: any bytes get a digest that fits them.
        for piece in self.layer.chunks(self.source.unaltered):
            self.pace.stop.check()
            running.update(piece)
            yield piece
            done += len(piece)
            self.report(label, done, self.layer.size)
