"""What a registry cannot take: a file is refused before anything is built, a layer before any is sent."""

from __future__ import annotations

from collections.abc import Sequence

from enginebuild.engines import vllm
from enginebuild.errors import RefusedError
from enginebuild.events import Note, Report
from enginebuild.lock import ModelLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Unresolved
from enginebuild.steps.layers import placed
from enginebuild_images.limits import check_limits
from enginebuild_images.reference import Reference


def require_model(
    repository: Reference | None, recipe: Recipe, model: ModelLock | Unresolved, report: Report
) -> None:
    """Refuse a recipe with a file that the registry cannot take. Raises RefusedError.

    Nothing is said without a repository, for a model that is unresolved or that the image will not hold as it
    is, and where layers will be compressed, since how far is not known yet.
    """
    if repository is None or not isinstance(model, ModelLock) or recipe.image.compression != "none":
        return
    if not recipe.holds_model:
        return
    files = placed(vllm.MODEL_PATH, model.tree)
    require_limits(repository, [(path, file.size) for path, file in files.items()], 0, 0, report)


def require_limits(
    repository: Reference,
    layers: Sequence[tuple[str, int]],
    manifest_size: int,
    layer_count: int,
    report: Report,
) -> None:
    """Refuse what the registry cannot take, warn of what it may not. Raises RefusedError.

    `layers`: what is in each and its bytes; files do as well, since each is in one layer at least as large.
    """
    refusals, warnings = check_limits(repository, layers, manifest_size, layer_count)
    if refusals:
        hints = dict.fromkeys(finding.hint for finding in refusals)
        raise RefusedError("\n".join(finding.message for finding in refusals), "; ".join(hints))
    for finding in warnings:
        report(Note(f"{finding.message}; {finding.hint}", "warning"))
