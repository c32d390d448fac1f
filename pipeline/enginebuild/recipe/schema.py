"""The recipe format as JSON Schema, for editors and CI."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from enginebuild.recipe.containers import ARGUMENT_SCHEMAS
from enginebuild.recipe.format import RECIPE
from enginebuild.recipe.kinds import Schema
from enginebuild.recipe.matrix_section import SHARED
from enginebuild_cache import Json


def json_schema() -> dict[str, Json]:
    """The format as JSON Schema, draft 2020-12. What no schema can say is checked on reading alone.

    Where there is a matrix or variants, what is required and what goes together is known of the cells alone.
    """
    body = RECIPE.schema()
    properties = cast("Schema", body["properties"])
    fields = {key: value for key, value in properties.items() if key not in SHARED[1:]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "enginebuild recipe, version 1",
        **body,
        "properties": {**properties, **cast("Schema", _without(fields, _TOGETHER))},
        "required": ["version"],
        "if": {"anyOf": [{"required": [key]} for key in SHARED[1:]]},
        "else": {"properties": _without(fields, _ANNOTATIONS), "required": body["required"]},
        "$defs": ARGUMENT_SCHEMAS,
    }


#: Keywords of JSON Schema that demand something of several keys together, and those that demand nothing.
_TOGETHER = ("required", "if", "then", "else", "allOf", "oneOf")
_ANNOTATIONS = ("description", "default", "examples")


def _without(value: Json, keywords: Collection[str]) -> Json:
    """A schema without these keywords, and all within it; a key of a recipe may be called as one of them."""
    if isinstance(value, list):
        return [_without(item, keywords) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _without(each, keywords) for name, each in inner.items()}
        if key == "properties" and isinstance(inner, dict)
        else _without(inner, keywords)
        for key, inner in value.items()
        if key not in keywords
    }
