"""The text a recipe is read from, and places in it: lines and columns are counted in characters, from 1."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

_LINE_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Source:
    """One text under the name that messages give it. `option` marks a `--set` argument."""

    name: str
    text: str
    option: bool = False
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = (0, *(match.end() for match in _LINE_BREAK.finditer(self.text)))
        object.__setattr__(self, "_starts", starts)

    def position(self, index: int) -> tuple[int, int]:
        """Line and column of a character, both from 0. The end of the text is a place too."""
        line = bisect_right(self._starts, index) - 1
        return line, index - self._starts[line]

    def line(self, number: int) -> str:
        """A line, from 0, without its line break."""
        end = self._starts[number + 1] if number + 1 < len(self._starts) else len(self.text)
        return self.text[self._starts[number] : end].rstrip("\r\n")

    def last_index(self) -> int:
        """The end of the last line that is not blank: where something is missing at the end."""
        return len(self.text.rstrip())


@dataclass(frozen=True, slots=True)
class Span:
    """Where something begins."""

    source: Source
    index: int

    @property
    def line(self) -> int:
        """The line, counted from 1 as editors do."""
        return self.source.position(self.index)[0] + 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake at a place."""

    span: Span
    message: str
    hint: str = ""
