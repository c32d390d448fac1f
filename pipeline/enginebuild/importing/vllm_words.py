"""The words of `vllm serve`, read as its parser reads them, by the tables of arguments.

Facts: vLLM 0.33.0's FlexibleArgumentParser. Underscores are dashes; `--a.b v` makes a mapping, its value read
as JSON where it is, and those mappings come after all other words; `-O3` is `--optimization-level 3`; of an
option that is given twice the last counts; a beginning that fits one option alone is that option.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.vllm.table import VERSIONS, Argument, Table, table
from enginebuild.engines.vllm.values import readable_int
from enginebuild.engines.vllm.words import listed, wanted
from enginebuild.engines.words import closest
from enginebuild.recipe.show import quoted
from enginebuild_cache import Json

_FORMER = Path(__file__).parent / "former.json"
_NUMBER = re.compile(r"-\d+(?:\.\d+)?\Z|-\.\d+\Z")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass
class Words:
    """What was read. `values` by argument, `spelled` the option as it was written.

    By option, with the reason: `gone` are those of former versions, `repeated` those that a later one
    overrules, `strangers` those that this version has not.
    """

    values: dict[str, Json] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    gone: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def put(self, name: str, value: Json, spelled: str) -> None:
        if name in self.values and self.values.pop(name) != value:
            self.repeated[self.spelled[name]] = f"given again as {spelled}, and vLLM takes the last"
        self.values[name], self.spelled[name] = value, spelled


class WordError(Exception):
    """A word that is no value of its argument."""


@cache
def former() -> Mapping[str, tuple[str, str]]:
    """Arguments that older versions had: how many words follow, and what to do without."""
    known: Mapping[str, Any] = json.loads(_FORMER.read_text(encoding="utf-8"))["arguments"]
    return {name: (followed, advice) for name, (followed, advice) in known.items()}


def read_words(version: str, words: Sequence[str]) -> Words:
    """The words after `vllm serve`. Every mistake is in `mistakes`."""
    return _Reader(table(version), list(words)).read()


class _Reader:
    def __init__(self, known: Table, words: list[str]) -> None:
        self._known, self._words = known, words
        self._found = Words()
        self._dotted: dict[str, dict[str, Json]] = {}

    def read(self) -> Words:
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                self._found.positional.extend(self._words)
                break
            if not word.startswith("-") or _NUMBER.match(word) or word == "-":
                self._found.positional.append(word)
            else:
                self._option(word)
        for spelled, value in self._dotted.items():
            name = self._name(spelled)
            if name is not None:
                self._found.put(name, value, spelled)
        return self._found

    def _option(self, word: str) -> None:
        spelled, equals, value = word.partition("=")
        if spelled.startswith("-O") and not spelled.startswith("-O."):
            level = value if equals else spelled[2:] or (self._words.pop(0) if self._words else "")
            self._typed(self._known.arguments["optimization_level"], "-O", [level])
        elif "." in spelled:
            self._nested(spelled, value if equals else self._following(spelled))
        elif (name := self._name(spelled)) is None:
            self._unknown(spelled, bool(equals))
        else:
            self._known_option(self._known.arguments[name], spelled, value if equals else None)

    def _name(self, spelled: str) -> str | None:
        """The argument of an option, without regard to `no-`."""
        plain = _plain(spelled)
        if plain in self._known.arguments:
            return plain
        if plain in self._known.aliases:
            return self._known.aliases[plain]
        positive = plain.removeprefix("no_")
        if positive != plain and self._is_switch(positive):
            return positive
        if not spelled.startswith("--") or plain in former():
            return None
        names = [*self._known.arguments, *(f"no_{n}" for n in self._known.arguments if self._is_switch(n))]
        begun = [name for name in names if name.startswith(plain)]
        return begun[0].removeprefix("no_") if len(begun) == 1 else None

    def _is_switch(self, name: str) -> bool:
        argument = self._known.arguments.get(self._known.aliases.get(name, name))
        return argument is not None and argument.kind == "bool" and argument.negatable

    def _known_option(self, argument: Argument, spelled: str, value: str | None) -> None:
        if argument.kind == "bool":
            self._switch(argument, spelled, value)
        elif value is not None:
            self._typed(argument, spelled, [value])
        elif argument.many:
            taken = []
            while self._words and not _is_option(self._words[0]):
                taken.append(self._words.pop(0))
            self._typed(argument, spelled, taken)
        else:
            following = self._following(spelled)
            if following is not None:
                self._typed(argument, spelled, [following])

    def _switch(self, argument: Argument, spelled: str, value: str | None) -> None:
        """Also with a word, as older versions had it: `--enable-chunked-prefill=False`."""
        if value is None and self._words and self._words[0] in ("True", "False", "true", "false"):
            value = self._words.pop(0)
        on = not _plain(spelled).startswith("no_") or argument.name.startswith("no_")
        if value is not None and value.lower() not in (*_TRUE, *_FALSE):
            self._found.mistakes.append(f"{spelled} takes no value, and has {quoted(value)}")
            return
        off = value is not None and value.lower() in _FALSE
        self._found.put(argument.name, on is not off, spelled)

    def _typed(self, argument: Argument, spelled: str, words: list[str]) -> None:
        try:
            values = [typed(argument, word) for word in words]
        except WordError as mistake:
            self._found.mistakes.append(f"{spelled} {mistake}")
            return
        if not values:
            self._found.mistakes.append(f"{spelled} is followed by no value")
        else:
            self._found.put(argument.name, list(values) if argument.many else values[0], spelled)

    def _following(self, spelled: str) -> str | None:
        if self._words and not _is_option(self._words[0]):
            return self._words.pop(0)
        self._found.mistakes.append(f"{spelled} is followed by no value")
        return None

    def _nested(self, spelled: str, value: str | None) -> None:
        option, *keys = spelled.removesuffix("+").split(".")
        if value is None:
            return
        name = self._name(option)
        if name is None:
            self._unknown(option, True)
        elif self._known.arguments[name].kind not in ("object", "str_or_object"):
            self._found.mistakes.append(f"{spelled}: {option} takes no mapping")
        else:
            read = _item(value) if not spelled.endswith("+") else [_item(each) for each in value.split(",")]
            for key in reversed(keys):
                read = {key: read}
            _merge(self._dotted.setdefault(option, {}), read if isinstance(read, dict) else {})

    def _unknown(self, spelled: str, with_value: bool) -> None:
        plain = _plain(spelled)
        gone = former().get(plain.removeprefix("no_")) if spelled.startswith("--") else None
        if gone is None:
            self._found.strangers[spelled] = self._stranger(spelled, plain)
            while not with_value and self._words and not _is_option(self._words[0]):
                self._words.pop(0)
            return
        followed, advice = gone
        while followed != "none" and not with_value and self._words and not _is_option(self._words[0]):
            self._words.pop(0)
            with_value = followed == "one"
        self._found.gone[spelled] = f"gone from vLLM {self._known.version}; {advice}"

    def _stranger(self, spelled: str, plain: str) -> str:
        elsewhere = [v for v in VERSIONS if v != self._known.version and plain in table(v).arguments]
        hint = f"; vLLM {listed(elsewhere)} has it" if elsewhere else ""
        if not hint and (near := closest(plain, self._known.arguments)):
            hint = f"; did you mean --{near.replace('_', '-')}?"
        return f"vLLM {self._known.version} has no option {quoted(spelled)}{hint}"


def typed(argument: Argument, word: str) -> Json:
    """A word as the value of an argument. Raises WordError for one that it is not."""
    kind = argument.kind
    if argument.name == "lora_modules":
        return _item(word) if word.startswith("{") else word
    if kind == "str_or_object" and not word.startswith("{"):
        return word
    if kind in ("object", "json_list", "str_or_object"):
        return _json(argument, word)
    if kind.startswith("readable_int"):
        if word.lower() == "auto" and kind.endswith("auto"):
            return "auto"
        if readable_int(word) is None:
            raise WordError(f"takes {wanted(argument)}, not {quoted(word)}")
        return int(word) if re.fullmatch(r"[+-]?\d+", word.strip()) else word
    return _number(argument, word) if kind in ("int", "float") else word


def _number(argument: Argument, word: str) -> Json:
    try:
        return int(word) if argument.kind == "int" or re.fullmatch(r"[+-]?\d+", word) else float(word)
    except ValueError:
        one = "a whole number" if argument.kind == "int" else "a number"
        raise WordError(f"takes {one}, not {quoted(word)}") from None


def _json(argument: Argument, word: str) -> Json:
    try:
        value: Json = json.loads(word)
    except (ValueError, RecursionError):
        raise WordError(f"takes {wanted(argument)} as JSON, not {quoted(word)}") from None
    if not isinstance(value, list if argument.kind == "json_list" else dict):
        raise WordError(f"takes {wanted(argument)} as JSON, not {quoted(word)}")
    return value


def _item(word: str) -> Json:
    """The value of one key: JSON, a number such as 8k, or text."""
    try:
        value: Json = json.loads(word)
    except (ValueError, RecursionError):
        number = readable_int(word)
        return word if number is None else number
    return value


def _merge(into: dict[str, Json], more: Mapping[str, Json]) -> None:
    for key, value in more.items():
        before = into.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            into[key] = [*before, *value]
        else:
            into[key] = value


def _plain(spelled: str) -> str:
    return spelled.lstrip("-").replace("-", "_")


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)
