"""From a recipe to its lock: the one place where names become digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from enginebuild.bases import Bases
from enginebuild.errors import DriftError, EngineBuildError, SourceError
from enginebuild.events import Report
from enginebuild.lock import BaseLock, Lock, ModelLock, drift
from enginebuild.recipe import Recipe
from enginebuild.sources import ModelRequest
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
    """What is known of a recipe's names."""

    model: ModelLock | Unresolved
    base: BaseLock | Unresolved
    tools: Mapping[str, str]

    def lock(self) -> Lock:
        """The lock, or the error of everything that is missing."""
        if isinstance(self.model, Unresolved) or isinstance(self.base, Unresolved):
            raise _together([part.error for part in (self.model, self.base) if isinstance(part, Unresolved)])
        return Lock(self.model, self.base, self.tools)


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
    return Resolution(
        _attempt(lambda: _model(recipe, previous, store, report)),
        _attempt(lambda: _base(recipe, previous, bases)),
        {recipe.engine.type: recipe.engine.version},
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


def _model(recipe: Recipe, previous: Lock | None, store: Store, report: Report) -> ModelLock:
    request = model_request(recipe)
    asked = _asked(request)
    if previous is not None and previous.model.asked == asked and previous.model.commit is not None:
        return previous.model
    resolved = resolve_source(request, store, report)
    return ModelLock(asked, resolved.commit, resolved.tree, resolved.licence)


def _base(recipe: Recipe, previous: Lock | None, bases: Bases) -> BaseLock:
    reference, platform = recipe.image.base, recipe.image.platform
    if previous is not None and bases.is_remote(reference):
        base = previous.base
        if (base.reference, base.platform) == (reference, platform):
            return base
    return BaseLock(reference, platform, bases.digest(reference, platform))


def _asked(request: ModelRequest) -> dict[str, Json]:
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
