"""The two things a build asks of a model source: what is it exactly, and bring it here."""

from __future__ import annotations

from enginebuild.events import Report
from enginebuild.sources import folder
from enginebuild.sources.checkpoint import check
from enginebuild.sources.download import JOBS, Downloader
from enginebuild.sources.hub import Hub
from enginebuild.sources.model import ModelRequest, ResolvedModel, hub_repository
from enginebuild.sources.origin import PATIENCE, Patience, RemoteFile
from enginebuild.sources.progress import Meter
from enginebuild.sources.selection import select, skipped_pickles
from enginebuild_cache import Digest, File, Store, Tree

#: The label of the progress of a whole model.
MODEL = "model"


def resolve(
    request: ModelRequest, store: Store, report: Report, *, patience: Patience = PATIENCE
) -> ResolvedModel:
    """Pin a model: commit and digests. Small files of a Hub repository are in the store afterwards.

    Raises SourceError for what cannot be had or cannot be served, CacheError.
    """
    repository = hub_repository(request.source)
    if repository is None:
        return folder.resolve(request, store, report)
    hub = Hub(request, repository)
    listing = hub.listing(request.revision or "main", patience)
    hub.commit = listing.commit
    listed = {file.path: file for file in listing.files}
    chosen = [listed[path] for path in select(listed, request)]
    small = [file for file in chosen if file.sha256 is None]
    meter = Meter(report, "model listing", sum(file.size for file in small))
    fetched = Downloader(hub, store, meter, patience).fetch_unlisted(small)
    tree = Tree.of([*fetched, *(_pinned(file) for file in chosen if file.sha256 is not None)])
    check(request.source, tree, _StoreHeads(store), _left_out(listed, request))
    return ResolvedModel(request.source, request.revision or "main", listing.commit, tree, listing.licence)


def fetch(
    request: ModelRequest,
    resolved: ResolvedModel,
    store: Store,
    report: Report,
    *,
    jobs: int = JOBS,
    patience: Patience = PATIENCE,
) -> None:
    """Afterwards each file of the tree is in the store, and the tree is a checkpoint that can be served.

    Raises SourceError, CacheError.
    """
    missing = [file for file in resolved.tree if not store.has(file.digest)]
    meter = Meter(report, MODEL, resolved.tree.size)
    if missing:
        meter.skipped(resolved.tree.size - sum(file.size for file in missing))
        repository = hub_repository(request.source)
        if repository is None:
            folder.fetch(request, missing, store, meter)
        else:
            _fetch_from_hub(Hub(request, repository, resolved.commit), missing, store, meter, jobs, patience)
    check(request.source, resolved.tree, _StoreHeads(store))


def _fetch_from_hub(
    hub: Hub, missing: list[File], store: Store, meter: Meter, jobs: int, patience: Patience
) -> None:
    if hub.forbidden_by:
        absent = [file.path for file in missing if hub.cached(_remote(file)) is None]
        if absent:
            raise hub.offline(absent)
    Downloader(hub, store, meter, patience, jobs).fetch(missing)


def _pinned(file: RemoteFile) -> File:
    assert file.sha256 is not None
    return File(file.path, Digest(file.sha256), file.size)


def _remote(file: File) -> RemoteFile:
    return RemoteFile(file.path, file.size, "", file.digest.hex)


def _left_out(paths: dict[str, RemoteFile], request: ModelRequest) -> list[str]:
    return [] if request.allow_pickle else skipped_pickles(paths)


class _StoreHeads:
    """The first bytes of files that are in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, file: File, count: int) -> bytes | None:
        if not self._store.has(file.digest):
            return None
        return folder.read_first(self._store.path(file), count)
