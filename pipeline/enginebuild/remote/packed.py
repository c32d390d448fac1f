"""A record packed for travel: the document that describes it, and the layers that its files travel in. Pure.

The layers are those of an image (`policy.group`), with the paths that the files have in an image. So a
registry that has the record can mount them when an image is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from enginebuild.engines import vllm
from enginebuild_cache import Digest, File, Json, Record, canonical_json
from enginebuild_images.layer import LAYER_FORMAT, Entry, Layer
from enginebuild_images.policy import LAYERS, group

#: The artifact's type, and that of its first layer, which is the document.
RECORD_TYPE = "application/vnd.enginebuild.record.v1+json"
KEY = "enginebuild.key"
STEP = "enginebuild.step"

#: Where the trees of these steps stand in an image, without a slash at its start; others: `enginebuild/STEP`.
ROOTS: Mapping[str, str] = {
    "fetch": vllm.MODEL_PATH.removeprefix("/"),
    "configure": str(PurePosixPath(vllm.CONFIG_PATH).parent).removeprefix("/"),
}

#: Layers at most: what a base of 30 layers leaves, and vLLM's images have some 30.
#: So many shards are grouped as their image groups them.
BUDGET = LAYERS - 30

_FORMAT = 1
_STEP_NAME = re.compile(r"[a-z0-9_]{1,80}\Z")
_TAG = re.compile(r"(?P<step>[a-z0-9_]{1,80})-(?P<digits>[0-9a-f]{40})\Z")


def tag_of(step: str, key: Digest) -> str:
    """The tag of a record: `fetch-` and the first 40 digits of its key. Raises ValueError."""
    if not _STEP_NAME.match(step):
        raise ValueError(f"the step {step!r} cannot be in a tag")
    return f"{step}-{key.hex[:40]}"


def is_record_tag(tag: str) -> bool:
    return _TAG.match(tag) is not None


def digits_of(tag: str) -> str:
    """The beginning of the key that a record's tag names."""
    return tag.rpartition("-")[2]


@dataclass(frozen=True)
class Packed:
    """A record and its layers: together they hold each file of the tree exactly once."""

    record: Record
    root: str
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, record: Record) -> Packed:
        """Raises ImageError for a path that no layer can have."""
        root = ROOTS.get(record.step, f"enginebuild/{record.step}")
        files = {f"{root}/{file.path}": file for file in record.tree}
        return cls(record, root, group(files, budget=BUDGET) if files else ())

    def to_bytes(self) -> bytes:
        """The document: canonical JSON."""
        groups: list[Json] = [[entry.file.path for entry in layer.entries] for layer in self.layers]
        layers: dict[str, Json] = {"format": LAYER_FORMAT, "root": self.root, "files": groups}
        return canonical_json({"version": _FORMAT, "record": self.record.to_json(), "layers": layers})

    @classmethod
    def from_bytes(cls, content: bytes) -> Packed:
        """Read what `to_bytes` wrote. Raises ValueError that says what is wrong, ImageError for bad paths."""
        try:
            return cls._read(_object(json.loads(content)))
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not a record of this version ({error})") from error

    @classmethod
    def _read(cls, document: Mapping[str, Json]) -> Packed:
        if document["version"] != _FORMAT:
            raise ValueError(f"it is of version {document['version']!r}; this version reads {_FORMAT}")
        record, layers = _object(document["record"]), _object(document["layers"])
        if (given := layers["format"]) != LAYER_FORMAT:
            raise ValueError(f"its layers have format {given!r}; this version reads {LAYER_FORMAT}")
        read = Record.from_json(record)
        root = str(layers["root"])
        return cls(read, root, tuple(_layers(read, root, layers["files"])))


def _object(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _layers(record: Record, root: str, groups: Json) -> list[Layer]:
    """The layers of groups of paths. Raises ValueError if they do not hold each file exactly once."""
    left: dict[str, File] = {file.path: file for file in record.tree}
    layers = []
    if not isinstance(groups, list):
        raise TypeError("its layers are not a list")
    for paths in groups:
        if not isinstance(paths, list) or not all(isinstance(path, str) and path in left for path in paths):
            raise ValueError("its layers hold what its tree does not name, or a file twice")
        files = [left.pop(str(path)) for path in dict.fromkeys(map(str, paths))]
        if len(files) != len(paths):
            raise ValueError("its layers hold a file twice")
        layers.append(Layer.of(Entry(f"{root}/{file.path}", file) for file in files))
    if left:
        raise ValueError(f"its layers lack {next(iter(left))}")
    return layers
