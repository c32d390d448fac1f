"""The locks of a recipe's cells, before anything is built: asked for together, and written once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from enginebuild.bases import Bases
from enginebuild.check import warnings_of
from enginebuild.errors import EngineBuildError, RecipeError
from enginebuild.events import Note, Report
from enginebuild.lock import Lock
from enginebuild.lock_file import LockFile, lock_path, read_lock_file, write_lock_file
from enginebuild.recipe import Recipe
from enginebuild.resolve import Known, Resolution, lock_for, require_locked, resolve
from enginebuild_cache import Store


@dataclass(frozen=True)
class Locked:
    """A recipe, or a cell of a matrix, whose names all stand for something."""

    recipe: Recipe
    resolution: Resolution
    lock: Lock


@dataclass(frozen=True)
class Cells:
    """The cells of one recipe file: those that are chosen, and the others, whose locks stay as they are."""

    chosen: Sequence[Recipe]
    others: Sequence[Recipe] = ()

    @property
    def path(self) -> Path | None:
        """The file; None for a recipe that is none."""
        return self.chosen[0].path


def previous_lock(path: Path | None) -> LockFile | None:
    """What lies beside a recipe. Raises RecipeError for a file that is no lock."""
    return None if path is None else read_lock_file(lock_path(path))


def resolve_cells(
    cells: Sequence[Recipe], previous: LockFile | None, store: Store, bases: Bases, report: Report
) -> Iterator[tuple[Recipe, Resolution]]:
    """Every cell with what is known of its names; what several of them ask is asked once."""
    known = Known()
    for recipe in cells:
        yield recipe, resolve(recipe, previous, store, bases, report, known)


def lock_cells(
    cells: Cells,
    store: Store,
    bases: Bases,
    report: Report,
    *,
    locked: bool = False,
    keep: bool = True,
    resolved: Path | None = None,
) -> tuple[Locked | EngineBuildError, ...]:
    """The chosen cells with their locks, or what is wrong with one.

    `locked`: the lock must say what the recipe says. `keep`: write it where it does not. `resolved`: a lock
    file to read instead of the one beside the recipe.
    """
    previous = previous_lock(cells.path) if resolved is None else read_lock_file(resolved)
    for warning in dict.fromkeys(warning for recipe in cells.chosen for warning in warnings_of(recipe)):
        report(Note(warning, "warning"))
    found: list[Locked | EngineBuildError] = []
    for recipe, resolution in resolve_cells(cells.chosen, previous, store, bases, report):
        try:
            lock = require_locked(recipe, previous, resolution) if locked else resolution.lock()
            found.append(Locked(recipe, resolution, lock))
        except EngineBuildError as error:
            found.append(error)
    if keep and not locked:
        _keep(cells, found, previous, report)
    return tuple(found)


def joined(cells: Cells, locks: Sequence[Lock], previous: LockFile | None) -> LockFile | None:
    """The file of these locks, beside which the other cells' stay; None where there is nothing to keep."""
    others = [lock for recipe in cells.others if (lock := lock_for(recipe, previous)) is not None]
    return LockFile.of([*locks, *others]) if locks or others else None


def _keep(
    cells: Cells, found: Sequence[Locked | EngineBuildError], previous: LockFile | None, report: Report
) -> None:
    made = [each for each in found if isinstance(each, Locked)]
    failed = [
        recipe for recipe, each in zip(cells.chosen, found, strict=True) if not isinstance(each, Locked)
    ]
    whole = Cells(cells.chosen, (*cells.others, *failed))
    file = joined(whole, [each.lock for each in made], previous)
    if cells.path is None or not made or file is None or file == previous:
        return
    path = lock_path(cells.path)
    try:
        write_lock_file(path, file)
        report(Note(f"{path} {'written' if previous is None else 'updated'}; commit it with the recipe"))
    except RecipeError as error:
        # The image does not need the file: a read-only checkout may still build.
        report(Note(error.message, "warning"))
