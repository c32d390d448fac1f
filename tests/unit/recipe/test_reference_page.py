"""docs/recipe.md: its generated parts are up to date, its recipes are sound, its message is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enginebuild.check import read_checked_cells
from enginebuild.errors import RecipeError
from enginebuild.recipe import parse
from enginebuild.recipe.compose import DEEPEST, MOST_ALIASED, MOST_VALUES
from enginebuild.recipe.format import RECIPE
from parts.recipe_reference import PAGE, page_as_generated, parts_of

TEXT = PAGE.read_text("utf-8")


def test_generated_parts() -> None:
    assert parts_of(TEXT) == {
        "recipe",
        "model",
        "quantization",
        "calibration",
        "methods",
        "engine",
        "image",
        "builder",
        "warm",
        "verify",
        "smoke",
        "prompts",
        "messages",
        "quality",
        "tasks",
        "lm_eval",
        "performance",
        "cache",
        "gpus",
    }
    assert page_as_generated(TEXT) == TEXT


@pytest.mark.parametrize("recipe", re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
def test_recipes_on_the_page(recipe: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    read_checked_cells(path)


def test_the_whole_recipe_has_every_key() -> None:
    whole = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[1]
    assert re.findall(r"^(\w+):", whole, re.MULTILINE) == list(RECIPE.names())


def test_the_message_on_the_page() -> None:
    shown = re.search(r"^    recipe\.yaml:4:8.*?(?=\n\n)", TEXT, re.MULTILINE | re.DOTALL)
    assert shown is not None
    content = "version: 1\nname: x\nmodel: file:x\ndtype: bf16\nengine: {type: vllm, version: 0.33.0}\n"
    with pytest.raises(RecipeError) as caught:
        parse(f"{content}image: {{base: scratch}}\n".encode(), "recipe.yaml")
    assert caught.value.message == re.sub(r"^    ", "", shown[0], flags=re.MULTILINE)


def test_limits_on_the_page() -> None:
    for limit in (f"{MOST_VALUES:,} keys and values", f"{MOST_ALIASED:,} values", f"{DEEPEST} deep", "1 MiB"):
        assert limit in TEXT
