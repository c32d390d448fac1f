"""`--set key.path=value`: replaces or adds one value of a recipe before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from enginebuild.recipe.compose import Composer, UnreadableError
from enginebuild.recipe.node import Entry, MappingNode, Node, ScalarNode
from enginebuild.recipe.show import described
from enginebuild.recipe.text import Finding, Source, Span

#: Below these, what is left of a path is one key, for its keys have dots (org.opencontainers.image.vendor).
_WHOLE_KEYS = (("image", "labels"),)


def apply(root: MappingNode, overrides: Sequence[str], findings: list[Finding]) -> MappingNode:
    """The recipe with all overrides, the later winning. What is wrong with one is added to `findings`."""
    for text in overrides:
        root = _apply_one(root, text, findings)
    return root


def _apply_one(root: MappingNode, text: str, findings: list[Finding]) -> MappingNode:
    path, equals, _ = text.partition("=")
    source = Source(f"--set {path}=…" if equals else f"--set {path}", text, option=True)
    start = Span(source, 0)
    if not equals:
        findings.append(
            Finding(start, "an override has no '='", "write --set key=value, such as image.base=scratch")
        )
        return root
    keys = _split(path)
    if not all(keys):
        findings.append(Finding(start, "a key is empty", "write --set key=value, such as image.base=scratch"))
        return root
    composer = Composer(source, len(path) + 1, findings)
    try:
        value = composer.compose()
    except UnreadableError as error:
        findings.append(error.finding)
        return root
    if value is None:
        value = ScalarNode(None, "", Span(source, len(text)))
    return _with(root, keys, 0, value, source, findings)


def _split(path: str) -> tuple[str, ...]:
    parts = tuple(path.split("."))
    for prefix in _WHOLE_KEYS:
        if parts[: len(prefix)] == prefix and len(parts) > len(prefix):
            return (*prefix, ".".join(parts[len(prefix) :]))
    return parts


def _with(
    node: MappingNode, keys: tuple[str, ...], depth: int, value: Node, source: Source, findings: list[Finding]
) -> MappingNode:
    key = keys[depth]
    span = Span(source, sum(len(each) + 1 for each in keys[:depth]))
    old = node.entries.get(key)
    if depth + 1 == len(keys):
        new: Node = value
    elif old is None or (isinstance(old.value, ScalarNode) and old.value.value is None):
        new = _with(MappingNode({}, span), keys, depth + 1, value, source, findings)
    elif isinstance(old.value, MappingNode):
        new = _with(old.value, keys, depth + 1, value, source, findings)
        span = old.key
    else:
        where = ".".join(keys[: depth + 1])
        message = f"{where} is {described(old.value)} in the recipe, which has no keys"
        findings.append(Finding(span, message, f"replace it as a whole: --set '{where}={{…}}'"))
        return node
    return replace(node, entries={**node.entries, key: Entry(span, new)})
