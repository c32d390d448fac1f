"""`enginebuild check`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from enginebuild.cli.options import cache_option, overrides_option, recipe_argument, runner_option


@click.command("check")
@recipe_argument
@overrides_option
@click.option(
    "--in-engine",
    is_flag=True,
    help="Ask vLLM itself, too, in image.base or builder.environment; needs no GPU.",
)
@runner_option
@cache_option
@click.option("--online", is_flag=True, help="Ask the Hub for the model's list of files and its config.json.")
@click.option("--explain", is_flag=True, help="Show the model's sizes and the memory of one GPU.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
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
    2 and shows every mistake at its place, or with 5 if the model cannot be served so.

    With --in-engine, the vLLM that will serve reads the configuration, makes its engine's configuration and
    renders a conversation, without the model's weights. Exits with 6 if it refuses, or does other than the
    recipe says.
    """
    from enginebuild.builder import with_runner
    from enginebuild.check import check_folder, read_checked, warnings_of
    from enginebuild.cli.fits import check_fit
    from enginebuild.lock import lock_path, read_lock

    checked = with_runner(read_checked(recipe, overrides), runner)
    check_folder(checked)
    for warning in warnings_of(checked):
        click.echo(f"warning: {warning}", err=True)
    lock = read_lock(lock_path(recipe))
    check_fit(checked, lock, cache_dir, online=online, explain=explain)
    said = f"{checked.engine.type} {checked.engine.version}, {'' if lock else 'not '}locked"
    if not in_engine:
        click.echo(f"{recipe}: ok ({said})")
        return
    from enginebuild.cli.runner import made_runner
    from enginebuild.cli.tools import opened
    from enginebuild.in_engine import validate_now

    with opened(checked.folder, cache_dir, jobs=4, as_json=False) as tools:
        found = validate_now(
            checked, tools.store, tools.bases, tools.output, lambda: made_runner(checked, tools)
        )
    click.echo(f"{recipe}: ok ({said})\n{found.summary}")
