"""A content-addressed store of files and the records that say which key made which tree."""

from enginebuild_cache.digest import CHUNK, Digest, Json, canonical_json, chunks_of
from enginebuild_cache.errors import CacheError
from enginebuild_cache.tree import File, Tree

__all__ = ["CHUNK", "CacheError", "Digest", "File", "Json", "Tree", "canonical_json", "chunks_of"]
