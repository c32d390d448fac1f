"""`enginebuild plan`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import (
    cache_option,
    cells_option,
    json_option,
    overrides_option,
    places_options,
    recipes_argument,
)
from enginebuild.cli.output import size
from enginebuild.cli.remote import NONE, asked_option, shared_of
from enginebuild.errors import Exit

if TYPE_CHECKING:
    from enginebuild.cli.places import Places
    from enginebuild.cli.tools import Tools
    from enginebuild.events import Report
    from enginebuild.history import History
    from enginebuild.locking import Cells
    from enginebuild.plan import PlannedStep
    from enginebuild.preview import Preview
    from enginebuild.recipe import Recipe
    from enginebuild.remote.shared import Shared


@click.command("plan")
@recipes_argument
@overrides_option
@cells_option
@cache_option
@places_options
@asked_option
@click.option("--gpu-price", metavar="DOLLARS/h", help="Of one GPU: adds what the missing steps cost.")
@json_option
def command(
    recipes: tuple[Path, ...],
    overrides: tuple[str, ...],
    cells: tuple[str, ...],
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

    With a matrix, or with several recipes or folders of them, a table has a line for each, and what they take
    together is below it: a step that several share is made once.

    The times of missing steps are those of this recipe's records, else of another recipe's, scaled to this
    one's size, else modelled. Each says which, and how far off it may be.

    Where something is to be made, what a run would refuse is refused below the plan with exit 5, as far as it
    is known without asking the model's source.
    """
    from enginebuild.cli.places import Places
    from enginebuild.cli.recipes import read_recipes
    from enginebuild.cli.tools import opened
    from enginebuild.estimate import gpu_price as priced
    from enginebuild.history import History
    from enginebuild.previews import Previews

    price = None if gpu_price is None else priced(gpu_price)
    files = read_recipes(recipes, overrides, cells, None)
    several = sum(len(file.chosen) for file in files) > 1

    def places(cell: Recipe) -> Places:
        folder = output / cell.name if several and output is not None else output
        return Places.of(cell, push=push, load=load, output=folder)

    with opened(Path(), cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        history = History(tools.store)
        shown = [each for file in files for each in _planned(file, tools, history, places, cache_from)]
        if several:
            together = Previews(shown)
            document, lines = together.to_json(price), together.lines(price, size)
        else:
            document, lines = shown[0].to_json(price), _whole(shown[0], price)
        if as_json:
            click.echo(json.dumps(document, indent=2, ensure_ascii=False))
            refused = any(each.fit is not None and each.fit.refusals for each in shown)
            click.get_current_context().exit(Exit.REFUSED if refused else Exit.DONE)
        click.echo("\n".join(lines))
        _refuse(shown, tools.output)


def _refuse(shown: Sequence[Preview], report: Report) -> None:
    """What a run would warn of, and refuse. Raises RefusedError."""
    from enginebuild.each_cell import each_cell
    from enginebuild.events import once
    from enginebuild.fits import refuse

    found, told = iter(shown), once(report)

    def refusing(cell: Recipe) -> None:
        if (fit := next(found).fit) is not None:
            refuse(cell, fit, told)

    each_cell([each.recipe for each in shown], refusing)


def _planned(
    file: Cells,
    tools: Tools,
    history: History,
    places: Callable[[Recipe], Places],
    cache_from: str | None,
) -> Iterator[Preview]:
    from enginebuild.bases import Bases
    from enginebuild.locking import previous_lock, resolve_cells
    from enginebuild.preview import preview

    bases = Bases(file.chosen[0].folder, tools.registry)
    previous = previous_lock(file.path)
    caches: dict[str | None, Shared | None] = {}
    for cell, resolution in resolve_cells(file.chosen, previous, tools.store, bases, tools.output):
        at = places(cell)
        if cell.remote not in caches:
            caches[cell.remote] = shared_of(cell, cache_from, NONE, tools.registry, jobs=4)
        yield preview(
            cell,
            resolution,
            tools.store,
            bases,
            partial(at.publishers, registry=tools.registry),
            tools.output,
            at.repository,
            caches[cell.remote],
            history,
        )


def _whole(shown: Preview, price: float | None) -> Iterator[str]:
    """Each step of one recipe, and what the missing ones take."""
    width = max(10, *(len(step.step.name) for step in shown.steps))
    for step in shown.steps:
        yield _lines(step, width)
    if shown.image is not None and shown.bytes_to_send is not None:
        yield f"image      {shown.image}, {size(shown.bytes_to_send)} to send"
    if shown.about_to_send:
        yield f"to send    about {size(shown.about_to_send)}, without the base"
    if shown.bytes_to_take:
        yield f"to take    {size(shown.bytes_to_take)} from the remote cache"
    yield from shown.estimate(price).lines(size)


def _lines(planned: PlannedStep, width: int) -> str:
    key = planned.key.short if planned.key else "-" * 12
    line = f"{planned.step.name:<{width}} {planned.status:<10}  {key}"
    if planned.changed:
        return "\n".join([line, *(f"             {_short(str(change))}" for change in planned.changed)])
    return f"{line}  {planned.reason}".rstrip()


def _short(text: str) -> str:
    """Digests as people compare them; --json has them whole."""
    return re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", r"\1", text)
