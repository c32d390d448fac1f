"""The recipes with mistakes in tests/unit/recipe/mistakes, each `.yaml` with the whole text that refuses it.

After a change of a message, write the texts anew and read the difference before committing it:

    .venv/bin/python tests/parts/recipe_mistakes.py
"""

from __future__ import annotations

from pathlib import Path

from enginebuild.errors import RecipeError
from enginebuild.recipe import parse

FOLDER = Path(__file__).parent.parent / "unit" / "recipe" / "mistakes"


def recipes() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def refusal(recipe: Path) -> str:
    """What is said of a recipe, message and hint. AssertionError if it is accepted."""
    try:
        parse(recipe.read_bytes(), recipe.name)
    except RecipeError as error:
        return f"{error.message}\n" + (f"hint: {error.hint}\n" if error.hint else "")
    raise AssertionError(f"{recipe.name} was accepted")


if __name__ == "__main__":
    for _recipe in recipes():
        _recipe.with_suffix(".txt").write_text(refusal(_recipe), "utf-8")
