"""What changed between two key documents: the reason of a miss, in the reader's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from enginebuild_cache import Json, canonical_json

#: A list of files is compared by path, so that one new file is one change and not a shift of all.
_FILE_KEY: Final = "path"
_ABSENT: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class Change:
    """One field whose value is another: `field` is dotted, `old` and `new` are short texts."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


def changes(old: Mapping[str, Json], new: Mapping[str, Json]) -> tuple[Change, ...]:
    """All fields that differ, sorted by name."""
    before, after = dict(_flat("", dict(old))), dict(_flat("", dict(new)))
    return tuple(
        Change(field, before.get(field, _ABSENT), after.get(field, _ABSENT))
        for field in sorted(before.keys() | after.keys())
        if before.get(field) != after.get(field)
    )


def _flat(prefix: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and (value or not prefix):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, inner)
    elif isinstance(value, list) and value and all(isinstance(x, dict) and _FILE_KEY in x for x in value):
        for entry in value:
            if isinstance(entry, dict):
                rest = {name: inner for name, inner in entry.items() if name != _FILE_KEY}
                yield from _flat(f"{prefix}[{entry[_FILE_KEY]}]", rest)
    else:
        yield prefix, value if isinstance(value, str) else canonical_json(value).decode()
