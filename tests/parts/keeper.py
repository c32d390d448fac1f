"""Keeps one service program running for exactly as long as a test session lives, however that session ends.

    python keeper.py FOLDER PROGRAM [ARGUMENT …]

FOLDER lies in the session's folder, whose file `alive` the session keeps locked (flock dies with its
process, even on kill -9). When the lock comes free the program is ended, whatever it left mounted is
unmounted, and FOLDER is removed. While the keeper holds the file `kept` (shared), the session knows that
there is cleaning up to wait for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

_PATIENCE = 20.0  # seconds between SIGTERM and SIGKILL


def _unmount_below(folder: Path) -> None:
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((p for p in mounted if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False)


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.terminate()
    try:
        program.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _watch(program: subprocess.Popen[bytes], alive: Path) -> None:
    with alive.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    _end(program)


def main(folder: Path, argv: list[str]) -> None:
    """Run `argv` until the session that owns `folder` is gone, then clean up."""
    session = folder.parent
    with (session / "kept").open("a") as kept:
        fcntl.flock(kept, fcntl.LOCK_SH)
        with (folder / "log").open("ab") as log:
            program = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        threading.Thread(target=_watch, args=(program, session / "alive"), daemon=True).start()
        program.wait()
        if _is_locked(session / "alive"):
            return  # it ended too early: its log is of use to whoever waits for it
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError), (session / "kept").open("r+") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(session, ignore_errors=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]), sys.argv[2:])
