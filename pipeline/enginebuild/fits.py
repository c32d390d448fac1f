"""The preflight where it is asked for: with the facts that are at hand, before anything large is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace

from enginebuild.build import Elsewhere, Nowhere
from enginebuild.errors import RefusedError
from enginebuild.estimate import Estimate, estimate
from enginebuild.events import Note, Report
from enginebuild.execution import HostMemory, Runner
from enginebuild.fit import Finding, Fit, fit
from enginebuild.fit.builder import Build, Takes
from enginebuild.lock import Lock, ModelLock
from enginebuild.model_facts import facts_to_build
from enginebuild.models import ModelFacts
from enginebuild.plan import PlannedStep, plan
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved
from enginebuild.step import Step
from enginebuild.steps.commands import RunCommands
from enginebuild_cache import Digest, Record, Store, Tree

#: Steps of a plan that a run has to make.
_TO_MAKE = ("miss", "unresolved")


def require_fit(
    recipe: Recipe,
    resolution: Resolution,
    lock: Lock,
    steps: tuple[Step, ...],
    store: Store,
    report: Report,
    elsewhere: Elsewhere | None = None,
    runner: Runner | None = None,
) -> None:
    """Refuse a model that cannot be had, or served as the recipe says, where anything is to be built of it.

    Raises RefusedError with everything that is wrong, SourceError for what the model's source refuses. Where
    nothing is to be made, nothing is asked.
    """
    others, commands = elsewhere or Nowhere(), any(step.commands for step in steps)

    def record_of(step: Step, key: Digest) -> Record | None:
        # Another machine's files are no reason to refuse this one; small steps need nothing of it.
        asked = commands or step.name == "fetch"
        return store.record(key) or (others.find(step, key, report) if asked else None)

    made = _to_make(plan(steps, record_of, lambda _step: None))
    if not made:
        return
    fetched = any(step.step.name == "fetch" for step in made)
    facts = facts_to_build(recipe, resolution, lock.model, store, report, fetched=fetched)
    if facts is not None:
        memory = runner.memory() if runner is not None and _runs_commands(made) else None
        told = _estimate(recipe, lock.model, facts, made, store)
        build = _build(made, lock.model.tree, store, told, memory)
        refuse(recipe, _served(recipe, fit(recipe, facts, build=build)), report)


def foreseen_fit(
    recipe: Recipe,
    model: ModelLock | Unresolved,
    facts: ModelFacts | None,
    planned: Sequence[PlannedStep],
    store: Store,
    told: Estimate,
) -> Fit | None:
    """What `require_fit` would find, as far as it is known without a network; None where nothing is known, or
    nothing is to be made.
    """
    made = _to_make(planned)
    if not made or facts is None or isinstance(model, Unresolved):
        return None
    return _served(recipe, fit(recipe, facts, build=_build(made, model.tree, store, told)))


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


def _to_make(planned: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    return tuple(each for each in planned if each.status in _TO_MAKE and each.step.name != "publish")


def _runs_commands(made: Sequence[PlannedStep]) -> bool:
    return any(isinstance(each.step.action, RunCommands) for each in made)


def _build(
    made: Sequence[PlannedStep],
    tree: Tree,
    store: Store,
    told: Estimate,
    memory: HostMemory | None = None,
) -> Build:
    names = frozenset(each.step.name for each in made)
    missing = [file for file in tree if not store.has(file.digest)] if "fetch" in names else []
    free = shutil.disk_usage(store.root).free
    return Build(names, Tree.of(missing).size, free, memory, _takes(made, told))


def _estimate(
    recipe: Recipe, model: ModelLock, facts: ModelFacts, made: Sequence[PlannedStep], store: Store
) -> Estimate:
    from enginebuild.past import Past
    from enginebuild.work import works_of

    return estimate(made, works_of(recipe, model, facts, made, store), Past(store), recipe, None)


def _takes(made: Sequence[PlannedStep], told: Estimate) -> Mapping[str, Takes]:
    """Of the steps that run commands in the builder, as far as it is known."""
    ran = {each.step.name for each in made if isinstance(each.step.action, RunCommands)}
    return {
        each.step: Takes(each.seconds, each.said)
        for each in told.steps
        if each.step in ran and each.seconds is not None
    }


def _served(recipe: Recipe, found: Fit) -> Fit:
    """A model alone, without a server, may go anywhere: only fetching it can fail."""
    if recipe.image.layout == "server":
        return found
    kept = tuple(finding for finding in found.findings if finding.check in ("disk", "licence"))
    return replace(found, findings=kept)
