"""A record: which key made which tree. Its file carries the digest of its own body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from enginebuild_cache.digest import Digest, Json, canonical_json
from enginebuild_cache.tree import Tree

_HEAD = b'{"record":'
_MIDDLE = b',"sha256":"'
_TAIL = b'"}\n'
_SEAL = len(_MIDDLE) + 64 + len(_TAIL)


@dataclass(frozen=True, slots=True)
class Record:
    """What a finished step left.

    `fields` is the whole document that the key was made of: `key == Digest.of_json(fields)`.
    `provenance` says who made it, when and from what; its `subject` is the recipe's name.
    """

    key: Digest
    step: str
    fields: Mapping[str, Json]
    tree: Tree
    provenance: Mapping[str, Json]

    def __post_init__(self) -> None:
        if Digest.of_json(self.fields) != self.key:
            raise ValueError(f"the fields of this {self.step} record do not make the key {self.key}")

    def to_json(self) -> dict[str, Json]:
        return {
            "fields": dict(self.fields),
            "key": self.key.hex,
            "provenance": dict(self.provenance),
            "step": self.step,
            "tree": self.tree.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Record:
        """Read what `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        fields, provenance = value["fields"], value["provenance"]
        if not isinstance(fields, dict) or not isinstance(provenance, dict):
            raise TypeError("a record's fields and provenance are objects")
        tree = Tree.from_json(value["tree"])
        return cls(Digest(str(value["key"])), str(value["step"]), fields, tree, provenance)

    def to_bytes(self) -> bytes:
        """The record's file: JSON that ends with the digest of its body."""
        body = canonical_json(self.to_json())
        return _HEAD + body + _MIDDLE + Digest.of(body).hex.encode() + _TAIL

    @classmethod
    def from_bytes(cls, content: bytes) -> Record:
        """Read what `to_bytes` wrote. Raises ValueError for anything else, down to one bit."""
        body, seal = content[len(_HEAD) : -_SEAL], content[-_SEAL:]
        if not content.startswith(_HEAD) or seal != _MIDDLE + Digest.of(body).hex.encode() + _TAIL:
            raise ValueError("its digest is wrong")
        try:
            return cls.from_json(cast("Mapping[str, Json]", json.loads(body)))
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not a record of this version ({error})") from error
