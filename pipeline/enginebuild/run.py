"""The main job: from a recipe to an image by digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enginebuild.bases import Bases
from enginebuild.build import Elsewhere, Nowhere, Outcome, build
from enginebuild.builder import has_commands
from enginebuild.check import warnings_of
from enginebuild.errors import RecipeError, RefusedError
from enginebuild.events import Note, Report, silent
from enginebuild.execution import Runner
from enginebuild.fits import require_fit
from enginebuild.lock import Lock, lock_path, read_lock, write_lock
from enginebuild.publish import Publisher
from enginebuild.publish.deliver import publish
from enginebuild.publish.limits import require_model
from enginebuild.recipe import Recipe
from enginebuild.require import require_runner
from enginebuild.resolve import Resolution, require_locked, resolve
from enginebuild.steps import RecipeSteps, steps_of
from enginebuild.steps.image import image_of
from enginebuild.steps.layers import Send
from enginebuild.verify.attach import attachment
from enginebuild.verify.gate import VERIFY
from enginebuild.verify.run import RecipeGate
from enginebuild_cache import Digest, Json, Store
from enginebuild_images.reference import Reference

#: Publishers for a list of tags, which are known only when the build's key is.
Publishers = Callable[[Sequence[str]], Sequence[Publisher]]


@dataclass(frozen=True)
class Built:
    """A finished run. `names` are the image by digest at each place it went to."""

    digest: Digest
    key: Digest
    names: tuple[str, ...]
    advice: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "image": {"digest": str(self.digest), "key": str(self.key), "names": list(self.names)},
            "steps": [outcome.to_json() for outcome in self.outcomes],
        }


def run(
    recipe: Recipe,
    store: Store,
    bases: Bases,
    publishers: Publishers,
    report: Report,
    *,
    locked: bool = False,
    keep_lock: bool = True,
    jobs: int = 4,
    repository: Reference | None = None,
    send: Send | None = None,
    elsewhere: Elsewhere | None = None,
    runner: Callable[[], Runner] | None = None,
) -> Built:
    """Resolve, build what has no record, verify, and publish. Raises EngineBuildError, CacheError.

    `locked`: the lock must say what the recipe says. `keep_lock`: write it where it does not.
    `repository`, `send`: where the image will be pushed, and how a layer gets there before its digest is
    known. `elsewhere`: records of other machines. `runner` makes what runs commands, where there
    are some.
    """
    with store.lease():
        for warning in warnings_of(recipe):
            report(Note(warning, "warning"))
        resolution = resolve(recipe, _previous(recipe), store, bases, report)
        lock = _lock(recipe, resolution, report, locked=locked, keep=keep_lock)
        # Refusals count now; warnings are said when the layers are known, before they are sent.
        require_model(repository, recipe, lock.model, silent)
        made = runner() if runner is not None and has_commands(recipe) else None
        planned = steps_of(recipe, resolution, bases, jobs, send, made)
        _require_resolved(planned)
        assert planned.key is not None
        require_runner(planned.steps, store, report, elsewhere)
        require_fit(recipe, resolution, lock, planned.steps, store, report)
        gate = RecipeGate(recipe, resolution, bases, store, report, jobs, made, elsewhere or Nowhere())
        gate.require(planned.steps)
        outcomes = build(planned.steps, recipe.name, store, report, elsewhere)
        image = image_of(outcomes["image"].tree, store, lock.base, bases)
        with gate.open():
            verified = gate.verify(image)
            places = publishers(recipe.tags(planned.key, lock.model.commit))
            published = publish(image, places, outcomes["image"].tree, store, report)
        for place in places if verified else ():
            place.attach(attachment(image, verified[VERIFY].tree, store), report)
    return Built(
        image.digest,
        planned.key,
        tuple(place.name(image) for place in places),
        tuple(place.advice(image) for place in places),
        (*outcomes.values(), *verified.values(), published),
    )


def _require_resolved(planned: RecipeSteps) -> None:
    """Raises RefusedError for what a lock cannot answer, such as the GPU that a cache is made on."""
    unresolved = [step for step in planned.steps if step.unresolved]
    if planned.key is None and unresolved:
        raise RefusedError(
            f"this machine cannot make what is to be built: {unresolved[0].unresolved}",
            "run it where that is there, or leave the step out: warm: false",
        )


def _previous(recipe: Recipe) -> Lock | None:
    return read_lock(lock_path(recipe.path)) if recipe.path is not None else None


def _lock(recipe: Recipe, resolution: Resolution, report: Report, *, locked: bool, keep: bool) -> Lock:
    path = lock_path(recipe.path) if recipe.path is not None else None
    previous = _previous(recipe)
    if locked:
        return require_locked(recipe, previous, resolution)
    lock = resolution.lock()
    if path is not None and keep and (previous is None or previous != lock):
        try:
            write_lock(path, lock)
            report(Note(f"{path} {'written' if previous is None else 'updated'}; commit it with the recipe"))
        except RecipeError as error:
            # The image does not need the file: a read-only checkout may still build.
            report(Note(error.message, "warning"))
    return lock
