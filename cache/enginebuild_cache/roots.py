"""What gc must keep: leases of running builds, and pins that people set."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from enginebuild_cache.digest import Digest, Json, canonical_json
from enginebuild_cache.durable import remove, replace, unique
from enginebuild_cache.errors import CacheError, failing_as
from enginebuild_cache.layout import Layout
from enginebuild_cache.lock import Guard, held, try_hold
from enginebuild_cache.uses import Uses

#: A lease of another host is believed for so long (ns) though its lock looks free: flock may not reach us.
_FOREIGN_LEASE = 24 * 3600 * 1_000_000_000


@contextmanager
def lease(layout: Layout, guard: Guard) -> Iterator[None]:
    """While held, gc removes nothing used since it began. It ends with its process. Raises CacheError."""
    path = layout.leases / f"{os.uname().nodename}-{unique(layout.leases).name}"
    with contextlib.ExitStack() as stack:
        with guard.shared():  # gc must not see the file before it is locked
            stack.enter_context(held(path))
        try:
            yield
        finally:
            remove(path)


def oldest_lease(layout: Layout, now: int) -> int:
    """When the oldest living lease began, `now` if there is none (ns since the epoch). The guard is held.

    Removes leases whose process died.
    """
    began = now
    here = f"{os.uname().nodename}-"
    with failing_as("read", layout.leases):
        for path in layout.leases.iterdir():
            try:
                descriptor = try_hold(path)
                start = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if descriptor is None or (not path.name.startswith(here) and now - start < _FOREIGN_LEASE):
                began = min(began, start)
            else:
                remove(path)
            if descriptor is not None:
                os.close(descriptor)
    return began


class Pins:
    """Named sets of keys whose records gc keeps."""

    def __init__(self, layout: Layout, guard: Guard, uses: Uses) -> None:
        self._layout = layout
        self._guard = guard
        self._uses = uses

    def set(self, name: str, keys: Iterable[Digest]) -> None:
        """Pin these keys under a name, instead of those that it had. Raises CacheError."""
        path = self._layout.pin(name)
        pinned = sorted(set(keys))
        names: list[Json] = [key.hex for key in pinned]
        with self._guard.shared(), failing_as("write", path):
            for key in pinned:  # a gc that has read the pins already sees that these are used
                self._uses.mark(key)
            replace(self._layout.tmp, path, canonical_json({"name": name, "keys": names}))

    def remove(self, name: str) -> bool:
        """False if there was no such pin. Raises CacheError."""
        path = self._layout.pin(name)
        with failing_as("remove", path):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def all(self) -> Mapping[str, frozenset[Digest]]:
        """Every pin by name. Raises CacheError."""
        pins = {}
        with failing_as("read", self._layout.pins):
            for path in self._layout.pins.glob("*.json"):
                with contextlib.suppress(FileNotFoundError):
                    name, keys = _pin(path)
                    pins[name] = keys
        return pins


def _pin(path: Path) -> tuple[str, frozenset[Digest]]:
    try:
        value = json.loads(path.read_bytes())
        return str(value["name"]), frozenset(Digest(key) for key in value["keys"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "remove that file, and pin again what it kept"
        raise CacheError(f"the pin in {path} cannot be read", hint) from error
