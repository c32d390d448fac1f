"""Things that take minutes to make and are the same for every test run: kept outside the checkout, made once.

The folder is `$ENGINEBUILD_TEST_CACHE`, else `enginebuild-tests` in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

_MARK = ".complete"


def cache_folder() -> Path:
    """Where test parts are kept."""
    named = os.environ.get("ENGINEBUILD_TEST_CACHE")
    folder = Path(named) if named else platformdirs.user_cache_path("enginebuild-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # dies with its process
        yield


def built_once(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by `build` if nobody has yet; a half-made one is made anew.

    It is built in place, for virtual environments cannot be moved. A second process waits.
    """
    folder = cache_folder() / name
    if (folder / _MARK).exists():
        return folder
    with _locked(folder.with_name(f"{name}.lock")):
        if (folder / _MARK).exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        build(folder)
        (folder / _MARK).touch()
    return folder
