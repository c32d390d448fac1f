"""`enginebuild run`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from enginebuild.cli.options import (
    cache_option,
    jobs_option,
    json_option,
    overrides_option,
    places_options,
    recipe_argument,
    runner_option,
)
from enginebuild.cli.remote import mounting, remote_options, shared_of


@click.command("run")
@recipe_argument
@overrides_option
@cache_option
@click.option("--locked", is_flag=True, help="Refuse (exit 4) if the lock is absent or does not fit.")
@places_options
@remote_options
@runner_option
@jobs_option
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    cache_dir: Path | None,
    locked: bool,
    push: bool,
    load: bool,
    output: Path | None,
    cache_from: str | None,
    cache_to: str | None,
    runner: Literal["docker", "local"] | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Build the image of a recipe and deliver it.

    Prints the image by digest. The first run writes RECIPE's lock beside it; commit both. What has been built
    before, here or by another recipe with the same inputs, is taken from the cache.
    """
    from enginebuild.builder import with_runner
    from enginebuild.check import read_checked
    from enginebuild.cli.places import Places
    from enginebuild.cli.runner import made_runner
    from enginebuild.cli.tools import opened
    from enginebuild.run import run

    checked = with_runner(read_checked(recipe, overrides), runner)
    places = Places.of(checked, push=push, load=load, output=output)
    with opened(checked.folder, cache_dir, jobs=jobs, as_json=as_json) as tools:
        shared = shared_of(checked, cache_from, cache_to, tools.registry, jobs)
        built = run(
            checked,
            tools.store,
            tools.bases,
            lambda tags: places.publishers(tags, mounting(tools.registry, shared)),
            tools.output,
            locked=locked,
            # A lock holds what the file says; with --set it would hold what one command line said.
            keep_lock=not overrides,
            jobs=jobs,
            repository=places.repository,
            send=places.send(tools.registry),
            elsewhere=shared,
            runner=lambda: made_runner(checked, tools),
        )
        tools.output.result(built.names, built.to_json())
        for advice in built.advice:
            tools.output.advice(advice)
