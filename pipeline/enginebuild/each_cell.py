"""The same for every cell of a recipe: all that goes wrong is said at once, each message with its cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from enginebuild.errors import EngineBuildError
from enginebuild.recipe import Recipe

#: Cells that a message names.
_SHOWN = 4


def each_cell(cells: Sequence[Recipe], act: Callable[[Recipe], None]) -> None:
    """Raises an error of the first cell's class with every cell's message; other exceptions at once."""
    failed: dict[tuple[str, str], list[Recipe]] = {}
    first: EngineBuildError | None = None
    for cell in cells:
        try:
            act(cell)
        except EngineBuildError as error:
            first = first or error
            failed.setdefault((error.message, error.hint), []).append(cell)
    if first is None:
        return
    if len(failed) == 1 and len(failed[first.message, first.hint]) == len(cells):
        raise first
    blocks = [_block(message, hint, found) for (message, hint), found in failed.items()]
    count = sum(map(len, failed.values()))
    raise _of_class(type(first), "\n\n".join([*blocks, f"{count} of {len(cells)} cells"]))


def _of_class(kind: type[EngineBuildError], message: str) -> EngineBuildError:
    error = EngineBuildError(message)
    error.exit = kind.exit
    return error


def _block(message: str, hint: str, found: Sequence[Recipe]) -> str:
    names = ", ".join(cell.name for cell in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{names}{more}:\n{message}" + (f"\n  hint: {hint}" if hint else "")
