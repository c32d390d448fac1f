"""`enginebuild run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from enginebuild.cli.options import (
    cache_option,
    cells_option,
    jobs_option,
    json_option,
    overrides_option,
    places_options,
    recipes_argument,
    runner_option,
)
from enginebuild.cli.remote import remote_options

if TYPE_CHECKING:
    from enginebuild.cli.asked import Asked
    from enginebuild.locking import Cells


@click.command("run")
@recipes_argument
@overrides_option
@cells_option
@cache_option
@click.option("--locked", is_flag=True, help="Refuse (exit 4) if the lock is absent or does not fit.")
@places_options
@remote_options
@runner_option
@jobs_option
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    help="Of several cells or recipes, how many at the same time (default: one for each GPU).",
)
@click.option("--fail-fast", is_flag=True, help="Of several, stop all when one fails.")
@json_option
@click.option("--resolved", type=click.Path(path_type=Path), hidden=True)
def command(
    recipes: tuple[Path, ...],
    overrides: tuple[str, ...],
    cells: tuple[str, ...],
    cache_dir: Path | None,
    locked: bool,
    push: bool,
    load: bool,
    output: Path | None,
    cache_from: str | None,
    cache_to: str | None,
    runner: Literal["docker", "local"] | None,
    jobs: int,
    parallel: int | None,
    fail_fast: bool,
    as_json: bool,
    resolved: Path | None,
) -> None:
    """Build the image of a recipe and deliver it.

    Prints the image by digest. The first run writes RECIPE's lock beside it; commit both. What has been built
    before, here or by another recipe with the same inputs, is taken from the cache.

    With a matrix, or with several recipes or folders of them, each is a run of its own. A step that several
    share is made once. A failure does not stop the others; the end is one table, and the exit code is that of
    the first that failed.
    """
    from enginebuild.cli.asked import Asked
    from enginebuild.cli.recipes import read_recipes

    files = read_recipes(recipes, overrides, cells, runner)
    asked = Asked(
        overrides,
        cache_dir,
        locked,
        push,
        load,
        output,
        cache_from,
        cache_to,
        runner,
        jobs,
        as_json,
        resolved,
    )
    if len(files) == 1 and len(files[0].chosen) == 1:
        _run_one(files[0], asked)
        return
    from enginebuild.cli.run_cells import run_cells

    run_cells(files, asked, parallel, fail_fast=fail_fast)


def _run_one(cells: Cells, asked: Asked) -> None:
    from enginebuild.cli.tools import opened
    from enginebuild.errors import EngineBuildError
    from enginebuild.locking import lock_cells

    recipe = cells.chosen[0]
    places = asked.places(recipe)
    with (
        opened(recipe.folder, asked.cache_dir, jobs=asked.jobs, as_json=asked.as_json) as tools,
        tools.store.lease(),
    ):
        asked.shared(recipe, tools)  # raises for what an option cannot be
        (locked,) = lock_cells(
            cells,
            tools.store,
            tools.bases,
            tools.output,
            locked=asked.locked,
            keep=asked.keeps_lock,
            resolved=asked.resolved,
        )
        if isinstance(locked, EngineBuildError):
            raise locked
        built = asked.build(locked, tools, places, tools.output)
        tools.output.result(built.names, built.to_json())
        for advice in built.advice:
            tools.output.advice(advice)
