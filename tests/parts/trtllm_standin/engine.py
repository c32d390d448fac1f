"""A stand-in's engine: random bytes after a header that says what made it, as TensorRT's plan has."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .machine import RefusedError

_MAGIC = b"standin-engine\n"
SIZE = 1 << 16  # bytes


def engine_bytes(version: str, sm: int, rank: int) -> bytes:
    """Never the same bytes twice: TensorRT's builder measures, and keeps what was fastest."""
    header = json.dumps({"version": version, "sm": sm, "rank": rank}).encode() + b"\n"
    return _MAGIC + header + os.urandom(SIZE)


def require_engine(path: Path, version: str, sm: int) -> None:
    """Raises RefusedError unless the engine is whole, of this version and of this compute capability."""
    content = path.read_bytes() if path.is_file() else b""
    magic, _, rest = content.partition(b"\n")
    header, _, body = rest.partition(b"\n")
    if magic + b"\n" != _MAGIC or len(body) != SIZE:
        raise RefusedError("RuntimeError", f"{path} is not there or not whole")
    made = json.loads(header)
    if made["version"] != version:
        raise RefusedError("RuntimeError", f"The engine plan file is of {made['version']}, this is {version}")
    if made["sm"] != sm:
        raise RefusedError(
            "RuntimeError",
            "The engine plan file is generated on an incompatible device, expecting compute "
            f"{sm / 10} got compute {made['sm'] / 10}, please rebuild.",
        )
