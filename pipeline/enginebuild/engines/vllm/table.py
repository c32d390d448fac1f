"""The arguments of `vllm serve`, one table for each supported version of vLLM, as data (tables/*.json).

The tables are written by extract.py from vLLM's own parser; each says where that vLLM was from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

#: Supported versions, oldest first. A test compares this with the files.
VERSIONS = ("0.32.0", "0.33.0")

_FOLDER = Path(__file__).parent / "tables"

#: `readable_int` takes 8k (8000) and 8K (8192) too; `json_list` is one JSON text, not one word for each item.
Kind = Literal[
    "bool",
    "int",
    "float",
    "str",
    "object",
    "json_list",
    "readable_int",
    "readable_int_or_auto",
    "str_or_object",
]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, named as in Python (`max_model_len`); its option has dashes.

    `many`: one or more values. `negatable`: `--no-<option>` exists. `choices`: all values that vLLM's parser
    takes. `known`: all values that this vLLM has; its parser takes any, for plugins can add some. `keys`: all
    that a mapping may have, None where vLLM takes any. `minimum` and `maximum` are included, `above` and
    `below` are not. `nullable` and `default` are facts for readers: null cannot be written in a config file.
    """

    name: str
    kind: Kind
    many: bool = False
    negatable: bool = True
    nullable: bool = False
    choices: tuple[str | int, ...] = ()
    known: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    default: bool | int | float | str | None = None

    @property
    def option(self) -> str:
        """The option without its two dashes, which is also its key in a config file."""
        return self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Table:
    """All arguments of one version. `source` says which vLLM they were read from, and how."""

    version: str
    source: str
    arguments: Mapping[str, Argument]

    @property
    def aliases(self) -> Mapping[str, str]:
        """Short names, such as `tp`, and the arguments they stand for."""
        return {alias: a.name for a in self.arguments.values() for alias in a.aliases}


def _argument(name: str, entry: Mapping[str, Any]) -> Argument:
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    return Argument(name, **{**entry, **lists})


@cache
def table(version: str) -> Table:
    """The table of a supported version. Raises KeyError for another."""
    if version not in VERSIONS:
        raise KeyError(version)
    text = (_FOLDER / f"{version}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    arguments = {name: _argument(name, entry) for name, entry in document["arguments"].items()}
    return Table(document["version"], document["source"], MappingProxyType(arguments))
