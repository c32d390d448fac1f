"""The step `fetch`, and others like it: files that a lock names, each by digest, in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from enginebuild.events import Report
from enginebuild.lock import ModelLock
from enginebuild.sources import ModelRequest, ResolvedModel, fetch
from enginebuild.step import Result, Step
from enginebuild.steps.layers import followers, keep
from enginebuild_cache import Json, Store, Tree

FETCH_VERSION = 1
#: In a record's provenance: the bytes that were not in the cache already.
FETCHED = "fetched_bytes"


@dataclass(frozen=True)
class Fetch:
    """Bring what the lock names into the store; what is there already is not asked for again.

    `folder` and `mtime` are where and how the files will stand in an image, if they will (None: not there):
    the layers' digests are taken on the way. They decide nothing of the tree. `whole` False: the files are a
    part of a model, and need not be one that can be served.
    """

    request: ModelRequest
    model: ModelLock
    folder: str | None
    mtime: int
    jobs: int
    whole: bool = True

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Result:
        missing = {file.digest: file.size for file in self.model.tree if not store.has(file.digest)}
        resolved = ResolvedModel(
            self.request.source, self.request.revision, self.model.commit, self.model.tree, licence=None
        )
        watching = {} if self.folder is None else followers(self.folder, self.model.tree, self.mtime)
        fetch(
            self.request,
            resolved,
            store,
            report,
            jobs=self.jobs,
            followers=watching,
            whole=self.whole,
        )
        for follower in watching.values():
            if (descriptor := follower.descriptor) is not None:
                keep(follower.layer, descriptor, store)
        return Result(self.model.tree, {FETCHED: sum(missing.values())})


def fetch_step(
    request: ModelRequest, model: ModelLock, folder: str | None, mtime: int, jobs: int, name: str = "fetch"
) -> Step:
    """Keyed by repository, commit and files; never by token, mirror or the path of a local folder."""
    return _step(Fetch(request, model, folder, mtime, jobs), name)


def part_step(name: str, request: ModelRequest, model: ModelLock, paths: Collection[str]) -> Step:
    """Only these files of a model, small ones, for a place where the rest is not needed."""
    tree = Tree.of(file for file in model.tree if file.path in paths)
    part = ModelLock(model.asked, model.commit, tree, model.licence)
    return _step(Fetch(request, part, None, 0, 1, whole=False), name)


def _step(action: Fetch, name: str) -> Step:
    request, model = action.request, action.model
    fields: dict[str, Json] = {"files": model.tree.to_json()}
    if model.commit is not None:
        fields |= {"source": request.source, "commit": model.commit}
    return Step(name, FETCH_VERSION, fields, action, output=model.tree)
