"""A lock file for each GPU: which of them executions of this machine have, and whose those are."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from enginebuild_cache.lock import flock, holder_of, is_same, myself, sign

#: Names another folder for the lock files.
PLACE = "ENGINEBUILD_GPU_LOCKS"
#: GPUs are a machine's, whatever cache, home folder, session and user a build has; so is the place. TMPDIR
#: and XDG_RUNTIME_DIR are a session's or a user's, a home folder may be that of many machines, /run/lock is
#: root's alone on Red Hat, and logind empties /dev/shm of a user who leaves (RemoveIPC). /tmp is sticky:
#: nobody removes another's files; and no folder of ours is needed in it, which somebody could have made
#: before us. Containers, and services with a /tmp of their own (PrivateTmp of systemd), name one that they
#: share.
_PLACE = Path("/tmp")  # noqa: S108 - _opened opens files as such a place needs it
#: What a holder wrote begins so (enginebuild_cache.lock.myself).
_OURS = b"process "
_LONGEST = 200  # letters shown of it
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def gpu_locks() -> GpuLocks:
    """Those of this machine."""
    return GpuLocks(Path(os.environ.get(PLACE) or _PLACE))


@dataclass(frozen=True, slots=True)
class GpuLocks:
    """Lock files in a folder, named by the UUIDs of GPUs: no two GPUs of the world have the same (NVML)."""

    folder: Path

    def path(self, uuid: str) -> Path:
        return self.folder / f"enginebuild-gpu-{re.sub('[^A-Za-z0-9-]', '_', uuid)}.lock"

    def holders(self, uuids: Iterable[str]) -> dict[str, str]:
        """UUID → who holds it, of those that somebody does. What cannot be opened is nobody's."""
        found: dict[str, str] = {}
        for uuid in uuids:
            with suppress(OSError), _closing(_existing(self.path(uuid))) as descriptor:
                if not flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB):
                    found[uuid] = _readable(holder_of(descriptor))
        return found

    @contextmanager
    def taken(self, uuids: Iterable[str], purpose: str) -> Iterator[bool]:
        """Hold all while the block runs, `purpose` being what others are told; False: somebody has one.

        Raises OSError if a lock file can be neither made nor opened.
        """
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Sorted: of two that want the same ones, the first gets all of them.
            paths = sorted({self.path(uuid) for uuid in uuids})
            held = [stack.enter_context(_held(path, purpose)) for path in paths]
            if not all(held):
                stack.close()
            yield all(held)


@contextmanager
def _held(path: Path, purpose: str) -> Iterator[bool]:
    """False if somebody holds it. Raises OSError."""
    with _closing(_opened(path)) as descriptor:
        if not flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) or not is_same(descriptor, path):
            yield False
            return
        # Somebody may have given this name to a file of ours that is none of these.
        ours = os.pread(descriptor, len(_OURS), 0) in (b"", _OURS)
        if ours:
            sign(descriptor, f"{myself()}, {purpose}")
        try:
            yield True
        finally:
            if ours:
                sign(descriptor, "")


def _opened(path: Path) -> int:
    """Open the file, or make it for all users. Raises OSError.

    What is there is opened without O_CREAT, which fs.protected_regular refuses to everybody, root too, for
    files of others in a sticky folder; symbolic links are not followed.
    """
    while True:
        with suppress(FileNotFoundError):
            return _existing(path)
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
            os.fchmod(descriptor, 0o666)  # whatever the umask is
            return descriptor


def _existing(path: Path) -> int:
    """Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:  # of a user who was killed before fchmod: enough for flock
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _readable(text: str) -> str:
    """Another user wrote it: nothing that a terminal would obey."""
    return "".join(filter(str.isprintable, text))[:_LONGEST]
