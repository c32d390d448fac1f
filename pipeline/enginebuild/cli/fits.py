"""What `enginebuild check` says of a model and its GPUs."""

from __future__ import annotations

from pathlib import Path

import click

from enginebuild.cli.options import default_cache_dir
from enginebuild.events import Event, Note
from enginebuild.fit import fit
from enginebuild.fit.explain import explained
from enginebuild.fits import asked_facts, facts_at_hand, refuse
from enginebuild.lock import Lock
from enginebuild.models import ModelFacts
from enginebuild.recipe import Recipe
from enginebuild_cache import Store


def check_fit(
    recipe: Recipe, lock: Lock | None, cache_dir: Path | None, *, online: bool, explain: bool
) -> None:
    """Say what is known of memory, warn, and refuse. Raises RefusedError; with `online` SourceError."""
    facts = _asked(recipe, cache_dir) if online else facts_at_hand(recipe, lock, _store(cache_dir))
    if facts is None:
        if explain:
            click.echo("the model's config.json is not here: --online asks for it", err=True)
        return
    found = fit(recipe, facts)
    if explain:
        click.echo("\n".join(explained(found)))
    refuse(recipe, found, _say)


def _store(cache_dir: Path | None) -> Store | None:
    """The cache, if there is one: looking at a recipe makes none."""
    folder = cache_dir or default_cache_dir()
    return Store.open(folder) if (folder / "CACHEDIR.TAG").exists() else None


def _asked(recipe: Recipe, cache_dir: Path | None) -> ModelFacts | None:
    from enginebuild.cli.tools import opened

    with opened(recipe.folder, cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        return asked_facts(recipe, tools.store, tools.output)


def _say(event: Event) -> None:
    if isinstance(event, Note):
        click.echo(f"{event.level}: {event.text}", err=True)
