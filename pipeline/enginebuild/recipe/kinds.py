"""Kinds of values: each reads a node, says what is wrong with it, and describes itself as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from enginebuild.errors import Problem
from enginebuild.recipe.node import InvalidNode, MappingNode, Node, ScalarNode
from enginebuild.recipe.show import bare, described, quoted
from enginebuild_cache import Json

Path = tuple[str | int, ...]
Schema = dict[str, Json]


class Invalid:
    """What a value that was refused reads as. The problem is in the list already."""


INVALID = Invalid()


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a value. `message` continues the value's name: "engine.version" + " must be …"."""

    message: str
    hint: str = ""


class Kind(Protocol):
    """`name` is what a value of this kind is called in messages and in the reference."""

    @property
    def name(self) -> str: ...

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid: ...

    def schema(self) -> Schema: ...


def dotted(path: Path) -> str:
    """A path as people write it: engine.args.max_model_len, image.tags[0]."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{bare(step)}" if text else bare(step)
    return text


def refused(problems: list[Problem], path: Path, message: str, hint: str = "") -> Invalid:
    """Note a problem whose message begins with the value's name."""
    problems.append(Problem(path, f"{dotted(path)} {message}", hint))
    return INVALID


def wrong_kind(problems: list[Problem], path: Path, name: str, node: Node, hint: str = "") -> Invalid:
    if isinstance(node, InvalidNode):
        return INVALID
    return refused(problems, path, f"must be {name}, not {described(node)}", hint)


@dataclass(frozen=True)
class Text:
    """A text that `check` accepts: it returns None, or what is wrong."""

    name: str
    check: Callable[[str], Complaint | None]
    pattern: str = ""
    hint: str = ""

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            return wrong_kind(problems, path, self.name, node, self.hint or _quote_it(node))
        complaint = self.check(node.value)
        if complaint is not None:
            return refused(problems, path, complaint.message, complaint.hint)
        return node.value

    def schema(self) -> Schema:
        return (
            {"type": "string", "pattern": self.pattern}
            if self.pattern
            else {"type": "string", "minLength": 1}
        )


def _quote_it(node: Node) -> str:
    """Advice for a number or boolean where a text belongs; `{key}` reads as a mapping of a key to nothing."""
    if isinstance(node, ScalarNode) and node.value is not None:
        return f'quote it: "{bare(node.text)}"'
    if isinstance(node, MappingNode) and len(node.entries) == 1:
        key, entry = next(iter(node.entries.items()))
        if isinstance(entry.value, ScalarNode) and entry.value.text == "":
            return f'quote it: "{{{bare(key)}}}"'
    return ""


@dataclass(frozen=True)
class Choice:
    """One of a few texts. `answers` maps other tools' words to ours; `refusals` to a whole answer."""

    values: tuple[str, ...]
    answers: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, Complaint] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return any_of(self.values)

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            return wrong_kind(problems, path, self.name, node, f"write for example {self.values[0]}")
        if node.value in self.values:
            return node.value
        low = node.value.lower()
        if low in self.refusals:
            return refused(problems, path, self.refusals[low].message, self.refusals[low].hint)
        hint = ""
        if answer := self.answers.get(low) or self.answers.get(low.replace("-", "_")):
            hint = f"enginebuild's word for {quoted(node.value)} is {answer}"
        elif close := closest(low, self.values):
            hint = f"did you mean {close}?"
        return wrong_kind(problems, path, self.name, node, hint)

    def schema(self) -> Schema:
        return {"enum": list(self.values)}


def any_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def closest(text: str, names: Sequence[str]) -> str:
    """The one name that `text` is probably a misspelling of, or an empty text."""
    from difflib import get_close_matches

    close = get_close_matches(text, names, 1, 0.6)
    return close[0] if close else ""


@dataclass(frozen=True)
class Count:
    """A whole number of at least `minimum`, and a multiple."""

    minimum: int = 1
    multiple: int = 1

    @property
    def name(self) -> str:
        if self.multiple > 1:
            return f"a multiple of {self.multiple}"
        return f"a whole number of at least {self.minimum}"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ScalarNode):
            return wrong_kind(problems, path, self.name, node)
        value = node.value
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and isinstance(value, int) and value >= self.minimum and value % self.multiple == 0:
            return value
        digits = isinstance(value, str) and value.isascii() and value.isdigit()
        hint = f"write it without quotes: {bare(node.text)}" if digits else ""
        return wrong_kind(problems, path, self.name, node, hint)

    def schema(self) -> Schema:
        schema: Schema = {"type": "integer", "minimum": self.minimum}
        return {**schema, "multipleOf": self.multiple} if self.multiple > 1 else schema


@dataclass(frozen=True)
class Version:
    """The recipe format's own version: a number that must be known."""

    known: int

    @property
    def name(self) -> str:
        return f"the number {self.known}"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, ScalarNode) and isinstance(node.value, int) and not isinstance(node.value, bool):
            if node.value == self.known:
                return node.value
            hint = f"this enginebuild reads version {self.known}; a newer one may read yours"
            return wrong_kind(problems, path, self.name, node, hint)
        hint = f"it is the version of the recipe format: write version: {self.known}"
        return wrong_kind(problems, path, self.name, node, hint)

    def schema(self) -> Schema:
        return {"const": self.known, "type": "integer"}


@dataclass(frozen=True)
class Switch:
    """true or false."""

    name: str = "true or false"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        quotes = isinstance(node, ScalarNode) and node.value in ("true", "false")
        return wrong_kind(problems, path, self.name, node, "write it without quotes" if quotes else "")

    def schema(self) -> Schema:
        return {"type": "boolean"}
