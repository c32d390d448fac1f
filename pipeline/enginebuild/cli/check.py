"""`enginebuild check`."""

from __future__ import annotations

from pathlib import Path

import click

from enginebuild.cli.options import overrides_option, recipe_argument


@click.command("check")
@recipe_argument
@overrides_option
def command(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Refuse what cannot work, before anything is downloaded.

    Reads the recipe and its lock, if there is one, and holds the engine's arguments against the table of that
    engine's version. Needs no network and no GPU. Exits with 2 and shows every mistake at its place, or with
    5 if no engine can be made of a model in a folder.
    """
    from enginebuild.check import check_folder, read_checked
    from enginebuild.lock import lock_path, read_lock

    checked = read_checked(recipe, overrides)
    check_folder(checked)
    locked = read_lock(lock_path(recipe)) is not None
    click.echo(
        f"{recipe}: ok ({checked.engine.type} {checked.engine.version}, {'' if locked else 'not '}locked)"
    )
