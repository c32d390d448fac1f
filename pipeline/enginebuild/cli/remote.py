"""Remote caches of a run, from its options and its recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from enginebuild.cli.options import F
from enginebuild.errors import RecipeError
from enginebuild_images.errors import ImageError

if TYPE_CHECKING:
    from enginebuild.recipe import Recipe
    from enginebuild.remote.shared import Shared
    from enginebuild_images.registry import Registry

#: Instead of a place: not even the recipe's.
NONE = "none"


def remote_options(function: F) -> F:
    """--cache-from and --cache-to."""
    for option in (
        click.option(
            "--cache-to",
            metavar="PLACE",
            help="Send what is built to a remote cache: a registry's repository, or oci:FOLDER; none: "
            "nowhere (default: the recipe's cache.remote).",
        ),
        _cache_from("Take from a remote cache what is not here, instead of building it; like --cache-to."),
    ):
        function = option(function)
    return function


def asked_option(function: F) -> F:
    """--cache-from, of a command that takes nothing."""
    return _cache_from(
        "Ask a remote cache for what is not here: a registry's repository, or oci:FOLDER; none: do not ask "
        "(default: the recipe's cache.remote)."
    )(function)


def _cache_from(text: str) -> Callable[[F], F]:
    return click.option("--cache-from", metavar="PLACE", help=text)


def shared_of(
    recipe: Recipe,
    cache_from: str | None,
    cache_to: str | None,
    registry: Callable[[], Registry],
    jobs: int,
) -> Shared | None:
    """What the options say, else the recipe; None where there is no remote cache. Raises RecipeError."""
    source, target = cache_from or recipe.remote, cache_to or recipe.remote
    if source in (None, NONE) and target in (None, NONE):
        return None
    from enginebuild.remote.cache import RemoteCache
    from enginebuild.remote.place import place_of
    from enginebuild.remote.shared import Shared

    def cache(option: str, text: str | None) -> RemoteCache | None:
        if text is None or text == NONE:
            return None
        try:
            return RemoteCache(place_of(text, registry), jobs)
        except ImageError as error:
            raise RecipeError(f"{option}: {error.message}", error.hint) from error

    return Shared(cache("--cache-from", source), cache("--cache-to", target))


def mounting(registry: Callable[[], Registry], shared: Shared | None) -> Callable[[], Registry]:
    """The same client, which asks the remote caches for a blob before it sends it to the same registry."""

    def made() -> Registry:
        client = registry()
        for place in shared.places if shared is not None else ():
            place.offer_to(client)
        return client

    return made
