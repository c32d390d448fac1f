"""What to say of a key that does not exist: another tool's word, a wrong place, a misspelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import Path, closest, dotted
from enginebuild.recipe.section import Answer
from enginebuild.recipe.show import bare, quoted
from enginebuild.recipe.words import ENGINE_ARGUMENTS, KEYS, LATER

#: Every key of ours that is the last part of exactly one path, for keys written at the wrong level.
PLACES: Mapping[str, str] = {
    "dtype": "dtype",
    "quantization": "quantization",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "gpu": "gpu",
    "model": "model",
    "source": "model.source",
    "revision": "model.revision",
    "auth": "model.auth",
    "allow_patterns": "model.allow_patterns",
    "ignore_patterns": "model.ignore_patterns",
    "allow_pickle": "model.allow_pickle",
    "engine": "engine",
    "type": "engine.type",
    "args": "engine.args",
    "image": "image",
    "base": "image.base",
    "repository": "image.repository",
    "tags": "image.tags",
    "labels": "image.labels",
    "platform": "image.platform",
    "layout": "image.layout",
    "cache": "cache",
    "remote": "cache.remote",
    "compression": "image.compression",
}


def answer(names: Sequence[str], path: Path, key: str) -> Answer:
    """The problem of an unknown key in the section at `path`, whose keys are `names`."""
    where = f"unknown key {quoted(key)} in {dotted(path)}" if path else f"unknown key {quoted(key)}"
    spelled = key.strip().lower().replace("-", "_")
    message, (hint, meant) = where, _advice(names, path, key, spelled)
    if not hint and spelled in LATER:
        message, hint = f"{where}: not in this version of enginebuild", "delete it"
    hint = hint or f"the keys here are {', '.join(names)}"
    return Answer(Problem((*path, key), message, hint, on_key=True), meant)


def _advice(names: Sequence[str], path: Path, key: str, spelled: str) -> tuple[str, str]:
    """A hint and the path of our key; two empty texts where nothing is like it."""
    before = key.split(":")[0]
    if ":" in key and before in names:
        return f"write a space after the colon: {bare(key.replace(':', ': ', 1))}", dotted((*path, before))
    if spelled in names:
        return f"write {spelled}", dotted((*path, spelled))
    for ours in (KEYS.get(spelled), PLACES.get(spelled)):
        if ours is not None and ours != dotted(path):
            return _place(ours, path), ours
    if spelled in ENGINE_ARGUMENTS:
        return f"an argument of the engine: write it as engine.args.{spelled}", ""
    if spelled in LATER:
        return "", ""
    return _misspelled(names, path, spelled)


def _misspelled(names: Sequence[str], path: Path, spelled: str) -> tuple[str, str]:
    if close := closest(spelled, names):
        return f"did you mean {close}?", dotted((*path, close))
    if ours := closest(spelled, tuple(PLACES)):
        return f"did you mean {PLACES[ours]}?", PLACES[ours]
    if argument := closest(spelled, tuple(ENGINE_ARGUMENTS)):
        return f"did you mean engine.args.{argument}?", ""
    return "", ""


def _place(ours: str, path: Path) -> str:
    """Where our word belongs, seen from the section in which the other stands."""
    parts = tuple(ours.split("."))
    if len(parts) == 1:
        return f"write {ours}" if not path else f"write {ours} at the top level of the recipe"
    return f"write {parts[-1]}" if parts[:-1] == path else f"write it as {ours}"
