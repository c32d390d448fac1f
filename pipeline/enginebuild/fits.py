"""The preflight where it is asked for: with the facts that are at hand, before anything large is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

from enginebuild.errors import RefusedError, SourceError
from enginebuild.events import Note, Report
from enginebuild.fit import Finding, Fit, fit
from enginebuild.fit.room import gib
from enginebuild.lock import Lock, ModelLock
from enginebuild.models import ModelFacts, facts_of
from enginebuild.plan import plan
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, asked_of, model_request
from enginebuild.sources import read_config, read_folder_config
from enginebuild.sources import resolve as resolve_source
from enginebuild.sources.model import local_folder
from enginebuild.sources.origin import Patience
from enginebuild.step import Step
from enginebuild_cache import Json, Store, Tree

CONFIG = "config.json"
#: One try: who goes on without the facts is not kept waiting.
_ONCE = Patience(attempts=1)


def facts_at_hand(recipe: Recipe, lock: Lock | None, store: Store | None) -> ModelFacts | None:
    """What can be known without a network: of a folder, of a locked model whose config.json is in the store.

    None where that is not there; whoever fetches the model says what is wrong with it.
    """
    if recipe.model.source.startswith("file:"):
        return _folder_facts(recipe)
    if lock is None or store is None or lock.model.asked != asked_of(model_request(recipe)):
        return None
    config = next((file for file in lock.model.tree if file.path == CONFIG), None)
    if config is None or not store.has(config.digest):
        return None
    return _locked_facts(recipe, lock.model, store, lambda _event: None)


def asked_facts(recipe: Recipe, store: Store, report: Report) -> ModelFacts | None:
    """What the model's source says now: its list of files and its small ones. Raises SourceError."""
    resolved = resolve_source(model_request(recipe), store, report)
    model = ModelLock({}, resolved.commit, resolved.tree, resolved.licence)
    return _locked_facts(recipe, model, store, report)


def require_fit(
    recipe: Recipe, resolution: Resolution, lock: Lock, steps: tuple[Step, ...], store: Store, report: Report
) -> None:
    """Refuse a model that cannot be served as the recipe says, where anything is to be built of it.

    A model alone, without a server, may go anywhere. Raises RefusedError with everything that is wrong.
    """
    if recipe.image.layout != "server":
        return
    planned = plan(steps, lambda _step, key: store.record(key), lambda _step: None)
    if all(each.status in ("hit", "unneeded") for each in planned):
        return
    config = resolution.config
    facts = (
        _facts(config, lock.model)
        if config is not None and not isinstance(config, Unresolved)
        else _locked_facts(recipe, lock.model, store, report)
    )
    if facts is not None:
        found = fit(recipe, facts)
        refuse(recipe, replace(found, findings=(*found.findings, *_disk(recipe, facts, lock, store))), report)


def refuse(recipe: Recipe, found: Fit, report: Report) -> None:
    """Say the warnings; raise RefusedError for the refusals, all at once and each at its line."""
    for finding in found.warnings:
        report(Note(said(finding), "warning"))
    if found.refusals:
        raise RefusedError(recipe.located([finding.problem() for finding in found.refusals]).message)


def said(finding: Finding) -> str:
    """A warning in one line."""
    if finding.allowed:
        return f"{finding.message} (allow: {finding.check})"
    advice = finding.advice()
    return f"{finding.message}; {advice}" if advice else finding.message


def _facts(config: Mapping[str, Json], model: ModelLock) -> ModelFacts:
    return facts_of(config, licence=model.licence, tree=model.tree)


def _locked_facts(recipe: Recipe, model: ModelLock, store: Store, report: Report) -> ModelFacts | None:
    """None where the model has no config.json or it cannot be had: fetching says so, if it matters."""
    try:
        config = read_config(model_request(recipe), model.commit, model.tree, store, report, _ONCE)
    except SourceError:
        return None
    return _facts(config, model)


def _folder_facts(recipe: Recipe) -> ModelFacts | None:
    request = model_request(recipe)
    try:
        config = read_folder_config(request)
    except SourceError:
        return None
    sizes = sum(file.stat().st_size for file in local_folder(request).glob("*.safetensors"))
    return replace(facts_of(config), stored_bytes=sizes or None)


def _disk(recipe: Recipe, facts: ModelFacts, lock: Lock, store: Store) -> tuple[Finding, ...]:
    """Whether the cache has room for what is fetched. Layers take none: they are described, not written."""
    missing = Tree.of([file for file in lock.model.tree if not store.has(file.digest)]).size
    free = shutil.disk_usage(store.root).free
    if missing <= free:
        return ()
    message = f"{gib(missing)} are to be fetched, and the cache's disk has {gib(free)} left"
    hint = "--cache-dir with a folder on a larger disk, or enginebuild cache gc"
    allowed = "disk" in recipe.allow
    return (Finding("disk", ("model",), message, hint=hint, refused=not allowed, allowed=allowed),)
