"""A plan of a whole run, from what is known now: nothing is built, no lock is written."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.bases import Bases
from enginebuild.events import Report
from enginebuild.lock import lock_path, read_lock
from enginebuild.plan import PlannedStep, plan
from enginebuild.publish.deliver import plan_publish
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, resolve
from enginebuild.run import Publishers
from enginebuild.steps import steps_of
from enginebuild.steps.image import image_of
from enginebuild_cache import Digest, Json, Store
from enginebuild_images.image import Image


@dataclass(frozen=True)
class Preview:
    """`key` stands for the build; None while something is unresolved."""

    name: str
    key: Digest | None
    steps: tuple[PlannedStep, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "recipe": self.name,
            "key": str(self.key) if self.key else None,
            "steps": [step.to_json() for step in self.steps],
        }


def preview(recipe: Recipe, store: Store, bases: Bases, publishers: Publishers, report: Report) -> Preview:
    """Every step of a run, publishing included, with its key and whether it would be a hit."""
    with store.lease():
        previous = read_lock(lock_path(recipe.path)) if recipe.path is not None else None
        resolution = resolve(recipe, previous, store, bases, report)
        steps = steps_of(recipe, resolution, bases, jobs=1)
        planned = plan(steps.steps, store.record, lambda step: store.last_record(step, recipe.name))
        image = _image(planned, resolution, store, bases)
        places = []
        if steps.key is not None and not isinstance(resolution.model, Unresolved):
            places = list(publishers(recipe.tags(steps.key, resolution.model.commit)))
        return Preview(recipe.name, steps.key, (*planned, plan_publish(image, places)))


def _image(
    planned: tuple[PlannedStep, ...], resolution: Resolution, store: Store, bases: Bases
) -> Image | None:
    step = planned[-1]
    if step.status != "hit" or step.output is None or isinstance(resolution.base, Unresolved):
        return None
    return image_of(step.output, store, resolution.base, bases)
