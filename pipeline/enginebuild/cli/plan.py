"""`enginebuild plan`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import (
    cache_option,
    json_option,
    overrides_option,
    places_options,
    recipe_argument,
)
from enginebuild.cli.output import size
from enginebuild.cli.remote import NONE, asked_option, shared_of

if TYPE_CHECKING:
    from enginebuild.plan import PlannedStep


@click.command("plan")
@recipe_argument
@overrides_option
@cache_option
@places_options
@asked_option
@click.option("--gpu-price", metavar="DOLLARS/h", help="Of one GPU: adds what the missing steps cost.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    cache_dir: Path | None,
    push: bool,
    load: bool,
    output: Path | None,
    cache_from: str | None,
    gpu_price: str | None,
    as_json: bool,
) -> None:
    """Show each step with its key, whether it is cached, and why not.

    Builds nothing and writes no lock. What cannot be resolved (a base image or a revision, without a network)
    is shown as unresolved, and all else is planned. What only a remote cache has is a hit, as in a run; its
    record is read, and none of its files.

    The times of missing steps are those of the record used last of each, this recipe's first; a step that was
    never made here is unknown.
    """
    from enginebuild.check import read_checked
    from enginebuild.cli.places import Places
    from enginebuild.cli.tools import opened
    from enginebuild.estimate import gpu_price as priced
    from enginebuild.preview import preview

    price = None if gpu_price is None else priced(gpu_price)
    checked = read_checked(recipe, overrides)
    places = Places.of(checked, push=push, load=load, output=output)
    with opened(checked.folder, cache_dir, jobs=4, as_json=False) as tools:
        shown = preview(
            checked,
            tools.store,
            tools.bases,
            lambda tags: places.publishers(tags, tools.registry),
            tools.output,
            places.repository,
            shared_of(checked, cache_from, NONE, tools.registry, jobs=4),
        )
    if as_json:
        click.echo(json.dumps(shown.to_json(price), indent=2, ensure_ascii=False))
        return
    for step in shown.steps:
        click.echo(_lines(step))
    if shown.image is not None and shown.bytes_to_send is not None:
        click.echo(f"image      {shown.image}, {size(shown.bytes_to_send)} to send")
    if shown.bytes_to_take:
        click.echo(f"to take    {size(shown.bytes_to_take)} from the remote cache")
    for line in shown.estimate(price).lines(shown.name, size):
        click.echo(line)


def _lines(planned: PlannedStep) -> str:
    key = planned.key.short if planned.key else "-" * 12
    line = f"{planned.step.name:<10} {planned.status:<10}  {key}"
    if planned.changed:
        return "\n".join([line, *(f"             {_short(str(change))}" for change in planned.changed)])
    return f"{line}  {planned.reason}".rstrip()


def _short(text: str) -> str:
    """Digests as people compare them; --json has them whole."""
    return re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", r"\1", text)
