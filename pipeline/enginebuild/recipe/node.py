"""A recipe as written: values with their places. What was already reported as a mistake is an InvalidNode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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


def has_mistakes(node: Node) -> bool:
    """Whether something in it was refused already."""
    if isinstance(node, MappingNode):
        return any(has_mistakes(entry.value) for entry in node.entries.values())
    if isinstance(node, ListNode):
        return any(map(has_mistakes, node.items))
    return isinstance(node, InvalidNode)


class BlockedError(Exception):
    """A value is to be put below one that has no keys: `value`, at the first `depth` of the keys."""

    def __init__(self, value: Node, depth: int) -> None:
        super().__init__(f"no keys at depth {depth}")
        self.value = value
        self.depth = depth


def put(
    node: MappingNode, keys: Sequence[str], value: Node, spans: Sequence[Span], depth: int = 0
) -> MappingNode:
    """The same mapping with one value replaced or added, however deep. Raises BlockedError.

    `spans`: where each of the keys stands, for those that are new.
    """
    key, span = keys[depth], spans[depth]
    old = node.entries.get(key)
    if depth + 1 == len(keys):
        new: Node = value
    elif old is None or (isinstance(old.value, ScalarNode) and old.value.value is None):
        new = put(MappingNode({}, span), keys, value, spans, depth + 1)
    elif isinstance(old.value, MappingNode):
        new, span = put(old.value, keys, value, spans, depth + 1), old.key
    else:
        raise BlockedError(old.value, depth + 1)
    return replace(node, entries={**node.entries, key: Entry(span, new)})


def merged(node: MappingNode, other: MappingNode) -> MappingNode:
    """Both mappings' entries, the other's winning; where both have a mapping, those are merged."""
    entries = dict(node.entries)
    for key, entry in other.entries.items():
        old = entries.get(key)
        if old is not None and isinstance(old.value, MappingNode) and isinstance(entry.value, MappingNode):
            entries[key] = replace(old, value=merged(old.value, entry.value))
        else:
            entries[key] = entry
    return replace(node, entries=entries)


def find(node: Node, keys: Sequence[str]) -> Node | None:
    """The value at a path of keys; None if nothing is written there."""
    for key in keys:
        entry = node.entries.get(key) if isinstance(node, MappingNode) else None
        if entry is None:
            return None
        node = entry.value
    return node


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
