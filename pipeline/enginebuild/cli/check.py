"""`enginebuild check`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from enginebuild.cli.options import (
    cache_option,
    cells_option,
    overrides_option,
    recipe_argument,
    runner_option,
)

if TYPE_CHECKING:
    from enginebuild.recipe import Recipe


@click.command("check")
@recipe_argument
@overrides_option
@cells_option
@click.option(
    "--in-engine",
    is_flag=True,
    help="Ask vLLM itself, too, in image.base or builder.environment; needs no GPU.",
)
@runner_option
@cache_option
@click.option("--online", is_flag=True, help="Ask the Hub: list of files, config.json, weights' headers.")
@click.option("--explain", is_flag=True, help="Show the model's sizes and the memory of one GPU.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    cells: tuple[str, ...],
    in_engine: bool,
    runner: Literal["docker", "local"] | None,
    cache_dir: Path | None,
    online: bool,
    explain: bool,
) -> None:
    """Refuse what cannot work, before anything is downloaded.

    Reads the recipe and its lock, if there is one, holds the engine's arguments against the table of that
    engine's version, and the model's sizes against the GPUs: of a model in a folder, of a locked one whose
    config.json is in the cache, or of any with --online. Needs no network otherwise, and no GPU. Exits with
    2 and shows every mistake at its place, with 5 if the model cannot be served so, or with 3 if it cannot be
    had, or its weights are broken: what to do about a gated or private repository is said.

    With --in-engine, the vLLM that will serve reads the configuration, makes its engine's configuration and
    renders a conversation, without the model's weights. Exits with 6 if it refuses, or does other than the
    recipe says.
    """
    from enginebuild.builder import with_runner
    from enginebuild.check import check_folder, read_checked_cells, warnings_of
    from enginebuild.cli.fits import check_fit, say
    from enginebuild.each_cell import each_cell
    from enginebuild.events import once
    from enginebuild.locking import previous_lock
    from enginebuild.recipe import chosen
    from enginebuild.resolve import lock_for

    read = chosen(read_checked_cells(recipe, overrides), cells)
    checked = [with_runner(cell, runner) for cell in read]
    each_cell(checked, check_folder)
    for warning in dict.fromkeys(warning for cell in checked for warning in warnings_of(cell)):
        click.echo(f"warning: {warning}", err=True)
    previous, report = previous_lock(recipe), once(say)

    def fitting(cell: Recipe) -> None:
        if explain and len(checked) > 1:
            click.echo(f"{cell.name}:")
        check_fit(cell, lock_for(cell, previous), cache_dir, report, online=online, explain=explain)

    each_cell(checked, fitting)
    said = _said(checked, all(lock_for(cell, previous) for cell in checked))
    if not in_engine:
        click.echo(f"{recipe}: ok ({said})")
        return
    found = dict.fromkeys(_validated(cell, cache_dir) for cell in checked)
    click.echo("\n".join([f"{recipe}: ok ({said})", *found]))


def _said(cells: Sequence[Recipe], locked: bool) -> str:
    engines = dict.fromkeys(f"{cell.engine.type} {cell.engine.version}" for cell in cells)
    count = [f"{len(cells)} cells"] if len(cells) > 1 else []
    return ", ".join([*count, *engines, "locked" if locked else "not locked"])


def _validated(cell: Recipe, cache_dir: Path | None) -> str:
    """What the vLLM that will serve says of a configuration. Raises StepError."""
    from enginebuild.cli.runner import made_runner
    from enginebuild.cli.tools import opened
    from enginebuild.in_engine import validate_now

    with opened(cell.folder, cache_dir, jobs=4, as_json=False) as tools:
        runner = partial(made_runner, cell, tools)
        return validate_now(cell, tools.store, tools.bases, tools.output, runner).summary
