"""A recipe as written: values with their places. What was already reported as a mistake is an InvalidNode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.text import Finding, Span
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """`text` is the value as written, before it was read as a number or a boolean."""

    value: bool | int | float | str | None
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class ListNode:
    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class MappingNode:
    entries: Mapping[str, Entry]
    span: Span


@dataclass(frozen=True, slots=True)
class InvalidNode:
    span: Span


Node = ScalarNode | ListNode | MappingNode | InvalidNode


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value, and where the key stands."""

    key: Span
    value: Node


def to_json(node: Node) -> Json:
    """The plain value. An InvalidNode has none: ValueError."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [to_json(item) for item in node.items]
    if isinstance(node, MappingNode):
        return {key: to_json(entry.value) for key, entry in node.entries.items()}
    raise ValueError("a value that was refused")


def locate(root: Node, problem: Problem) -> Finding:
    """The place of a problem. Where its path leaves what was written, the last key on the way counts."""
    node, key = root, root.span
    for step in problem.path:
        entry = _entry(node, step)
        if entry is None:
            return Finding(key, problem.message, problem.hint)
        node, key = entry.value, entry.key
    return Finding(key if problem.on_key else node.span, problem.message, problem.hint)


def _entry(node: Node, step: str | int) -> Entry | None:
    if isinstance(node, MappingNode) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
        return Entry(node.items[step].span, node.items[step])
    return None
