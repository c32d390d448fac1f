"""Registries (OCI distribution spec 1.1): names to manifests, blobs to bytes, images to names."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from enginebuild_cache import Digest
from enginebuild_images.base import Base, RelabelledBlob
from enginebuild_images.blob import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Blob,
    BytesBlob,
    Descriptor,
)
from enginebuild_images.credentials import Credentials
from enginebuild_images.download import RegistryBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.failure import Failure
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, Unaltered
from enginebuild_images.manifest import (
    INDEX_TYPES,
    LINUX_AMD64,
    Index,
    Platform,
    read_manifest,
)
from enginebuild_images.manifest_answer import described, media_type
from enginebuild_images.pace import Pace, Retry, Stop
from enginebuild_images.parallel import run_all
from enginebuild_images.reference import Reference
from enginebuild_images.repository import Host, Repository, Request
from enginebuild_images.streaming import StreamedUpload
from enginebuild_images.tag_list import list_tags
from enginebuild_images.tokens import Authorizer
from enginebuild_images.transport import INSECURE, Timeouts, Transport
from enginebuild_images.upload import (
    CHUNK_SIZE,
    Report,
    Sent,
    Upload,
    check_digest,
    human,
    label,
    present,
)

#: Blobs that are read into memory: configs and manifests. Kubernetes' largest configs have some hundred KB.
SMALL = 16 << 20

#: Requests without a body that are under way at once: they cost a round trip each and no bandwidth.
_QUESTIONS = 8

#: Indexes that are followed from one to the next.
_DEEPEST = 3

_ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"}


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did: the image's digest, bytes of blobs that travelled, and how its blobs came there."""

    digest: Digest
    bytes_sent: int
    present: int
    mounted: int
    sent: int


def insecure_from(environment: Mapping[str, str]) -> frozenset[str]:
    """The hosts in $ENGINEBUILD_INSECURE_REGISTRIES, separated by commas."""
    names = environment.get(INSECURE, "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def _quiet(_label: str, _done: int, _total: int) -> None:
    """A Report that nobody reads."""


class Registry:
    """A client of all registries that image names lead to. Safe for several threads; close it, or use `with`.

    `jobs` uploads run at a time. Hosts in `insecure` (`host[:port]`; None: the environment names them) may
    speak plain HTTP, as those on this machine may anyway. `chunk_size` is in bytes and counts only where a
    registry takes nothing but chunks.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        jobs: int = 4,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        insecure: Collection[str] | None = None,
        chunk_size: int = CHUNK_SIZE,
        report: Report = _quiet,
    ) -> None:
        self._credentials = credentials
        self._jobs = jobs
        self._retry = retry or Retry()
        self._insecure = insecure_from(os.environ) if insecure is None else frozenset(insecure)
        self._chunk_size = chunk_size
        self._report = report
        self._transport = Transport(timeouts or Timeouts())
        self._hosts: dict[str, Host] = {}
        self._repositories: dict[tuple[str, str], Repository] = {}
        self._mounts: dict[str, str] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def mount_from(self, reference: Reference) -> None:
        """From now on a blob is asked for in this repository before it is sent to another of its registry."""
        self._mounts[reference.registry] = reference.repository

    def tags(self, reference: Reference) -> list[str]:
        """Every tag of a repository; none if it does not exist yet. Raises RegistryError."""
        return list_tags(self._repository(reference), self._pace())

    def resolve(self, reference: Reference, platform: Platform = LINUX_AMD64) -> Descriptor:
        """The manifest that a name stands for on a platform. Raises RegistryError, ImageError.

        A tag costs one HEAD, which Docker Hub does not count as a pull; an index one GET more.
        """
        return self._walk(reference, platform)[-1]

    def base(self, reference: Reference, platform: Platform = LINUX_AMD64) -> Base:
        """The image at a name as a base; of its layers nothing is read. Raises RegistryError, ImageError."""
        path = self._walk(reference, platform)
        where, pinned = str(reference), reference.with_digest(path[-1].digest)
        _, content = self.manifest(pinned)
        read = read_manifest(content, where, path[-1].media_type)
        if isinstance(read, Index):
            raise ImageError(f"{pinned} is an index where an image was expected", "build the base image anew")
        config = self.blob_bytes(pinned, read.config)
        return Base.of(content, config, partial(self.blob, pinned), where, platform).named(
            where, path[0].digest
        )

    def _walk(self, reference: Reference, platform: Platform) -> list[Descriptor]:
        """What the name stands for; if that is an index, what it has for the platform; and so on."""
        path: list[Descriptor] = []
        _, found = self._head(reference)
        while found is None or found.media_type in INDEX_TYPES:
            pinned = reference if found is None else reference.with_digest(found.digest)
            descriptor, content = self.manifest(pinned)
            path.append(descriptor)
            read = read_manifest(content, str(reference), descriptor.media_type)
            if not isinstance(read, Index):
                return path
            if len(path) > _DEEPEST:
                raise ImageError(f"{reference} is an index of indexes of indexes", "name one by its digest")
            found = read.choose(platform, str(reference))
        return [*path, found]

    def manifest(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """The manifest or index at a digest, or else at a tag; verified. Raises RegistryError."""
        repository = self._repository(reference)
        action = f"read the manifest of {_shown(reference)}"
        answer = repository.ask(
            self._pace(),
            action,
            lambda: Request("GET", _manifest_url(repository, reference), repository.pull, _ACCEPT),
        )
        actual = Digest.of(answer.body)
        claimed = answer.headers.get("docker-content-digest")
        expected = str(reference.digest) if reference.digest else claimed
        if expected and str(actual) != expected:
            raise Failure(
                f"the registry gave other bytes: their digest is {actual}, expected was {expected}",
                "the registry's copy is damaged, or a proxy before it changes what it passes on",
            ).error(reference.registry, action)
        return Descriptor(media_type(answer), actual, len(answer.body)), answer.body

    def referrers(self, reference: Reference) -> bytes | None:
        """The registry's list of what refers to the manifest at a digest; None where it keeps none.

        Distribution spec 1.1, "Listing Referrers"; docker-registry 2.8 has none. Raises RegistryError.
        """
        repository = self._repository(reference)
        url = repository.url(f"referrers/{reference.digest}")
        answer = repository.ask(
            self._pace(),
            f"list what refers to {_shown(reference)}",
            lambda: Request("GET", url, repository.pull, {"Accept": INDEX}),
            (200, 400, 404, 405, 501),
        )
        return answer.body if answer.status == 200 else None

    def blob(self, reference: Reference, descriptor: Descriptor) -> RegistryBlob:
        """A blob of a repository, read when it is needed; a push to the same registry mounts it instead."""
        return RegistryBlob(self._repository(reference), descriptor, self._pace())

    def blob_bytes(self, reference: Reference, descriptor: Descriptor) -> bytes:
        """A small blob's bytes, verified. Raises RegistryError, also for one above SMALL."""
        if descriptor.size > SMALL:
            raise Failure(
                f"it is said to have {human(descriptor.size)}, too much for a config or a manifest",
                "check that this is an image",
            ).error(reference.registry, f"read {descriptor.digest} of {reference.repository}")
        return b"".join(self.blob(reference, descriptor).chunks())

    def has(self, reference: Reference, digest: Digest) -> bool:
        """Is the manifest there, and does the reference's tag, if any, point at it? Raises RegistryError."""
        if not self._head(Reference(reference.registry, reference.repository, None, digest))[0]:
            return False
        if reference.tag is None:
            return True
        tagged = reference.with_tag(reference.tag)
        there, found = self._head(tagged)
        return there and (found or self.manifest(tagged)[0]).digest == digest

    def send(self, layer: Layer, source: Unaltered, reference: Reference) -> Descriptor:
        """Bring a layer into a repository and learn its digest on the way: its files are read once.

        Raises RegistryError, also where the registry does not take a body before its digest.
        """
        return StreamedUpload(self._repository(reference), layer, source, self._pace(), self._report).run()

    def missing(self, image: Image, reference: Reference) -> list[Descriptor]:
        """What of an image's blobs a push would have to mount or send. Raises RegistryError."""
        blobs = tuple({blob.descriptor.digest: blob for blob in image.blobs}.values())
        absent = self._missing(self._repository(reference), blobs, self._pace())
        return [blob.descriptor for blob in absent]

    def push(self, image: Image, reference: Reference, tags: Sequence[str] = ()) -> PushResult:
        """Bring an image into a repository, by digest, at the reference's tag and at `tags`.

        The manifest goes last, when every blob is known to be there. Raises RegistryError, and ImageError if
        a blob's bytes are not those described; what has arrived by then stays, and is not sent again.
        """
        repository = self._repository(reference)
        pace = self._pace()
        layers = tuple({blob.descriptor.digest: blob for blob in image.layers}.values())
        missing = self._missing(repository, layers, pace)
        # The largest first: it decides when the push ends.
        missing.sort(key=lambda blob: blob.descriptor.size, reverse=True)
        uploads = [self._upload(repository, blob, pace) for blob in missing]
        sent = run_all([upload.run for upload in uploads], self._jobs, pace.stop)
        sent += [Sent("present")] * (len(layers) - len(missing))
        for blob in self._missing(repository, (image.config,), pace) or []:
            sent.append(self._upload(repository, blob, pace).run())
        sent += [Sent("present")] * (len(layers) + 1 - len(sent))
        self._put_manifests(repository, image.manifest, reference, tags, pace)
        counts = {how: sum(1 for one in sent if one.how == how) for how in ("present", "mounted", "sent")}
        return PushResult(image.digest, sum(one.size for one in sent), **counts)

    def push_index(self, index: BytesBlob, reference: Reference) -> None:
        """Write an index by digest and at the reference's tag. Raises RegistryError.

        The images that it names have to be in the repository already: registries refuse it otherwise.
        """
        self._put_manifests(self._repository(reference), index, reference, (), self._pace())

    def _missing(self, repository: Repository, blobs: Sequence[Blob], pace: Pace) -> list[Blob]:
        def question(blob: Blob) -> bool:
            descriptor = blob.descriptor
            action = f"ask for {label(descriptor)} in {repository.name}"
            return pace.patiently(repository.registry, action, lambda _: present(repository, descriptor))

        if not blobs:
            return []
        # The first question alone meets the 401, so that one token serves all the others.
        known = [question(blobs[0])]
        known += run_all([partial(question, blob) for blob in blobs[1:]], _QUESTIONS, pace.stop)
        return [blob for blob, there in zip(blobs, known, strict=True) if not there]

    def _upload(self, repository: Repository, blob: Blob, pace: Pace) -> Upload:
        source: str | None = None
        origin = blob.blob if isinstance(blob, RelabelledBlob) else blob
        # Only within one registry: Docker Hub fails on a source of another (go-containerregistry #1741).
        if isinstance(origin, RegistryBlob) and origin.repository.registry == repository.registry:
            source = origin.repository.name
        if source is None and self._mounts.get(repository.registry) != repository.name:
            source = self._mounts.get(repository.registry)
        return Upload(repository, blob, pace, self._report, source)

    def _put_manifests(
        self,
        repository: Repository,
        manifest: BytesBlob,
        reference: Reference,
        tags: Sequence[str],
        pace: Pace,
    ) -> None:
        descriptor = manifest.descriptor
        names = [str(descriptor.digest), *dict.fromkeys([*([reference.tag] if reference.tag else []), *tags])]
        for name in names:
            action = f"write the manifest {repository.name}{'@' if ':' in name else ':'}{name}"

            def attempt(_number: int, name: str = name) -> None:
                answer = repository.send(_put_manifest(repository, manifest, name))
                if answer.status not in (200, 201, 202):
                    raise repository.refusal(answer)
                check_digest(answer, descriptor)

            pace.patiently(repository.registry, action, attempt)

    def _head(self, reference: Reference) -> tuple[bool, Descriptor | None]:
        """Is a manifest there, and what a HEAD says of it; None if that is too little."""
        repository = self._repository(reference)
        answer = repository.ask(
            self._pace(),
            f"find {_shown(reference)}",
            lambda: Request("HEAD", _manifest_url(repository, reference), repository.pull, _ACCEPT),
            (200, 404),
        )
        return answer.status == 200, described(answer, reference)

    def _repository(self, reference: Reference) -> Repository:
        key = (reference.registry, reference.repository)
        with self._lock:
            if key not in self._repositories:
                authorizer = Authorizer(self._transport, self._credentials, *key)
                host = self._hosts.setdefault(reference.registry, self._host(reference))
                self._repositories[key] = Repository(host, reference.repository, self._transport, authorizer)
            return self._repositories[key]

    def _host(self, reference: Reference) -> Host:
        plain = reference.registry in self._insecure
        return Host(reference.registry, reference.api_host, plain=plain, chunk=self._chunk_size)

    def _pace(self) -> Pace:
        return Pace(self._retry, Stop())


def _manifest_url(repository: Repository, reference: Reference) -> str:
    if reference.digest is None and reference.tag is None:
        raise ImageError(f"{reference} has neither a tag nor a digest", f"name one: {reference}:latest")
    return repository.url(f"manifests/{reference.digest or reference.tag}")


def _shown(reference: Reference) -> str:
    return str(reference).removeprefix(f"{reference.registry}/")


def _put_manifest(repository: Repository, manifest: BytesBlob, name: str) -> Request:
    return Request(
        "PUT",
        repository.url(f"manifests/{name}"),
        repository.push,
        {"Content-Type": manifest.media_type},
        manifest.chunks,
        len(manifest.content),
    )
