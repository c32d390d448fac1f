"""Remote caches beside a build: whatever goes wrong with them is a miss and a warning, never an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from enginebuild.events import Note, Report
from enginebuild.remote.cache import Found, RemoteCache
from enginebuild.remote.place import NotAllowedError, OutOfReachError, Place
from enginebuild.step import Step
from enginebuild_cache import Digest, Record, Store, WrongDigest
from enginebuild_images.errors import ImageError
from enginebuild_images.upload import human


@dataclass
class Shared:
    """Where records are taken from and sent to; None: nowhere. A place out of reach is asked no more, and one
    that told of a record is believed: the plans of a thousand cells ask for the same ones.
    """

    source: RemoteCache | None = None
    target: RemoteCache | None = None
    _gone: set[str] = field(default_factory=set)
    _closed: set[str] = field(default_factory=set)
    _useless: set[Digest] = field(default_factory=set)
    _there: set[tuple[str, Digest]] = field(default_factory=set)
    _found: dict[Digest, Record | None] = field(default_factory=dict)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it is looked and sent to, the latter last."""
        return tuple(cache.place for cache in (self.source, self.target) if cache is not None)

    def find(self, step: Step, key: Digest, report: Report) -> Record | None:
        """The record of a key without its files, or None."""
        if key not in self._found:
            self._found[key] = self._find(step, key, report)
        return self._found[key]

    def _find(self, step: Step, key: Digest, report: Report) -> Record | None:
        with self._at_source(step, key, report) as source:
            found = None if source is None else self._lookup(source, step, key)
            return None if found is None else found.record
        return None

    def pull(self, step: Step, key: Digest, store: Store, report: Report) -> Record | None:
        """The record of a key with its files in the store, or None. Raises CacheError."""
        with self._at_source(step, key, report) as source:
            found = None if source is None else self._lookup(source, step, key)
            if source is None or found is None:
                return None
            record = source.pull(found, store, report)
            self._there.add((source.place.name, key))
            report(Note(f"{step.name}: {human(record.tree.size)} taken from {source.place.name}"))
            return record
        return None

    @contextmanager
    def _at_source(self, step: Step, key: Digest, report: Report) -> Iterator[RemoteCache | None]:
        """The source, if it can be asked; what goes wrong with it ends the block and is said."""
        source = self.source
        if source is None or source.place.name in self._gone or key in self._useless:
            yield None
            return
        try:
            yield source
        except OutOfReachError as error:
            self._give_up(source, error, report)
        except (ImageError, WrongDigest) as error:
            self._useless.add(key)
            what = f"{source.place.name}: the record of {step.name} (sha256:{key.short}) is of no use"
            report(Note(f"{what}: {error.message}; the step runs here", "warning"))

    def _lookup(self, source: RemoteCache, step: Step, key: Digest) -> Found | None:
        found = source.lookup(step.name, key)
        if found is not None and step.output is not None and found.record.tree != step.output:
            raise ImageError("its files are not those that the lock and the recipe demand")
        return found

    def push(self, record: Record, store: Store, report: Report) -> None:
        """Send a record that the target lacks. Raises CacheError."""
        target = self.target
        if target is None or target.place.name in self._gone | self._closed:
            return
        if (target.place.name, record.key) in self._there:
            return
        try:
            if record.key in self._useless or not self._has(target, record):
                target.push(record, store, report)
                report(Note(f"{record.step}: kept in {target.place.name}"))
        except NotAllowedError as error:
            # Reading may be allowed still.
            self._closed.add(target.place.name)
            text = f"nothing can be kept in {target.place.name}: {error.message}; going on without that"
            report(Note(_with_hint(text, error), "warning"))
        except OutOfReachError as error:
            self._give_up(target, error, report)
        except ImageError as error:
            what = f"{target.place.name}: {record.step} (sha256:{record.key.short}) cannot be kept there"
            report(Note(_with_hint(f"{what}: {error.message}", error), "warning"))

    def _has(self, target: RemoteCache, record: Record) -> bool:
        """A manifest that cannot be read is as good as none, and is replaced."""
        try:
            return target.has(record.step, record.key)
        except OutOfReachError:
            raise
        except ImageError:
            return False

    def _give_up(self, cache: RemoteCache, error: ImageError, report: Report) -> None:
        self._gone.add(cache.place.name)
        text = f"the cache {cache.place.name} cannot be used: {error.message}; going on without it"
        report(Note(_with_hint(text, error), "warning"))


def _with_hint(text: str, error: ImageError) -> str:
    return f"{text}\n  {error.hint}" if error.hint else text
