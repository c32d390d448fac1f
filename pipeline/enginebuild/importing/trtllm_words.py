"""The words of TensorRT-LLM's commands, read by the tables of their options.

An option that the wanted version has not is looked for in the others: what follows it is then known, and
whether it can be carried is for the check to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from enginebuild.engines.tensorrt_llm.table import TOGGLE, Option, options, table
from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild.engines.words import closest, listed
from enginebuild.recipe.show import quoted
from enginebuild_cache import Json

_NUMBER = re.compile(r"-\d+(?:\.\d+)?\Z")
#: The oldest table; no release of today's list has it.
_OLDEST = "0.11.0"


@dataclass
class Words:
    """`values` by the option's name, `spelled` as written; `positional` belongs to no option."""

    values: dict[str, Json] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


@cache
def _by_flag(version: str, commands: tuple[str, ...]) -> Mapping[str, Option]:
    """Every spelling of these commands' options, in that version or else in the newest that has it."""
    found: dict[str, Option] = {}
    newest_first = [version, *reversed([each for each in releases() if each != version])]
    for option in _all(newest_first, commands):
        for flag in option.flags:
            found.setdefault(flag, option)
    return found


def _all(versions: Sequence[str], commands: tuple[str, ...]) -> Iterable[Option]:
    for version in versions:
        for command in commands:
            try:
                yield from options(version, command).values()
            except KeyError:
                continue
    for command in commands:
        try:
            yield from table(_OLDEST, command).values()
        except KeyError:
            continue


def read_words(program: str, version: str, commands: tuple[str, ...], words: Sequence[str]) -> Words:
    """The words after a program. Every mistake is in `mistakes`."""
    flags, found, rest = _by_flag(version, commands), Words(), list(words)
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            found.positional.append(word)
            continue
        spelled, equals, value = word.partition("=")
        option = flags.get(spelled) or flags.get(spelled.replace("-", "_").replace("__", "--", 1))
        if option is None:
            found.mistakes.append(_stranger(program, spelled, flags))
            while not equals and rest and not _is_option(rest[0]):
                rest.pop(0)
        else:
            _take(found, option, spelled, [value] if equals else _following(option, rest))
    return found


def _following(option: Option, rest: list[str]) -> list[str]:
    most = {"none": 0, "one": 1, "optional": 1, "many": len(rest)}[option.nargs]
    taken: list[str] = []
    while rest and len(taken) < most and not _is_option(rest[0]):
        taken.append(rest.pop(0))
    return taken


def _take(found: Words, option: Option, spelled: str, words: list[str]) -> None:
    if option.nargs == "none" and not words:
        value: Json = True
    elif not words and option.nargs != "optional":
        hint = f": {' or '.join(TOGGLE)}" if option.toggle else ""
        found.mistakes.append(f"{spelled} needs a value{hint}")
        return
    elif option.nargs == "many":
        value = list(words)
    else:
        value = typed(option, words[0]) if words else option.default
    if isinstance(value, str) and option.type in ("int", "float"):
        kind = "a whole number" if option.type == "int" else "a number"
        found.mistakes.append(f"{spelled} takes {kind}, not {quoted(value)}")
        return
    found.values.pop(option.name, None)
    found.values[option.name], found.spelled[option.name] = value, spelled


def typed(option: Option, word: str) -> Json:
    """A word as the option's value; as it is where it is none."""
    if option.toggle and word in TOGGLE:
        return word == TOGGLE[0]
    if option.type in ("int", "float") and re.fullmatch(r"[+-]?\d+", word):
        return int(word)
    if option.type == "float" and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word):
        return float(word)
    if option.type == "bool" and word.lower() in ("true", "false"):
        return word.lower() == "true"
    return word


def _stranger(program: str, spelled: str, flags: Mapping[str, Option]) -> str:
    near = closest(spelled.lstrip("-"), [flag.lstrip("-") for flag in flags])
    hint = f"; did you mean --{near}?" if near else ""
    return f"{program} has no option {quoted(spelled)} in any version that is known{hint}"


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NUMBER.match(word)


def no_positional(program: str, words: Words) -> list[str]:
    """What is wrong with words that belong to no option of a program that takes none."""
    if not words.positional:
        return []
    return [f"{listed(map(quoted, words.positional))}: {program} takes options alone"]
