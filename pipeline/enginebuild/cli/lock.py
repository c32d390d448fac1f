"""`enginebuild lock`."""

from __future__ import annotations

from pathlib import Path

import click

from enginebuild.cli.options import cache_option, recipe_argument


@click.command("lock")
@recipe_argument
@cache_option
@click.option("--check", is_flag=True, help="Write nothing; exit 4 and name the fields if the lock is stale.")
def command(recipe: Path, cache_dir: Path | None, check: bool) -> None:
    """Resolve names to digests and write them beside the recipe.

    Everything is asked for anew: the model's revision becomes its commit of today, with every file's size and
    sha256, and the base image's tag its digest. `enginebuild run` then builds from the lock without asking.
    A model that cannot be served as the recipe says is refused with exit 5.
    """
    from enginebuild.check import read_checked
    from enginebuild.cli.tools import opened
    from enginebuild.fit import fit
    from enginebuild.fits import facts_at_hand, refuse
    from enginebuild.lock import drift, lock_path, read_lock, write_lock
    from enginebuild.resolve import require_locked, resolve

    checked = read_checked(recipe)
    path = lock_path(recipe)
    previous = read_lock(path)
    with opened(checked.folder, cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        resolution = resolve(checked, None, tools.store, tools.bases, tools.output)
        if check:
            require_locked(checked, previous, resolution)
            click.echo(f"{path}: up to date")
            return
        lock = resolution.lock()
        if (facts := facts_at_hand(checked, lock, tools.store)) is not None:
            refuse(checked, fit(checked, facts), tools.output)
        written = write_lock(path, lock)
        for change in drift(previous, lock) if previous is not None else ():
            tools.output.advice(f"  {change}")
        click.echo(f"{path}: {'written' if written else 'up to date'}")
