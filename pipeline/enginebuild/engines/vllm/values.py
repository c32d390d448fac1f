"""Whether a value is one that an argument takes, and one that reaches vLLM as it was meant."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator

from enginebuild.engines.vllm.table import Argument, Kind
from enginebuild.engines.vllm.words import one_of, shown, wanted
from enginebuild.errors import Problem
from enginebuild_cache import Json

Path = tuple[str | int, ...]

_READABLE = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_POWERS = "kmgt"


def readable_int(text: str) -> int | None:
    """The number that vLLM reads from `8192`, `8k` (8000), `8K` (8192) or `25.6k`, None if it refuses the
    text.
    """
    if match := _READABLE.fullmatch(text.strip()):
        number, suffix = match.groups()
        power = _POWERS.index(suffix.lower()) + 1
        if suffix.islower():
            return int(float(number) * 1000**power)
        return None if "." in number else int(number) * 1024**power
    return int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else None


def _is_int(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_readable(value: Json) -> bool:
    return _is_int(value) or (isinstance(value, str) and readable_int(value) is not None)


_TAKES: dict[Kind, Callable[[Json], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "float": lambda value: _is_int(value) or isinstance(value, float),
    "str": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "json_list": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    "readable_int": _is_readable,
    "readable_int_or_auto": lambda value: value == "auto" or _is_readable(value),
    "str_or_object": lambda value: isinstance(value, str | dict),
}


def value_problems(argument: Argument, value: Json, path: Path) -> Iterator[Problem]:
    """What is wrong with a value, the gravest first and only what is certain after that."""
    if problem := _absent(argument, value, path) or _unwritable(argument.name, value, path):
        yield problem
        return
    if argument.many:
        yield from _many_problems(argument, value, path)
    else:
        yield from _one_problem(argument, value, path)


def _absent(argument: Argument, value: Json, path: Path) -> Problem | None:
    """Null, and what vLLM takes for null."""
    hint = f"leave the line out{_default(argument)}"
    if value is None:
        return Problem(path, f"{argument.name} is null", hint)
    if value == "":
        return Problem(path, f"{argument.name} is empty text", hint)
    if value == "None" and argument.nullable:
        return Problem(path, f"{argument.name} is text that vLLM takes for null", hint)
    if value == [] and argument.many:
        return Problem(path, f"{argument.name} is an empty list, which vLLM ignores", hint)
    return None


def _default(argument: Argument) -> str:
    return "" if argument.default in (None, "") else f": vLLM's own value is {shown(argument.default)}"


def _unwritable(name: str, value: Json, path: Path) -> Problem | None:
    """What would not come out of the config file as it went in. Raises no error for any JSON."""
    if isinstance(value, dict):
        inner = (_unwritable(f"{name}.{key}", item, (*path, key)) for key, item in value.items())
        return next(filter(None, inner), None)
    if isinstance(value, list):
        inner = (_unwritable(f"{name}[{i}]", item, (*path, i)) for i, item in enumerate(value))
        return next(filter(None, inner), None)
    if isinstance(value, float) and not math.isfinite(value):
        return Problem(path, f"{name} is no finite number", "vLLM reads neither infinities nor NaN here")
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return Problem(path, f"{name} is text with half a surrogate pair", "write the character itself")
    return None


def _many_problems(argument: Argument, value: Json, path: Path) -> Iterator[Problem]:
    if not isinstance(value, list):  # vLLM takes one value without brackets, too
        yield from _one_problem(argument, value, path)
        return
    for index, item in enumerate(value):
        yield from _one_problem(argument, item, (*path, index))


def _one_problem(argument: Argument, value: Json, path: Path) -> Iterator[Problem]:
    if not _TAKES[argument.kind](value):
        message = f"{argument.name} takes {wanted(argument)}, not {shown(value)}"
        yield Problem(path, message, _typed_hint(argument, value))
    elif isinstance(value, str) and value.startswith("-") and not _is_number(value):
        message = f"{argument.name} is {shown(value)}; vLLM takes a value that begins with - for an option"
        yield Problem(path, message, "give it when the container starts, as --option=value in one word")
    elif isinstance(value, float) and value < 0:
        message = f"{argument.name} is {shown(value)}; vLLM cannot read a negative fraction"
        yield Problem(path, message, "give zero or more")
    elif argument.choices and value not in argument.choices:
        message = f"{argument.name} has no choice {shown(value)}"
        yield Problem(path, message, one_of(value, argument.choices))
    elif out := _out_of_bounds(argument, value):
        yield Problem(path, f"{argument.name} must be {out}, not {shown(value)}")
    elif isinstance(value, dict):
        yield from _key_problems(argument, value, path)


def _is_number(text: str) -> bool:
    return readable_int(text) is not None


def _typed_hint(argument: Argument, value: Json) -> str:
    kind = argument.kind
    if kind == "bool" and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"without quotes: {value.lower()}"
    if kind in ("int", "float") and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"without quotes: {value}"
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return f"without a fraction: {int(value)}"
    if kind.startswith("readable_int") and isinstance(value, str) and re.fullmatch(r"\d+\.\d+[KMGT]", value):
        return f"a fraction goes with k, m, g and t (powers of 1000): {value.lower()}"
    if kind == "str" and isinstance(value, bool | int | float):
        return f'in quotes: "{shown(value)}"'
    if kind in ("object", "json_list") and isinstance(value, str):
        return "write it as YAML, not as JSON in quotes"
    return ""


def _out_of_bounds(argument: Argument, value: Json) -> str | None:
    number = readable_int(value) if isinstance(value, str) else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        return None
    broken = (
        (argument.minimum, operator.lt, "at least"),
        (argument.above, operator.le, "more than"),
        (argument.maximum, operator.gt, "at most"),
        (argument.below, operator.ge, "less than"),
    )
    for limit, breaks, word in broken:
        if limit is not None and breaks(number, limit):
            return f"{word} {limit:g}"
    return None


def _key_problems(argument: Argument, value: dict[str, Json], path: Path) -> Iterator[Problem]:
    if argument.keys is None:
        return
    for key in value:
        if key not in argument.keys:
            message = f"{argument.name} has no key {key!r}"
            yield Problem((*path, key), message, one_of(key, argument.keys), on_key=True)
