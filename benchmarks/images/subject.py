"""What is pushed: a checkpoint of random bytes, and the changes that are made to it between pushes.

All contenders push the very same folder. A change is made in place, as a user makes it, and every file that
is not changed keeps its inode and its time, on which caches of any kind may rely.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parts.checkpoints import write_checkpoint

SHARDS = 4
SMALL_FILES = 2000
SMALL_SIZE = 32 << 10  # bytes

_CONFIG = "config.json"
_MIB = 1 << 20
_SYMBOLS = bytes(byte & 0x0F for byte in range(256))  # half the bits of a random byte


@dataclass(frozen=True, slots=True)
class Subject:
    """A folder with a checkpoint. `shards` are the names of its large files."""

    folder: Path
    shards: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the files that are not shards, sorted."""
        return tuple(sorted(path.name for path in self.folder.iterdir() if path.name not in self.shards))

    def change_config(self, token: str) -> None:
        """One file of about 1 KB is another one."""
        old = self._set_aside(_CONFIG)
        config = json.loads(old.read_text())
        config["benchmark"] = token.ljust(900, ".")
        (self.folder / _CONFIG).write_text(json.dumps(config))

    def change_shard(self, token: str) -> None:
        """The second shard is another one: a new file of equal size, whose last bytes differ."""
        name = self.shards[1]
        with self._set_aside(name).open("rb") as old, (self.folder / name).open("wb") as new:
            while piece := old.read(_MIB):
                new.write(piece)
            new.seek(-64, os.SEEK_END)
            new.write(token.encode().ljust(64, b"."))

    def restore(self) -> None:
        """Undo the changes."""
        if self._aside.exists():
            for path in self._aside.iterdir():
                path.replace(self.folder / path.name)

    @property
    def _aside(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-aside")

    def _set_aside(self, name: str) -> Path:
        self._aside.mkdir(exist_ok=True)
        return (self.folder / name).replace(self._aside / name)


def sharded(folder: Path, mebibytes: int) -> Subject:
    """Four random shards of so many MiB, an index, a config and a tokenizer."""
    write_checkpoint(folder, shards=SHARDS, shard_size=mebibytes * _MIB)
    return _subject(folder)


def small_files(folder: Path, mebibytes: int) -> Subject:
    """The same with one shard of 1 MiB, and 2,000 random files of 32 KiB beside it."""
    write_checkpoint(folder, shards=1, shard_size=_MIB)
    numbers = random.Random(1)
    for number in range(SMALL_FILES):
        (folder / f"part-{number:04}.tiktoken").write_bytes(numbers.randbytes(SMALL_SIZE))
    return Subject(folder, ())


def compressible(folder: Path, mebibytes: int) -> Subject:
    """One shard of so many MiB that gzip halves: four random bits in each byte."""
    write_checkpoint(folder, shards=1, shard_size=mebibytes * _MIB)
    subject = _subject(folder)
    path = folder / subject.shards[0]
    with path.open("r+b") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start)
        while piece := file.read(_MIB):
            file.seek(-len(piece), os.SEEK_CUR)
            file.write(piece.translate(_SYMBOLS))
    return subject


MAKERS: dict[str, Callable[[Path, int], Subject]] = {
    "sharded": sharded,
    "small": small_files,
    "compressible": compressible,
}


def _subject(folder: Path) -> Subject:
    return Subject(folder, tuple(sorted(path.name for path in folder.glob("*.safetensors"))))
