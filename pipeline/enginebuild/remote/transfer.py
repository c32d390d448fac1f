"""Carrying records between the local cache and a place, on demand: here errors count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from enginebuild.errors import PublishError, SourceError
from enginebuild.events import Note, Report
from enginebuild.remote.cache import RemoteCache
from enginebuild.remote.packed import digits_of, is_record_tag
from enginebuild.remote.place import OutOfReachError
from enginebuild_cache import Digest, Json, Record, Store, WrongDigest
from enginebuild_images.errors import ImageError


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one record; `size` is that of its files in bytes."""

    step: str
    key: Digest
    size: int
    status: Literal["sent", "pulled", "present"]

    def to_json(self) -> dict[str, Json]:
        return {"step": self.step, "key": str(self.key), "size": self.size, "status": self.status}


def push_records(
    records: Iterable[Record], cache: RemoteCache, store: Store, report: Report
) -> list[Carried]:
    """Send records. Where the place has one, it stays, and what its layers lack is sent.

    Raises PublishError, CacheError.
    """
    carried = []
    for record in records:
        try:
            first = _first(cache, record)
            if first is None or first.tree == record.tree:
                cache.push(first or record, store, report)
        except ImageError as error:
            what = f"{record.step} (sha256:{record.key.short})"
            raise PublishError(f"{what}: {error.message}", error.hint) from error
        carried.append(_carried(record, "present" if first else "sent"))
    return carried


def tags_of(cache: RemoteCache, keys: Sequence[str]) -> dict[str, list[str]]:
    """The record tags at a place that each key, which may be shortened, names. Raises SourceError.

    Without keys all tags of records are under an empty text.
    """
    try:
        tags = [tag for tag in cache.place.tags() if is_record_tag(tag)]
    except ImageError as error:
        raise SourceError(error.message, error.hint) from error
    wanted = {key: key.removeprefix("sha256:")[:40] for key in keys} or {"": ""}
    return {key: [tag for tag in tags if digits_of(tag).startswith(digits)] for key, digits in wanted.items()}


def pull_records(
    tags: Iterable[str], cache: RemoteCache, store: Store, report: Report
) -> tuple[list[Carried], list[str]]:
    """Bring records; and the tags of those that are of no use, each with a warning. Raises SourceError."""
    carried, useless = [], []
    for tag in tags:
        try:
            found = cache.lookup_tag(tag)
            if found is None:
                raise ImageError("it is gone")
            there = store.record(found.record.key) is not None
            if not there:
                cache.pull(found, store, report)
        except OutOfReachError as error:
            raise SourceError(error.message, error.hint) from error
        except (ImageError, WrongDigest) as error:
            report(Note(f"{cache.place.name}:{tag} is of no use: {error.message}", "warning"))
            useless.append(tag)
            continue
        carried.append(_carried(found.record, "present" if there else "pulled"))
    return carried, useless


def _first(cache: RemoteCache, record: Record) -> Record | None:
    """The record that the place has for the same key; one that cannot be read counts as none."""
    try:
        found = cache.lookup(record.step, record.key)
    except OutOfReachError:
        raise
    except ImageError:
        return None
    return None if found is None else found.record


def _carried(record: Record, status: Literal["sent", "pulled", "present"]) -> Carried:
    return Carried(record.step, record.key, record.tree.size, status)
