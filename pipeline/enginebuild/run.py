"""The main job: from a recipe to an image by digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enginebuild.bases import Bases
from enginebuild.build import Elsewhere, Outcome, build
from enginebuild.errors import RecipeError
from enginebuild.events import Note, Report, silent
from enginebuild.lock import Lock, lock_path, read_lock, write_lock
from enginebuild.publish import Publisher
from enginebuild.publish.deliver import publish
from enginebuild.publish.limits import require_model
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, require_locked, resolve
from enginebuild.steps import steps_of
from enginebuild.steps.image import image_of
from enginebuild.steps.layers import Send
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
) -> Built:
    """Resolve, build what has no record, and publish. Raises EngineBuildError, CacheError.

    `locked`: the lock must say what the recipe says. `keep_lock`: write it where it does not.
    `repository`, `send`: where the image will be pushed, and how a layer gets there before its digest is
    known. `elsewhere`: records of other machines.
    """
    with store.lease():
        lock = _lock(recipe, store, bases, report, locked=locked, keep=keep_lock)
        # Refusals count now; warnings are said when the layers are known, before they are sent.
        require_model(repository, recipe, lock.model, silent)
        resolution = Resolution(lock.model, lock.base, lock.tools)
        planned = steps_of(recipe, resolution, bases, jobs, send)
        assert planned.key is not None
        outcomes = build(planned.steps, recipe.name, store, report, elsewhere)
        image = image_of(outcomes["image"].tree, store, lock.base, bases)
        places = publishers(recipe.tags(planned.key, lock.model.commit))
        published = publish(image, places, outcomes["image"].tree, store, report)
    return Built(
        image.digest,
        planned.key,
        tuple(place.name(image) for place in places),
        tuple(place.advice(image) for place in places),
        (*outcomes.values(), published),
    )


def _lock(recipe: Recipe, store: Store, bases: Bases, report: Report, *, locked: bool, keep: bool) -> Lock:
    path = lock_path(recipe.path) if recipe.path is not None else None
    previous = read_lock(path) if path is not None else None
    resolution = resolve(recipe, previous, store, bases, report)
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
