"""Where everything lies below the root of a cache, and how a new root is made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from enginebuild_cache.digest import Digest
from enginebuild_cache.durable import create_once, sync_folder
from enginebuild_cache.errors import OTHER_FOLDER, CacheError, failing_as

VERSION = b"1\n"

#: https://bford.info/cachedir/: backup programs leave out a folder with this file in it.
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder is a cache of enginebuild: everything in it can be made or fetched again.\n"
)

_FOLDERS = (
    *("files/sha256", "uses", "records", "partial", "tmp", "work", "logs"),
    *("locks", "pins", "leases", "corrupt", "stat"),
)
_STEP = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of a cache. Make one with `Layout.open`."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Layout:
        """Use the cache at a folder, making it if absent or empty. Raises CacheError."""
        root = root.absolute()
        layout = cls(root)
        if not (layout._is_current() and all((root / folder).is_dir() for folder in _FOLDERS)):
            layout._make()
        with failing_as("use the cache at", root):
            os.close(os.open(layout.guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        return layout

    @property
    def guard(self) -> Path:
        """The lock between users and gc; see `lock.Guard`."""
        return self.locks / ".guard"

    def file(self, digest: Digest) -> Path:
        return self.root / "files" / "sha256" / digest.hex[:2] / digest.hex

    def use(self, digest: Digest) -> Path:
        """The mark of a file's or a record's last use; see `uses.Uses`."""
        return self.root / "uses" / digest.hex[:2] / digest.hex

    def record(self, step: str, key: Digest) -> Path:
        """Raises ValueError for a step's name that is no plain word."""
        if not _STEP.match(step):
            raise ValueError(f"not the name of a step: {step!r}")
        return self.records / step / f"{key.hex}.json"

    def partial(self, digest: Digest) -> Path:
        return self.partials / digest.hex

    def partial_lock(self, name: str) -> Path:
        """The lock of the partial file of this name."""
        return self.locks / f"partial-{name}"

    def pin(self, name: str) -> Path:
        return self.pins / f"{Digest.of(name.encode()).hex}.json"

    def lock(self, name: str) -> Path:
        """A name may be anything; the file's name is what people can read of it, and its digest."""
        readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in name[:40])
        return self.locks / f"{readable}.{Digest.of(name.encode()).short}"

    @property
    def files(self) -> Path:
        return self.root / "files" / "sha256"

    @property
    def uses(self) -> Path:
        return self.root / "uses"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def partials(self) -> Path:
        return self.root / "partial"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def work(self) -> Path:
        """Folders in which steps are being made; see `workspace`."""
        return self.root / "work"

    @property
    def logs(self) -> Path:
        """What failed steps said; gc removes it after some weeks."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def pins(self) -> Path:
        return self.root / "pins"

    @property
    def leases(self) -> Path:
        return self.root / "leases"

    @property
    def corrupt(self) -> Path:
        """Where damaged files and records are set aside."""
        return self.root / "corrupt"

    @property
    def stat(self) -> Path:
        """Digests of files outside the cache, by their stat."""
        return self.root / "stat"

    def _is_current(self) -> bool:
        """True for a finished cache of our version. Raises CacheError for one of another version."""
        marker = self.root / "version"
        try:
            version = marker.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise CacheError(f"cannot read {marker}: {error.strerror}", OTHER_FOLDER) from error
        if version != VERSION:
            found = version[:20].decode("utf-8", "replace").strip()
            raise CacheError(
                f"the cache at {self.root} has layout version {found!r}; this enginebuild knows version '1'",
                "use the enginebuild that made it, or name another folder with --cache-dir",
            )
        return True

    def _make(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise CacheError(f"the cache at {self.root} is not a folder", OTHER_FOLDER)
        with failing_as("make the cache at", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign()
            for folder in _FOLDERS:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            create_once(self.tmp, self.root / "CACHEDIR.TAG", CACHEDIR_TAG)
            create_once(self.tmp, self.root / "version", VERSION)
            sync_folder(self.root)

    def _refuse_foreign(self) -> None:
        """A folder that holds something else was named by mistake: never write into it."""
        ours = {folder.partition("/")[0] for folder in _FOLDERS} | {"CACHEDIR.TAG", "version", "lost+found"}
        foreign = sorted(
            path.name for path in self.root.iterdir() if path.name not in ours and path.name[0] != "."
        )
        if foreign:
            raise CacheError(
                f"{self.root} is not a cache of enginebuild and is not empty (it holds {foreign[0]!r})",
                "name an empty folder, or one that does not exist yet, with --cache-dir",
            )
