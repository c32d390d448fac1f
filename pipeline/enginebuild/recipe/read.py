"""Files and bytes into recipes. Every mistake is a RecipeError, and all mistakes are in one."""

from __future__ import annotations

import codecs
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe.compose import Composer, UnreadableError
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.model import Recipe, from_values
from enginebuild.recipe.modes import answer_for
from enginebuild.recipe.node import MappingNode, ScalarNode, locate
from enginebuild.recipe.overrides import apply
from enginebuild.recipe.render import refuse
from enginebuild.recipe.rules import check_rules
from enginebuild.recipe.show import printable
from enginebuild.recipe.text import Finding, Source, Span
from enginebuild_cache import Json

#: Bytes. A recipe has one or two thousand; a larger file is something else.
LARGEST = 1 << 20

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


#: Says what is wrong with an engine's part of a recipe, given the values read so far: the sound ones alone.
EngineCheck = Callable[[Mapping[str, Json]], Sequence[Problem]]


def _nothing_wrong(_values: Mapping[str, Json]) -> Sequence[Problem]:
    return ()


def read(path: Path, overrides: Sequence[str] = (), check_engine: EngineCheck = _nothing_wrong) -> Recipe:
    """The recipe in a file, changed by `--set` texts (`image.base=scratch`). Raises RecipeError.

    What `check_engine` finds is shown together with the recipe's own mistakes.
    """
    return _recipe(_bytes_of(path), str(path), path, overrides, check_engine)


def parse(text: bytes, name: str) -> Recipe:
    """The recipe in a text that messages call `name`; relative paths are as from the working folder."""
    return _recipe(text, name, None, (), _nothing_wrong)


def _recipe(
    content: bytes, name: str, path: Path | None, overrides: Sequence[str], check_engine: EngineCheck
) -> Recipe:
    source = _decode(content, name)
    findings: list[Finding] = []
    root = apply(_root(source, findings), overrides, findings)
    values, problems = _examined(root, check_engine)
    findings.extend(locate(root, problem) for problem in problems)
    if findings:
        raise refuse(findings)
    return from_values(values, path, root)


def examine(content: bytes, name: str, check_engine: EngineCheck = _nothing_wrong) -> Sequence[Problem]:
    """What is wrong with a recipe, as values. Raises RecipeError for what cannot be read at all."""
    findings: list[Finding] = []
    root = _root(_decode(content, name), findings)
    if findings:
        raise refuse(findings)
    return _examined(root, check_engine)[1]


def _examined(root: MappingNode, check_engine: EngineCheck) -> tuple[Mapping[str, Json], Sequence[Problem]]:
    """The sound values, and all that is wrong with the others."""
    problems: list[Problem] = []
    values = RECIPE.answering(answer_for(root)).read(root, (), problems)
    if not isinstance(values, dict):
        raise TypeError("a mapping node reads as a mapping")
    problems.extend(check_rules(values, root))
    problems.extend(_engine_problems(values, check_engine, problems))
    return values, problems


def _engine_problems(
    values: Mapping[str, Json], check_engine: EngineCheck, known: Sequence[Problem]
) -> Sequence[Problem]:
    """An engine is asked where it and its version are known. A place with a mistake is not given a second."""
    engine = values.get("engine")
    if not isinstance(engine, dict) or "type" not in engine or "version" not in engine:
        return ()
    wrong = {problem.path for problem in known}
    return [
        problem
        for problem in check_engine(values)
        if not any(problem.path[:length] in wrong for length in range(1, len(problem.path) + 1))
    ]


def _root(source: Source, findings: list[Finding]) -> MappingNode:
    try:
        node = Composer(source, 0, findings).compose()
    except UnreadableError as error:
        raise refuse([*findings, error.finding]) from error
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        raise RecipeError(f"{printable(source.name)}: the file is empty", _BEGIN)
    if not isinstance(node, MappingNode):
        problems: list[Problem] = []
        RECIPE.read(node, (), problems)
        raise refuse([*findings, *(locate(node, problem) for problem in problems)])
    return node


_BEGIN = "a recipe begins with version: 1; see docs/recipe.md, and recipes/ for examples"


def _decode(content: bytes, name: str) -> Source:
    if len(content) > LARGEST:
        raise _too_large(name, len(content))
    if content.startswith(_UTF_16):
        raise RecipeError(f"{printable(name)}: the file is UTF-16, a recipe is UTF-8", "save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return Source(name, content.decode())
    except UnicodeDecodeError as error:
        source = Source(name, content.decode(errors="replace"))
        index = len(content[: error.start].decode())
        message = f"byte 0x{content[error.start]:02x} at offset {error.start} is not UTF-8"
        raise refuse([Finding(Span(source, index), message, "save the file as UTF-8")]) from error


def _bytes_of(path: Path) -> bytes:
    name = printable(str(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise RecipeError(f"{name}: a folder, not a recipe", "name the file in it")
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(f"{name}: not a regular file", "save the recipe in a file and name that")
        if status.st_size > LARGEST:
            raise _too_large(name, status.st_size)
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"{name}: no such file", "check the path; examples are in recipes/") from error
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"{name}: not the name of a file") from error


def _too_large(name: str, size: int) -> RecipeError:
    message = f"{printable(name)}: {size:,} bytes, a recipe has {LARGEST:,} at most"
    return RecipeError(message, "is this the model or an image instead of the recipe?")
