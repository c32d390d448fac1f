"""Kinds of values that only `verify` has: numbers, counts, lists of mappings, one or more texts."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.containers import ListOf
from enginebuild.recipe.kinds import Complaint, Count, Invalid, Path, Schema, Text, refused, wrong_kind
from enginebuild.recipe.node import ListNode, MappingNode, Node, ScalarNode
from enginebuild.recipe.section import Section
from enginebuild_cache import Json


@dataclass(frozen=True)
class Number:
    """A number above zero; `zero`: zero is one, too."""

    zero: bool = False

    @property
    def name(self) -> str:
        return "a number of at least 0" if self.zero else "a number above 0"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and self._fits(value):
            return value
        percent = isinstance(value, str) and value.endswith("%") and value[:-1].strip().isdigit()
        hint = f"write {int(value[:-1]) / 100:g}" if percent and isinstance(value, str) else ""
        return wrong_kind(problems, path, self.name, node, hint)

    def _fits(self, value: float) -> bool:
        return value < float("inf") and (value >= 0 if self.zero else value > 0)

    def schema(self) -> Schema:
        return {"type": "number", "minimum": 0} if self.zero else {"type": "number", "exclusiveMinimum": 0}


@dataclass(frozen=True)
class Counts:
    """A list of different counts."""

    name: str = "a list of counts"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ListNode):
            value = node.value if isinstance(node, ScalarNode) else None
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else "1, 8"
            return wrong_kind(problems, path, self.name, node, f"write it in brackets: [{text}]")
        return ListOf(Count(), "1").read(node, path, problems)

    def schema(self) -> Schema:
        return ListOf(Count(), "1").schema()


@dataclass(frozen=True)
class OneOrMore:
    """A text, or a list of them; reads as a list."""

    item: Text

    @property
    def name(self) -> str:
        return "a text or a list of texts"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, ListNode):
            return ListOf(self.item, "Paris").read(node, path, problems)
        if isinstance(node, MappingNode):
            return wrong_kind(problems, path, self.name, node)
        value = self.item.read(node, path, problems)
        return value if isinstance(value, Invalid) else [value]

    def schema(self) -> Schema:
        return {"anyOf": [self.item.schema(), ListOf(self.item, "").schema()]}


@dataclass(frozen=True)
class Entries:
    """A list of mappings with the keys of one section, at least one."""

    section: Section
    name: str = "a list of mappings"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ListNode):
            first = self.section.names()[0]
            return wrong_kind(problems, path, self.name, node, f"write each as an entry: - {first}: …")
        if not node.items:
            return refused(problems, path, "is an empty list", "leave the key out for the default")
        read = [self.section.read(item, (*path, number), problems) for number, item in enumerate(node.items)]
        return [value for value in read if not isinstance(value, Invalid)]

    def schema(self) -> Schema:
        return {"type": "array", "items": self.section.schema(), "minItems": 1}


def said(text: str) -> Complaint | None:
    """A text that says something."""
    return None if text.strip() else Complaint("is an empty text", "write what is to be said")


TEXT = Text("a text", said)
