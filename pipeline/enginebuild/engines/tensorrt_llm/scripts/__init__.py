"""Programs that run inside builder and server images: the standard library alone, Python 3.8 and newer.

Each is one file or a few beside each other; they are copied, never installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Program → the files that must lie in one folder with it.
_PARTS = {
    "describe.py": ("describe.py", "machine.py"),
    "fill_repository.py": ("fill_repository.py",),
    "start.py": ("start.py", "fitness.py", "machine.py"),
}


def program(name: str) -> Mapping[str, bytes]:
    """The files of a program by name, to be copied beside each other."""
    return {part: Path(__file__).with_name(part).read_bytes() for part in _PARTS[name]}
