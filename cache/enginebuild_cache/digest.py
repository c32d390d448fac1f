"""Digests and the canonical JSON they are made of: one algorithm (sha256), one encoding, one place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: Bytes per read when a file is hashed or copied; hashlib releases the GIL above 2 KiB.
CHUNK = 1 << 20

_HEX = re.compile(r"[0-9a-f]{64}\Z")

#: What canonical JSON may hold. Floats are allowed because engine arguments have them (0.9).
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """A sha256 digest; `str()` gives the OCI form `sha256:<64 hex digits>`."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.match(self.hex):
            raise ValueError(f"not a sha256 in lower-case hex: {self.hex!r}")

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hex digits, for people."""
        return self.hex[:12]

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<hex>`. Raises ValueError for anything else."""
        algorithm, _, hex_digits = text.partition(":")
        if algorithm != "sha256":
            raise ValueError(f"not a sha256 digest: {text!r}")
        return cls(hex_digits)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The digest of bytes in memory."""
        return cls(hashlib.sha256(content).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> Digest:
        """The digest of a stream."""
        running = hashlib.sha256()
        for chunk in chunks:
            running.update(chunk)
        return cls(running.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """The digest of a file's bytes, read in 1 MiB pieces. Raises OSError."""
        with path.open("rb", buffering=0) as file:
            return cls.of_chunks(chunks_of(file))

    @classmethod
    def of_json(cls, value: Json | Mapping[str, Json]) -> Digest:
        """The digest of a value's canonical JSON: what every key is."""
        return cls.of(canonical_json(value))


def chunks_of(file: BinaryIO) -> Iterable[bytes]:
    """The rest of an open file in pieces of CHUNK bytes."""
    while chunk := file.read(CHUNK):
        yield chunk


def canonical_json(value: Json | Mapping[str, Json]) -> bytes:
    """UTF-8, sorted keys, no spaces, no NaN: equal values give equal bytes on every machine."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
