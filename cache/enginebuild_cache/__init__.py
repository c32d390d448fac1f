"""A content-addressed store of files and the records that say which key made which tree."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from enginebuild_cache.digest import CHUNK, Digest, Json, canonical_json, chunks_of
from enginebuild_cache.errors import CacheError, WrongDigest
from enginebuild_cache.tree import File, Tree

if TYPE_CHECKING:
    from enginebuild_cache.gc import Removed
    from enginebuild_cache.incoming import Partial, Writer
    from enginebuild_cache.record import Record
    from enginebuild_cache.sink import Follower
    from enginebuild_cache.store import Store
    from enginebuild_cache.verify import Finding, Verification

__all__ = [
    "CHUNK",
    "CacheError",
    "Digest",
    "File",
    "Finding",
    "Follower",
    "Json",
    "Partial",
    "Record",
    "Removed",
    "Store",
    "Tree",
    "Verification",
    "Writer",
    "WrongDigest",
    "canonical_json",
    "chunks_of",
]

#: Imported when first asked for: `enginebuild --help` needs the types above only.
_LATER = {
    "Finding": "verify",
    "Follower": "sink",
    "Partial": "incoming",
    "Record": "record",
    "Removed": "gc",
    "Store": "store",
    "Verification": "verify",
    "Writer": "incoming",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"enginebuild_cache.{_LATER[name]}"), name)
    globals()[name] = found
    return found
