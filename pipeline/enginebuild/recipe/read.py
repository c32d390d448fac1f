"""Files and bytes into recipes. Every mistake is a RecipeError, and all mistakes are in one."""

from __future__ import annotations

import codecs
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from enginebuild.errors import Problem, RecipeError
from enginebuild.recipe.cells import Cell, cells_of
from enginebuild.recipe.choose import one_of
from enginebuild.recipe.compose import Composer, UnreadableError
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.model import Recipe, from_values
from enginebuild.recipe.modes import answer_for
from enginebuild.recipe.node import MappingNode, ScalarNode, locate
from enginebuild.recipe.overrides import read_overrides
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


def read_cells(
    path: Path, overrides: Sequence[str] = (), check_engine: EngineCheck = _nothing_wrong
) -> tuple[Recipe, ...]:
    """The cells of the recipe in a file, changed by `--set` texts (`image.base=scratch`). Raises RecipeError.

    A recipe without a matrix is one cell. What `check_engine` finds is shown together with the recipe's own
    mistakes.
    """
    return _recipes(_bytes_of(path), str(path), path, overrides, check_engine)


def read(path: Path, overrides: Sequence[str] = (), check_engine: EngineCheck = _nothing_wrong) -> Recipe:
    """The recipe in a file that has one cell. Raises RecipeError."""
    return one_of(read_cells(path, overrides, check_engine))


def parse(text: bytes, name: str) -> Recipe:
    """The recipe in a text that messages call `name`; relative paths are as from the working folder."""
    return one_of(_recipes(text, name, None, (), _nothing_wrong))


def _recipes(
    content: bytes, name: str, path: Path | None, overrides: Sequence[str], check_engine: EngineCheck
) -> tuple[Recipe, ...]:
    source = _decode(content, name)
    findings: list[Finding] = []
    root = _root(source, findings)
    cells = cells_of(root, read_overrides(overrides, findings), RECIPE.names(), findings)
    wrong: dict[Finding, list[Cell]] = {}
    recipes = []
    for cell in cells:
        values, problems = _examined(cell.root, check_engine)
        for problem in problems:
            wrong.setdefault(locate(cell.root, problem), []).append(cell)
        if not problems and not findings:
            recipes.append(from_values(values, path, cell.root, cell.values))
    findings.extend(_told(finding, found, len(cells)) for finding, found in wrong.items())
    if findings:
        raise refuse(findings)
    return tuple(recipes)


def _told(finding: Finding, found: Sequence[Cell], count: int) -> Finding:
    """With the cells that have the mistake, where others have it not."""
    if len(found) == count:
        return finding
    values = ", ".join(f"{axis}={value}" for axis, value in found[0].values.items())
    where = f"in {len(found)} of {count} cells, such as" if len(found) > 1 else "in the cell"
    return replace(finding, message=f"{finding.message}, {where} {values}")


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
