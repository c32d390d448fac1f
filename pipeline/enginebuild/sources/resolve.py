"""The two things a build asks of a model source: what is it exactly, and bring it here."""

from __future__ import annotations

import json
from collections.abc import Mapping

from enginebuild.errors import SourceError
from enginebuild.events import Report
from enginebuild.sources.checkpoint import HINT_BROKEN, check, check_config
from enginebuild.sources.heads import stored_heads
from enginebuild.sources.model import ModelRequest, ResolvedModel, hub_repository, local_folder
from enginebuild.sources.origin import JOBS, PATIENCE, Patience
from enginebuild.sources.progress import Meter
from enginebuild_cache import Follower, Json, Store, Tree

#: The label of the progress of a whole model.
MODEL = "model"
CONFIG = "config.json"


def resolve(
    request: ModelRequest, store: Store, report: Report, *, patience: Patience = PATIENCE
) -> ResolvedModel:
    """Pin a model or a dataset: commit and digests. Small files of a Hub repository are in the store then.

    Raises SourceError for what cannot be had or cannot be served, CacheError.
    """
    name = hub_repository(request.source)
    if name is None:
        from enginebuild.sources import folder

        return (folder.resolve_file if request.repo_type == "file" else folder.resolve)(
            request, store, report
        )
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
    whole: bool = True,
) -> None:
    """Afterwards each file of the tree is in the store, and a `whole` model is one that can be served.

    `followers`, by path, see the bytes of files that have to be brought in.
    Raises SourceError, CacheError.
    """
    _bring(request, resolved.commit, resolved.tree, store, report, jobs, patience, followers or {})
    if whole and request.repo_type == "model":
        check(request.source, resolved.tree, stored_heads(store))


def require_access(request: ModelRequest, commit: str, tree: Tree, store: Store) -> None:
    """Whether the Hub will give what is not here, before anything is made. Raises SourceError."""
    name = hub_repository(request.source)
    missing = [file for file in tree if not store.has(file.digest)]
    if name is not None and missing:
        from enginebuild.sources import repository

        repository.require_access(request, name, commit, missing)


def read_config(
    request: ModelRequest,
    commit: str | None,
    tree: Tree,
    store: Store,
    report: Report,
    patience: Patience = PATIENCE,
) -> Mapping[str, Json]:
    """A pinned model's config.json, brought into the store if it is not there; nothing else is fetched.

    Raises SourceError, also for a model without one, and CacheError.
    """
    file = next((file for file in tree if file.path == CONFIG), None)
    if file is None:
        raise _no_config(request)
    _bring(request, commit, Tree.of([file]), store, report, 1, patience, {})
    check_config(request.source, tree, stored_heads(store))
    config: Mapping[str, Json] = json.loads(store.read_bytes(file))
    return config


def read_folder_config(request: ModelRequest) -> Mapping[str, Json]:
    """The config.json of a model in a folder, which is looked at where it lies. Raises SourceError."""
    path = local_folder(request) / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise _no_config(request) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{request.source}: {CONFIG} cannot be read: {error}", HINT_BROKEN) from error
    if not isinstance(config, dict):
        raise SourceError(f"{request.source}: {CONFIG} is not a JSON object", HINT_BROKEN)
    return config


def _no_config(request: ModelRequest) -> SourceError:
    return SourceError(f"{request.source} has no {CONFIG}", "name a model in Hugging Face format")


def _bring(
    request: ModelRequest,
    commit: str | None,
    tree: Tree,
    store: Store,
    report: Report,
    jobs: int,
    patience: Patience,
    followers: Mapping[str, Follower],
) -> None:
    """Afterwards each file of the tree is in the store."""
    missing = [file for file in tree if not store.has(file.digest)]
    if not missing:
        return
    meter = Meter(report, MODEL, tree.size)
    meter.skipped(tree.size - sum(file.size for file in missing))
    name = hub_repository(request.source)
    if name is None:
        from enginebuild.sources import folder

        folder.fetch(request, missing, store, meter, followers)
    else:
        from enginebuild.sources import repository

        repository.fetch(request, name, commit, missing, store, meter, jobs, patience, followers)
