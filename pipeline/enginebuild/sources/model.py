"""What is asked of a source and what it turned out to be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from enginebuild.errors import SourceError
from enginebuild_cache import File, Tree

#: The first so many bytes of a file; None when its bytes are not on this machine yet. Raises OSError.
ReadHead = Callable[[File, int], "bytes | None"]

_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)?\Z")

#: What is asked for. A dataset of the Hub is hf://datasets/org/name; `file` is one file of this machine.
RepoType = Literal["model", "dataset", "file"]
_DATASETS = "datasets/"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A model, or a dataset, as a recipe names it.

    `source` is `hf://org/name` or `file:./folder` (relative to `folder`, the recipe's). `allow_patterns`
    replaces the default selection, `ignore_patterns` then takes away; both are shell patterns over the whole
    path.
    `token_variable` is the name of the environment variable that holds the Hub's token.
    """

    source: str
    revision: str | None
    folder: Path
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    allow_pickle: bool = False
    token_variable: str = "HF_TOKEN"  # noqa: S105 - the name of a variable
    repo_type: RepoType = "model"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model pinned: the commit (40 hex digits; None for a folder) and every selected file by digest."""

    source: str
    revision: str | None
    commit: str | None
    tree: Tree
    licence: str | None


def hub_repository(source: str) -> str | None:
    """The repository id of `hf://…`, None for another kind of source. Raises SourceError for a bad id."""
    scheme, separator, repository = source.partition("://")
    if scheme != "hf" or not separator:
        return None
    repository = repository.removeprefix(_DATASETS)
    if not _REPOSITORY.match(repository):
        raise SourceError(
            f"not a Hugging Face repository: {source!r}",
            "write hf://organisation/name, as in the model's URL",
        )
    return repository


def local_folder(request: ModelRequest) -> Path:
    """The folder of a `file:` source, made absolute. Raises SourceError for another kind of source."""
    scheme, separator, path = request.source.partition(":")
    if scheme != "file" or not separator or not path:
        raise SourceError(
            f"not a model source: {request.source!r}", "write hf://organisation/name or file:./folder"
        )
    return (request.folder / path.removeprefix("//")).absolute()
