"""Recipes: YAML with places, one table of fields, all mistakes at once.

Nothing but the standard library and PyYAML is imported, for a cached run must feel instant.
"""

from enginebuild.recipe.choose import chosen, one_of
from enginebuild.recipe.foreign import read_foreign
from enginebuild.recipe.gpu import Gpu, catalogue
from enginebuild.recipe.model import Builder, Calibration, Engine, ImageTarget, Model, Quantization, Recipe
from enginebuild.recipe.read import EngineCheck, examine, parse, read, read_cells
from enginebuild.recipe.render import render_problems
from enginebuild.recipe.schema import json_schema

__all__ = [
    "Builder",
    "Calibration",
    "Engine",
    "EngineCheck",
    "Gpu",
    "ImageTarget",
    "Model",
    "Quantization",
    "Recipe",
    "catalogue",
    "chosen",
    "examine",
    "json_schema",
    "one_of",
    "parse",
    "read",
    "read_cells",
    "read_foreign",
    "render_problems",
]
