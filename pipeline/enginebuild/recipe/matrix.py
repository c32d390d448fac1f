"""The combinations of a matrix, as GitHub Actions makes them of axes, `exclude` and `include`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import dotted
from enginebuild.recipe.matrix_section import EXCLUDE, INCLUDE
from enginebuild.recipe.node import Entry, ListNode, MappingNode, Node, to_json
from enginebuild.recipe.overrides import split
from enginebuild.recipe.show import quoted
from enginebuild.recipe.unknown import answer
from enginebuild_cache import canonical_json

#: Cells of one recipe. Planning as many takes some ten seconds.
MOST_CELLS = 4096

#: A cell before it is a recipe: by axis, where it is named and its value.
Combination = Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Axes:
    """What an axis may be: the path of one of these `fields` of a recipe, or what `variants` ask for."""

    fields: Sequence[str]
    asked: Collection[str]

    def is_field(self, name: str) -> bool:
        return split(name)[0] in self.fields

    def problem(self, path: tuple[str | int, ...]) -> Problem | None:
        """What is wrong with a name that is written at this path."""
        name = str(path[-1])
        if self.is_field(name) or name in self.asked:
            return None
        message = f"{dotted(path)} sets nothing: it is no key of a recipe, and no variant asks for it"
        meant = answer(self.fields, (), split(name)[0]).problem.hint
        asked = f"write when: {{{name}: …}} in one of the variants"
        return Problem(
            path, message, f"{meant.removesuffix('?')}, or {asked}" if meant else asked, on_key=True
        )


def combinations(matrix: MappingNode, axes: Axes, problems: list[Problem]) -> list[Combination]:
    """Every cell, the first axis varying slowest. `matrix` has a sound shape; what else is wrong is noted."""
    values = {key: entry for key, entry in matrix.entries.items() if key not in (INCLUDE, EXCLUDE)}
    names: list[tuple[str | int, ...]] = [("matrix", key) for key in values]
    names += [("matrix", INCLUDE, index, name) for index, name in _included_names(matrix)]
    found = [problem for path in names if (problem := axes.problem(path)) is not None]
    found += _nested([path for path in names if axes.is_field(str(path[-1]))], list(values))
    found += _no_axis(matrix, values)
    count = prod(len(_items(entry.value)) for entry in values.values()) if values else 0
    if count > MOST_CELLS:
        message = f"matrix has {count:,} cells, a recipe has {MOST_CELLS:,} at most"
        found.append(Problem(("matrix",), message, "split the recipe in two", on_key=True))
    problems.extend(found)
    return [] if found else _made(matrix, values, problems)


def same(node: Node, other: Node) -> bool:
    """Whether two sound values are the same value, however they are written."""
    return canonical_json(to_json(node)) == canonical_json(to_json(other))


def fits(combination: Combination, wanted: MappingNode) -> bool:
    """Whether a cell has all of these values."""
    return all(
        key in combination and same(combination[key].value, entry.value)
        for key, entry in wanted.entries.items()
    )


def _made(matrix: MappingNode, values: Mapping[str, Entry], problems: list[Problem]) -> list[Combination]:
    every = [
        {name: Entry(entry.key, item) for (name, entry), item in zip(values.items(), items, strict=True)}
        for items in product(*(_items(entry.value) for entry in values.values()))
        if values
    ]
    kept = [each for each in every if not any(fits(each, wanted) for wanted in _of(matrix, EXCLUDE))]
    for index, wanted in enumerate(_of(matrix, EXCLUDE)):
        if not any(fits(each, wanted) for each in every):
            message = f"matrix.exclude[{index}] fits no cell"
            problems.append(Problem(("matrix", EXCLUDE, index), message, "delete it, or mend its values"))
    made = _included(kept, values, _of(matrix, INCLUDE))
    if not made:
        message = "matrix has no cells: exclude takes all of them"
        problems.append(Problem(("matrix", EXCLUDE), message, on_key=True))
    return made


def _included(
    originals: Sequence[Combination], values: Mapping[str, Entry], include: Sequence[MappingNode]
) -> list[Combination]:
    """As GitHub does: added to each cell whose axes it does not change, or a cell of its own if none is."""
    cells: list[dict[str, Entry]] = [dict(each) for each in originals]
    more: list[Combination] = []
    for entry in include:
        on_axes = MappingNode({key: each for key, each in entry.entries.items() if key in values}, entry.span)
        matching = [cell for cell, each in zip(cells, originals, strict=True) if fits(each, on_axes)]
        for cell in matching:
            cell.update({key: each for key, each in entry.entries.items() if key not in values})
        if not matching:
            more.append(dict(entry.entries))
    return [*cells, *more]


def _included_names(matrix: MappingNode) -> Iterator[tuple[int, str]]:
    for index, entry in enumerate(_of(matrix, INCLUDE)):
        yield from ((index, name) for name in entry.entries)


def _nested(paths: Sequence[tuple[str | int, ...]], axes: Sequence[str]) -> Iterator[Problem]:
    """What lies within an axis, or an axis within it, would change what that one sets."""
    for path in paths:
        keys = split(str(path[-1]))
        for axis in axes:
            other = split(axis)
            if keys != other and keys[: len(other)] == other:
                message = f"{dotted(path)} lies within matrix.{axis}"
                hint = f"write it into the values of {axis}, or split that into axes"
                yield Problem(path, message, hint, on_key=True)
            elif len(path) > 2 and keys != other and other[: len(keys)] == keys:
                message = f"{dotted(path)} would replace what matrix.{axis} sets"
                yield Problem(path, message, "write the keys within it, as axes are", on_key=True)


def _no_axis(matrix: MappingNode, values: Mapping[str, Entry]) -> Iterator[Problem]:
    for index, entry in enumerate(_of(matrix, EXCLUDE)):
        for name in entry.entries:
            if name not in values:
                message = f"matrix.exclude[{index}] names {quoted(name)}, which is no axis"
                hint = f"the axes are {', '.join(values)}" if values else "the matrix has no axes"
                yield Problem(("matrix", EXCLUDE, index, name), message, hint, on_key=True)


def _of(matrix: MappingNode, key: str) -> list[MappingNode]:
    entry = matrix.entries.get(key)
    items = _items(entry.value) if entry is not None else ()
    return [item for item in items if isinstance(item, MappingNode)]


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, ListNode) else ()
