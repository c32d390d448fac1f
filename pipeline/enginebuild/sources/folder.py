"""A model in a folder of this machine: the same selection, digests through the store's stat cache.

Links are followed inside the folder, and from a snapshot of the Hugging Face cache to that cache's blobs;
a link that leads anywhere else is refused, because its target is not part of what the recipe names.
Linked folders are not entered.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from enginebuild.errors import SourceError
from enginebuild.events import Report
from enginebuild.sources.checkpoint import check, require_data
from enginebuild.sources.heads import read_first
from enginebuild.sources.model import ModelRequest, ResolvedModel, local_folder
from enginebuild.sources.progress import Meter
from enginebuild.sources.selection import select, skipped_pickles
from enginebuild_cache import File, Follower, Store, Tree, WrongDigest

#: Files digested at once; a disk seldom feeds more.
_JOBS = 4

_LICENCE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Folder:
    """`root` without links; what a link may lead to is in `allowed`."""

    source: str
    root: Path
    allowed: tuple[Path, ...]

    def real(self, path: str) -> Path:
        """The regular file behind a path of the tree. Raises SourceError."""
        try:
            real = (self.root / path).resolve(strict=True)
            mode = real.stat().st_mode
        except (OSError, RuntimeError) as error:
            raise SourceError(
                f"{self.source}: {path} cannot be read: {_reason(error)}",
                "mend the file or the link, or leave it out with model.ignore_patterns",
            ) from error
        if not any(real.is_relative_to(folder) for folder in self.allowed):
            raise SourceError(
                f"{self.source}: {path} is a link that leads out of the folder, to {real}",
                "copy or hard-link the file into the folder, or leave it out with model.ignore_patterns",
            )
        if not stat.S_ISREG(mode):
            raise SourceError(
                f"{self.source}: {path} is not a regular file",
                "remove it, or leave it out with model.ignore_patterns",
            )
        return real


def resolve(request: ModelRequest, store: Store, report: Report) -> ResolvedModel:
    """Digest the selected files; those that did not change since the last time cost nothing.

    Raises SourceError, CacheError.
    """
    from concurrent.futures import ThreadPoolExecutor

    folder = _open(request)
    paths = list(_walk(folder.root, request.source))
    chosen = {path: folder.real(path) for path in select(paths, request)}
    meter = Meter(report, request.source, sum(real.stat().st_size for real in chosen.values()))

    def digest(path: str) -> File:
        found, size = store.file_digest(chosen[path])
        meter.skipped(size)
        return File(path, found, size)

    with ThreadPoolExecutor(_JOBS, "digest") as pool:
        try:
            tree = Tree.of(pool.map(digest, chosen))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if request.repo_type == "model":
        pickles = [] if request.allow_pickle else skipped_pickles(paths)
        check(request.source, tree, lambda file, count: read_first(chosen[file.path], count), pickles)
    else:
        require_data(request.source, tree)
    return ResolvedModel(request.source, None, None, tree, _licence(folder.root / "README.md"))


def selected(request: ModelRequest) -> Mapping[str, Path]:
    """Where the selected files lie, by their paths in the folder. Raises SourceError."""
    folder = _open(request)
    return {path: folder.real(path) for path in select(list(_walk(folder.root, request.source)), request)}


def licence(request: ModelRequest) -> str | None:
    """What the model card in the folder calls it. Raises SourceError."""
    return _licence(_open(request).root / "README.md")


def resolve_file(request: ModelRequest, store: Store, report: Report) -> ResolvedModel:
    """One file, which is in the store afterwards. Raises SourceError, CacheError."""
    path = local_folder(request)
    if not path.is_file():
        raise SourceError(
            f"{request.source}: there is no file {path}", "file: paths are relative to the recipe's folder"
        )
    digest, size = store.put_file(path, mode="copy")
    return ResolvedModel(request.source, None, None, Tree.of([File(path.name, digest, size)]), None)


def fetch(
    request: ModelRequest,
    files: Sequence[File],
    store: Store,
    meter: Meter,
    followers: Mapping[str, Follower],
) -> None:
    """Copy files into the store. Raises SourceError if one is not what was resolved, CacheError."""
    folder = _open(request)
    for file in files:
        real = folder.real(file.path)
        try:
            follower = followers.get(file.path)
            store.put_file(real, mode="copy", expected=file.digest, follower=follower)
        except WrongDigest as error:
            raise SourceError(
                f"{request.source}: {file.path} was changed since the recipe was locked",
                "lock the recipe again with `enginebuild lock`, or put the former file back",
            ) from error
        meter.moved(file.path, file.size, file.size, file.size)


def _open(request: ModelRequest) -> _Folder:
    named = local_folder(request)
    try:
        root = named.resolve(strict=True)
        is_folder = root.is_dir()
    except (OSError, RuntimeError) as error:
        raise SourceError(
            f"{request.source}: the folder {named} cannot be read: {_reason(error)}",
            "file: paths are relative to the recipe's folder",
        ) from error
    if not is_folder:
        raise SourceError(
            f"{request.source}: {named} is a file, not a folder",
            "name the folder that holds config.json and the *.safetensors files",
        )
    allowed = [root]
    if root.parent.name == "snapshots":
        # Links of models--org--name/snapshots/<commit> lead to its blobs, which since
        # huggingface_hub 2.4 may be links to blobs that all repositories share.
        repository = root.parent.parent
        allowed += [repository / "blobs", repository.parent / "blobs"]
    return _Folder(request.source, root, tuple(allowed))


def _walk(root: Path, source: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise SourceError(
            f"{source}: the folder {error.filename} cannot be read: {_reason(error)}", "check its permissions"
        ) from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _licence(readme: Path) -> str | None:
    """From the front matter of a model card."""
    try:
        text = read_first(readme, 1 << 16).decode("utf-8", "replace")
    except OSError:
        return None
    if not text.startswith("---"):
        return None
    found = _LICENCE.search(text.split("\n---", 1)[0])
    return found[1] if found else None
