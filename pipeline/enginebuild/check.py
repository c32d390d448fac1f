"""Reading a recipe with everything that can be known of it without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from enginebuild.engines import vllm
from enginebuild.recipe import Recipe, read


def read_checked(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe, its engine's arguments held against the table of that version. Raises RecipeError."""
    return read(path, overrides, vllm.check_arguments)
