"""The step `fetch`: the model's files, each by digest, in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginebuild.events import Report
from enginebuild.lock import ModelLock
from enginebuild.sources import ModelRequest, ResolvedModel, fetch
from enginebuild.step import Step
from enginebuild.steps.layers import followers, keep
from enginebuild_cache import Json, Store, Tree

FETCH_VERSION = 1


@dataclass(frozen=True)
class Fetch:
    """Bring what the lock names into the store; what is there already is not asked for again.

    `folder` and `mtime` are where and how the files will stand in an image: the layers' digests are taken on
    the way. They decide nothing of the tree.
    """

    request: ModelRequest
    model: ModelLock
    folder: str
    mtime: int
    jobs: int

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        resolved = ResolvedModel(
            self.request.source, self.request.revision, self.model.commit, self.model.tree, licence=None
        )
        watching = followers(self.folder, self.model.tree, self.mtime)
        fetch(self.request, resolved, store, report, jobs=self.jobs, followers=watching)
        for follower in watching.values():
            if (descriptor := follower.descriptor) is not None:
                keep(follower.layer, descriptor, store)
        return self.model.tree


def fetch_step(request: ModelRequest, model: ModelLock, folder: str, mtime: int, jobs: int) -> Step:
    """Keyed by repository, commit and files; never by token, mirror or the path of a local folder."""
    fields: dict[str, Json] = {"files": model.tree.to_json()}
    if model.commit is not None:
        fields |= {"source": request.source, "commit": model.commit}
    return Step("fetch", FETCH_VERSION, fields, Fetch(request, model, folder, mtime, jobs), output=model.tree)
