"""The main job: from a locked recipe to an image by digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enginebuild.bases import Bases
from enginebuild.build import Elsewhere, Nowhere, Outcome, build
from enginebuild.builder import has_commands
from enginebuild.errors import RefusedError
from enginebuild.events import Report, silent
from enginebuild.execution import Runner
from enginebuild.fits import require_fit
from enginebuild.locking import Locked
from enginebuild.plan import plan
from enginebuild.publish import Publisher
from enginebuild.publish.deliver import publish
from enginebuild.publish.limits import require_model
from enginebuild.require import require_runner
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
    locked: Locked,
    store: Store,
    bases: Bases,
    publishers: Publishers,
    report: Report,
    *,
    jobs: int = 4,
    repository: Reference | None = None,
    send: Send | None = None,
    elsewhere: Elsewhere | None = None,
    runner: Callable[[], Runner] | None = None,
) -> Built:
    """Build what has no record, verify, and publish. Raises EngineBuildError, CacheError.

    `repository`, `send`: where the image will be pushed, and how a layer gets there before its digest is
    known. `elsewhere`: records of other machines. `runner` makes what runs commands, where there
    are some.
    """
    recipe, resolution, lock = locked.recipe, locked.resolution, locked.lock
    with store.lease():
        # Refusals count now; warnings are said when the layers are known, before they are sent.
        require_model(repository, recipe, lock.model, silent)
        made = runner() if runner is not None and has_commands(recipe) else None
        planned = steps_of(recipe, resolution, bases, jobs, send, made)
        _require_resolved(planned)
        assert planned.key is not None
        require_runner(planned.steps, store, report, elsewhere)
        require_fit(recipe, resolution, lock, planned.steps, store, report, elsewhere, made)
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


def is_here(locked: Locked, store: Store, bases: Bases, report: Report) -> bool:
    """Whether nothing is to be made: every step has its record, and the image is verified."""
    steps = steps_of(locked.recipe, locked.resolution, bases, jobs=1).steps
    if any(step.unresolved for step in steps):
        return False
    last = plan(steps, lambda _step, key: store.record(key), lambda _step: None)[-1]
    gate = RecipeGate(locked.recipe, locked.resolution, bases, store, report)
    return last.status == "hit" and (locked.recipe.verification is None or gate.is_recorded(steps))


def _require_resolved(planned: RecipeSteps) -> None:
    """Raises RefusedError for what a lock cannot answer, such as the GPU that a cache is made on."""
    unresolved = [step for step in planned.steps if step.unresolved]
    if planned.key is None and unresolved:
        raise RefusedError(
            f"this machine cannot make what is to be built: {unresolved[0].unresolved}",
            "run it where that is there, or leave the step out: warm: false",
        )
