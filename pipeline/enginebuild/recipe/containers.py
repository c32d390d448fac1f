"""Kinds of values that hold others: lists, mappings of texts, engine arguments."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import INVALID, Invalid, Kind, Path, Schema, Text, dotted, refused, wrong_kind
from enginebuild.recipe.node import InvalidNode, ListNode, MappingNode, Node, ScalarNode
from enginebuild.recipe.show import bare, quoted
from enginebuild_cache import Json


@dataclass(frozen=True)
class ListOf:
    """A list with at least one entry, none twice."""

    item: Kind
    example: str

    @property
    def name(self) -> str:
        return "a list of texts"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ListNode):
            single = isinstance(node, ScalarNode) and isinstance(node.value, str)
            text = bare(str(node.value)) if single and isinstance(node, ScalarNode) else self.example
            return wrong_kind(problems, path, self.name, node, f'write it in brackets: ["{text}"]')
        if not node.items:
            return refused(problems, path, "is an empty list", "leave the key out for the default")
        values: list[Json] = []
        for index, item in enumerate(node.items):
            value = self.item.read(item, (*path, index), problems)
            if isinstance(value, Invalid):
                continue
            if value in values:
                refused(problems, (*path, index), f"is {quoted(str(value))} again", "give each entry once")
            values.append(value)
        return values

    def schema(self) -> Schema:
        return {"type": "array", "items": self.item.schema(), "minItems": 1, "uniqueItems": True}


@dataclass(frozen=True)
class TextsByKey:
    """A mapping of names to texts, as labels are."""

    key: Text
    value: Text
    name: str = "a mapping of texts"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, MappingNode):
            return wrong_kind(problems, path, self.name, node, "write key: value pairs, or leave the key out")
        values: dict[str, Json] = {}
        for key, entry in node.entries.items():
            complaint = self.key.check(key)
            if complaint is not None:
                text = f"{dotted(path)}: the key {quoted(key)} {complaint.message}"
                problems.append(Problem((*path, key), text, complaint.hint, on_key=True))
            value = self.value.read(entry.value, (*path, key), problems)
            if not isinstance(value, Invalid):
                values[key] = value
        return values

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": self.key.schema(),
            "additionalProperties": {"type": "string"},
        }


@dataclass(frozen=True)
class Arguments:
    """A mapping of names to anything JSON can hold, at any depth; null only with `nulls`."""

    name: str = "a mapping of arguments to values"
    entry: str = "argument"
    nulls: bool = False

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, MappingNode):
            hint = f"write {self.entry}: value pairs, one per line, or leave the key out"
            return wrong_kind(problems, path, self.name, node, hint)
        return self._value(node, path, problems)

    def _value(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, InvalidNode):
            return INVALID
        if isinstance(node, ScalarNode):
            if node.value is None and not self.nulls:
                return refused(problems, path, "has no value", "give it one, or leave the key out")
            return node.value
        if isinstance(node, ListNode):
            items = [self._value(item, (*path, index), problems) for index, item in enumerate(node.items)]
            return [item for item in items if not isinstance(item, Invalid)]
        values = {
            key: self._value(entry.value, (*path, key), problems) for key, entry in node.entries.items()
        }
        return {key: value for key, value in values.items() if not isinstance(value, Invalid)}

    def schema(self) -> Schema:
        name = "option" if self.nulls else "argument"
        return {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{name}"}}


def _value_schema(name: str, text: str, *types: str) -> Schema:
    return {
        "description": text,
        "anyOf": [
            {"type": ["boolean", "number", "string", *types]},
            {"type": "array", "items": {"$ref": f"#/$defs/{name}"}},
            {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{name}"}},
        ],
    }


#: What `Arguments` refers to.
ARGUMENT_SCHEMAS: Schema = {
    "argument": _value_schema("argument", "A value of an engine argument: anything but null."),
    "option": _value_schema("option", "A value of an option; null where the engine takes it.", "null"),
}
