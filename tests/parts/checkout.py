"""The checkout as git sees it: which files are the project's, and the words of its Makefile."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the project that exists, absolute."""
    # The setting is needed where the checkout belongs to another user, as in CI.
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    found = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(path for path in found if path.is_file())


@cache
def texts() -> dict[str, str]:
    """Path from the root → text of every tracked text file."""
    found = {}
    for path in tracked():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text()
        except UnicodeDecodeError:
            continue
    return found


def make_targets() -> dict[str, str]:
    """Name → what `make help` says of it ("" for the inner ones)."""
    rule = re.compile(r"^([a-z][a-z-]*):[^=\n]*?(?:## (.*))?$", re.MULTILINE)
    return dict(rule.findall((ROOT / "Makefile").read_text()))
