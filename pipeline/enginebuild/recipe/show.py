"""How values and lines of a recipe are shown in messages: short, printable, without secrets."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from enginebuild.recipe.node import InvalidNode, ListNode, MappingNode, Node

#: Characters of a value in a message, and of a line above a caret.
VALUE_WIDTH = 60
LINE_WIDTH = 110

#: Access tokens of Hugging Face, OpenAI, GitHub, GitLab and AWS; hf_overrides is an argument of vLLM.
TOKEN = re.compile(
    r"(?:hf_(?!overrides\b)[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_\w{16,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}\b)"
)
_SECRETS = (
    TOKEN,
    # user:password@ in a URL
    re.compile(r"(?<=[ps]://)[^/\s@]+(?=@)"),
    # the password of user:password@host without a scheme; name:tag@sha256:… is none
    re.compile(r"(?<=[^\s/@:]:)[^\s/@:\"']+(?=@(?!sha256:)\S)"),
    # what follows a key that is named as a secret
    re.compile(r"(?i)(?:password|secret|token|api[_-]?key)[\"']?\s*[:=]\s*(\S.*)"),
)


def masked(text: str) -> str:
    """The text with secrets starred out, each character by one star, so that columns stay."""
    for pattern in _SECRETS:
        text = pattern.sub(_stars, text)
    return text


def _stars(match: re.Match[str]) -> str:
    group = 1 if match.re.groups else 0
    whole, start, end = match.group(), match.start(group) - match.start(), match.end(group) - match.start()
    return whole[:start] + "*" * (end - start) + whole[end:]


def printable(text: str) -> str:
    """The text without anything that moves a terminal's cursor, one character for one. Tabs stay."""
    return "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def quoted(text: str) -> str:
    """A text in quotes, shortened, control characters escaped."""
    text = masked(text)
    return repr(text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + "…")


def bare(text: str) -> str:
    """The same without the quotes, for advice on what to write."""
    return quoted(text)[1:-1]


def described(node: Node) -> str:
    """A value as messages name it."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, InvalidNode) or node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return node.text
    if isinstance(node.value, int | float):
        return f"the number {bare(node.text)}"
    return quoted(node.value)


def excerpt(line: str, column: int) -> tuple[str, str]:
    """A line and the caret line below it. A long line is cut on both sides, around the caret."""
    text = _safe(line)
    before, after = text[:column], text[column:]
    if len(text) > LINE_WIDTH:
        if len(before) > LINE_WIDTH // 2:
            before = "…" + before[len(before) - LINE_WIDTH // 2 :]
        room = LINE_WIDTH - len(before)
        after = after if len(after) <= room else after[:room] + "…"
    return before + after, "".join(map(_blank, before)) + "^"


@lru_cache(4)
def _safe(line: str) -> str:
    """A line as it may be shown. Many mistakes can be in one long line."""
    return printable(masked(line))


def _blank(char: str) -> str:
    """What takes as much room as a character: a tab for a tab, nothing for a combining mark."""
    if char == "\t":
        return char
    if unicodedata.combining(char):
        return ""
    return "  " if unicodedata.east_asian_width(char) in "WF" else " "
