"""Files that lie on a disk already, taken into the cache by copy, link or move."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

from enginebuild_cache.clone import reflink
from enginebuild_cache.digest import Digest, chunks_of
from enginebuild_cache.durable import NO_LINKS, remove, sync_file, unique
from enginebuild_cache.errors import CacheError, WrongDigest, failing_as
from enginebuild_cache.files import Files
from enginebuild_cache.sink import Follower, Sink
from enginebuild_cache.stamps import Stamps, regular

Mode = Literal["copy", "link", "move"]


def put_file(
    files: Files,
    stamps: Stamps,
    path: Path,
    mode: Mode,
    expected: Digest | None,
    follower: Follower | None = None,
) -> tuple[Digest, int]:
    """Take a file in: its digest, and its size in bytes.

    Raises WrongDigest if it is not the expected one, CacheError if it cannot be read or stored; a file that
    was to be moved then stays where it was.
    """
    with failing_as("read", path):
        source, found = regular(path)
    if expected is not None and files.has(expected, found.st_size):
        digest, size = expected, found.st_size
    elif mode == "copy":
        digest, size = _copy(files, source, expected, follower)
    elif mode == "link":
        digest, size = _link(files, stamps, source, expected, follower)
    else:
        digest, size = _move(files, source, expected)
    if mode == "move":
        with failing_as("remove", path):
            path.unlink(missing_ok=True)
    return digest, size


def _copy(
    files: Files, source: Path, expected: Digest | None, follower: Follower | None = None
) -> tuple[Digest, int]:
    temporary = unique(files.layout.tmp)
    try:
        with failing_as("copy", f"{source} into {files.layout.root}"):
            digest, size = _written(source, temporary, follower)
        _check(source, digest, expected)
        files.admit(temporary, digest)
    finally:
        remove(temporary)
    return digest, size


def _written(source: Path, temporary: Path, follower: Follower | None) -> tuple[Digest, int]:
    with source.open("rb", buffering=0) as reader:
        with temporary.open("xb", buffering=0) as writer:
            cloned = reflink(reader.fileno(), writer.fileno())
        sink = Sink(
            temporary, resume=True, follower=follower
        )  # digests the bytes that are kept: the clone's, not the source's
        try:
            if not cloned:
                for chunk in chunks_of(reader):
                    sink.write(chunk)
            sink.finish()
            return sink.digest, sink.size
        finally:
            sink.close()


def _link(
    files: Files, stamps: Stamps, source: Path, expected: Digest | None, follower: Follower | None
) -> tuple[Digest, int]:
    digest, size = stamps.digest(source) if follower is None else _followed(source, follower)
    _check(source, digest, expected)
    if files.has(digest, size):
        return digest, size
    temporary = unique(files.layout.tmp)
    try:
        os.link(source, temporary)
    except OSError as error:
        if error.errno not in NO_LINKS:
            with failing_as("link", source):
                raise
        return _copy(files, source, expected, follower)
    try:
        with failing_as("link", source):
            sync_file(temporary)
            if not os.path.samestat(temporary.stat(), source.stat()):
                raise CacheError(
                    f"{source} was replaced while it was being stored", "let its writer finish first"
                )
        files.admit(temporary, digest)
    finally:
        remove(temporary)
    stamps.keep(source, digest)
    return digest, size


def _followed(source: Path, follower: Follower) -> tuple[Digest, int]:
    """Digest and size in bytes, read although the digest may be known: somebody else wants the bytes."""
    running, size = hashlib.sha256(), 0
    follower.restart()
    with failing_as("read", source), source.open("rb", buffering=0) as reader:
        for chunk in chunks_of(reader):
            running.update(chunk)
            follower.update(chunk)
            size += len(chunk)
    return Digest(running.hexdigest()), size


def _move(files: Files, source: Path, expected: Digest | None) -> tuple[Digest, int]:
    before = source.stat()
    if before.st_nlink > 1 or before.st_dev != files.layout.tmp.stat().st_dev:
        return _copy(files, source, expected)
    with failing_as("read", source):
        digest = Digest.of_file(source)
        after = source.stat()
    _check(source, digest, expected)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise CacheError(f"{source} was changed while it was being stored", "let its writer finish first")
    with failing_as("move", source):
        source.chmod(0o444)
        sync_file(source)
    files.admit(source, digest)
    return digest, after.st_size


def _check(source: Path, digest: Digest, expected: Digest | None) -> None:
    if expected is not None and digest != expected:
        raise WrongDigest(f"{source} has the digest {digest} instead of {expected}")
