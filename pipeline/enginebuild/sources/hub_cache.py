"""The user's own Hugging Face cache: where a file lies there, if it does.

The layout is huggingface_hub's: models--org--name/blobs/<etag>, the sha256 for LFS files and git's sha-1 for
the others; since 2.4 a blob may itself be a link into a store shared by all repositories. The library checks
sizes only, so nothing found here is believed before it was digested.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from enginebuild.sources.model import RepoType
from enginebuild.sources.origin import RemoteFile


def hub_cache_folder() -> Path:
    """As huggingface_hub finds it: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME in order."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return _expanded(named)
    home = os.environ.get("HF_HOME")
    if home:
        return _expanded(home) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def cached_copy(
    repository: str, commit: str | None, file: RemoteFile, repo_type: RepoType = "model"
) -> Path | None:
    """The real path of a file of the right size: its blob, or what the commit's snapshot has in its place."""
    folder = hub_cache_folder() / f"{repo_type}s--{repository.replace('/', '--')}"
    places = [folder / "blobs" / (file.sha256 or file.git_oid)]
    if commit is not None:
        places.append(folder / "snapshots" / commit / file.path)
    for place in places:
        with suppress(OSError, RuntimeError):
            real = place.resolve(strict=True)
            if real.is_file() and real.stat().st_size == file.size:
                return real
    return None


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser()
