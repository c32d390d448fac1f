"""The section `warm`: true, or the limits of the server that is started for its compile cache."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import Invalid, Path, Schema, Switch, wrong_kind
from enginebuild.recipe.node import MappingNode, Node, ScalarNode
from enginebuild.recipe.section import Field, Section, ShortOrSection
from enginebuild.recipe.units import DURATION_KIND, SIZE_KIND
from enginebuild.recipe.unknown import answer
from enginebuild_cache import Json

DEFAULT_WARM_TIMEOUT = "1h"
DEFAULT_WARM_SHM_SIZE = "16GB"

WARM = Section(
    (
        Field(
            "timeout",
            DURATION_KIND,
            "The longest that each of the two starts may take until its first completion.",
            "1h",
            DEFAULT_WARM_TIMEOUT,
        ),
        Field("memory", SIZE_KIND, "Limit of the server's container. By default none.", "64GB"),
        Field(
            "shm_size",
            SIZE_KIND,
            "Shared memory of the server's container.",
            "16GB",
            DEFAULT_WARM_SHM_SIZE,
        ),
    ),
    answer,
)


@dataclass(frozen=True)
class SwitchOrSection(ShortOrSection):
    """true for the section with its defaults, false for none of it, or the section."""

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, MappingNode):
            return self.section.read(node, path, problems)
        if not (isinstance(node, ScalarNode) and isinstance(node.value, bool)):
            quotes = isinstance(node, ScalarNode) and node.value in ("true", "false")
            return wrong_kind(problems, path, self.name, node, "write it without quotes" if quotes else "")
        return {each.name: each.default for each in self.section.fields} if node.value else False

    def schema(self) -> Schema:
        return {"anyOf": [Switch().schema(), self.section.schema()]}


WARM_KIND = SwitchOrSection(WARM, "", "true, false or a mapping")
