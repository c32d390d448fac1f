"""The gate of a recipe: its image, and the unquantized one that it is compared with, as steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

from enginebuild.bases import Bases
from enginebuild.build import Elsewhere, Nowhere, Outcome, build
from enginebuild.errors import RefusedError, SourceError
from enginebuild.events import Report
from enginebuild.execution import GpuNeed, Runner
from enginebuild.plan import PlannedStep, plan
from enginebuild.recipe import Recipe
from enginebuild.recipe.verification import Verification
from enginebuild.resolve import Resolution
from enginebuild.step import Step, unresolved_step
from enginebuild.steps import RecipeSteps, steps_of
from enginebuild.steps.image import image_of
from enginebuild.verify.evaluation import Evaluation, evaluation_of
from enginebuild.verify.gate import (
    SOURCE,
    VERIFY,
    VERIFY_VERSION,
    Gpus,
    Question,
    measured_in,
    source_step,
    verify_step,
)
from enginebuild.verify.quality import Measured
from enginebuild.verify.server import Subject
from enginebuild_cache import Store, Tree
from enginebuild_images.image import Image
from enginebuild_images.index import Variant


@dataclass(frozen=True)
class RecipeGate:
    """What stands between a recipe's image and its places. Nothing if the recipe has no `verify`.

    Images that it loaded into the Docker Engine stay there until the block ends: one of the places may be
    that engine.
    """

    recipe: Recipe
    resolution: Resolution
    bases: Bases
    store: Store
    report: Report
    jobs: int = 4
    runner: Runner | None = None
    elsewhere: Elsewhere = field(default_factory=Nowhere)
    kept: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def open(self) -> Iterator[RecipeGate]:
        with self.kept:
            yield self

    def verify(self, image: Image) -> dict[str, Outcome]:
        """Verify the image unless that is recorded. Raises VerificationError, StepError."""
        step = self.step(image)
        return (
            {} if step is None else build((step,), self.recipe.name, self.store, self.report, self.elsewhere)
        )

    def step(self, image: Image) -> Step | None:
        """Raises RefusedError if this machine lacks GPUs for it."""
        wanted = self.recipe.verification
        if wanted is None:
            return None
        question = self._question(self.recipe.name, image, wanted)
        if wanted.quality is None:
            return verify_step(question)
        return verify_step(question, self._source, self._unquantized().key)

    def planned(self, image: Image | None) -> tuple[PlannedStep, ...]:
        """The step in a plan; `image` is the one that will be built, if that is known."""
        if self.recipe.verification is None:
            return ()
        step: Step | None
        try:
            step = None if image is None else self.step(image)
            reason = "the image is not built yet"
        except (RefusedError, SourceError) as error:
            step, reason = None, error.message
        if step is None:
            step = unresolved_step(VERIFY, VERIFY_VERSION, reason, ("image",))
        last = self.store.last_record
        return plan(
            (step,),
            lambda _, key: self.store.record(key),
            lambda name: last(name, self.recipe.name),
            lambda step, key: self.elsewhere.find(step, key, self.report),
        )

    def require(self, steps: Sequence[Step]) -> None:
        """Refuse now what would be found out after hours of building: no Docker Engine, too few GPUs.

        Raises RefusedError. An image that has its record needs neither.
        """
        wanted = self.recipe.verification
        if wanted is None or self.is_recorded(steps):
            return
        from enginebuild.runners.served import lacking  # imports Docker's SDK: slow

        evaluation = self._evaluation
        if missing := (*lacking(self._need()), *(evaluation.lacking() if evaluation is not None else ())):
            lines = "".join(f"\n  {line}" for line in missing)
            raise RefusedError(
                f"this machine cannot verify what is to be built:{lines}",
                "run it where that is there (DOCKER_HOST), or leave out verify",
            )
        if evaluation is not None:
            evaluation.require(self.recipe)

    @cached_property
    def _evaluation(self) -> Evaluation | None:
        return evaluation_of(self.recipe, self.store, self.report)

    def is_recorded(self, steps: Sequence[Step]) -> bool:
        """Whether the image of these steps was verified before."""
        planned = plan(steps, lambda _, key: self.store.record(key), lambda _: None)[-1]
        if planned.output is None or planned.status != "hit":
            return False
        return self.planned(self._image(planned.output))[-1].status == "hit"

    def _need(self) -> GpuNeed:
        """The GPUs that the image will be served with, as far as its base tells."""
        base = self.resolution.lock().base
        config = self.bases.open(base.reference, base.platform, base.digest).config.get("config")
        labels = {"enginebuild.engine": self.recipe.engine.type}
        subject = Subject("", "", {**(config if isinstance(config, dict) else {}), "Labels": dict(labels)})
        ranks = self.recipe.tensor_parallel_size * self.recipe.pipeline_parallel_size
        return replace(need, count=ranks) if (need := subject.gpus(self.recipe.gpu)).wanted else need

    def _image(self, tree: Tree) -> Image:
        return image_of(tree, self.store, self.resolution.lock().base, self.bases)

    def _question(self, name: str, image: Image, wanted: Verification) -> Question:
        config = Variant(image, {}).config.get("config")
        subject = Subject(name, str(image.digest), config if isinstance(config, dict) else {})
        gpus, evaluation = self._gpus(subject), self._evaluation
        return Question(subject, lambda tell: self._loaded(image, tell), wanted, gpus, evaluation)

    def _loaded(self, image: Image, tell: Report) -> AbstractContextManager[str]:
        from enginebuild.runners.served import loaded

        return nullcontext(self.kept.enter_context(loaded(image, tell)))

    def _gpus(self, subject: Subject) -> Gpus:
        need = subject.gpus(self.recipe.gpu)
        if not need.wanted:
            return Gpus()
        from enginebuild.runners.served import gpus_for

        gpus, missing = gpus_for(need)
        if missing:
            raise RefusedError(
                f"this machine cannot serve the image to verify it: {'; '.join(missing)}",
                "run it where those GPUs are (DOCKER_HOST), or leave out verify",
            )
        return gpus

    def _unquantized(self) -> RecipeSteps:
        recipe = replace(self.recipe, quantization=None, warm=None, verification=None)
        return steps_of(recipe, self.resolution, self.bases, self.jobs, None, self.runner)

    def _source(self, store: Store, tell: Report) -> Measured:
        """Build the unquantized image, and ask it unless that is recorded."""
        name = f"{self.recipe.name} (unquantized)"
        outcomes = build(self._unquantized().steps, name, store, tell, self.elsewhere)
        assert self.recipe.verification is not None
        question = self._question(name, self._image(outcomes["image"].tree), self.recipe.verification)
        made = build((source_step(question),), name, store, tell, self.elsewhere)
        return measured_in(made[SOURCE].tree, store)
