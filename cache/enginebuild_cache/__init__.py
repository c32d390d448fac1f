"""A content-addressed store of files and the records that say which key made which tree."""

from enginebuild_cache.digest import CHUNK, Digest, Json, canonical_json, chunks_of
from enginebuild_cache.errors import CacheError, WrongDigest
from enginebuild_cache.gc import Removed
from enginebuild_cache.incoming import Partial, Writer
from enginebuild_cache.record import Record
from enginebuild_cache.store import Store
from enginebuild_cache.tree import File, Tree
from enginebuild_cache.verify import Finding, Verification

__all__ = [
    "CHUNK",
    "CacheError",
    "Digest",
    "File",
    "Finding",
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
