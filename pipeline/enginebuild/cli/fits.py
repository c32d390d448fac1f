"""What `enginebuild check` says of a model and its GPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import default_cache_dir
from enginebuild.cli.output import size
from enginebuild.events import Event, Note, Report
from enginebuild.fit import fit
from enginebuild.fit.explain import explained
from enginebuild.fits import refuse
from enginebuild.lock import Lock
from enginebuild.model_facts import Asked, asked_facts, facts_at_hand
from enginebuild.recipe import Recipe
from enginebuild_cache import Store

if TYPE_CHECKING:
    from enginebuild.sources.headers import Headers


def check_fit(
    recipe: Recipe, lock: Lock | None, cache_dir: Path | None, report: Report, *, online: bool, explain: bool
) -> None:
    """Say what is known of memory, warn, and refuse. Raises RefusedError, SourceError."""
    asked = _asked(recipe, cache_dir) if online else _at_hand(recipe, lock, cache_dir)
    if asked.facts is None:
        if explain:
            click.echo(_unknown(online=online), err=True)
        return
    found = fit(recipe, asked.facts)
    if explain:
        click.echo("\n".join(explained(found)))
        if asked.headers is not None:
            click.echo(_read(asked.headers))
    refuse(recipe, found, report)


def _unknown(*, online: bool) -> str:
    return (
        "the model has no config.json"
        if online
        else "the model's config.json is not here: --online asks for it"
    )


def _read(headers: Headers) -> str:
    files = f"{headers.files} file{'' if headers.files == 1 else 's'}"
    if not headers.requests:
        return f"the headers of {files} were here"
    requests = f"{headers.requests} request{'' if headers.requests == 1 else 's'}"
    return f"read {size(headers.fetched)} of headers of {files} in {requests}"


def _store(cache_dir: Path | None) -> Store | None:
    """The cache, if there is one: looking at a recipe makes none."""
    folder = cache_dir or default_cache_dir()
    return Store.open(folder) if (folder / "CACHEDIR.TAG").exists() else None


def _at_hand(recipe: Recipe, lock: Lock | None, cache_dir: Path | None) -> Asked:
    model = None if lock is None else lock.model
    return Asked(facts_at_hand(recipe, model, _store(cache_dir)), None)


def _asked(recipe: Recipe, cache_dir: Path | None) -> Asked:
    from enginebuild.cli.tools import opened

    with opened(recipe.folder, cache_dir, jobs=4, as_json=False) as tools, tools.store.lease():
        return asked_facts(recipe, tools.store, tools.output)


def say(event: Event) -> None:
    """Of a command that has no output of its own."""
    if isinstance(event, Note):
        click.echo(f"{event.level}: {event.text}", err=True)
