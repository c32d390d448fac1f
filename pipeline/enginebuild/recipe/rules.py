"""Rules between fields, checked on whatever fields are sound."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.format import BASE_EXAMPLE
from enginebuild.recipe.node import MappingNode, Node
from enginebuild.recipe.references import PLACEHOLDERS, SCRATCH, expand, is_tag, vllm_version
from enginebuild.recipe.show import quoted
from enginebuild_cache import Json


def check_rules(values: Mapping[str, Json], root: MappingNode) -> list[Problem]:
    """`values` holds the fields that were read without a problem; what is missing is not looked at."""
    return [*_model(values, root), *_tags(values), *_base(values), *_layout(values)]


def _section(values: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    section = values.get(key)
    return section if isinstance(section, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _model(values: Mapping[str, Json], root: MappingNode) -> list[Problem]:
    written = _written(root, "model")
    source = _text(_section(values, "model").get("source"))
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
    tags = _section(values, "image").get("tags")
    local = _text(_section(values, "model").get("source")).startswith("file:")
    filled = {
        **PLACEHOLDERS,
        "name": _text(values.get("name")) or "0",
        "version": _text(_section(values, "engine").get("version")) or "0",
    }
    problems = []
    for index, tag in enumerate(tags if isinstance(tags, list) else []):
        path = ("image", "tags", index)
        expanded = expand(_text(tag), filled)
        if not is_tag(expanded):
            message = (
                f"image.tags[{index}] has {len(expanded)} characters when filled in, a tag has 128 at most"
            )
            problems.append(Problem(path, message, "shorten it, or the recipe's name"))
        elif local and "{commit}" in _text(tag):
            message = f"image.tags[{index}] has {{commit}}, and a local folder has no commit"
            problems.append(Problem(path, message, "write {key}, which stands for everything that was built"))
    return problems


def _base(values: Mapping[str, Json]) -> list[Problem]:
    wanted = _text(_section(values, "engine").get("version"))
    found = vllm_version(_text(_section(values, "image").get("base")))
    if not wanted or not found or wanted == found:
        return []
    message = f"image.base holds vLLM {found}, and engine.version is {wanted}"
    return [Problem(("image", "base"), message, "give both the same version")]


def _layout(values: Mapping[str, Json]) -> list[Problem]:
    image = _section(values, "image")
    layout = image.get("layout")
    if layout is None or "base" not in image:
        return []
    base = image["base"]
    if layout == "server":
        hint = f"add base: {BASE_EXAMPLE}"
        missing = Problem(("image", "base"), "missing key 'base' in image", hint, on_key=True)
        return [missing] if base is None else []
    if base in (None, SCRATCH):
        return []
    message = f"image.base cannot be used with layout {_text(layout)}, which holds the model and nothing else"
    return [
        Problem(
            ("image", "base"), message, "delete base or make it scratch, or write layout: server", on_key=True
        )
    ]
