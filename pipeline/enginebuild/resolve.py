"""From a recipe to its lock: the one place where names become digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from enginebuild.bases import BUILDER, Bases
from enginebuild.builder import Place, place_of
from enginebuild.errors import DriftError, EngineBuildError, SourceError
from enginebuild.events import Report
from enginebuild.lock import BaseLock, BuilderLock, Lock, ModelLock, drift
from enginebuild.recipe import Recipe
from enginebuild.sources import ModelRequest, read_config
from enginebuild.sources import resolve as resolve_source
from enginebuild_cache import Json, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why a name has no digest yet; a plan shows it and goes on, a run raises it."""

    error: EngineBuildError

    @property
    def reason(self) -> str:
        return self.error.message


@dataclass(frozen=True)
class Resolution:
    """What is known of a recipe's names. The last four are None where the recipe needs none of them.

    `config`: the model's config.json, for what depends on its architecture.
    """

    model: ModelLock | Unresolved
    base: BaseLock | Unresolved
    tools: Mapping[str, str]
    builder: BuilderLock | Unresolved | None = None
    calibration: ModelLock | Unresolved | None = None
    timing_cache: ModelLock | Unresolved | None = None
    config: Mapping[str, Json] | Unresolved | None = None

    def lock(self) -> Lock:
        """The lock, or the error of everything that is missing."""
        model, base, builder = self.model, self.base, self.builder
        calibration, timing_cache = self.calibration, self.timing_cache
        if (
            isinstance(model, Unresolved)
            or isinstance(base, Unresolved)
            or isinstance(builder, Unresolved)
            or isinstance(calibration, Unresolved)
            or isinstance(timing_cache, Unresolved)
        ):
            raise _together([part.error for part in self.unresolved])
        return Lock(model, base, self.tools, builder, calibration, timing_cache)

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """What is not known, each reason once."""
        parts = (self.model, self.base, self.builder, self.calibration, self.timing_cache, self.config)
        return tuple(dict.fromkeys(part for part in parts if isinstance(part, Unresolved)))


def model_request(recipe: Recipe) -> ModelRequest:
    """The recipe's model section as the sources read it."""
    model = recipe.model
    return ModelRequest(
        source=model.source,
        revision=model.revision,
        folder=recipe.folder,
        allow_patterns=tuple(model.allow_patterns),
        ignore_patterns=tuple(model.ignore_patterns),
        allow_pickle=model.allow_pickle,
        token_variable=model.auth,
    )


def resolve(recipe: Recipe, previous: Lock | None, store: Store, bases: Bases, report: Report) -> Resolution:
    """Take from the previous lock what still answers the recipe's own request, and ask for the rest.

    A local folder is looked at each time: its files are its revision. What cannot be resolved is in the
    result, not raised.
    """
    model = _attempt(lambda: _model(recipe, previous, store, report))
    place = place_of(recipe)
    return Resolution(
        model,
        _attempt(lambda: _base(recipe, previous, bases)),
        {recipe.engine.type: recipe.engine.version},
        None if place is None else _attempt(lambda: _builder(place, recipe, previous, bases)),
        _dataset(recipe, previous, store, report),
        _timing_cache(recipe, store, report),
        _config(recipe, model, store, report),
    )


def require_locked(recipe: Recipe, locked: Lock | None, resolution: Resolution) -> Lock:
    """The lock, unchanged. Raises DriftError naming each field that the recipe or its sources changed."""
    if locked is None:
        raise DriftError(
            f"{recipe.path}: there is no lock, and --locked forbids to make one",
            (),
            f"run `enginebuild lock {recipe.path}` and commit the lock",
        )
    moved = drift(locked, resolution.lock())
    if moved:
        lines = "".join(f"\n  {change}" for change in moved)
        raise DriftError(
            f"{recipe.path}: the lock does not say what the recipe and its sources say:{lines}",
            tuple(change.field for change in moved),
            f"run `enginebuild lock {recipe.path}` and review the change, or undo it",
        )
    return locked


def calibration_request(recipe: Recipe) -> ModelRequest | None:
    """The dataset that a quantization is calibrated with, as the sources read it; None where none is."""
    calibration = recipe.quantization.calibration if recipe.quantization is not None else None
    if calibration is None:
        return None
    return ModelRequest(
        calibration.dataset,
        calibration.revision,
        recipe.folder,
        token_variable=recipe.model.auth,
        repo_type="dataset",
    )


def timing_cache_request(recipe: Recipe) -> ModelRequest | None:
    """The timing cache that the recipe pins, as the sources read it; None where it pins none."""
    named = recipe.builder.timing_cache
    return None if named is None else ModelRequest(named, None, recipe.folder, repo_type="file")


def _model(recipe: Recipe, previous: Lock | None, store: Store, report: Report) -> ModelLock:
    return _sourced(model_request(recipe), None if previous is None else previous.model, store, report)


def _sourced(request: ModelRequest, previous: ModelLock | None, store: Store, report: Report) -> ModelLock:
    asked = asked_of(request)
    if previous is not None and previous.asked == asked and previous.commit is not None:
        return previous
    resolved = resolve_source(request, store, report)
    return ModelLock(asked, resolved.commit, resolved.tree, resolved.licence)


def _dataset(
    recipe: Recipe, previous: Lock | None, store: Store, report: Report
) -> ModelLock | Unresolved | None:
    request = calibration_request(recipe)
    if request is None:
        return None
    before = None if previous is None else previous.calibration
    return _attempt(lambda: _sourced(request, before, store, report))


def _timing_cache(recipe: Recipe, store: Store, report: Report) -> ModelLock | Unresolved | None:
    request = timing_cache_request(recipe)
    return None if request is None else _attempt(lambda: _sourced(request, None, store, report))


def _config(
    recipe: Recipe, model: ModelLock | Unresolved, store: Store, report: Report
) -> Mapping[str, Json] | Unresolved | None:
    """Only TensorRT-LLM's steps depend on it: its scripts differ from architecture to architecture."""
    if recipe.engine.type != "tensorrt_llm" or isinstance(model, Unresolved):
        return None
    return _attempt(lambda: read_config(model_request(recipe), model.commit, model.tree, store, report))


def _builder(place: Place, recipe: Recipe, previous: Lock | None, bases: Bases) -> BuilderLock:
    platform = recipe.image.platform
    if place.environment is not None:
        return BuilderLock(str(place.environment), platform, None, place.versions())
    before = None if previous is None else previous.builder
    if before is not None and (before.reference, before.platform) == (place.image, platform):
        return before
    return BuilderLock(place.image, platform, bases.digest(place.image, platform, BUILDER))


def _base(recipe: Recipe, previous: Lock | None, bases: Bases) -> BaseLock:
    reference, platform = recipe.image.base, recipe.image.platform
    if previous is not None and bases.is_remote(reference):
        base = previous.base
        if (base.reference, base.platform) == (reference, platform):
            return base
    return BaseLock(reference, platform, bases.digest(reference, platform))


def asked_of(request: ModelRequest) -> dict[str, Json]:
    """What a lock keeps of a request, to see whether it still answers it."""
    if request.repo_type != "model":
        return {"source": request.source, "revision": request.revision}
    return {
        "source": request.source,
        "revision": request.revision,
        "allow_patterns": list(request.allow_patterns),
        "ignore_patterns": list(request.ignore_patterns),
        "allow_pickle": request.allow_pickle,
    }


def _attempt(ask: Callable[[], T]) -> T | Unresolved:
    try:
        return ask()
    except EngineBuildError as error:
        return Unresolved(error)


def _together(errors: list[EngineBuildError]) -> EngineBuildError:
    if len(errors) == 1:
        return errors[0]
    text = "\n".join(error.message + (f" ({error.hint})" if error.hint else "") for error in errors)
    return SourceError(text)
