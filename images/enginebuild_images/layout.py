"""OCI layouts: an image as a folder, which skopeo, podman, containerd and other tools read.

A layout is valid at every moment: a blob appears whole or not at all, and the index names it last. So after
a kill or a full disk the same write, run again, goes on where it stopped. Writers of one folder wait for
each other.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from enginebuild_cache import Digest, canonical_json, chunks_of
from enginebuild_images.blob import Blob, BytesBlob, Descriptor, FileBlob, verified
from enginebuild_images.clone import clone, write_all
from enginebuild_images.errors import ImageError, RegistryError
from enginebuild_images.image import Image
from enginebuild_images.layout_index import (
    BLOBS,
    EMPTY_INDEX,
    INDEX_FILE,
    LAYOUT,
    LAYOUT_FILE,
    Listed,
    blob_path,
    read_index,
    read_listed,
    with_image,
    with_index,
)
from enginebuild_images.manifest import LINUX_AMD64, Index, Manifest, Platform, read_manifest

__all__ = ["Report", "blob_path", "read_layout", "split_location", "write_layout", "write_layout_index"]

#: Told of the bytes of one blob: its label, bytes done, bytes in all.
Report = Callable[[str, int, int], None]

_PARTIAL = ".partial-"  # starts the names of files that a killed write leaves
_OWN = frozenset({LAYOUT_FILE, INDEX_FILE, "blobs"})


def write_layout(
    image: Image,
    folder: Path,
    tags: Sequence[str] = (),
    report: Report = lambda _label, _done, _size: None,
    *,
    verify: bool = False,
) -> None:
    """Write or complete a layout; other images in it stay, a tag that it has moves to this image.

    Layers share their blocks with the cache's files where the file system can. Those files were checked when
    they entered the cache; `verify` reads and checks them again. What is copied is always checked.
    Raises ImageError for a folder that is something else, a full disk, and bytes that are not as described.
    """
    with _failing(folder):
        _prepare(folder)
        with _alone(folder):
            _begin(folder)
            for blob in (*image.blobs, image.manifest):
                _write_blob(folder, blob, report, verify)
            index = canonical_json(with_image(read_index(folder), image, tags))
            _write(folder / INDEX_FILE, index)


def write_layout_index(index: BytesBlob, folder: Path, tag: str) -> None:
    """Put an index of images that the layout has under a tag. Raises ImageError."""
    with _failing(folder), _alone(folder):
        _begin(folder)
        _write_blob(folder, index, lambda _label, _done, _size: None, verify=False)
        listed = with_index(read_index(folder), index.descriptor, tag)
        _write(folder / INDEX_FILE, canonical_json(listed))


def read_layout(location: str, platform: Platform = LINUX_AMD64) -> Image:
    """The image at `folder`, `folder:tag` or `folder@sha256:…`; its layers are read when they are sent.

    Manifest and config are verified now, layers while they are read. Raises ImageError that says what is
    not as it must be.
    """
    folder, tag, digest = split_location(location)
    listed = read_listed(folder)
    if digest is None:
        descriptor = _by_tag(listed, tag, platform, folder)
    else:
        descriptor = _by_digest(listed, digest, folder)
    content = _content(folder, descriptor)
    manifest = read_manifest(content, location, descriptor.media_type)
    if isinstance(manifest, Index):
        descriptor = manifest.choose(platform, location)
        content = _content(folder, descriptor)
        manifest = read_manifest(content, location, descriptor.media_type)
    if isinstance(manifest, Index):
        raise ImageError(f"{location} is an index of indexes", "name an image in it as folder@sha256:…")
    return _image(folder, descriptor, content, manifest)


def split_location(location: str) -> tuple[Path, str | None, Digest | None]:
    """Folder, tag and digest; a folder whose own name has a colon is taken as it is. Raises ImageError."""
    if Path(location).is_dir():
        return Path(location), None, None
    folder, at, digest = location.rpartition("@")
    if at and ":" in digest and "/" not in digest:
        try:
            return Path(folder), None, Digest.parse(digest)
        except ValueError:
            raise ImageError(
                f"{location}: after @ must stand sha256: and 64 lower-case hex digits",
                "name an OCI layout like ./folder:tag",
            ) from None
    folder, colon, tag = location.rpartition(":")
    if colon and "/" not in tag:
        return Path(folder), tag, None
    return Path(location), None, None


@contextmanager
def _failing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ImageError(
            f"cannot write the image to {folder}: {error.strerror}",
            "make room there or name another folder; run again, it goes on where it stopped",
        ) from error


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    present = {path.name for path in folder.iterdir() if not path.name.startswith(_PARTIAL)}
    if LAYOUT_FILE not in present and not present <= _OWN:
        raise ImageError(f"{folder} is neither empty nor an OCI layout", "name a new or an empty folder")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other writers of the folder; the lock ends with the process that holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin(folder: Path) -> None:
    """Make the folder a valid layout, empty if it is new, without what a killed write left."""
    (folder / BLOBS).mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / BLOBS):
        for path in place.glob(f"{_PARTIAL}*"):
            path.unlink()
    for name, content in ((INDEX_FILE, EMPTY_INDEX), (LAYOUT_FILE, LAYOUT)):
        if not (folder / name).exists():
            _write(folder / name, content)


def _write_blob(folder: Path, blob: Blob, report: Report, verify: bool) -> None:
    descriptor = blob.descriptor
    path = folder / blob_path(descriptor.digest)
    if not path.is_file() or path.stat().st_size != descriptor.size:
        with _appearing(path) as file:
            if not clone(blob, file):
                _copy(blob, file, report)
            elif verify or isinstance(blob, FileBlob):  # a file of somebody else's was never checked by us
                _check(blob, file, report)
    report(_label(descriptor), descriptor.size, descriptor.size)


def _copy(blob: Blob, file: BinaryIO, report: Report) -> None:
    file.seek(0)
    file.truncate()
    for piece in _checked(blob, blob.pieces(), report):
        write_all(file, piece)


def _check(blob: Blob, file: BinaryIO, report: Report) -> None:
    file.seek(0)
    for _ in _checked(blob, chunks_of(file), report):
        pass


def _checked(blob: Blob, pieces: Iterable[bytes], report: Report) -> Iterator[bytes]:
    """Pass a blob's bytes on, digested once; where they are wrong, the blob itself says which of them."""
    descriptor, done = blob.descriptor, 0
    try:
        for piece in verified(descriptor, pieces, _label(descriptor)):
            yield piece
            done += len(piece)
            report(_label(descriptor), done, descriptor.size)
    except RegistryError:
        raise
    except ImageError:
        for _ in blob.chunks():
            pass
        raise


def _label(descriptor: Descriptor) -> str:
    return f"blob {descriptor.digest.short}"


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file to be written, which appears whole at its path, and stays after a power cut."""
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    try:
        with partial.open("w+b", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _write(path: Path, content: bytes) -> None:
    with _appearing(path) as file:
        write_all(file, content)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _by_digest(listed: Sequence[Listed], digest: Digest, folder: Path) -> Descriptor:
    """A manifest that the index lists, or one inside an index that it lists."""
    for entry in listed:
        if entry.descriptor.digest == digest:
            return entry.descriptor
    path = folder / blob_path(digest)
    if path.is_file():
        return Descriptor("", digest, path.stat().st_size)
    raise ImageError(f"{folder} has no image {digest}", _offer(listed, folder))


def _by_tag(listed: Sequence[Listed], tag: str | None, platform: Platform, folder: Path) -> Descriptor:
    found = [entry for entry in listed if (entry.tag == tag if tag is not None else not entry.is_attached)]
    if len({entry.descriptor.digest for entry in found}) > 1:
        found = [entry for entry in found if entry.platform in (platform, None)]
    if not found:
        what = "no image" if tag is None else f"no image {tag!r}"
        raise ImageError(f"{folder} has {what} for {platform}", _offer(listed, folder))
    if len({entry.descriptor.digest for entry in found}) > 1:
        raise ImageError(f"{folder} has several images", _offer(listed, folder))
    return found[0].descriptor


def _offer(listed: Sequence[Listed], folder: Path) -> str:
    names = sorted(
        f"{folder}:{entry.tag}" if entry.tag else f"{folder}@{entry.descriptor.digest}"
        for entry in listed
        if not entry.is_attached
    )
    return f"name one of: {', '.join(dict.fromkeys(names))}" if names else "it is empty"


def _content(folder: Path, descriptor: Descriptor) -> bytes:
    """The bytes of a small blob, verified. Raises ImageError."""
    _check_there(folder, descriptor)
    return b"".join(FileBlob(descriptor, folder / blob_path(descriptor.digest)).chunks())


def _check_there(folder: Path, descriptor: Descriptor) -> None:
    path = folder / blob_path(descriptor.digest)
    if not path.is_file():
        raise ImageError(f"{folder} lacks the blob {descriptor.digest}", "copy or write the layout anew")
    size = path.stat().st_size
    if size != descriptor.size:
        raise ImageError(
            f"{path} was to have {descriptor.size:,} bytes but has {size:,}", "copy or write the layout anew"
        )


def _image(folder: Path, descriptor: Descriptor, content: bytes, manifest: Manifest) -> Image:
    for layer in manifest.layers:
        _check_there(folder, layer)
    media_type = descriptor.media_type or manifest.media_type
    return Image(
        BytesBlob(media_type, content),
        BytesBlob(manifest.config.media_type, _content(folder, manifest.config)),
        tuple(FileBlob(layer, folder / blob_path(layer.digest)) for layer in manifest.layers),
    )
