"""Small records and trees for the tests of the cache."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild_cache import Digest, File, Json, Record, Store, Tree


def stored(store: Store, files: Mapping[str, bytes]) -> Tree:
    """A tree whose files are in the store."""
    return Tree.of(File(path, store.put_bytes(content), len(content)) for path, content in files.items())


def record(tree: Tree, number: int = 0, step: str = "fetch", subject: str = "sample") -> Record:
    """A record whose key is made of the number."""
    fields: dict[str, Json] = {"step": step, "number": number}
    return Record(Digest.of_json(fields), step, fields, tree, {"subject": subject})


def recorded(store: Store, files: Mapping[str, bytes], number: int = 0, step: str = "fetch") -> Record:
    """A record that is in the store with its files."""
    return store.put_record(record(stored(store, files), number, step))
