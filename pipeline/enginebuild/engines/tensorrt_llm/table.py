"""The options of TensorRT-LLM's commands and the keys of `trtllm-serve`'s YAML, for every version, as data.

options.json and keys.json are written by derive.py; versions.json says whose tables stand for a version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild_cache import Json

#: How many words follow an option: `none` for a switch, `many` for one or more.
Nargs = Literal["one", "none", "optional", "many"]
Type = Literal["bool", "float", "int", "str"]

#: What an option takes that is no switch and yet only on or off.
TOGGLE = ("enable", "disable")

#: A value of speculative_config.decoding_type → its class, and the same of sparse_attention_config.algorithm
#: (DecodingBaseConfig.from_dict and BaseSparseAttentionConfig.from_dict of TensorRT-LLM 1.3.0rc3).
CHOOSERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "speculative_config": (
        "decoding_type",
        {
            "MTP": "MTPDecodingConfig",
            "Medusa": "MedusaDecodingConfig",
            "Eagle": "EagleDecodingConfig",
            "Lookahead": "LookaheadDecodingConfig",
            "NGram": "NGramDecodingConfig",
            "DraftTarget": "DraftTargetDecodingConfig",
            "SaveState": "SaveHiddenStatesDecodingConfig",
            "UserProvided": "UserProvidedDecodingConfig",
            "AUTO": "AutoDecodingConfig",
        },
    ),
    "sparse_attention_config": (
        "algorithm",
        {
            "rocket": "RocketSparseAttentionConfig",
            "dsa": "DeepSeekSparseAttentionConfig",
            "skip_softmax": "SkipSoftmaxAttentionConfig",
        },
    ),
}

#: The version whose YAML keys stand for those of every version with mode pytorch.
KEYS_OF = "1.3.0rc3"

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command; `name` is argparse's, such as `max_batch_size`.

    `default` None: the option leaves no trace unless it is given. `settled` False: the two tables that stand
    for the version have other defaults, and `default` is the newer one's, where both take that.
    """

    name: str
    flags: tuple[str, ...]
    type: Type = "str"
    nargs: Nargs = "one"
    choices: tuple[str | int, ...] = ()
    default: Json = None
    required: bool = False
    settled: bool = True

    @property
    def flag(self) -> str:
        """The spelling to write."""
        return self.flags[0]

    @property
    def toggle(self) -> bool:
        """Whether it takes `enable` or `disable`."""
        return set(self.choices) == set(TOGGLE)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the YAML. `kinds` are `bool`, `int`, `float`, `str`, `mapping` and `section` (with keys of
    its own, in `sections` by class), `list[int]` and `mapping[str]` likewise; `object` cannot be written.
    """

    name: str
    kinds: tuple[str, ...]
    nullable: bool = False
    choices: tuple[str, ...] = ()
    default: Json = None
    required: bool = False
    sections: Mapping[str, Mapping[str, Key]] = field(default_factory=dict)


#: What trtllm-serve of 1.0 and 1.1 is known to have beside what both neighbours share. PyTorch is its default
#: there, so it has the options to choose otherwise and to name a YAML file; both in the spelling that later
#: versions take, too (trtllm-serve of 1.3.0rc3: an alias, an older name).
_BETWEEN = (
    Option("backend", ("--backend",), choices=("pytorch", "trt"), default="pytorch"),
    Option("extra_llm_api_options", ("--extra_llm_api_options",)),
)


@cache
def _document(name: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
    return document


@cache
def table(name: str, command: str) -> Mapping[str, Option]:
    """The options of a command in one option table. Raises KeyError where the table has no such command."""
    described = _document("options.json")["commands"][command]
    if name not in described["tables"]:
        raise KeyError(f"{name} {command}")
    return {
        option: _option(option, entry)
        for option, entries in described["options"].items()
        for entry in entries
        if name in entry["versions"]
    }


def _option(name: str, entry: Mapping[str, Any]) -> Option:
    return Option(
        name=name,
        flags=tuple(entry["flags"]),
        type=entry["type"],
        nargs=entry.get("nargs", "one"),
        choices=tuple(entry.get("choices", ())),
        default=entry.get("default"),
        required=entry.get("required", False),
    )


@cache
def options(version: str, command: str) -> Mapping[str, Option]:
    """What a command (`build`, `quantize`, `serve`, `convert_llama`) takes, as far as it is known.

    Raises KeyError for an unknown version, and for a command that it does not have or that is not known.
    """
    release = releases()[version]
    if command != "serve" and "engine" not in release.modes:
        raise KeyError(f"{version} {command}")
    older, *newer = (table(name, command) for name in release.tables)
    found = _both(older, newer[0]) if newer else dict(older)
    if command == "serve" and newer and "pytorch" in release.modes:
        found |= {option.name: option for option in _BETWEEN}
    return MappingProxyType(found)


def _both(older: Mapping[str, Option], newer: Mapping[str, Option]) -> dict[str, Option]:
    """What two neighbours share. An option is the same if a spelling is: some were only renamed inside."""
    by_flag = {flag: option for option in older.values() for flag in option.flags}
    found = {}
    for option in newer.values():
        before = next((by_flag[flag] for flag in option.flags if flag in by_flag), None)
        if before is not None and (shared := _shared(before, option)) is not None:
            found[option.name] = shared
    return found


def _shared(older: Option, newer: Option) -> Option | None:
    """What both take, None if that is nothing: a switch that became an option with a value, say."""
    if (older.nargs, older.type) != (newer.nargs, newer.type):
        return None
    narrower, wider = (newer, older) if newer.choices else (older, newer)
    choices = tuple(c for c in narrower.choices if not wider.choices or c in wider.choices)
    if narrower.choices and not choices:
        return None
    return replace(
        newer,
        flags=tuple(flag for flag in newer.flags if flag in older.flags),
        choices=choices,
        default=newer.default if newer.default in (None, *choices) or not choices else older.default,
        required=older.required or newer.required,
        settled=older.default == newer.default,
    )


def holders(command: str, name: str) -> tuple[str, ...]:
    """The versions whose command is known to take an option, oldest first."""
    return tuple(version for version in releases() if name in _names(version, command))


def _names(version: str, command: str) -> Iterable[str]:
    try:
        return options(version, command)
    except KeyError:
        return ()


@cache
def keys(version: str) -> Mapping[str, Key]:
    """The keys of `trtllm-serve --config` in pytorch mode, those of 1.3.0rc3 for every version that has it.

    Raises KeyError for another version.
    """
    if "pytorch" not in releases()[version].modes:
        raise KeyError(version)
    return MappingProxyType(_section("TorchLlmArgs"))


def _section(name: str) -> dict[str, Key]:
    return {key: _key(key, entry) for key, entry in _document("keys.json")["classes"][name].items()}


def _key(name: str, entry: Mapping[str, Any]) -> Key:
    return Key(
        name=name,
        kinds=tuple(entry["kinds"]),
        nullable=entry.get("nullable", False),
        choices=tuple(entry.get("choices", ())),
        default=entry.get("default"),
        required=entry.get("required", False),
        sections={inner: _section(inner) for inner in entry.get("classes", ())},
    )
