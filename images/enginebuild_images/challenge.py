"""What a registry demands with a 401: the `WWW-Authenticate` header (RFC 9110 §11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}(?:[/:?=]+{_WORD})*))')
_SCHEME = re.compile(rf"({_WORD})(?=\s|,|\Z)")
_GAP = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate. `scheme` and the parameters' names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read all challenges of a header; what is not one ends the reading, what came before it stays."""
    challenges: list[tuple[str, dict[str, str]]] = []
    position = _skip(header, 0)
    while position < len(header):
        if challenges and (match := _PARAMETER.match(header, position)):
            name, quoted, plain = match.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            challenges[-1][1].setdefault(name.lower(), value)
        elif match := _SCHEME.match(header, position):
            challenges.append((match[1].lower(), {}))
        else:
            break
        position = _skip(header, match.end())
    return tuple(Challenge(scheme, parameters) for scheme, parameters in challenges)


def _skip(header: str, position: int) -> int:
    match = _GAP.match(header, position)
    return match.end() if match else position
