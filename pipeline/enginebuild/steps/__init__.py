"""The steps of a recipe. They are values: a later kind of step is one more of them, and no special case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from enginebuild.bases import Bases
from enginebuild.engines import vllm
from enginebuild.execution import Runner
from enginebuild.lock import BaseLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.configure import CONFIGURE_VERSION, configure_step
from enginebuild.steps.fetch import FETCH_VERSION, fetch_step
from enginebuild.steps.image import IMAGE_VERSION, LAST, Packing, image_step
from enginebuild.steps.layers import Send
from enginebuild.steps.made import Made, made_of
from enginebuild.steps.model_image import model_labels, model_packing
from enginebuild.steps.server import Serving
from enginebuild.steps.vllm_serving import vllm_serving
from enginebuild_cache import Digest, Json

if TYPE_CHECKING:
    from enginebuild.steps.warmth import Warmth

#: The time of every file and of the image, in seconds since 1970: equal inputs, equal bytes.
CREATED = 0
#: Stands in generated files for the build's key while that is not known; only ever shown, never built.
_UNKNOWN = "sha256:(not resolved yet)"


@dataclass(frozen=True)
class RecipeSteps:
    """A recipe's steps in order. `key` stands for the whole build; None while something is unresolved."""

    steps: tuple[Step, ...]
    key: Digest | None


def steps_of(
    recipe: Recipe,
    resolution: Resolution,
    bases: Bases,
    jobs: int,
    send: Send | None = None,
    runner: Runner | None = None,
) -> RecipeSteps:
    """fetch → what is made of the model → configure → [validate] → [warm] → image; all from configure on is a
    server's.

    What is unresolved has no key, and all else is planned.

    `send`, where the image will be pushed, uploads a layer of unknown digest in the pass that takes it.
    `runner` runs what is made by commands; only a plan has none.
    """
    fetch = _fetch(recipe, resolution, jobs)
    made = made_of(recipe, resolution, jobs, runner)
    first = resolution.unresolved[0].reason if resolution.unresolved else ""
    if recipe.image.layout != "server":
        return _model_steps(recipe, resolution, fetch, made, bases, jobs, send)
    serving = serving_of(recipe, resolution, made, runner)
    warming = _Warming.of(recipe)
    first = first or warming.trouble
    if first or isinstance(resolution.base, Unresolved) or isinstance(resolution.model, Unresolved):
        files = serving.files(_UNKNOWN)
        configure = unresolved_step("configure", CONFIGURE_VERSION, first, files=files)
        gates = _gates(recipe, resolution, made, configure, runner)
        image = unresolved_step("image", IMAGE_VERSION, first, (*serving.paths, "configure"))
        steps = (fetch, *made.steps, *serving.steps, configure, *gates, *warming.unresolved(first), image)
        return RecipeSteps(steps, None)
    key = build_key(recipe, fetch, made, serving, resolution.base, warming)
    configure = configure_step({**serving.configuration, "fingerprint": str(key)}, serving.files(str(key)))
    gates = _gates(recipe, resolution, made, configure, runner)
    packing = Packing(
        resolution.base,
        {**serving.paths, "configure": serving.folder},
        serving.server,
        _labels(recipe, resolution.model, key) | dict(serving.labels) | dict(recipe.image.labels),
        CREATED,
        tell=serving.tell,
    )
    before = (fetch, *made.steps, *serving.steps, configure)
    warm = warming.steps(recipe, resolution, made, packing, before, bases, jobs)
    packing = replace(packing, paths={**packing.paths, **warming.paths})
    image = image_step(packing, recipe.image.compression, bases, jobs, send)
    return RecipeSteps((*before, *gates, *warm, image), key)


@dataclass(frozen=True)
class _Warming:
    """The part of `warm` in a recipe's steps; nothing for a recipe without it."""

    warmth: Warmth | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> _Warming:
        if recipe.warm is None:
            return cls()
        from enginebuild.steps.warmth import warmth_of

        return cls(warmth_of(recipe))

    @property
    def trouble(self) -> str:
        return "" if self.warmth is None else self.warmth.trouble

    @property
    def paths(self) -> dict[str, str]:
        return {} if self.warmth is None else dict(self.warmth.paths)

    def key_fields(self, recipe: Recipe, base: BaseLock) -> dict[str, Json]:
        return {} if self.warmth is None else {LAST: self.warmth.key_fields(recipe, base)}

    def unresolved(self, reason: str) -> tuple[Step, ...]:
        return () if self.warmth is None else (unresolved_step(LAST, self.warmth.version, reason),)

    def steps(
        self,
        recipe: Recipe,
        resolution: Resolution,
        made: Made,
        packing: Packing,
        before: tuple[Step, ...],
        bases: Bases,
        jobs: int,
    ) -> tuple[Step, ...]:
        if self.warmth is None:
            return ()
        from enginebuild.steps.warm import config_step, warm_step

        config = config_step(recipe, resolution, made)
        return config, warm_step(recipe, self.warmth, packing, before, bases, jobs)


def _gates(
    recipe: Recipe, resolution: Resolution, made: Made, configure: Step, runner: Runner | None
) -> tuple[Step, ...]:
    """What must be sure before an image is made, where the recipe asks for it."""
    if not recipe.engine.validate:
        return ()
    from enginebuild.steps.validate import validate_steps

    return validate_steps(recipe, resolution, made, configure, runner)


def serving_of(recipe: Recipe, resolution: Resolution, made: Made, runner: Runner | None) -> Serving:
    """The engine's part of the image."""
    if recipe.engine.type == "vllm":
        serving = vllm_serving(recipe, made.checkpoint)
        return serving if recipe.warm is None else _seeded(serving)
    from enginebuild.steps.trtllm_serving import trtllm_serving

    return trtllm_serving(recipe, resolution, made, runner)


def _seeded(serving: Serving) -> Serving:
    from enginebuild.steps.warm import with_seed

    return with_seed(serving)


def build_key(
    recipe: Recipe, fetch: Step, made: Made, serving: Serving, base: BaseLock, warming: _Warming
) -> Digest:
    """What stands for the build in tags, labels and `system_fingerprint`.

    Made of what decides how the image serves, known before anything is built: name, labels, tags, repository
    and limits are not in it.
    """
    return Digest.of_json(
        {
            "versions": {"fetch": FETCH_VERSION, "configure": CONFIGURE_VERSION, "image": IMAGE_VERSION},
            "model": dict(fetch.fields),
            "configuration": dict(serving.configuration),
            "base": str(base.digest) if base.digest else base.reference,
            "platform": base.platform,
            "gpu": recipe.gpu,
            **made.key_fields(),
            **warming.key_fields(recipe, base),
        }
    )


def _fetch(recipe: Recipe, resolution: Resolution, jobs: int) -> Step:
    model = resolution.model
    if isinstance(model, Unresolved):
        return unresolved_step("fetch", FETCH_VERSION, model.reason)
    folder = vllm.MODEL_PATH if recipe.holds_model else None
    return fetch_step(model_request(recipe), model, folder, CREATED, jobs)


def _model_steps(
    recipe: Recipe,
    resolution: Resolution,
    fetch: Step,
    made: Made,
    bases: Bases,
    jobs: int,
    send: Send | None,
) -> RecipeSteps:
    steps = (fetch, *made.steps)
    model = resolution.model
    for step in steps:
        if step.unresolved:
            image = unresolved_step("image", IMAGE_VERSION, step.unresolved, (made.checkpoint,))
            return RecipeSteps((*steps, image), None)
    assert isinstance(model, ModelLock)
    packing, key = model_packing(recipe, model, fetch, made, CREATED)
    return RecipeSteps((*steps, image_step(packing, recipe.image.compression, bases, jobs, send)), key)


def _labels(recipe: Recipe, model: ModelLock, key: Digest) -> dict[str, str]:
    """What `inspect`, and a cluster's inventory, want to know of an image."""
    labels = model_labels(recipe, model, key) | {
        "enginebuild.engine": recipe.engine.type,
        "enginebuild.engine.version": recipe.engine.version,
        "enginebuild.dtype": recipe.dtype,
        "enginebuild.tensor_parallel_size": str(recipe.tensor_parallel_size),
        "enginebuild.pipeline_parallel_size": str(recipe.pipeline_parallel_size),
    }
    if recipe.gpu is not None:
        labels["enginebuild.gpu"] = recipe.gpu
    if recipe.quantization is not None:
        labels["enginebuild.quantization"] = recipe.quantization.method
    return labels
