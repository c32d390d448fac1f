"""The kind of `quantization`: none, a method, or a mapping."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import Invalid, Path, Schema, dotted
from enginebuild.recipe.methods import METHODS, TARGETS
from enginebuild.recipe.node import MappingNode, Node
from enginebuild.recipe.section import ShortOrSection
from enginebuild_cache import Json


@dataclass(frozen=True)
class QuantizationKind(ShortOrSection):
    """Reads as the text `none`, or as a mapping with a method that is not none."""

    def schema(self) -> Schema:
        """As one text, only what needs nothing more."""
        alone = [name for name, method in METHODS.items() if not all(map(method.needs_texts, TARGETS))]
        return {"anyOf": [{"enum": ["none", *alone]}, self.section.schema()]}

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        value = super().read(node, path, problems)
        if not isinstance(value, dict) or value.get("method") != "none":
            return value
        if isinstance(node, MappingNode):
            problems.extend(
                Problem(
                    (*path, key),
                    f"{dotted((*path, key))} means nothing with method none, which quantizes nothing",
                    "delete it, or write a method",
                    on_key=True,
                )
                for key in node.entries
                if value.get(key) is not None and key != "method"
            )
        return "none"
