"""Whether a value is one that an option of a command or a key of the YAML takes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from enginebuild.engines.tensorrt_llm.table import CHOOSERS, TOGGLE, Key, Option
from enginebuild.engines.words import closest, listed, one_of, shown
from enginebuild.errors import Problem
from enginebuild_cache import Json

Path = tuple[str | int, ...]

#: Whole numbers that may be less than 1.
_FROM_ZERO = frozenset({"max_draft_len", "max_prompt_embedding_table_size", "num_postprocess_workers"})
#: Sizes in the YAML, where few numbers have known limits.
_SIZES = frozenset(
    """
    max_batch_size max_beam_width max_input_len max_num_tokens max_seq_len moe_cluster_parallel_size
    moe_expert_parallel_size moe_tensor_parallel_size tokens_per_block
    """.split()
)
#: Shares of a GPU's memory.
_FRACTIONS = frozenset(
    {"free_gpu_memory_fraction", "kv_cache_free_gpu_mem_fraction", "lora_cache_gpu_memory_fraction"}
)

_ON_OFF = {
    **dict.fromkeys(("on", "yes", "true", "1"), TOGGLE[0]),
    **dict.fromkeys(("off", "no", "false", "0"), TOGGLE[1]),
}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "mapping": "a mapping",
    "section": "a mapping",
    "list": "a list",
}
_MANY = {"bool": "true or false", "int": "whole numbers", "float": "numbers", "str": "text"}


def normalised(option: Option, value: Json) -> Json:
    """A value that `option_problems` finds nothing wrong with, as it is written: true and false of an option
    that takes enable or disable become these words, and one text for an option of many a list of it.
    """
    if option.toggle and isinstance(value, bool):
        return TOGGLE[0] if value else TOGGLE[1]
    if option.nargs == "many" and not isinstance(value, list):
        return [value]
    return value


def option_problems(option: Option, value: Json, path: Path) -> Iterator[Problem]:
    """What is wrong with the value of an option, the gravest alone."""
    if value is None:
        default = "" if option.default is None else f": the default is {shown(option.default)}"
        yield Problem(path, f"{option.name} is null", f"leave the line out{default}")
        return
    if value == [] and option.nargs == "many":
        yield Problem(path, f"{option.name} is an empty list", "leave the line out")
        return
    value = normalised(option, value)
    if option.nargs == "many" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _one_problem(option, item, (*path, index) if len(value) > 1 else path)
        return
    yield from _one_problem(option, value, path)


def _one_problem(option: Option, value: Json, path: Path) -> Iterator[Problem]:
    if option.choices:
        if value not in option.choices:
            yield Problem(path, f"{option.name} has no choice {shown(value)}", _choice_hint(option, value))
    elif not takes(option.type, value):
        message = f"{option.name} takes {_WORDS[option.type]}, not {shown(value)}"
        yield Problem(path, message, _typed_hint((option.type,), value))
    elif out := out_of_bounds(option.name, value, from_one=option.type == "int"):
        yield Problem(path, f"{option.name} must be {out}, not {shown(value)}")


def _choice_hint(option: Option, value: Json) -> str:
    if (
        option.toggle
        and isinstance(value, str)
        and value.lower() in ("on", "yes", "true", "off", "no", "false")
    ):
        return f"write {TOGGLE[0] if value.lower() in ('on', 'yes', 'true') else TOGGLE[1]}"
    if isinstance(value, bool) and value is False and "disable" in option.choices:
        return "write disable"
    return one_of(value, option.choices)


def takes(kind: str, value: Json) -> bool:
    """Whether a value is of a kind: `int`, `list[int]`, `mapping[str]`."""
    if inner := re.fullmatch(r"list\[(.*)\]", kind):
        return isinstance(value, list) and all(takes(inner[1], item) for item in value)
    if inner := re.fullmatch(r"mapping\[(.*)\]", kind):
        return isinstance(value, dict) and all(takes(inner[1], item) for item in value.values())
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return takes("int", value) or (isinstance(value, float) and math.isfinite(value))
    types = {"bool": bool, "str": str, "mapping": dict, "section": dict, "list": list}
    return kind in types and isinstance(value, types[kind])


def wanted(key: Key) -> str:
    """What a key takes, in words."""
    words = [_words(kind) for kind in key.kinds if kind != "object"]
    return f"{', '.join(words)}{' or null' if key.nullable else ''}"


def _words(kind: str) -> str:
    if inner := re.fullmatch(r"list\[list\[(.*)\]\]", kind):
        return f"a list of lists of {_MANY[inner[1]]}"
    if inner := re.fullmatch(r"(list|mapping)\[(.*)\]", kind):
        return f"a {inner[1]} of {_MANY[inner[2]]}"
    return _WORDS[kind]


def _typed_hint(kinds: tuple[str, ...], value: Json) -> str:
    if "bool" in kinds and isinstance(value, str) and value.lower() in ("true", "false", *TOGGLE):
        return f"write {'true' if value.lower() in ('true', TOGGLE[0]) else 'false'}"
    if {"int", "float"} & set(kinds) and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"without quotes: {value}"
    if "int" in kinds and isinstance(value, float) and value.is_integer():
        return f"without a fraction: {int(value)}"
    if "str" in kinds and isinstance(value, bool | int | float):
        return f'in quotes: "{shown(value)}"'
    return ""


def out_of_bounds(name: str, value: Json, *, from_one: bool) -> str | None:
    """The limit that a number breaks, in words."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if name in _FRACTIONS:
        return None if 0 < value <= 1 else "more than 0 and at most 1"
    if name in _FROM_ZERO:
        return None if value >= 0 else "at least 0"
    return "at least 1" if from_one and value < 1 else None


def key_problems(
    keys: Mapping[str, Key], values: Mapping[str, Json], path: Path, where: str, stands: str
) -> Iterator[Problem]:
    """Everything wrong with a mapping of the YAML, whose unknown keys are refused on every level.

    `where` is what the mapping is called, `stands` what its keys are known of.
    """
    for name, value in values.items():
        if name in keys:
            yield from _value_problems(keys[name], value, (*path, name), f"{where}{name}", stands)
        else:
            message = f"{where.rstrip('.') or stands} has no key {name!r}"
            yield Problem((*path, name), message, _key_hint(name, keys), on_key=True)


def _key_hint(name: str, keys: Mapping[str, Key]) -> str:
    for section, key in keys.items():
        if any(name in fields for fields in key.sections.values()):
            return f"it belongs into {section}"
    near = closest(name, keys)
    return f"did you mean {near}?" if near else f"one of: {listed(sorted(keys))}"


def _value_problems(key: Key, value: Json, path: Path, called: str, stands: str) -> Iterator[Problem]:
    if value is None and key.nullable:
        return
    if key.kinds == ("object",):
        message = f"{called} is an object of a program, no value of a file"
        yield Problem(path, message, "remove the line", on_key=True)
    elif not any(takes(kind, value) for kind in key.kinds):
        message = f"{called} takes {wanted(key)}, not {shown(value)}"
        yield Problem(path, message, _typed_hint(key.kinds, value))
    elif key.choices and isinstance(value, str) and value not in key.choices:
        yield Problem(path, f"{called} has no choice {shown(value)}", one_of(value, key.choices))
    elif out := out_of_bounds(key.name, value, from_one=key.name in _SIZES):
        yield Problem(path, f"{called} must be {out}, not {shown(value)}")
    elif key.sections and isinstance(value, dict):
        yield from _section_problems(key, value, path, called, stands)


def _section_problems(
    key: Key, value: Mapping[str, Json], path: Path, called: str, stands: str
) -> Iterator[Problem]:
    """A mapping with keys of its own; where there are several kinds of it, one key chooses."""
    rest = dict(value)
    if len(key.sections) == 1:
        (fields,) = key.sections.values()
    else:
        chooser, classes = CHOOSERS[key.name]
        chosen = rest.pop(chooser, None)
        if not isinstance(chosen, str) or chosen not in classes:
            yield _unchosen(called, chooser, chosen, list(classes), path)
            return
        fields = key.sections[classes[chosen]]
    yield from key_problems(fields, rest, path, f"{called}.", stands)
    for field in fields.values():
        if field.required and field.name not in rest:
            yield _missing(called, field, path)


def _unchosen(called: str, chooser: str, chosen: Json, classes: list[str], path: Path) -> Problem:
    if chosen is None:
        return Problem(path, f"{called} needs {chooser}", one_of(chosen, classes))
    return Problem((*path, chooser), f"{called} has no {chooser} {shown(chosen)}", one_of(chosen, classes))


def _missing(called: str, key: Key, path: Path) -> Problem:
    if key.kinds == ("object",):
        message = f"{called} of this kind needs {key.name}, an object of a program"
        return Problem(path, message, "choose another kind")
    return Problem(path, f"{called} needs {key.name}", f"add {key.name}: {_example(key)}")


def _example(key: Key) -> str:
    return {"bool": "true", "int": "1"}.get(key.kinds[0], "…")
