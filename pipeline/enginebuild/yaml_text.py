"""The little YAML that is written: one `key: value` a line, every value as JSON, which YAML 1.1 readers take
too.

Three things in which a YAML 1.1 reader (vLLM's and TensorRT-LLM's is PyYAML) differs from JSON are kept out:
a float without a point (`1e-05` would be text), an escaped surrogate pair (would be two characters), and line
breaks beyond ASCII.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from enginebuild_cache import Json

#: What PyYAML refuses to read, or reads as a line break, unless it is escaped.
_ESCAPED = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")


def emit_value(value: Json) -> str:
    """A value on one line. Raises ValueError for NaN and the infinities."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_text(key)}: {emit_value(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(emit_value, value)) + "]"
        case str():
            return _text(value)
        case float():
            return _float(value)
        case _:
            return json.dumps(value)


def emit_lines(pairs: Iterable[tuple[str, Json]]) -> str:
    """Top-level keys must be plain words, as options are."""
    return "".join(f"{key}: {emit_value(value)}\n" for key, value in pairs)


def _text(text: str) -> str:
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def _float(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {number}")
    digits, e, exponent = repr(number).partition("e")
    return digits + e + exponent if "." in digits or not e else f"{digits}.0e{exponent}"
