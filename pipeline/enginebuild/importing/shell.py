"""A command as typed into a shell, taken apart: assignments, words, what else is on the line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from enginebuild.importing.draft import no_command

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_BEFORE = ("export", "exec", "nohup", "sudo", "env", "time")
#: The shell's own characters, of which shlex makes words of their own.
_MARKS = frozenset(";&|<>()\n")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the variables set for it, and its words."""

    environment: Mapping[str, str]
    words: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """The commands of a text, in their order. What `export` sets holds for those after it.

    Redirections are left out, variables of the text filled in. Raises RecipeError for quotes that do not end.
    """
    lexer = shlex.shlex(_joined(text), posix=True, punctuation_chars="".join(sorted(_MARKS)))
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise no_command([f"a quote in it does not end ({error})"]) from error
    found: list[Command] = []
    exported: dict[str, str] = {}
    for part in _parts(words):
        command = _command(part, exported)
        if command.words:
            found.append(command)
        else:
            exported |= command.environment
    return found


def _joined(text: str) -> str:
    """Lines that end with a backslash are one line; a redirected stream loses its number."""
    one = re.sub(r"\\\r?\n", " ", text.strip().removeprefix("$ "))
    return re.sub(r"(?<=\s)[12]>", ">", one)


def _parts(words: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    redirected = False
    for word in words:
        if word and set(word) <= _MARKS:
            redirected = bool(set(word) & {"<", ">"}) and "\n" not in word
            if not redirected:
                yield part
                part = []
        elif redirected:
            redirected = False
        else:
            part.append(word)
    yield part


def _command(words: list[str], exported: Mapping[str, str]) -> Command:
    environment, rest = dict(exported), list(words)
    while rest and (rest[0] in _BEFORE or _ASSIGNMENT.match(rest[0])):
        if match := _ASSIGNMENT.match(rest.pop(0)):
            environment[match[1]] = _filled(match[2], environment)
    return Command(environment, tuple(_filled(word, environment) for word in rest))


def _filled(word: str, environment: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: environment.get(match[1] or match[2], match[0]), word)


def unknown_variables(words: Sequence[str]) -> Iterator[str]:
    """A mistake for each word with a variable or a command whose value is not in the text."""
    for word in words:
        if match := _VARIABLE.search(word):
            name = match[1] or match[2]
            yield f"{match[0]} is a variable whose value is not in the command: write {name}=… before it"
        elif word.endswith("$") or "$(" in word or "`" in word:
            yield f"{word[:40]!r} is what another command prints: write that in its place"
