"""`enginebuild diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from enginebuild.cli.options import cache_option, json_option
from enginebuild.cli.why import shortened
from enginebuild.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enginebuild.difference import Difference
    from enginebuild.inspect import Inspection
    from enginebuild.lock import Lock
    from enginebuild.recipe import Recipe
    from enginebuild.step import Step

_Kind = Literal["recipe", "lock", "image"]


@click.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--platform", default="linux/amd64", show_default=True, help="Which image of an index.")
@cache_option
@json_option
def command(a: str, b: str, platform: str, cache_dir: Path | None, as_json: bool) -> None:
    """Compare two recipes, locks or images by what decides the result.

    A and B are of one kind: recipes (a.yaml, or a.yaml#CELL of a matrix), locks (a.lock), or images as for
    inspect (oci:FOLDER:TAG, docker:NAME, or a registry's). Names, tags, limits and where things lie do not
    count. Of recipes the keys of the steps are compared, before anything is built; of images labels, how they
    start, and layers by their content.

    Exits with 0 whether they differ or not: the last line says it, and "equal" in the JSON.
    """
    kinds = _kind(a), _kind(b)
    if kinds[0] != kinds[1]:
        raise RecipeError(
            f"{a} is {_ARTICLE[kinds[0]]} and {b} is {_ARTICLE[kinds[1]]}",
            "name two recipes, two locks or two images",
        )
    found = {"recipe": _recipes, "lock": _locks, "image": _images}[kinds[0]](a, b, cache_dir, platform)
    if as_json:
        click.echo(json.dumps({"a": a, "b": b, **found.to_json()}, indent=2, ensure_ascii=False))
        return
    for line in [*(line for part in found.parts for line in part.lines()), found.verdict]:
        click.echo(shortened(line))


_ARTICLE = {"recipe": "a recipe", "lock": "a lock", "image": "an image"}


def _kind(name: str) -> _Kind:
    if name.startswith(("oci:", "docker:")):
        return "image"
    path, _ = _cell(name)
    if path.suffix == ".lock":
        return "lock"
    return "recipe" if path.suffix in (".yaml", ".yml", ".json") or path.is_file() else "image"


def _cell(name: str) -> tuple[Path, tuple[str, ...]]:
    """A recipe, and the cell that is named behind it."""
    path, mark, cell = name.partition("#")
    return (Path(path), (cell,)) if mark and not Path(name).exists() else (Path(name), ())


def _recipes(a: str, b: str, cache_dir: Path | None, platform: str) -> Difference:
    from enginebuild.difference import between_recipes

    return between_recipes(_steps(a, cache_dir), _steps(b, cache_dir))


def _steps(name: str, cache_dir: Path | None) -> tuple[Recipe, Sequence[Step]]:
    from enginebuild.check import read_checked
    from enginebuild.cli.tools import opened
    from enginebuild.locking import previous_lock
    from enginebuild.resolve import resolve
    from enginebuild.steps import steps_of

    path, cells = _cell(name)
    recipe = read_checked(path, (), cells)
    with opened(recipe.folder, cache_dir, jobs=4, as_json=False) as tools:
        resolution = resolve(recipe, previous_lock(path), tools.store, tools.bases, tools.output)
        return recipe, steps_of(recipe, resolution, tools.bases, jobs=1).steps


def _locks(a: str, b: str, cache_dir: Path | None, platform: str) -> Difference:
    from enginebuild.difference import between_locks

    return between_locks(_lock(a), _lock(b))


def _lock(name: str) -> Lock:
    from enginebuild.lock_file import read_lock_file

    found = read_lock_file(Path(name))
    if found is None:
        raise RecipeError(f"{name}: there is no such lock", "run `enginebuild lock` to make it")
    if found.lock is None:
        raise RecipeError(
            f"{name} has the answers for several cells of a matrix",
            "compare two cells: enginebuild diff recipe.yaml#CELL recipe.yaml#CELL",
        )
    return found.lock


def _images(a: str, b: str, cache_dir: Path | None, platform: str) -> Difference:
    from enginebuild.difference import between_images

    return between_images(_image(a, platform), _image(b, platform))


def _image(name: str, platform: str) -> Inspection:
    from enginebuild.cli.tools import registries
    from enginebuild.inspect import Inspection, inspect

    with registries() as registry:
        found = inspect(name, platform, registry)
    if isinstance(found, Inspection):
        return found
    names = "".join(f"\n  {variant.name}" for variant in found.variants)
    raise RecipeError(f"{name} is an index of several images for {platform}", f"name one of them:{names}")
