"""`--set key.path=value`: replaces or adds one value of a recipe before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enginebuild.recipe.compose import Composer, UnreadableError
from enginebuild.recipe.node import BlockedError, MappingNode, Node, ScalarNode, put
from enginebuild.recipe.show import described
from enginebuild.recipe.text import Finding, Source, Span

#: Below these, what is left of a path is one key, for its keys have dots (org.opencontainers.image.vendor).
_WHOLE_KEYS = (("image", "labels"),)
_EXAMPLE = "write --set key=value, such as image.base=scratch"


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set`: the path of a key, and its value as if it were written in the recipe."""

    keys: tuple[str, ...]
    value: Node
    spans: tuple[Span, ...]


def split(path: str) -> tuple[str, ...]:
    """The keys of a dotted path."""
    parts = tuple(path.split("."))
    for prefix in _WHOLE_KEYS:
        if parts[: len(prefix)] == prefix and len(parts) > len(prefix):
            return (*prefix, ".".join(parts[len(prefix) :]))
    return parts


def read_overrides(texts: Sequence[str], findings: list[Finding]) -> tuple[Override, ...]:
    """Those that are sound. What is wrong with the others is added to `findings`."""
    read = (_read(text, findings) for text in texts)
    return tuple(override for override in read if override is not None)


def apply(root: MappingNode, overrides: Sequence[Override], findings: list[Finding]) -> MappingNode:
    """The recipe with all overrides, the later winning. What is wrong with one is added to `findings`."""
    for override in overrides:
        try:
            root = put(root, override.keys, override.value, override.spans)
        except BlockedError as error:
            where = ".".join(override.keys[: error.depth])
            message = f"{where} is {described(error.value)} in the recipe, which has no keys"
            hint = f"replace it as a whole: --set '{where}={{…}}'"
            findings.append(Finding(override.spans[error.depth - 1], message, hint))
    return root


def _read(text: str, findings: list[Finding]) -> Override | None:
    path, equals, _ = text.partition("=")
    source = Source(f"--set {path}=…" if equals else f"--set {path}", text, option=True)
    if not equals:
        findings.append(Finding(Span(source, 0), "an override has no '='", _EXAMPLE))
        return None
    keys = split(path)
    if not all(keys):
        findings.append(Finding(Span(source, 0), "a key is empty", _EXAMPLE))
        return None
    composer = Composer(source, len(path) + 1, findings)
    try:
        value = composer.compose()
    except UnreadableError as error:
        findings.append(error.finding)
        return None
    if value is None:
        value = ScalarNode(None, "", Span(source, len(text)))
    begins = (sum(len(each) + 1 for each in keys[:depth]) for depth in range(len(keys)))
    return Override(keys, value, tuple(Span(source, begin) for begin in begins))
