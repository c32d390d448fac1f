"""`enginebuild lock`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import cache_option, recipe_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enginebuild.lock_file import LockFile
    from enginebuild.recipe import Recipe
    from enginebuild.resolve import Resolution


@click.command("lock")
@recipe_argument
@cache_option
@click.option("--check", is_flag=True, help="Write nothing; exit 4 and name the fields if the lock is stale.")
def command(recipe: Path, cache_dir: Path | None, check: bool) -> None:
    """Resolve names to digests and write them beside the recipe.

    Everything is asked for anew: the model's revision becomes its commit of today, with every file's size and
    sha256, and the base image's tag its digest. `enginebuild run` then builds from the lock without asking.
    A model that cannot be served as the recipe says is refused with exit 5, with --check as well: what it is
    served on is in no lock. A recipe with a matrix has one lock, in which each model and base of its cells is
    once.
    """
    from enginebuild.check import read_checked_cells
    from enginebuild.cli.tools import opened
    from enginebuild.each_cell import each_cell
    from enginebuild.events import once
    from enginebuild.fit import fit
    from enginebuild.fits import refuse
    from enginebuild.lock_file import LockFile, lock_path, write_lock_file
    from enginebuild.locking import previous_lock, resolve_cells
    from enginebuild.model_facts import facts_at_hand
    from enginebuild.resolve import lock_for

    cells = read_checked_cells(recipe)
    path, previous = lock_path(recipe), previous_lock(recipe)
    with opened(recipe.parent, cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        found = list(resolve_cells(cells, None, tools.store, tools.bases, tools.output))
        if check:
            _require_all(path, previous, found)
        file = LockFile.of([resolution.lock() for _, resolution in found])
        report = once(tools.output)

        def fitting(cell: Recipe) -> None:
            lock = lock_for(cell, file)
            facts = facts_at_hand(cell, None if lock is None else lock.model, tools.store)
            if facts is not None:
                refuse(cell, fit(cell, facts), report)

        each_cell(cells, fitting)
        if check:
            click.echo(f"{path}: up to date")
            return
        written = write_lock_file(path, file)
        for change in _changes(previous, found):
            tools.output.advice(f"  {change}")
        click.echo(f"{path}: {'written' if written else 'up to date'}")


def _require_all(path: Path, previous: LockFile | None, found: Sequence[tuple[Recipe, Resolution]]) -> None:
    """Raises DriftError, also for a lock that answers what no cell asks any more."""
    from enginebuild.errors import DriftError
    from enginebuild.lock_file import LockFile
    from enginebuild.resolve import require_locked

    locks = [require_locked(recipe, previous, resolution) for recipe, resolution in found]
    if previous is not None and previous != LockFile.of(locks):
        raise DriftError(
            f"{path}: the lock has answers that no cell of the recipe asks for",
            (),
            f"run `enginebuild lock {found[0][0].path}` and review the change",
        )


def _changes(previous: LockFile | None, found: Sequence[tuple[Recipe, Resolution]]) -> list[str]:
    """What is another than before, each change once."""
    from enginebuild.lock import drift
    from enginebuild.resolve import lock_for

    told: dict[str, None] = {}
    for recipe, resolution in found:
        before = lock_for(recipe, previous)
        for change in drift(before, resolution.lock()) if before is not None else ():
            told[str(change)] = None
    return list(told)
