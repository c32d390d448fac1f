"""From a recipe to its lock: the one place where names become digests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from enginebuild.bases import BUILDER, Bases
from enginebuild.builder import Place, place_of
from enginebuild.errors import DriftError, EngineBuildError, SourceError
from enginebuild.events import Report
from enginebuild.lock import BaseLock, BuilderLock, Lock, ModelLock, drift
from enginebuild.lock_file import LockFile
from enginebuild.recipe import ImageTarget, Recipe
from enginebuild.sources import ModelRequest, read_config
from enginebuild.sources import resolve as resolve_source
from enginebuild_cache import Json, Store, canonical_json

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


@dataclass(frozen=True)
class Known:
    """What was asked for one recipe file already: the cells of a matrix ask mostly the same."""

    answers: dict[Hashable, object] = field(default_factory=dict)

    def once(self, question: Hashable, ask: Callable[[], T]) -> T | Unresolved:
        """The answer, or why there is none."""
        if question not in self.answers:
            self.answers[question] = _attempt(ask)
        return cast("T | Unresolved", self.answers[question])


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


def resolve(
    recipe: Recipe,
    previous: LockFile | None,
    store: Store,
    bases: Bases,
    report: Report,
    known: Known | None = None,
) -> Resolution:
    """Take from the previous lock what still answers the recipe's own request, and ask for the rest.

    A local folder is looked at each time: its files are its revision. What cannot be resolved is in the
    result, not raised. `known`: what the other cells of the same file were told.
    """
    known = known or Known()

    def sourced(request: ModelRequest, before: Sequence[ModelLock]) -> ModelLock | Unresolved:
        question = (request.repo_type, canonical_json(asked_of(request)), request.token_variable)
        return known.once(question, lambda: _sourced(request, before, store, report))

    model = sourced(model_request(recipe), () if previous is None else previous.models)
    calibration, timing_cache = calibration_request(recipe), timing_cache_request(recipe)
    image, place = recipe.image, place_of(recipe)
    return Resolution(
        model,
        known.once((image.base, image.platform), lambda: _base(image, previous, bases)),
        {recipe.engine.type: recipe.engine.version},
        None
        if place is None
        else known.once((place, image.platform), lambda: _builder(place, image.platform, previous, bases)),
        None if calibration is None else sourced(calibration, previous.calibrations if previous else ()),
        None if timing_cache is None else sourced(timing_cache, ()),
        _config(recipe, model, store, report, known),
    )


def lock_for(recipe: Recipe, file: LockFile | None) -> Lock | None:
    """The lock of a recipe, or of a cell of a matrix; None if the file has none for it."""
    if file is None:
        return None
    if not recipe.cell and file.lock is not None:
        return file.lock
    image, place = recipe.image, place_of(recipe)
    model, base = _answer(file.models, model_request(recipe)), file.base(image.base, image.platform)
    if model is None or base is None:
        return None
    calibration, timing_cache = calibration_request(recipe), timing_cache_request(recipe)
    tool, version = recipe.engine.type, recipe.engine.version
    return Lock(
        model,
        base,
        {tool: version} if version in file.tools.get(tool, ()) else {},
        None if place is None else file.builder(_reference(place), image.platform),
        None if calibration is None else _answer(file.calibrations, calibration),
        None if timing_cache is None else _answer(file.timing_caches, timing_cache),
    )


def require_locked(recipe: Recipe, file: LockFile | None, resolution: Resolution) -> Lock:
    """The lock, unchanged. Raises DriftError naming each field that the recipe or its sources changed."""
    locked = lock_for(recipe, file)
    if file is None or locked is None:
        what = "there is no lock" if file is None else f"the lock has none for the cell {recipe.name}"
        raise DriftError(
            f"{recipe.path}: {what}, and --locked forbids to make one",
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


def _sourced(request: ModelRequest, previous: Sequence[ModelLock], store: Store, report: Report) -> ModelLock:
    before = _answer(previous, request)
    if before is not None and before.commit is not None:
        return before
    resolved = resolve_source(request, store, report)
    return ModelLock(asked_of(request), resolved.commit, resolved.tree, resolved.licence)


def _answer(locked: Sequence[ModelLock], request: ModelRequest) -> ModelLock | None:
    asked = asked_of(request)
    return next((each for each in locked if each.asked == asked), None)


def _config(
    recipe: Recipe, model: ModelLock | Unresolved, store: Store, report: Report, known: Known
) -> Mapping[str, Json] | Unresolved | None:
    """Only TensorRT-LLM's steps depend on it: its scripts differ from architecture to architecture."""
    if recipe.engine.type != "tensorrt_llm" or isinstance(model, Unresolved):
        return None
    request = model_request(recipe)
    question = ("config", canonical_json(asked_of(request)), request.token_variable)
    return known.once(question, lambda: read_config(request, model.commit, model.tree, store, report))


def _builder(place: Place, platform: str, previous: LockFile | None, bases: Bases) -> BuilderLock:
    if place.environment is not None:
        return BuilderLock(_reference(place), platform, None, place.versions())
    before = None if previous is None else previous.builder(place.image, platform)
    return before or BuilderLock(place.image, platform, bases.digest(place.image, platform, BUILDER))


def _reference(place: Place) -> str:
    return place.image if place.environment is None else str(place.environment)


def _base(image: ImageTarget, previous: LockFile | None, bases: Bases) -> BaseLock:
    """A layout is looked at each time, as a folder is."""
    if previous is not None and bases.is_remote(image.base):
        before = previous.base(image.base, image.platform)
        if before is not None:
            return before
    return BaseLock(image.base, image.platform, bases.digest(image.base, image.platform))


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
