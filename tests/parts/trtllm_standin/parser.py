"""Parsers of the stand-ins, made of the option tables of the real programs (argparse and click)."""

from __future__ import annotations

import json
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Enumerations that live in compiled code: the tables have only their names.
_KV_CACHE_TYPES = ("continuous", "paged", "disabled")
_CHECKPOINT_TYPES = ("jax", "keras", "torch", "hf")

Table = Sequence[Mapping[str, Any]]


def version() -> str:
    """The version that this installation stands in for."""
    return (HERE / "VERSION").read_text().strip()


def table(command: str) -> Any:
    """The options of a command, as the real parser listed them."""
    return json.loads((HERE / "tables" / f"{command}.json").read_text())


def _kv_cache_type(text: str) -> str:
    if text.lower() not in _KV_CACHE_TYPES:
        raise ArgumentTypeError(f"invalid KVCacheType value: '{text}'")
    return text.lower()


def _checkpoint_type(text: str) -> str:
    if text not in _CHECKPOINT_TYPES:
        raise ArgumentTypeError(f"invalid CheckpointType value: '{text}'")
    return text


_TYPES: Mapping[str | None, Callable[[str], Any]] = {
    None: str,
    "str": str,
    "int": int,
    "float": float,
    "Path": str,
    "KVCacheType": _kv_cache_type,
    "CheckpointType": _checkpoint_type,
}


def argparse_parser(options: Table, program: str) -> ArgumentParser:
    """The parser of a command whose table is a list. `"<unset>"` leaves no trace unless given."""
    parser = ArgumentParser(prog=program)
    for option in options:
        default = SUPPRESS if option["default"] == "<unset>" else option["default"]
        words: dict[str, Any] = {"dest": option["dest"], "default": default, "required": option["required"]}
        if option["nargs"] == 0:
            words["action"] = "store_true"
        else:
            words |= {"type": _TYPES[option["type"]], "nargs": option["nargs"]}
            # A null among the choices is an object that cannot be typed.
            words["choices"] = option["choices"] and [each for each in option["choices"] if each is not None]
        parser.add_argument(*option["flags"], **words)
    return parser


_CLICK_TYPES: Mapping[str, Callable[[str], Any]] = {"integer": int, "float": float}


def click_parser(params: Table, program: str) -> ArgumentParser:
    """The parser of a click command. click knows no abbreviations."""
    parser = ArgumentParser(prog=program, allow_abbrev=False)
    for param in params:
        if param["kind"] == "argument":
            parser.add_argument(param["dest"])
        elif param["is_flag"]:
            parser.add_argument(
                *param["flags"], dest=param["dest"], action="store_true", default=param["default"]
            )
        else:
            parser.add_argument(
                *param["flags"],
                dest=param["dest"],
                default=param["default"],
                required=param["required"],
                choices=param["choices"],
                type=_CLICK_TYPES.get(str(param["type"]), str),
                action="append" if param["multiple"] else "store",
            )
    return parser
