"""Sections: mappings with known keys. An unknown key is answered with the one that was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import INVALID, Invalid, Kind, Path, Schema, dotted
from enginebuild.recipe.node import InvalidNode, MappingNode, Node, ScalarNode
from enginebuild.recipe.show import described
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of an unknown key, and the dotted path of our key that it stands for, if that is known."""

    problem: Problem
    meant: str = ""


#: Answers an unknown key of the section at a path: (the section's keys, path, key).
Answerer = Callable[[Sequence[str], Path, str], Answer]


@dataclass(frozen=True)
class Field:
    """One key. `text` is its line in the reference and the schema; `default` is None where there is none."""

    name: str
    kind: Kind
    text: str
    example: Json
    default: Json = None
    required: bool = False


@dataclass(frozen=True)
class Section:
    """A mapping that may have these keys and no others.

    `conditions`: what a rule demands of several keys together, in the words of JSON Schema.
    """

    fields: tuple[Field, ...]
    answer: Answerer
    name: str = "a mapping"
    conditions: Schema = field(default_factory=dict)

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, InvalidNode):
            return INVALID
        if not isinstance(node, MappingNode):
            where = dotted(path) or "a recipe"
            message = f"{where} must be a mapping of keys to values, not {described(node)}"
            problems.append(Problem(path, message, f"it has the keys {', '.join(self.names())}"))
            return INVALID
        answers = [self.answer(self.names(), path, key) for key in node.entries if key not in self.names()]
        problems.extend(each.problem for each in answers)
        meant = {each.meant for each in answers}
        values: dict[str, Json] = {}
        for each in self.fields:
            if each.name not in node.entries and dotted((*path, each.name)) in meant:
                continue
            value = self._read_field(each, node, path, problems)
            if not isinstance(value, Invalid):
                values[each.name] = value
        return values

    def _read_field(
        self, each: Field, node: MappingNode, path: Path, problems: list[Problem]
    ) -> Json | Invalid:
        entry = node.entries.get(each.name)
        if entry is not None:
            return each.kind.read(entry.value, (*path, each.name), problems)
        if not each.required:
            return each.default
        message = f"missing key '{each.name}'" + (f" in {dotted(path)}" if path else "")
        problems.append(Problem(path, message, f"add {each.name}: {_inline(each.example)}", on_key=True))
        return INVALID

    def answering(self, answer: Answerer) -> Section:
        """The same section, and all within it, with another answer to unknown keys."""
        fields = tuple(
            replace(each, kind=each.kind.answering(answer))
            if isinstance(each.kind, Section | ShortOrSection)
            else each
            for each in self.fields
        )
        return replace(self, answer=answer, fields=fields)

    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.fields)

    def schema(self) -> Schema:
        properties: dict[str, Json] = {}
        for each in self.fields:
            schema: Schema = {"description": each.text, **each.kind.schema()}
            if each.default is not None:
                schema["default"] = each.default
            properties[each.name] = {**schema, "examples": [each.example]}
        required: list[Json] = [each.name for each in self.fields if each.required]
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
            **self.conditions,
        }


def _inline(value: Json) -> str:
    """An example as it may be pasted."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(entry)}" for key, entry in value.items()) + "}"
    return str(value)


@dataclass(frozen=True)
class ShortOrSection:
    """A text, or the section whose key `short` that text is."""

    section: Section
    short: str
    name: str = field(default="a text or a mapping")

    def answering(self, answer: Answerer) -> ShortOrSection:
        return replace(self, section=self.section.answering(answer))

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, ScalarNode):
            return self._read_short(node, path, problems)
        return self.section.read(node, path, problems)

    def _read_short(self, node: ScalarNode, path: Path, problems: list[Problem]) -> Json | Invalid:
        values: dict[str, Json] = {each.name: each.default for each in self.section.fields}
        kind = next(each.kind for each in self.section.fields if each.name == self.short)
        value = kind.read(node, path, problems)
        return value if isinstance(value, Invalid) else {**values, self.short: value}

    def schema(self) -> Schema:
        kind = next(each.kind for each in self.section.fields if each.name == self.short)
        return {"anyOf": [kind.schema(), self.section.schema()]}
