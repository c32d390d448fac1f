"""PyYAML's complaints in words that say what to do. Its texts are those of PyYAML 6.0.3."""

from __future__ import annotations

import re

import yaml

from enginebuild.recipe.text import Finding, Source, Span

#: (context, problem) of PyYAML as patterns → message, hint. `{0}` is the problem's group.
_EXPLAINED: tuple[tuple[str, str, str, str], ...] = (
    ("", r"found character '\\t'", "a tab stands here", "YAML is indented with spaces only: replace the tab"),
    (
        "",
        r"found character '(.)' that cannot start",
        "a value cannot begin with {0}",
        "put the value in double quotes",
    ),
    (
        "",
        r"mapping values are not allowed",
        "a second ':' in one line, or a key indented below a value",
        "quote a text that holds ': ', or mend the indentation",
    ),
    (
        "",
        r"could not find expected ':'",
        "this line is neither 'key: value' nor a list entry",
        "write a colon and a space after the key",
    ),
    (
        "alias",
        r"expected alphabetic",
        "a text that begins with '*' must be quoted",
        'write for example "*.safetensors" in double quotes',
    ),
    ("anchor", r"expected alphabetic", "a text that begins with '&' must be quoted", "use double quotes"),
    ("quoted scalar", r"found unexpected end", "this quote is never closed", "close it in the same line"),
    (
        "quoted scalar",
        r"found unexpected document separator",
        "this quote is not closed before the next document",
        "close it in the same line",
    ),
    (
        "double-quoted",
        r"found unknown escape character '(.*)'",
        "\\{0} is no escape of YAML",
        "use single quotes, in which \\ has no meaning, or write \\\\",
    ),
    ("double-quoted", r"expected escape sequence of (\d+)", "this escape needs {0} hexadecimal digits", ""),
    (
        "flow sequence",
        r"expected ',' or '\]'",
        "the list opened with '[' is not closed before this",
        "write ']' or a comma, and quote texts that hold any of [ ] {{ }} , :",
    ),
    (
        "flow mapping",
        r"expected ',' or '\}'",
        "the mapping opened with '{{' is not closed before this",
        "write '}}' or a comma, and quote texts that hold any of [ ] {{ }} , :",
    ),
    (
        "flow node",
        r"expected the node content",
        "a value is missing before this, or a bracket is not closed",
        "close every [ and {{, and quote texts that hold any of [ ] {{ }} , :",
    ),
    (
        "block collection",
        r"expected <block end>",
        "this line is indented unlike the list above it",
        "begin all entries of a list in the same column",
    ),
    (
        "block mapping",
        r"expected <block end>",
        "this is indented unlike the keys above it",
        "begin all keys of a mapping in the same column",
    ),
    (
        "",
        r"sequence entries are not allowed",
        "a list entry cannot begin here",
        "begin the list in the next line, or quote a text that begins with '- '",
    ),
    (
        "tag|node",
        r"undefined tag handle|expected ' '|expected '!'|expected '>'|expected URI",
        "a recipe has no YAML tags",
        "quote a text that begins with '!'",
    ),
    ("directive", r"", "a recipe has no YAML directives", "delete this line"),
    (
        "",
        r"expected '<document start>'",
        "the recipe has ended before this",
        "begin every top-level key in the first column",
    ),
    (
        "block scalar",
        r"",
        "after | or > only an indentation digit, + or - may follow",
        "begin the text in the next line",
    ),
)
#: Where PyYAML points at the end of the file, and the beginning is more useful.
_POINT_AT_BEGIN = re.compile(r"quoted scalar\Z")


def explain(error: yaml.MarkedYAMLError, source: Source, begin: int) -> Finding:
    """A syntax error as a finding. A complaint that is not in the table is given in PyYAML's words."""
    context, problem = error.context or "", error.problem or ""
    mark = error.problem_mark or error.context_mark
    if _POINT_AT_BEGIN.search(context) and "found un" in problem and error.context_mark is not None:
        mark = error.context_mark if "escape" not in problem else mark
    index = len(source.text) if mark is None else min(begin + mark.index, len(source.text))
    span = Span(source, min(index, max(begin, source.last_index())))
    for in_context, pattern, message, hint in _EXPLAINED:
        match = re.search(pattern, problem)
        if match and re.search(in_context, context):
            return Finding(span, message.format(*match.groups()), hint.format())
    return Finding(span, f"not YAML: {context + ', ' if context else ''}{problem}")
