"""Our programs that run inside builders' and servers' images, as files: the standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

_FOLDER = "enginebuild.engines.tensorrt_llm.scripts"


def describing() -> Mapping[str, bytes]:
    """describe.py, which writes what built an engine, and what it imports."""
    return _read("describe.py", "machine.py")


def starting() -> Mapping[str, bytes]:
    """start.py, the first program of a server's container, and what it imports."""
    return _read("fitness.py", "machine.py", "start.py")


def filling() -> Mapping[str, bytes]:
    """fill_repository.py, which copies and fills Triton's templates."""
    return _read("fill_repository.py")


def _read(*names: str) -> Mapping[str, bytes]:
    return {name: (files(_FOLDER) / name).read_bytes() for name in names}
