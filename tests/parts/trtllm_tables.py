"""Option tables for the stand-ins: the facts themselves where ENGINEBUILD_TEST_FACTS names their folder.

Else the data that the tool ships, which was derived from them; both in the form of the facts, one list of
options per command (argparse), or an object of parameters (click).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.table import Key, Option, keys, options
from enginebuild.engines.tensorrt_llm.versions import releases

FAMILIES = ("enc_dec", "gemma", "gpt", "llama", "phi", "qwen")
COMMANDS = ("build", "quantize", "serve", "llmargs", *(f"convert_{family}" for family in FAMILIES))
_WITH_SUBCOMMANDS = ("1.3.0rc3",)
_NARGS = {"one": None, "none": 0, "optional": "?", "many": "+"}


def tables(version: str) -> dict[str, bytes]:
    """Command → its table as JSON, for the commands that the version has and that are known."""
    found = {command: _table(version, command) for command in COMMANDS}
    return {command: json.dumps(table).encode() for command, table in found.items() if table is not None}


def _table(version: str, command: str) -> Any:
    release = releases()[version]
    if command not in ("serve", "llmargs") and "engine" not in release.modes:
        return None
    if command == "llmargs" and "pytorch" not in release.modes:
        return None
    folder = os.environ.get("ENGINEBUILD_TEST_FACTS")
    if folder is not None and len(release.tables) == 1:
        path = Path(folder, f"{release.tables[0]}_{command}.json")
        return json.loads(path.read_text())["options"] if path.exists() else None
    return _shipped(version, command)


def _shipped(version: str, command: str) -> Any:
    try:
        if command == "llmargs":
            return _fields(keys(version).values())
        found = options(version, command).values()
    except KeyError:
        return None
    if command != "serve":
        return [_argparse(option) for option in found]
    params = {"params": [_model(), *(_click(option) for option in found)]}
    # Subcommands came somewhere after 0.17: certain only where the newest table stands alone.
    return {"commands": {"serve": params}} if releases()[version].tables == _WITH_SUBCOMMANDS else params


def _argparse(option: Option) -> dict[str, Any]:
    typed = {"int": "int", "float": "float"}.get(option.type, "str")
    return {
        "flags": list(option.flags),
        "dest": option.name,
        "default": False if option.nargs == "none" else option.default,
        "choices": list(option.choices) or None,
        "nargs": _NARGS[option.nargs],
        "type": typed if option.nargs != "none" else None,
        "required": option.required,
    }


def _click(option: Option) -> dict[str, Any]:
    return {
        **_argparse(option),
        "kind": "option",
        "is_flag": option.nargs == "none",
        "multiple": option.nargs == "many",
        "type": {"int": "integer", "float": "float"}.get(option.type, "text"),
    }


def _model() -> dict[str, Any]:
    return {"flags": ["model"], "dest": "model", "kind": "argument", "is_flag": False}


def _fields(found: Any) -> dict[str, Any]:
    return {key.name: _field(key) for key in found}


def _field(key: Key) -> dict[str, Any]:
    sections = {name: _fields(inner.values()) for name, inner in key.sections.items()}
    return {"fields": sections} if sections else {}
