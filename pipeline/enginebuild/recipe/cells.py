"""The cells of a recipe: whole recipes, made of its matrix and its variants before anything is checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import Path, closest, dotted
from enginebuild.recipe.matrix import Axes, Combination, combinations, same
from enginebuild.recipe.matrix_section import MATRIX, SHARED, VARIANTS, WHEN
from enginebuild.recipe.node import (
    BlockedError,
    ListNode,
    MappingNode,
    Node,
    ScalarNode,
    find,
    has_mistakes,
    locate,
    merged,
    put,
    to_json,
)
from enginebuild.recipe.overrides import Override, apply, split
from enginebuild.recipe.show import described, quoted
from enginebuild.recipe.text import Finding
from enginebuild_cache import Digest, canonical_json

#: Axes whose values are bare numbers in a cell's name.
_SHORT = {"tensor_parallel_size": "tp", "pipeline_parallel_size": "pp"}
_LONGEST_NAME = 128
_LONGEST_VALUE = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """`values`: by axis, as text for people; empty for the one cell of a recipe without a matrix.

    `root`: the whole recipe as written, without `matrix` and `variants`.
    """

    values: Mapping[str, str]
    root: MappingNode


def cells_of(
    root: MappingNode, overrides: Sequence[Override], fields: Sequence[str], findings: list[Finding]
) -> tuple[Cell, ...]:
    """All cells of a recipe; none if its matrix or its variants have mistakes, which are in `findings` then.

    `fields`: the keys that a recipe may have at its top level.
    """
    root = apply(root, overrides, findings)
    problems: list[Problem] = []
    parts = find(root, ("matrix",)), find(root, ("variants",))
    if parts[0] is not None:
        MATRIX.read(parts[0], ("matrix",), problems)
    if parts[1] is not None:
        VARIANTS.read(parts[1], ("variants",), problems)
    if problems or any(part is not None and has_mistakes(part) for part in parts):
        findings.extend(locate(root, problem) for problem in problems)
        return ()
    shared = replace(root, entries={key: each for key, each in root.entries.items() if key not in SHARED[1:]})
    matrix, variants = parts[0], _variants(parts[1])
    found: Sequence[Combination] = [{}]
    if isinstance(matrix, MappingNode):
        asked = {name for variant in variants for name in _when(variant).entries}
        own = [name for name in fields if name not in SHARED]
        found = combinations(matrix, Axes(own, asked), problems)
    made = _Making(shared, variants, overrides, fields)
    if not problems:
        problems.extend(made.mistakes(found, strict=not overrides))
    findings.extend(locate(root, problem) for problem in problems)
    return () if problems else made.cells(found, findings)


@dataclass(frozen=True)
class _Making:
    """What cells are made of. `shared`: the recipe without matrix and variants, with all overrides."""

    shared: MappingNode
    variants: Sequence[MappingNode]
    overrides: Sequence[Override]
    fields: Sequence[str]

    def cells(self, found: Sequence[Combination], findings: list[Finding]) -> tuple[Cell, ...]:
        if overridden := list(self._overridden(found)):
            findings.extend(overridden)
            return ()
        roots = [self._root(each, findings) for each in found]
        names = _names(self.shared, found, roots)
        return tuple(
            Cell({axis: shown(entry.value) for axis, entry in each.items()}, _named(root, name))
            for each, root, name in zip(found, roots, names, strict=True)
        )

    def _overridden(self, found: Sequence[Combination]) -> Iterator[Finding]:
        """What `--set` says of an axis, whose values each cell has already."""
        axes = {name: split(name) for each in found for name in each}
        for override in self.overrides:
            for name, keys in axes.items():
                if keys[: len(override.keys)] == override.keys:
                    message = f"{name} is an axis of the recipe's matrix"
                    hint = f"choose cells with --cell {name}=…, or give it values: --set 'matrix.{name}=[…]'"
                    yield Finding(override.spans[0], message, hint)

    def _root(self, found: Combination, findings: list[Finding]) -> MappingNode:
        root = self.shared
        for name, entry in found.items():
            keys = split(name)
            if keys[0] not in self.fields:
                continue
            try:
                root = put(root, keys, entry.value, (entry.key,) * len(keys))
            except BlockedError as error:
                where = ".".join(keys[: error.depth])
                message = f"{where} is {described(error.value)} in the recipe, which has no keys"
                findings.append(Finding(entry.key, message, f"make {where} the axis, or {where} a mapping"))
        before = root
        for variant in self.variants:
            if self._matches(variant, found):
                part = {key: entry for key, entry in variant.entries.items() if key != WHEN}
                root = merged(root, MappingNode(part, variant.span))
        if root is not before:
            root = apply(root, [each for each in self.overrides if each.keys[0] not in SHARED], findings)
        return root

    def _matches(self, variant: MappingNode, found: Combination) -> bool:
        return all(
            (value := self._value(name, found)) is not None
            and any(same(value, wanted) for wanted in _wanted(entry.value))
            for name, entry in _when(variant).entries.items()
        )

    def _value(self, name: str, found: Combination) -> Node | None:
        value = found[name].value if name in found else find(self.shared, split(name))
        return None if value is None or has_mistakes(value) else value

    def mistakes(self, found: Sequence[Combination], *, strict: bool) -> Iterator[Problem]:
        """Of the variants. `strict`: one that is for no cell is a mistake; `--set` may have made it so."""
        axes = dict.fromkeys(name for each in found for name in each)
        for index, variant in enumerate(self.variants):
            yield from self._sets_an_axis(index, variant, axes)
            unknown = list(self._unknown(index, variant, axes))
            yield from unknown
            if strict and not unknown and not any(self._matches(variant, each) for each in found):
                message = f"variants[{index}] is for no cell"
                yield Problem(("variants", index, WHEN), message, "delete it, or mend its when", on_key=True)

    def _unknown(self, index: int, variant: MappingNode, axes: Collection[str]) -> Iterator[Problem]:
        for name in _when(variant).entries:
            if name in axes or find(self.shared, split(name)) is not None:
                continue
            message = f"variants[{index}].when: {quoted(name)} is no axis, and the recipe has no value for it"
            close = closest(name, [*axes, *self.fields])
            hint = f"did you mean {close}?" if close and close != name else f"write {name} in the recipe"
            yield Problem(("variants", index, WHEN, name), message, hint, on_key=True)

    def _sets_an_axis(self, index: int, variant: MappingNode, axes: Collection[str]) -> Iterator[Problem]:
        for name in axes:
            keys = split(name)
            for depth in range(1, len(keys) + 1):
                value = find(variant, keys[:depth])
                if value is not None and (depth == len(keys) or not isinstance(value, MappingNode)):
                    path: Path = ("variants", index, *keys[:depth])
                    message = f"{dotted(path)}: {name} is an axis, which a variant cannot change"
                    yield Problem(path, message, "use include and exclude of the matrix", on_key=True)
                    break


def shown(value: Node) -> str:
    """A value as `--cell` and tables name it."""
    if isinstance(value, ScalarNode):
        return value.text or "null"
    text = canonical_json(to_json(value)).decode()
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _names(shared: MappingNode, found: Sequence[Combination], roots: Sequence[MappingNode]) -> list[str]:
    """The cells' names: the recipe's and the values of the axes. Empty where the cell's name stays as it is:
    an axis or a variant gives one, or it is no text.
    """
    base = find(shared, ("name",))
    if not isinstance(base, ScalarNode) or not isinstance(base.value, str):
        return [""] * len(found)
    names = [
        _derived(base.value, each) if each and find(root, ("name",)) is base else ""
        for each, root in zip(found, roots, strict=True)
    ]
    twice = {name for name, count in Counter(names).items() if count > 1 and name}
    return [
        _distinct(name, values) if name in twice else name for name, values in zip(names, found, strict=True)
    ]


def _derived(name: str, values: Combination) -> str:
    words = [name, *(word for axis, entry in values.items() for word in _words(axis, entry.value))]
    whole = "-".join(words)
    return whole if len(whole) <= _LONGEST_NAME else _distinct(whole, values)


def _distinct(name: str, values: Combination) -> str:
    """With eight digits that only these values have."""
    digest = Digest.of_json({axis: to_json(entry.value) for axis, entry in values.items()})
    return f"{name[: _LONGEST_NAME - 9]}-{digest.hex[:8]}"


def _words(axis: str, value: Node) -> Iterator[str]:
    """A text alone; a number with what it counts; of a mapping its texts and numbers."""
    if isinstance(value, MappingNode):
        for key, entry in value.entries.items():
            if isinstance(entry.value, ScalarNode):
                yield from _words(key, entry.value)
    elif isinstance(value, ScalarNode):
        key = split(axis)[-1]
        text = re.sub(r"[^a-z0-9._]+", "-", (value.text or "none").lower()).strip("-._") or "none"
        yield text if isinstance(value.value, str) else f"{_SHORT.get(key, f'{key}-')}{text}"


def _named(root: MappingNode, name: str) -> MappingNode:
    """With another name, at the place of the recipe's."""
    if not name:
        return root
    written = root.entries["name"]
    value = ScalarNode(name, name, written.value.span)
    return replace(root, entries={**root.entries, "name": replace(written, value=value)})


def _variants(node: Node | None) -> list[MappingNode]:
    items = node.items if isinstance(node, ListNode) else ()
    return [item for item in items if isinstance(item, MappingNode)]


def _when(variant: MappingNode) -> MappingNode:
    when = find(variant, (WHEN,))
    return when if isinstance(when, MappingNode) else MappingNode({}, variant.span)


def _wanted(value: Node) -> Sequence[Node]:
    return value.items if isinstance(value, ListNode) else (value,)
