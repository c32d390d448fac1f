"""`enginebuild why`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import (
    cache_option,
    cells_option,
    json_option,
    overrides_option,
    recipe_argument,
)
from enginebuild.cli.remote import NONE, asked_option, shared_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enginebuild.why import Explanation


@click.command("why")
@recipe_argument
@click.argument("step", required=False)
@overrides_option
@cells_option
@cache_option
@asked_option
@json_option
def command(
    recipe: Path,
    step: str | None,
    overrides: tuple[str, ...],
    cells: tuple[str, ...],
    cache_dir: Path | None,
    cache_from: str | None,
    as_json: bool,
) -> None:
    """Say for each step of a recipe, or for one, which field made it another than what is in the cache.

    For a miss: each field of the key that differs, old → new, by the recipe's own name where it comes from
    there, and the record that it is compared with: the one used last, this recipe's first. For a hit: since
    when. Builds nothing, and exits with 0 whatever it finds.
    """
    from enginebuild.check import read_checked
    from enginebuild.cli.tools import opened
    from enginebuild.locking import previous_lock
    from enginebuild.preview import preview
    from enginebuild.resolve import resolve
    from enginebuild.why import fields_at_fault, why

    checked = read_checked(recipe, overrides, cells)
    with opened(checked.folder, cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        resolution = resolve(checked, previous_lock(recipe), tools.store, tools.bases, tools.output)
        shown = preview(
            checked,
            resolution,
            tools.store,
            tools.bases,
            lambda _tags: [],
            tools.output,
            elsewhere=shared_of(checked, cache_from, NONE, tools.registry, jobs=4),
        )
    steps = tuple(planned for planned in shown.steps if planned.step.name != "publish")
    found = why(steps, shown.records, checked, step)
    fields = fields_at_fault(found)
    if as_json:
        document = {
            "recipe": shown.name,
            "fields": list(fields),
            "steps": [explanation.to_json() for explanation in found],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for line in _lines(found, fields):
        click.echo(shortened(line))


def _lines(found: Sequence[Explanation], fields: Sequence[str]) -> list[str]:
    width = max(10, *(len(explanation.step) for explanation in found))
    lines = [line for explanation in found for line in explanation.lines(width)]
    return [*lines, f"because of {', '.join(fields)}"] if fields else lines


def shortened(text: str) -> str:
    """Digests as people compare them; --json has them whole."""
    text = re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", r"\1", text)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)
