"""Plain scalars by YAML 1.2's core schema (yaml.org/spec/1.2.2, chapter 10.3), stricter where 1.1 differs."""

from __future__ import annotations

import re

from enginebuild.recipe.show import bare

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEAN = {"true": True, "false": False}
#: YAML 1.1's other booleans (yaml.org/type/bool.html), in lower case.
_BOOLEAN_1_1 = {"y": "true", "yes": "true", "on": "true", "n": "false", "no": "false", "off": "false"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_OTHER_BASE = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+\Z")
_UNDERSCORES = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?\Z")
_BINARY = re.compile(r"[-+]?0b[01_]+\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?\Z")

#: JSON readers agree on integers of 64 bits and no more.
_LARGEST = 2**64
_MOST_DIGITS = 20


class ScalarError(Exception):
    """A plain scalar that has two readings, or none that JSON can hold."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def read_plain(text: str) -> bool | int | float | str | None:
    """What an unquoted value means. Raises ScalarError."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    _refuse_boolean(text)
    if text[0] not in "+-.0123456789":
        return text
    _refuse_number(text)
    if _INTEGER.match(text) or _OTHER_BASE.match(text):
        return _integer(text)
    return _float(text) if _FLOAT.match(text) else text


def _refuse_boolean(text: str) -> None:
    low = text.lower()
    if low in ("true", "false"):
        raise ScalarError(
            f"booleans are in lower case, this is {text}", f'write {low}, or quote it: "{text}"'
        )
    if low in _BOOLEAN_1_1:
        hint = f'write {_BOOLEAN_1_1[low]}, or quote it: "{text}"'
        raise ScalarError(f"{text} is a boolean in YAML 1.1 and a text in YAML 1.2", hint)


def _refuse_number(text: str) -> None:
    if _SEXAGESIMAL.match(text):
        message = f"{bare(text)} is a number to the base 60 in YAML 1.1 and a text in YAML 1.2"
        raise ScalarError(message, f'quote it: "{bare(text)}"')
    if _LEADING_ZERO.match(text):
        message = f"{bare(text)} is octal in YAML 1.1 and decimal in YAML 1.2"
        raise ScalarError(message, "leave out the zero in front, or quote it if it is a text")
    if _UNDERSCORES.match(text) or _BINARY.match(text):
        message = f"{bare(text)} is a number in YAML 1.1 and a text in YAML 1.2"
        raise ScalarError(message, "write the digits without underscores or 0b, or quote it if it is a text")
    if _NOT_FINITE.match(text):
        raise ScalarError(f"{text} is not a number that JSON can hold", "write a finite number, or quote it")


def _integer(text: str) -> int:
    if len(text) <= _MOST_DIGITS:
        value = int(text, 0)
        if abs(value) < _LARGEST:
            return value
    raise ScalarError("this number has more than 64 bits", "quote it if it is a text")


def _float(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ScalarError("this number is too large for 64 bits", "quote it if it is a text")
    return value
