"""What `enginebuild import` is given, and which importer it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from enginebuild.engines.tensorrt_llm.versions import Mode
from enginebuild.engines.words import closest
from enginebuild.importing import trtllm_build, trtllm_serve, vllm, vllm_recipe
from enginebuild.importing.draft import Draft, no_command
from enginebuild.importing.launch import PROGRAMS, Launch, launch, only
from enginebuild.importing.settle import settle
from enginebuild.importing.shell import Command
from enginebuild.importing.switch import switch
from enginebuild.recipe import catalogue
from enginebuild.recipe.forms import name as name_form
from enginebuild.recipe.gpu import candidates
from enginebuild.recipe.show import quoted

VLLM_RECIPE = "vllm-recipe"
_RUN = ("docker", "podman", "python", "python3", "vllm")


@dataclass(frozen=True, slots=True)
class Request:
    """The words of the command line, and its options; None: not given."""

    words: Sequence[str]
    version: str | None = None
    engine: Literal["vllm", "tensorrt_llm"] | None = None
    mode: Mode = "pytorch"
    choice: vllm_recipe.Choice = field(default_factory=vllm_recipe.Choice)
    config: Path | None = None
    gpu: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A recipe's text; `gaps` and `lost` are the comments at its head, one line each."""

    text: str
    gaps: tuple[str, ...]
    lost: tuple[str, ...]


def imported(request: Request) -> Imported:
    """The recipe of a request. Raises RecipeError, with every mistake of what was given."""
    draft = _draft(request)
    if request.gpu is not None:
        draft.put(("gpu",), _gpu(request.gpu))
        draft.gaps = [gap for gap in draft.gaps if gap.path != ("gpu",)]
    if request.name is not None:
        if complaint := name_form(request.name):
            raise no_command([f"it {complaint.message}; {complaint.hint}"], "--name cannot be used")
        draft.put(("name",), request.name)
    text = settle(draft)
    gaps = (f"{'.'.join(gap.path)}: {gap.why}" for gap in draft.gaps)
    return Imported(text, tuple(gaps), tuple(f"{note.what}: {note.why}" for note in draft.lost))


def _gpu(name: str) -> str:
    if name in catalogue():
        return name
    meant = candidates(name)
    hint = f"write {' or '.join(meant)}" if meant else "docs/recipe.md lists them"
    raise no_command([f"{quoted(name)} is no GPU of the catalogue; {hint}"], "--gpu cannot be used")


def _draft(request: Request) -> Draft:
    words = list(request.words)
    if request.engine is not None:
        if len(words) != 1:
            raise no_command(["name one recipe beside --engine"], "nothing to import")
        return switch(Path(words[0]), request.engine, request.version, request.mode)
    if words[:1] == [VLLM_RECIPE]:
        if len(words) != 2:
            raise no_command([f"name one file after {VLLM_RECIPE}"], "nothing to import")
        return vllm_recipe.import_recipe(Path(words[1]), request.choice, request.version)
    return _commands(_launches(words), request)


def _commands(launches: Sequence[Launch], request: Request) -> Draft:
    programs = [each.program for each in launches]
    if programs == ["vllm serve"]:
        return vllm.import_serve(launches[0], request.version)
    if programs == ["trtllm-serve"]:
        return trtllm_serve.import_serve(launches[0], request.version, request.config)
    return trtllm_build.import_build(launches, request.version)


def _launches(words: list[str]) -> list[Launch]:
    """Each word is a command; or all words are one (after --); the first may be the name of a program."""
    named = words[:1] and words[0] in PROGRAMS.values() and len(words) > 1
    if named and not words[1].startswith("-") and any(char.isspace() for char in words[1]):
        words = words[1:]
    elif len(words) > 1 and not any(char.isspace() for char in words[0]) and _program(words[0]):
        return [only([Command({}, tuple(words))])]
    if not words:
        raise no_command(['quote it: enginebuild import "vllm serve …"'], "no command to import")
    for word in words:
        _check_kind(word)
    return [launch(word) for word in words]


def _program(word: str) -> bool:
    return word in (*PROGRAMS, *_RUN)


def _check_kind(word: str) -> None:
    """A file in the place of a command: what to write instead."""
    if any(char.isspace() for char in word.strip()) or _program(word):
        return
    if word.endswith((".yaml", ".yml")):
        hint = f"for one of vLLM's own recipes write {VLLM_RECIPE} {word}; for another engine add --engine"
        raise no_command([f"{quoted(word)} is a file; {hint}"], "no command to import")
    if near := closest(word, [VLLM_RECIPE, *PROGRAMS.values()]):
        raise no_command([f"{quoted(word)} is no command; did you mean {near}?"], "no command to import")
