"""The steps of a recipe. They are values: a later kind of step is one more of them, and no special case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from enginebuild.bases import Bases
from enginebuild.engines import vllm
from enginebuild.lock import BaseLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.configure import CONFIGURE_VERSION, configure_step
from enginebuild.steps.fetch import FETCH_VERSION, fetch_step
from enginebuild.steps.image import IMAGE_VERSION, Packing, image_step
from enginebuild.steps.layers import Send
from enginebuild.steps.model_image import model_labels, model_packing
from enginebuild_cache import Digest, Json

_CONFIG = PurePosixPath(vllm.CONFIG_PATH)
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
    recipe: Recipe, resolution: Resolution, bases: Bases, jobs: int, send: Send | None = None
) -> RecipeSteps:
    """fetch → configure → image; without a server fetch → image.

    What is unresolved has no key, and all else is planned.

    `send`, where the image will be pushed, uploads a layer of unknown digest in the pass that takes it.
    """
    model, base = resolution.model, resolution.base
    if isinstance(model, Unresolved):
        fetch = unresolved_step("fetch", FETCH_VERSION, model.reason)
    else:
        fetch = fetch_step(model_request(recipe), model, vllm.MODEL_PATH, CREATED, jobs)
    if recipe.image.layout != "server":
        return _model_steps(recipe, model, fetch, bases, jobs, send)
    for part in (model, base):
        if isinstance(part, Unresolved):
            files = _files(_settings(recipe, _UNKNOWN))
            configure = unresolved_step("configure", CONFIGURE_VERSION, part.reason, files=files)
            image = unresolved_step("image", IMAGE_VERSION, part.reason, ("fetch", "configure"))
            return RecipeSteps((fetch, configure, image), None)
    assert isinstance(model, ModelLock)
    assert isinstance(base, BaseLock)
    key = build_key(recipe, fetch, base)
    settings = _settings(recipe, str(key))
    configure = configure_step(_configuration(recipe) | {"fingerprint": str(key)}, _files(settings))
    packing = Packing(
        base,
        {"fetch": vllm.MODEL_PATH, "configure": str(_CONFIG.parent)},
        settings.port,
        _labels(recipe, model, key) | dict(recipe.image.labels),
        CREATED,
    )
    return RecipeSteps(
        (fetch, configure, image_step(packing, recipe.image.compression, bases, jobs, send)), key
    )


def _model_steps(
    recipe: Recipe, model: ModelLock | Unresolved, fetch: Step, bases: Bases, jobs: int, send: Send | None
) -> RecipeSteps:
    if isinstance(model, Unresolved):
        return RecipeSteps((fetch, unresolved_step("image", IMAGE_VERSION, model.reason, ("fetch",))), None)
    packing, key = model_packing(recipe, model, fetch, CREATED)
    return RecipeSteps((fetch, image_step(packing, recipe.image.compression, bases, jobs, send)), key)


def build_key(recipe: Recipe, fetch: Step, base: BaseLock) -> Digest:
    """What stands for the build in tags, labels and `system_fingerprint`.

    Made of what decides how the image serves, known before anything is built: name, labels, tags, repository
    and limits are not in it.
    """
    return Digest.of_json(
        {
            "versions": {"fetch": FETCH_VERSION, "configure": CONFIGURE_VERSION, "image": IMAGE_VERSION},
            "model": dict(fetch.fields),
            "configuration": _configuration(recipe),
            "base": str(base.digest) if base.digest else base.reference,
            "platform": base.platform,
            "gpu": recipe.gpu,
        }
    )


def _configuration(recipe: Recipe) -> dict[str, Json]:
    """The recipe's fields that decide the engine's configuration, under the recipe's own names."""
    return {
        "engine": recipe.engine.type,
        "version": recipe.engine.version,
        "served_model_name": _served_model_name(recipe),
        "dtype": recipe.dtype,
        "tensor_parallel_size": recipe.tensor_parallel_size,
        "pipeline_parallel_size": recipe.pipeline_parallel_size,
        "args": dict(recipe.engine.args),
    }


def _settings(recipe: Recipe, fingerprint: str) -> vllm.VllmSettings:
    return vllm.VllmSettings(
        version=recipe.engine.version,
        served_model_name=_served_model_name(recipe),
        fingerprint=fingerprint,
        dtype=recipe.dtype,
        tensor_parallel_size=recipe.tensor_parallel_size,
        pipeline_parallel_size=recipe.pipeline_parallel_size,
        args=recipe.engine.args,
    )


def _files(settings: vllm.VllmSettings) -> dict[str, bytes]:
    return {_CONFIG.name: vllm.render(settings)}


def _served_model_name(recipe: Recipe) -> str:
    """The public id of a Hub model. A folder has none, and its recipe's name must not decide the image."""
    source = recipe.model.source
    return source.removeprefix("hf://") if source.startswith("hf://") else "model"


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
    return labels
