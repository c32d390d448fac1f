"""Recipes of a command that takes several: files, and folders of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from enginebuild.builder import with_runner
from enginebuild.check import read_checked_cells
from enginebuild.errors import RecipeError
from enginebuild.locking import Cells
from enginebuild.recipe import Recipe, chosen

_SUFFIXES = (".yaml", ".yml")


def read_recipes(
    paths: Sequence[Path],
    overrides: Sequence[str],
    cells: Sequence[str],
    runner: Literal["docker", "local"] | None,
) -> list[Cells]:
    """The cells of all recipes, those that `--cell` chooses apart. Raises RecipeError with all mistakes."""
    files = list(dict.fromkeys(_files(paths)))
    if cells and len(files) > 1:
        raise RecipeError("--cell chooses among the cells of one recipe", "name one recipe")
    found, wrong = [], []
    for path in files:
        try:
            found.append(_cells(read_checked_cells(path, overrides), cells, runner))
        except RecipeError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        texts = (error.message + (f"\n  hint: {error.hint}" if error.hint else "") for error in wrong)
        raise RecipeError("\n\n".join(texts))
    _require_distinct([cell for each in found for cell in each.chosen])
    return found


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES and each.is_file())
        if not inside:
            raise RecipeError(f"{path}: no recipe in this folder", "recipes end with .yaml or .yml")
        yield from inside


def _cells(
    every: Sequence[Recipe], wanted: Sequence[str], runner: Literal["docker", "local"] | None
) -> Cells:
    picked = chosen(every, wanted)
    others = [cell for cell in every if all(cell is not each for each in picked)]
    return Cells([with_runner(cell, runner) for cell in picked], others)


def _require_distinct(cells: Sequence[Recipe]) -> None:
    """Raises RecipeError for two that would go to one place."""
    names: dict[str, Recipe] = {}
    for cell in cells:
        other = names.setdefault(cell.name, cell)
        if other is not cell:
            raise RecipeError(
                f"{other.path} and {cell.path} have both a recipe of the name {cell.name}",
                "give one of them another name, or run them one after the other",
            )
    tags: dict[tuple[str, str], Recipe] = {}
    for cell in cells:
        for tag in cell.shared_tags():
            other = tags.setdefault((cell.image.repository or "", tag), cell)
            if other is not cell and cell.image.repository is not None:
                raise RecipeError(
                    f"{other.name} and {cell.name} would both be pushed as {cell.image.repository}:{tag}",
                    "write {key} or {name} into image.tags, or give each a repository of its own",
                )
