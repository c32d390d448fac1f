"""Every recipe in mistakes/ is refused with exactly the text beside it (see parts/recipe_mistakes.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from parts.recipe_mistakes import FOLDER, recipes, refusal


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.stem)
def test_text_of_a_mistake(recipe: Path) -> None:
    assert refusal(recipe) == recipe.with_suffix(".txt").read_text("utf-8")


def test_each_recipe_has_a_text_and_each_text_a_recipe() -> None:
    texts = {path.stem for path in FOLDER.glob("*.txt")}
    assert texts == {path.stem for path in recipes()}
    assert len(texts) >= 200


def test_all_mistakes_of_a_recipe_are_in_one_text_in_the_order_of_their_places() -> None:
    text = (FOLDER / "many-mistakes.txt").read_text("utf-8")
    places = [line.split(": ")[0] for line in text.splitlines() if line.startswith("many-mistakes.yaml:")]
    lines = [int(place.split(":")[1]) for place in places]
    assert lines == sorted(lines)
    assert len(lines) == 10
