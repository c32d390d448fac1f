"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def recipe_argument(function: F) -> F:
    return click.argument("recipe", type=click.Path(path_type=Path))(function)


def recipes_argument(function: F) -> F:
    """One or more recipes, or folders of them."""
    argument = click.argument(
        "recipes", nargs=-1, required=True, metavar="RECIPE…", type=click.Path(path_type=Path)
    )
    return argument(function)


def overrides_option(function: F) -> F:
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replace one value of the recipe, such as image.base=scratch. May be given again.",
    )(function)


def cells_option(function: F) -> F:
    return click.option(
        "--cell",
        "cells",
        multiple=True,
        metavar="AXIS=VALUE",
        help="Only the cells of the matrix with this value, or the one of this name. May be given again.",
    )(function)


def cache_option(function: F) -> F:
    return click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        envvar="ENGINEBUILD_CACHE",
        help="Where artifacts are kept (default: the user's cache folder).",
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(function)


def jobs_option(function: F) -> F:
    return click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        default=4,
        show_default=True,
        help="Files and layers moved at the same time.",
    )(function)


def runner_option(function: F) -> F:
    return click.option(
        "--runner",
        type=click.Choice(["docker", "local"]),
        help="Where commands run (default: the recipe's builder.runner).",
    )(function)


def places_options(function: F) -> F:
    """--push, --load and --output: where the image goes."""
    for option in (
        click.option(
            "--output",
            type=click.Path(path_type=Path, file_okay=False),
            help="Write an OCI layout to this folder (dist/NAME, unless --push or --load is given).",
        ),
        click.option("--load", is_flag=True, help="Load into the Docker Engine."),
        click.option("--push", is_flag=True, help="Push to image.repository."),
    ):
        function = option(function)
    return function


def default_cache_dir() -> Path:
    """`enginebuild` in the folder that the platform keeps for caches (XDG_CACHE_HOME on Linux)."""
    import platformdirs

    return Path(platformdirs.user_cache_path("enginebuild"))
