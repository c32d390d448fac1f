"""The recipes that ship are sound, for their engine's tables too, and do what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enginebuild.check import read_checked, read_checked_cells
from parts.recipes import SHIPPED

RECIPES = sorted(SHIPPED.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_passes_the_check(path: Path) -> None:
    assert {cell.path for cell in read_checked_cells(path)} == {path}
    assert path.read_text("utf-8").startswith("# ")


def test_there_is_one_for_every_way() -> None:
    recipes = [cell for path in RECIPES for cell in read_checked_cells(path)]
    ways = {
        (
            recipe.engine.type,
            recipe.engine.mode,
            recipe.engine.server,
            recipe.quantization.method if recipe.quantization else None,
        )
        for recipe in recipes
    }
    assert ways >= {
        ("vllm", None, "trtllm-serve", None),
        ("vllm", None, "trtllm-serve", "fp8"),
        ("tensorrt_llm", "engine", "trtllm-serve", None),
        ("tensorrt_llm", "engine", "trtllm-serve", "fp8"),
        ("tensorrt_llm", "engine", "trtllm-serve", "w4a16_awq"),
        ("tensorrt_llm", "engine", "triton", None),
        ("tensorrt_llm", "pytorch", "trtllm-serve", "fp8"),
        ("tensorrt_llm", "pytorch", "trtllm-serve", "nvfp4"),
    }
    assert any(recipe.cell for recipe in recipes)
    names = [recipe.name for recipe in recipes]
    assert len(set(names)) == len(names)


def test_two_recipes_quantize_one_model_once() -> None:
    vllm = read_checked(SHIPPED / "llama-3.1-8b-fp8-h100-vllm.yaml")
    trtllm = read_checked(SHIPPED / "llama-3.1-8b-fp8-h100-trtllm.yaml")
    assert vllm.engine.type != trtllm.engine.type
    assert vllm.quantization is not None
    assert (vllm.model, vllm.quantization) == (trtllm.model, trtllm.quantization)
    assert vllm.builder == trtllm.builder


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_that_a_comment_names_are_there(path: Path) -> None:
    named = re.findall(r"[\w.-]+\.yaml", path.read_text("utf-8"))
    assert [name for name in named if not (SHIPPED / name).is_file()] == []
