"""A model in a repository of the Hub: pinned by its listing, brought in by the downloader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from enginebuild.events import Report
from enginebuild.sources.checkpoint import check, require_data
from enginebuild.sources.download import Downloader
from enginebuild.sources.heads import stored_heads
from enginebuild.sources.hub import Hub
from enginebuild.sources.model import ModelRequest, ResolvedModel
from enginebuild.sources.origin import Patience, RemoteFile, TransientError
from enginebuild.sources.progress import Meter
from enginebuild.sources.selection import select, skipped_pickles
from enginebuild_cache import Digest, File, Follower, Store, Tree

#: The label of the progress of the small files that are needed to pin a model.
LISTING = "model listing"


def resolve(
    request: ModelRequest, repository: str, store: Store, report: Report, patience: Patience
) -> ResolvedModel:
    """Pin commit and files; those without a listed sha256 are in the store afterwards.

    Raises SourceError, CacheError.
    """
    hub = Hub(request, repository)
    revision = request.revision or "main"
    listing = hub.listing(revision, patience)
    hub.commit = listing.commit
    listed = {file.path: file for file in listing.files}
    chosen = [listed[path] for path in select(listed, request)]
    unlisted = [file for file in chosen if file.sha256 is None]
    meter = Meter(report, LISTING, sum(file.size for file in unlisted))
    fetched = Downloader(hub, store, meter, patience).fetch_unlisted(unlisted)
    tree = Tree.of([*fetched, *_pinned(chosen)])
    if request.repo_type == "model":
        pickles = [] if request.allow_pickle else skipped_pickles(listed)
        check(request.source, tree, stored_heads(store), pickles)
    else:
        require_data(request.source, tree)
    return ResolvedModel(request.source, revision, listing.commit, tree, listing.licence)


def fetch(
    request: ModelRequest,
    repository: str,
    commit: str | None,
    missing: Sequence[File],
    store: Store,
    meter: Meter,
    jobs: int,
    patience: Patience,
    followers: Mapping[str, Follower],
) -> None:
    """Bring files in. Raises SourceError, CacheError."""
    hub = Hub(request, repository, commit)
    if hub.forbidden_by:
        absent = [file.path for file in missing if hub.cached(_remote(file)) is None]
        if absent:
            raise hub.offline(absent)
    Downloader(hub, store, meter, patience, jobs, followers=followers).fetch(missing)


def require_access(request: ModelRequest, repository: str, commit: str, missing: Sequence[File]) -> None:
    """Ask for one byte of the largest file that would be fetched. Raises SourceError for a refusal.

    A Hub that does not answer now passes: fetching tries more often.
    """
    hub = Hub(request, repository, commit)
    absent = [file for file in missing if hub.cached(_remote(file)) is None]
    if not absent:
        return
    if hub.forbidden_by:
        raise hub.offline([file.path for file in absent])
    largest = max(absent, key=lambda file: file.size)
    with suppress(TransientError), hub.open(largest.path, 0, 1):
        return


def _pinned(files: Collection[RemoteFile]) -> list[File]:
    return [File(file.path, Digest(file.sha256), file.size) for file in files if file.sha256 is not None]


def _remote(file: File) -> RemoteFile:
    return RemoteFile(file.path, file.size, "", file.digest.hex)
