"""Cells of a recipe by their names or by the values of their axes, as `--cell` gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enginebuild.errors import RecipeError
from enginebuild.recipe.kinds import closest
from enginebuild.recipe.model import Recipe
from enginebuild.recipe.show import bare, quoted

#: Names or values that a message lists.
_SHOWN = 8


def chosen(cells: Sequence[Recipe], wanted: Sequence[str]) -> tuple[Recipe, ...]:
    """The cells that `--cell` texts choose, all of them without any; in the recipe's order.

    A text is a cell's name, or AXIS=VALUE. Of one axis any of the values will do, and a cell must fit every
    axis that is given. Raises RecipeError for a text that no cell fits, and if none fits all of them.
    """
    names, axes = set[str](), dict[str, set[str]]()
    for text in wanted:
        axis, equals, value = text.partition("=")
        if equals:
            _require_value(cells, axis, value)
            axes.setdefault(axis, set()).add(value)
        else:
            _require_name(cells, text)
            names.add(text)
    found = tuple(cell for cell in cells if _fits(cell, names, axes))
    if not found:
        raise RecipeError(f"no cell fits --cell {' --cell '.join(wanted)}", _known(cells))
    return found


def one_of(cells: Sequence[Recipe]) -> Recipe:
    """The only cell. Raises RecipeError if there are several."""
    if len(cells) == 1:
        return cells[0]
    name = cells[0].path or cells[0].name
    raise RecipeError(f"{name} has {len(cells)} cells, and one is wanted here", _known(cells))


def _fits(cell: Recipe, names: set[str], axes: Mapping[str, set[str]]) -> bool:
    if names and cell.name not in names:
        return False
    return all(cell.cell.get(axis) in values for axis, values in axes.items())


def _require_value(cells: Sequence[Recipe], axis: str, value: str) -> None:
    known = dict.fromkeys(cell.cell[axis] for cell in cells if axis in cell.cell)
    if value in known:
        return
    if not known:
        axes = dict.fromkeys(name for cell in cells for name in cell.cell)
        hint = f"its axes are {', '.join(axes)}" if axes else "this recipe has no matrix"
        raise RecipeError(f"--cell {bare(axis)}=…: the recipe has no axis {quoted(axis)}", hint)
    hint = f"it has the values {_some(list(known))}"
    raise RecipeError(f"--cell {bare(axis)}={bare(value)}: the axis has no such value", hint)


def _require_name(cells: Sequence[Recipe], name: str) -> None:
    names = [cell.name for cell in cells]
    if name not in names:
        close = closest(name, names)
        hint = f"did you mean {close}?" if close else _known(cells)
        raise RecipeError(f"--cell {bare(name)}: no cell has that name", hint)


def _known(cells: Sequence[Recipe]) -> str:
    if len(cells) == 1:
        return f"the recipe has one cell, {cells[0].name}"
    return f"choose with --cell AXIS=VALUE or --cell NAME: {_some([cell.name for cell in cells])}"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
