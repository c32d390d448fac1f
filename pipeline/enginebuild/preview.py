"""A plan of a whole run, from what is known now: nothing is built, no lock is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from enginebuild.bases import Bases
from enginebuild.build import Elsewhere, Nowhere
from enginebuild.durations import Work
from enginebuild.estimate import Estimate, Past, estimate
from enginebuild.events import Report
from enginebuild.fit import Fit
from enginebuild.fits import foreseen_fit
from enginebuild.history import History
from enginebuild.plan import PlannedStep, plan
from enginebuild.publish.deliver import plan_publish
from enginebuild.publish.limits import require_model
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved
from enginebuild.run import Publishers
from enginebuild.step import Step
from enginebuild.steps import steps_of
from enginebuild.steps.fetch import Fetch
from enginebuild.steps.foresee import foreseen
from enginebuild.steps.image import Pack, image_of
from enginebuild.verify.run import RecipeGate
from enginebuild.work import Sent, works_of
from enginebuild_cache import Digest, Json, Record, Store
from enginebuild_images.image import Image
from enginebuild_images.reference import Reference


@dataclass(frozen=True)
class Preview:
    """`key` stands for the build; None while something is unresolved.

    `image` is the digest that the image has or will have; None where a model had to be read to know it.
    `bytes_to_send` is what publishing would move at most: what a registry can mount is in it.
    `bytes_to_fetch` is what the Hub would be asked for; None where its files are not known yet.
    `bytes_to_take` is what the remote cache would be asked for.
    `records`: by step, the record that a hit has, and of a miss the one used last, that of this recipe first.
    `past` has the times of records, `works` what there is to do for each step that is not here. `fit`: what a
    run would refuse; None where it is not known, or nothing is to be made.
    """

    name: str
    key: Digest | None
    image: Digest | None
    bytes_to_send: int | None
    steps: tuple[PlannedStep, ...]
    recipe: Recipe
    past: Past
    works: Mapping[str, Work]
    bytes_to_fetch: int | None = None
    bytes_to_take: int = 0
    records: Mapping[str, Record] = field(default_factory=dict)
    fit: Fit | None = None

    @property
    def about_to_send(self) -> int | None:
        """Bytes, where the image is not known yet: those of the weights, without the base's."""
        work = self.works.get("publish")
        return None if work is None or self.bytes_to_send is not None else work.size

    def estimate(self, price: float | None = None) -> Estimate:
        """What is to be made; `price` in dollars per GPU-hour."""
        return estimate(self.steps, self.works, self.past, self.recipe, self.bytes_to_fetch, price)

    def to_json(self, price: float | None = None) -> dict[str, Json]:
        return {
            "recipe": self.name,
            "key": str(self.key) if self.key else None,
            "image": str(self.image) if self.image else None,
            "bytes_to_send": self.bytes_to_send,
            "bytes_to_send_about": self.about_to_send,
            "bytes_to_take": self.bytes_to_take,
            "estimate": self.estimate(price).to_json(),
            "findings": [finding.to_json() for finding in self.fit.findings] if self.fit else [],
            "steps": [step.to_json() for step in self.steps],
        }


def preview(
    recipe: Recipe,
    resolution: Resolution,
    store: Store,
    bases: Bases,
    publishers: Publishers,
    report: Report,
    repository: Reference | None = None,
    elsewhere: Elsewhere | None = None,
    history: History | None = None,
) -> Preview:
    """Every step of a run, publishing included, with its key and whether it would be a hit.

    `elsewhere` is asked for records that are not here, and for none of their files; `history` has those that
    other plans looked at. Raises RefusedError for what the `repository`, where the image would be pushed,
    cannot take.
    """
    with store.lease():
        require_model(repository, recipe, resolution.model, report)
        steps = steps_of(recipe, resolution, bases, jobs=1)
        seen = _Seen(history or History(store), recipe.name, elsewhere or Nowhere(), report)
        planned = plan(steps.steps, seen.record_of, seen.last_of, seen.found_of)
        image = _image(planned, resolution, store, bases)
        places = []
        if steps.key is not None and not isinstance(resolution.model, Unresolved):
            places = list(publishers(recipe.tags(steps.key, resolution.model.commit)))
        digest = image.digest if image is not None else None
        published, to_send = plan_publish(image, places)
        gate = RecipeGate(recipe, resolution, bases, store, report, elsewhere=elsewhere or Nowhere())
        every = (*planned, *gate.planned(image), published)
        facts = seen.history.facts(recipe, resolution.model)
        sent = Sent(places[-1].place if places else "", to_send)
        works = works_of(recipe, resolution.model, facts, every, store, sent)
        told = estimate(every, works, seen.history.past, recipe, None)
        return Preview(
            recipe.name,
            steps.key,
            digest,
            to_send,
            every,
            recipe,
            seen.history.past,
            works,
            _bytes_to_fetch(planned, store),
            _bytes_to_take(every, store),
            {each.step.name: record for each in every if (record := seen.of(each)) is not None},
            foreseen_fit(recipe, resolution.model, facts, every, store, told),
        )


@dataclass(frozen=True)
class _Seen:
    """The records that a plan looks at, each read once."""

    history: History
    subject: str
    elsewhere: Elsewhere
    report: Report

    def record_of(self, _step: Step, key: Digest) -> Record | None:
        return self.history.record(key)

    def found_of(self, step: Step, key: Digest) -> Record | None:
        return self.elsewhere.find(step, key, self.report)

    def last_of(self, step: str) -> Record | None:
        return self.history.last_record(step, self.subject)

    def of(self, planned: PlannedStep) -> Record | None:
        """See `Preview.records`."""
        if planned.status == "hit":
            return None if planned.key is None else self._hit(planned, planned.key)
        return None if planned.status == "unneeded" else self.last_of(planned.step.name)

    def _hit(self, planned: PlannedStep, key: Digest) -> Record | None:
        return (self.found_of if planned.remote else self.record_of)(planned.step, key)


def _bytes_to_fetch(planned: Sequence[PlannedStep], store: Store) -> int | None:
    """Of the Hub's files that are not here, each once: a folder's are not fetched."""
    asked: dict[Digest, int] = {}
    for each in planned:
        if each.status in ("hit", "unneeded"):
            continue
        action = each.step.action
        if isinstance(action, Fetch):
            if action.model.commit is not None:
                asked |= {file.digest: file.size for file in action.model.tree if not store.has(file.digest)}
        elif each.step.unresolved and each.step.name in ("fetch", "calibration"):
            return None
    return sum(asked.values())


def _bytes_to_take(planned: Sequence[PlannedStep], store: Store) -> int:
    """Of the files of remote records that are not here, each once."""
    trees = [each.output for each in planned if each.remote and each.output is not None]
    asked = {file.digest: file.size for tree in trees for file in tree}
    return sum(size for digest, size in asked.items() if not store.has(digest))


def _image(
    planned: tuple[PlannedStep, ...], resolution: Resolution, store: Store, bases: Bases
) -> Image | None:
    """The image that is built, or the one that would be, where that is known without reading a model."""
    step = planned[-1]
    if isinstance(resolution.base, Unresolved):
        return None
    if step.status == "hit" and not step.remote and step.output is not None:
        return image_of(step.output, store, resolution.base, bases)
    if (step.status == "miss" or step.remote) and isinstance(step.step.action, Pack):
        outputs = {earlier.step.name: earlier.output for earlier in planned[:-1]}
        inputs = {name: tree for name in step.step.inputs if (tree := outputs[name]) is not None}
        generated = {
            Digest.of(content): content for earlier in planned for content in earlier.step.files.values()
        }
        return foreseen(step.step.action, inputs, generated, store)
    return None
