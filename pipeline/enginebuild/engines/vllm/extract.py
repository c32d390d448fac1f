"""Write the table of `vllm serve` arguments of the vLLM that the running python imports, on standard output.

enginebuild never imports this file and never imports vLLM. It is run by a python that has vLLM, once per
supported version, and what it prints is checked in under `tables/`:

    VLLM_TARGET_DEVICE=cpu <a vLLM's python> -P extract.py "<where it is from>" > tables/X.Y.Z.json

The real parser is asked, not the documentation: its option strings, actions and types, the registered parser
and quantization names, and of the classes behind JSON arguments the fields, where vLLM refuses others. GPU
and CPU builds have the same arguments; a default may differ, so a default is only a fact for readers.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: Where `make_arg_parser` lives, newest first; it moves in most minor versions.
_PARSER_MODULES = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)
_KINDS = {
    "int": "int",
    "float": "float",
    "str": "str",
    "loads": "object",
    "human_readable_int": "readable_int",
    "human_readable_int_or_auto": "readable_int_or_auto",
    "union_dict_and_str": "str_or_object",
    "_compute_kwargs.<locals>.parse_dataclass": "object",
    # Both turn one string into what is wanted: "0,1" into device numbers, "none" into no parser.
    "EngineArgs.add_cli_args.<locals>.<lambda>": "str",
    "parse_reasoning_parser": "str",
}
_WRAPPERS = ("optional_type.<locals>._optional_type", "parse_type.<locals>._parse_type")
_BOUNDS = {"ge": "minimum", "gt": "above", "le": "maximum", "lt": "below"}


def serve_parser() -> argparse.ArgumentParser:
    """The parser behind `vllm serve`."""
    argparse_utils = importlib.import_module("vllm.utils.argparse_utils")
    for name in _PARSER_MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
            continue
        parser = argparse_utils.FlexibleArgumentParser(prog="vllm serve")
        made: argparse.ArgumentParser = module.make_arg_parser(parser)
        return made
    raise SystemExit(f"make_arg_parser is in none of {', '.join(_PARSER_MODULES)}")


def unwrapped(convert: Any) -> tuple[Any, bool]:
    """The innermost converter of an argument, and whether None is allowed."""
    nullable = False
    while getattr(convert, "__qualname__", "") in _WRAPPERS:
        nullable |= convert.__qualname__ == _WRAPPERS[0]
        (convert,) = (cell.cell_contents for cell in convert.__closure__)
    return convert, nullable


def kind_of(action: argparse.Action, convert: Any) -> str:
    """The one word for what an argument takes. Raises SystemExit for a converter that this script does not
    know.
    """
    if action.nargs == 0:
        return "bool"
    if convert is None:
        return "str"
    if convert is json.loads and isinstance(action.default, list):
        return "json_list"
    name = getattr(convert, "__qualname__", repr(convert))
    if name not in _KINDS:
        raise SystemExit(f"--{action.dest}: unknown converter {name}")
    return _KINDS[name]


def keys_of(convert: Any) -> list[str] | None:
    """The keys that a JSON argument may have, None where vLLM takes any."""
    (cls,) = getattr(convert, "__defaults__", None) or (None,)
    if not dataclasses.is_dataclass(cls):
        return None
    config: Mapping[str, Any] = getattr(cls, "__pydantic_config__", {})
    if config.get("extra") != "forbid":
        return None
    return sorted(field.name for field in dataclasses.fields(cls) if field.init)


def bounds_of(group: str, name: str) -> Iterator[tuple[str, float]]:
    """The limits that vLLM's configuration class of this name puts on a field."""
    cls = getattr(importlib.import_module("vllm.config"), group, None)
    field = getattr(cls, "__pydantic_fields__", {}).get(name)
    for limit in field.metadata if field else ():
        for attribute, word in _BOUNDS.items():
            if isinstance(value := getattr(limit, attribute, None), int | float):
                yield word, value


def registered() -> Mapping[str, list[str]]:
    """Names that an argument takes beside those of plugins; argparse itself lets anything through."""

    def names(module: str, attribute: str, read: Callable[[Any], Any]) -> list[str]:
        return sorted(map(str, read(getattr(importlib.import_module(module), attribute))))

    return {
        "quantization": names("vllm.model_executor.layers.quantization", "QUANTIZATION_METHODS", list),
        "reasoning_parser": names("vllm.reasoning", "ReasoningParserManager", lambda m: m.list_registered()),
        "tool_call_parser": names("vllm.tool_parsers", "ToolParserManager", lambda m: m.list_registered()),
        "load_format": names("vllm.model_executor.model_loader", "_LOAD_FORMAT_TO_MODEL_LOADER", list),
    }


def plain(value: Any) -> bool:
    """Whether a default says something in a table."""
    return isinstance(value, bool | int | float | str) and value != argparse.SUPPRESS


def described(
    action: argparse.Action,
    group: str,
    options: Mapping[str, argparse.Action],
    names: Mapping[str, list[str]],
) -> dict[str, Any]:
    """One argument's entry in the table."""
    convert, nullable = unwrapped(action.type)
    given: Iterable[Any] = action.choices or ()
    choices = [choice for choice in given if choice is not None]
    default: Any = action.default
    if isinstance(default, enum.IntEnum):  # such as -O2; argparse sees text, the engine a number
        convert, choices = int, [int(member) for member in type(default)]
    spelt = [o.lstrip("-").replace("-", "_") for o in action.option_strings if not o.startswith("--no-")]
    inverse = action.dest.replace("enable_", "disable_", 1), action.dest.replace("disable_", "enable_", 1)
    aliases = sorted({*spelt} - {action.dest, *inverse})
    metavar: Any = action.metavar
    known = names.get(action.dest) or (metavar if isinstance(metavar, list) else None)
    entry: dict[str, Any] = {"kind": kind_of(action, convert)}
    if action.nargs == 0 and f"--no-{action.dest.replace('_', '-')}" not in options:
        entry["negatable"] = False
    if action.nargs == "+":
        entry["many"] = True
    if nullable:
        entry["nullable"] = True
    if choices:
        entry["choices"] = sorted(choices)
    if known:
        entry["known"] = sorted(map(str, known))
    if (keys := keys_of(convert)) is not None:
        entry["keys"] = keys
    if aliases:
        entry["aliases"] = aliases
    entry |= dict(bounds_of(group, action.dest))
    if plain(action.default):
        entry["default"] = action.default
    return entry


def table(parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """Every argument by its underscored name."""
    names = registered()
    found: dict[str, dict[str, Any]] = {}
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.option_strings and action.dest != "help":
                found[action.dest] = described(action, str(group.title), parser._option_string_actions, names)
    return found


def rendered(version: str, source: str, arguments: Mapping[str, Mapping[str, Any]]) -> str:
    """The table as JSON, one argument a line, sorted: equal parsers give equal bytes."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps(arguments[name], sort_keys=True)}" for name in sorted(arguments)
    ]
    head = f'{{"version": {json.dumps(version)},\n "source": {json.dumps(source)},\n "arguments": {{\n'
    return head + ",\n".join(lines) + "\n}}\n"


def main() -> None:
    """Print the table; the only argument says where this vLLM is from."""
    (source,) = sys.argv[1:]
    version: str = importlib.import_module("vllm").__version__
    sys.stdout.write(rendered(version.partition("+")[0], source, table(serve_parser())))


if __name__ == "__main__":
    main()
