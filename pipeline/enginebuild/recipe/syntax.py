"""PyYAML's complaints in words that say what to do. Its texts are those of PyYAML 6.0.3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import yaml

from enginebuild.recipe.text import Finding, Source, Span


class Mark(Protocol):
    """PyYAML's place: a character's index, from 0."""

    index: int


_BRACKETS = "and quote texts that hold any of [ ] { } , :"
_COLUMNS = "begin all keys of a mapping, and all entries of a list, in the same column"
_NO_TAGS = "a recipe has no YAML tags"


@dataclass(frozen=True)
class _Row:
    """PyYAML's context and problem as patterns, and our words.

    `$` in a message stands for what the problem's group holds, `@` for the line where the construct begins.
    PyYAML often points at the end of a construct; `at_begin` points at where it begins.
    """

    context: str
    problem: str
    message: str
    hint: str = ""
    at_begin: bool = False


_ROWS = (
    _Row("", r"character '\\t'", "a tab stands here", "YAML is indented with spaces only: replace the tab"),
    _Row("", r"character '(.)' that cannot start", "a value cannot begin with $", "put it in double quotes"),
    _Row(
        "",
        r"mapping values are not allowed",
        "this ':' makes no sense here",
        "quote a text that holds ': ', or look for a colon that is missing in the line above",
    ),
    _Row(
        "",
        r"could not find expected ':'",
        "this is neither 'key: value' nor a list entry",
        "write a colon and a space after the key",
        True,
    ),
    _Row("alias", r"", "a text that begins with '*' must be quoted", "put it in double quotes", True),
    _Row("anchor", r"", "a text that begins with '&' must be quoted", "put it in double quotes", True),
    _Row(
        "quoted scalar", r"found unexpected", "this quote is never closed", "close it in the same line", True
    ),
    _Row(
        "double-quoted",
        r"found unknown escape character '(.*)'",
        "\\$ is no escape of YAML",
        "use single quotes, in which \\ has no meaning, or write \\\\",
    ),
    _Row("double-quoted", r"sequence of (\d+)", "this escape needs $ hexadecimal digits"),
    _Row(
        "flow sequence",
        r"expected ',' or",
        "the list opened with '[' in line @ is not closed before this",
        f"write ']' or a comma, {_BRACKETS}",
    ),
    _Row(
        "flow mapping",
        r"expected ',' or",
        "the mapping opened with '{' in line @ is not closed before this",
        f"write '}}' or a comma, {_BRACKETS}",
    ),
    _Row(
        "node",
        r"expected the node content",
        "a value is missing before this, or a bracket is not closed",
        f"close every [ and {{, {_BRACKETS}",
    ),
    _Row("block", r"block end>, but found '\?'", "a key is missing before this ':'", "write the key"),
    _Row("block", r"block end>, but found ':'", "a key is missing before this ':'", "write the key"),
    _Row("block", r"block end>", "this is indented unlike what is above it", _COLUMNS),
    _Row(
        "",
        r"sequence entries are not allowed",
        "a list entry cannot begin here",
        "begin the list in the next line, or quote a text that begins with '- '",
    ),
    _Row("tag", r"", _NO_TAGS, "quote a text that begins with '!'", True),
    _Row("node", r"undefined tag handle", _NO_TAGS, "quote a text that begins with '!'", True),
    _Row("directive", r"", "a recipe has no YAML directives", "delete this line", True),
    _Row(
        "",
        r"YAML directive|YAML document \(|tag handle",
        "a recipe has no YAML directives",
        "delete this line",
    ),
    _Row(
        "",
        r"expected '<document start>'",
        "the recipe has ended before this",
        "begin every top-level key in the first column",
    ),
    _Row(
        "block scalar",
        r"",
        "after | or > only an indentation digit, + or - may follow",
        "begin the text in the next line",
    ),
)


def explain(error: yaml.MarkedYAMLError, source: Source, begin: int) -> Finding:
    """A syntax error as a finding. A complaint that is not in the table is given in PyYAML's words."""
    context, problem = error.context or "", error.problem or ""
    for row in _ROWS:
        match = re.search(row.problem, problem)
        if match is None or not re.search(row.context, context):
            continue
        first = _span(error.context_mark, source, begin)
        span = first if row.at_begin else _span(error.problem_mark, source, begin)
        message = row.message.replace("@", str(first.line))
        return Finding(span, message.replace("$", match[1]) if match.groups() else message, row.hint)
    span = _span(error.problem_mark, source, begin)
    return Finding(span, f"not YAML: {context + ', ' if context else ''}{problem}")


def _span(mark: Mark | None, source: Source, begin: int) -> Span:
    """A place, but never beyond the last line that is not blank."""
    index = len(source.text) if mark is None else begin + mark.index
    return Span(source, max(begin, min(index, source.last_index())))
