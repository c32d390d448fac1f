"""Locks between processes: flock, which the kernel gives back when its holder dies.

They only save work. What is right or wrong never hangs on them, because flock succeeds for everyone on some
network file systems (huggingface_hub #4228, #4306).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from enginebuild_cache.durable import write_all
from enginebuild_cache.errors import failing_as

OnWait = Callable[[str], None]

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def unheard(_holder: str) -> None:
    """An OnWait that nobody reads."""


@contextmanager
def held(path: Path, on_wait: OnWait = unheard) -> Iterator[None]:
    """Hold the lock of a file while the block runs; `on_wait` is told once who holds it, if anybody does.

    Raises CacheError if the file cannot be made.
    """
    with failing_as("lock", path):
        descriptor = _acquire(path, on_wait)
    try:
        sign(descriptor, myself())
        yield
    finally:
        sign(descriptor, "")
        os.close(descriptor)


def try_hold(path: Path) -> int | None:
    """The descriptor of a lock that nobody holds, to be closed by the caller; None if somebody does.

    Raises OSError, FileNotFoundError if there is no such lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) and is_same(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def is_same(descriptor: int, path: Path) -> bool:
    """False if the path no longer leads to the open file: somebody removed it since."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _acquire(path: Path, on_wait: OnWait) -> int:
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                if not told:
                    on_wait(holder_of(descriptor))
                    told = True
                flock(descriptor, fcntl.LOCK_EX)
            if is_same(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def flock(descriptor: int, operation: int) -> bool:
    """False if another holds it and the operation does not wait. True also where there are no locks.

    Raises OSError.
    """
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def myself() -> str:
    """This process, as those who wait for it are told."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return f"process {os.getpid()} on {os.uname().nodename} since {now}"


def sign(descriptor: int, text: str) -> None:
    """Write into an open lock's file who holds it: a courtesy, which a full disk may prevent."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        write_all(descriptor, text.encode())


def holder_of(descriptor: int) -> str:
    """What the holder of an open lock's file wrote of itself."""
    text = os.pread(descriptor, 500, 0).decode("utf-8", "replace")
    return text or "another process"


class Guard:
    """The one lock between those who mark a file as used and the gc that removes what is not used.

    Users share it for microseconds; gc takes it alone for one removal at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._taken(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._taken(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _taken(self, operation: int) -> Iterator[None]:
        with failing_as("lock", self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with failing_as("lock", self._path):
                flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)
