"""What the Hub says about a folder of files: its listing, as the Hub's two APIs spell it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What the Hub's own .gitattributes puts into LFS, and any file of 10 MB and more.
LFS_SUFFIXES = frozenset(
    {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".onnx", ".h5", ".msgpack", ".model", ".pkl"}
)
LFS_SIZE = 10_000_000


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository. `oid` is git's blob sha-1: of the bytes, or of the LFS pointer to them."""

    path: str
    source: Path
    size: int
    oid: str
    sha256: str
    lfs: bool
    pointer_size: int

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def sibling(self) -> dict[str, Any]:
        """An entry of `siblings` in the model info API with `blobs=true`."""
        entry: dict[str, Any] = {"rfilename": self.path, "size": self.size, "blobId": self.oid}
        if self.lfs:
            entry["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return entry

    def entry(self) -> dict[str, Any]:
        """An entry of the tree API."""
        entry: dict[str, Any] = {"type": "file", "path": self.path, "size": self.size, "oid": self.oid}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": self.pointer_size}
        return entry


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit, by path. The commit is made from the listing: same files, same commit."""

    folder: Path
    commit: str
    files: dict[str, HubFile]


def git_oid(content: bytes) -> str:
    """Git's name of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Snapshots:
    """Reads folders, remembering the digest of each file by (path, size, mtime)."""

    def __init__(self, *, lfs: bool = True) -> None:
        self._lfs = lfs
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._lock = threading.Lock()

    def read(self, folder: Path) -> Snapshot:
        with self._lock:
            files = {
                file.path: file
                for file in (self._file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file())
            }
        listing = "\n".join(f"{file.path} {file.oid}" for file in files.values())
        return Snapshot(folder, hashlib.sha1(listing.encode()).hexdigest(), files)

    def _file(self, folder: Path, path: Path) -> HubFile:
        size = path.stat().st_size
        sha256 = self._sha256(path)
        pointer = lfs_pointer(sha256, size)
        lfs = self._lfs and (path.suffix in LFS_SUFFIXES or size >= LFS_SIZE)
        oid = git_oid(pointer if lfs else path.read_bytes())
        return HubFile(path.relative_to(folder).as_posix(), path, size, oid, sha256, lfs, len(pointer))

    def _sha256(self, path: Path) -> str:
        status = path.stat()
        known = (path, status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            with path.open("rb") as file:
                self._digests[known] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[known]
