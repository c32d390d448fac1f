"""The two things a build asks of a model source: what is it exactly, and bring it here."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.events import Report
from enginebuild.sources.checkpoint import check
from enginebuild.sources.heads import stored_heads
from enginebuild.sources.model import ModelRequest, ResolvedModel, hub_repository
from enginebuild.sources.origin import JOBS, PATIENCE, Patience
from enginebuild.sources.progress import Meter
from enginebuild_cache import Follower, Store

#: The label of the progress of a whole model.
MODEL = "model"


def resolve(
    request: ModelRequest, store: Store, report: Report, *, patience: Patience = PATIENCE
) -> ResolvedModel:
    """Pin a model or a dataset: commit and digests. Small files of a Hub repository are in the store then.

    Raises SourceError for what cannot be had or cannot be served, CacheError.
    """
    name = hub_repository(request.source)
    if name is None:
        from enginebuild.sources import folder

        return folder.resolve(request, store, report)
    from enginebuild.sources import repository

    return repository.resolve(request, name, store, report, patience)


def fetch(
    request: ModelRequest,
    resolved: ResolvedModel,
    store: Store,
    report: Report,
    *,
    jobs: int = JOBS,
    patience: Patience = PATIENCE,
    followers: Mapping[str, Follower] | None = None,
) -> None:
    """Afterwards each file of the tree is in the store, and a model is a checkpoint that can be served.

    `followers`, by path, see the bytes of files that have to be brought in.
    Raises SourceError, CacheError.
    """
    missing = [file for file in resolved.tree if not store.has(file.digest)]
    if missing:
        meter = Meter(report, MODEL, resolved.tree.size)
        meter.skipped(resolved.tree.size - sum(file.size for file in missing))
        name = hub_repository(request.source)
        if name is None:
            from enginebuild.sources import folder

            folder.fetch(request, missing, store, meter, followers or {})
        else:
            from enginebuild.sources import repository

            repository.fetch(
                request, name, resolved.commit, missing, store, meter, jobs, patience, followers or {}
            )
    if request.repo_type == "model":
        check(request.source, resolved.tree, stored_heads(store))
