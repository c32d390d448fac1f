"""What a command calls its model, as a recipe's source and name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from enginebuild.importing.docker import outside
from enginebuild.importing.draft import Draft
from enginebuild.recipe import forms

_PATH = re.compile(r"(?:/|\./|\.\./|\.\Z|~|file:)")


def put_model(
    draft: Draft, name: str, volumes: Mapping[str, str] | None = None, revision: str = ""
) -> str | None:
    """Write the model, and a recipe's name made of it. Returns a mistake where it is no source."""
    source = source_of(name, volumes or {})
    if complaint := forms.model_source(source):
        hint = f"; {complaint.hint}" if complaint.hint else ""
        return f"the model {complaint.message}{hint}"
    at = f"@{revision}" if revision and source.startswith("hf:") else ""
    if at and (complaint := forms.revision(revision)):
        return f"--revision {complaint.message}"
    draft.put(("name",), name_of(source))
    draft.put(("model",), source + at)
    return None


def source_of(name: str, volumes: Mapping[str, str]) -> str:
    """`hf://org/name`, or `file:` and a folder of the machine."""
    if _PATH.match(name):
        folder = outside(name.removeprefix("file:"), volumes)
        return f"file:{folder.rstrip('/') or '/'}"
    if "://" in name or name.startswith("hf:"):
        return name
    return f"hf://{name.rstrip('/')}"


def name_of(source: str) -> str:
    """A recipe's name, made of the last part of a source."""
    last = source.partition("@")[0].rstrip("/").rpartition("/")[2].removeprefix("file:")
    plain = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._")[:128]
    return plain or "model"


def auth_apart(draft: Draft) -> None:
    """`model` as a mapping, where more than its source is to be said."""
    model = draft.get(("model",))
    if isinstance(model, str):
        draft.values["model"] = {"source": model}
