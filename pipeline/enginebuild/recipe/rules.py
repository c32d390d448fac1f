"""Rules between fields, checked on whatever fields are sound."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.engine_rules import base_example, engine_problems, section, text
from enginebuild.recipe.node import MappingNode, Node
from enginebuild.recipe.quantization_rules import quantization_problems
from enginebuild.recipe.references import PLACEHOLDERS, SCRATCH, expand, is_tag
from enginebuild.recipe.show import quoted
from enginebuild.recipe.verify_rules import verify_problems
from enginebuild.recipe.warm_rules import warm_problems
from enginebuild_cache import Json


def check_rules(values: Mapping[str, Json], root: MappingNode) -> list[Problem]:
    """`values` holds the fields that were read without a problem; what is missing is not looked at."""
    return [
        *_model(values, root),
        *quantization_problems(values, root),
        *engine_problems(values, root),
        *_tags(values),
        *_layout(values),
        *verify_problems(values),
        *warm_problems(values),
    ]


def _model(values: Mapping[str, Json], root: MappingNode) -> list[Problem]:
    written = _written(root, "model")
    source = text(section(values, "model").get("source"))
    if not isinstance(written, MappingNode) or not source:
        return []
    problems = []
    if source.startswith("file:"):
        for key in ("revision", "auth"):
            if key in written.entries:
                message = f"model.{key} means nothing for a local folder"
                problems.append(Problem(("model", key), message, "delete it", on_key=True))
    elif "@" in source and "revision" in written.entries:
        message = f"the revision is given twice, here and in model.source: {quoted(source)}"
        problems.append(Problem(("model", "revision"), message, "keep one of the two", on_key=True))
    return problems


def _written(root: MappingNode, key: str) -> Node | None:
    entry = root.entries.get(key)
    return entry.value if entry else None


def _tags(values: Mapping[str, Json]) -> list[Problem]:
    tags = section(values, "image").get("tags")
    local = text(section(values, "model").get("source")).startswith("file:")
    filled = {
        **PLACEHOLDERS,
        "name": text(values.get("name")) or "0",
        "version": text(section(values, "engine").get("version")) or "0",
    }
    problems = []
    for index, tag in enumerate(tags if isinstance(tags, list) else []):
        path = ("image", "tags", index)
        expanded = expand(text(tag), filled)
        if not is_tag(expanded):
            message = (
                f"image.tags[{index}] has {len(expanded)} characters when filled in, a tag has 128 at most"
            )
            problems.append(Problem(path, message, "shorten it, or the recipe's name"))
        elif local and "{commit}" in text(tag):
            message = f"image.tags[{index}] has {{commit}}, and a local folder has no commit"
            problems.append(Problem(path, message, "write {key}, which stands for everything that was built"))
    return problems


def _layout(values: Mapping[str, Json]) -> list[Problem]:
    image = section(values, "image")
    layout = image.get("layout")
    if layout is None or "base" not in image:
        return []
    base = image["base"]
    if layout == "server":
        hint = f"add base: {base_example(section(values, 'engine'))}"
        missing = Problem(("image", "base"), "missing key 'base' in image", hint, on_key=True)
        return [missing] if base is None else []
    if base in (None, SCRATCH):
        return []
    message = f"image.base cannot be used with layout {text(layout)}, which holds the model and nothing else"
    return [
        Problem(
            ("image", "base"), message, "delete base or make it scratch, or write layout: server", on_key=True
        )
    ]
