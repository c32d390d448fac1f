"""The keys `matrix` and `variants` as they are written: their shape, and what JSON Schema says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import INVALID, Invalid, Path, Schema, dotted, refused, wrong_kind
from enginebuild.recipe.node import Entry, ListNode, MappingNode, Node, ScalarNode, has_mistakes, to_json
from enginebuild.recipe.show import bare, described
from enginebuild_cache import Json, canonical_json

INCLUDE = "include"
EXCLUDE = "exclude"
WHEN = "when"
#: Keys of a recipe that are the same in all of its cells.
SHARED = ("version", "matrix", "variants")

_MATRIX_EXAMPLE = "write for example matrix: {tensor_parallel_size: [1, 2]}"
_WHEN_EXAMPLE = "write for example when: {gpu: H100-SXM-80GB}"


@dataclass(frozen=True)
class MatrixKind:
    """Axes with their values, beside `include` and `exclude`, as in a workflow of GitHub Actions."""

    name: str = "a mapping of axes to lists of values"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        """The value as written if its shape is sound."""
        if not isinstance(node, MappingNode):
            return wrong_kind(problems, path, self.name, node, _MATRIX_EXAMPLE)
        if not node.entries:
            return refused(problems, path, "has no axes", _MATRIX_EXAMPLE)
        before = len(problems)
        for key, entry in node.entries.items():
            if key in (INCLUDE, EXCLUDE):
                _cells(entry.value, (*path, key), problems)
            else:
                _axis(key, entry, (*path, key), problems)
        return _sound(node, before, problems)

    def schema(self) -> Schema:
        cells: Schema = {"type": "array", "items": {"type": "object", "minProperties": 1}, "minItems": 1}
        return {
            "type": "object",
            "properties": {INCLUDE: cells, EXCLUDE: cells},
            "propertyNames": {"not": {"enum": list(SHARED)}},
            "additionalProperties": {"type": "array", "minItems": 1, "uniqueItems": True},
            "minProperties": 1,
        }


@dataclass(frozen=True)
class VariantsKind:
    """Parts of a recipe, each with `when`: the cells that it is for."""

    name: str = "a list of mappings, each with the key when"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        """The value as written if its shape is sound."""
        hint = f"{_WHEN_EXAMPLE}, and beside it what differs"
        if not isinstance(node, ListNode):
            return wrong_kind(problems, path, self.name, node, hint)
        if not node.items:
            return refused(problems, path, "is an empty list", hint)
        before = len(problems)
        for index, item in enumerate(node.items):
            _variant(item, (*path, index), problems)
        return _sound(node, before, problems)

    def schema(self) -> Schema:
        return {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {WHEN: {"type": "object", "minProperties": 1}},
                "propertyNames": {"not": {"enum": list(SHARED)}},
                "required": [WHEN],
                "minProperties": 2,
            },
            "minItems": 1,
        }


MATRIX = MatrixKind()
VARIANTS = VariantsKind()


def _axis(key: str, entry: Entry, path: Path, problems: list[Problem]) -> None:
    if key in SHARED:
        message = f"{dotted(path)}: {key} is one for all cells of a recipe"
        problems.append(Problem(path, message, "delete the axis", on_key=True))
    elif not isinstance(entry.value, ListNode):
        hint = _MATRIX_EXAMPLE
        if isinstance(entry.value, ScalarNode) and entry.value.text:
            hint = f"write it in brackets: [{bare(entry.value.text)}]"
        wrong_kind(problems, path, "a list of values", entry.value, hint)
    elif not entry.value.items:
        refused(problems, path, "is an empty list", "leave the axis out, or give it values")
    else:
        _distinct(entry.value, path, problems)


def _distinct(values: ListNode, path: Path, problems: list[Problem]) -> None:
    seen: set[bytes] = set()
    for index, item in enumerate(values.items):
        if has_mistakes(item):
            continue
        value = canonical_json(to_json(item))
        if value in seen:
            refused(problems, (*path, index), f"is {described(item)} again", "give each value once")
        seen.add(value)


def _cells(node: Node, path: Path, problems: list[Problem]) -> None:
    name = "a list of mappings of axes to one value each"
    if not isinstance(node, ListNode) or not node.items:
        wrong_kind(problems, path, name, node, f"write for example {path[-1]}: [{{tensor_parallel_size: 1}}]")
        return
    for index, item in enumerate(node.items):
        if not isinstance(item, MappingNode) or not item.entries:
            hint = "write for example {tensor_parallel_size: 1}"
            wrong_kind(problems, (*path, index), "a mapping of axes to one value each", item, hint)
        else:
            _no_shared(item, (*path, index), problems)


def _variant(node: Node, path: Path, problems: list[Problem]) -> None:
    if not isinstance(node, MappingNode):
        wrong_kind(problems, path, "a mapping with the key when", node, _WHEN_EXAMPLE)
        return
    when = node.entries.get(WHEN)
    if when is None:
        message = f"missing key 'when' in {dotted(path)}"
        hint = f"{_WHEN_EXAMPLE}; what is for all cells belongs at the top level of the recipe"
        problems.append(Problem(path, message, hint))
    elif not isinstance(when.value, MappingNode) or not when.value.entries:
        name = "a mapping of axes to a value or a list of values"
        wrong_kind(problems, (*path, WHEN), name, when.value, _WHEN_EXAMPLE)
    elif len(node.entries) == 1:
        refused(problems, path, "changes nothing", "write beside when what is different in those cells")
    _no_shared(node, path, problems)


def _no_shared(node: MappingNode, path: Path, problems: list[Problem]) -> None:
    for key in _shared(node):
        message = f"{dotted((*path, key))}: {key} is one for all cells of a recipe"
        problems.append(Problem((*path, key), message, "write it at the top level", on_key=True))


def _shared(node: MappingNode) -> Iterator[str]:
    return (key for key in node.entries if key in SHARED)


def _sound(node: Node, before: int, problems: list[Problem]) -> Json | Invalid:
    return INVALID if len(problems) > before or has_mistakes(node) else to_json(node)
