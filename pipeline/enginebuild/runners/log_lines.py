"""A command's output, cut into lines that may be shown: no control characters, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

#: A line is cut after so many bytes: a program that never ends one must not fill our memory.
LONGEST = 1 << 16
#: Shorter values would blacken ordinary text, and are no secrets.
_SHORTEST = 4
#: ANSI's escape sequences (ECMA-48: CSI, OSC and the short ones), and control characters but the tab.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
REDACTED = "***"


class LogLines:
    """Takes bytes as they come and gives whole lines.

    Of a line that was drawn over with carriage returns (a progress bar) the last state is given. Each of
    `secrets` is replaced, also where it is quoted for an URL, and each line of one that has several.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = _forms(secrets)
        self._overlap = max((len(form.encode()) for form in self._secrets), default=0)
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that are whole now."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            yield from self._line(line)
        if len(self._rest) > LONGEST + self._overlap:
            # What may be the beginning of a secret stays for the next piece.
            text = self._redacted(self._rest.decode("utf-8", "replace")).encode()
            cut = len(text) - self._overlap
            self._rest = text[cut:]
            yield from self._line(text[:cut])

    def end(self) -> Iterator[str]:
        """The last line, if it had no line break."""
        rest, self._rest = self._rest, b""
        if rest:
            yield from self._line(rest)

    def _line(self, line: bytes) -> Iterator[str]:
        text = line.decode("utf-8", "replace").rstrip("\r")
        shown = _CONTROL.sub("", self._redacted(text.rpartition("\r")[2]))
        yield self._redacted(shown)  # again: one may have been written with control characters in it

    def _redacted(self, text: str) -> str:
        for form in self._secrets:
            text = text.replace(form, REDACTED)
        return text


def _forms(secrets: Iterable[str]) -> list[str]:
    found = {
        form
        for secret in secrets
        for part in (secret, *secret.splitlines())
        for form in (part, quote(part, ""))
    }
    return sorted((form for form in found if len(form) >= _SHORTEST), key=len, reverse=True)
