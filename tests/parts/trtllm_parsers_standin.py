"""Parsers that stand in for TensorRT-LLM's own: a command line passes if all known ones of a version take it.

They are made of the data that the tool ships, and where the folder of facts is (`ENGINEBUILD_TEST_FACTS`, or
shared/facts beside the checkout), of what the real parsers said of themselves, too. A version between two
known ones must satisfy both.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.table import CHOOSERS, Key, Option, keys, options
from enginebuild.engines.tensorrt_llm.versions import releases
from parts.checkout import ROOT
from parts.trtllm_standin.parser import argparse_parser, click_parser

FACTS = Path(os.environ.get("ENGINEBUILD_TEST_FACTS") or ROOT.parent / "shared/facts/trtllm")

#: Options that trtllm-serve of 1.0 and 1.1 must have, and of its neighbours the older has not.
_BETWEEN = ("--backend", "--extra_llm_api_options")
_TYPES = {"int": int, "float": float}
_NARGS: Mapping[str, str | None] = {"one": None, "optional": "?", "many": "+"}


def facts() -> bool:
    """Whether the real parsers' own lists are here."""
    return FACTS.is_dir()


def parse(version: str, command: str, words: Sequence[str]) -> dict[str, Any]:
    """What the shipped table makes of the words. Raises ValueError, in the parser's words, where one refuses
    them or an option is given twice.
    """
    given = [word for word in words if word.startswith("--")]
    if len(set(given)) != len(given):
        raise ValueError(f"given twice: {sorted(word for word in given if given.count(word) > 1)}")
    real(version, command, words)
    return _parsed(_shipped(version, command), words)


def real(version: str, command: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """What the real parsers by their own lists make of the words; nothing where the facts are not."""
    return [_parsed(parser, _without(words, left_out)) for parser, left_out in _raw(version, command)]


def _parsed(parser: ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return vars(parser.parse_args(list(words)))
    except SystemExit:
        raise ValueError(said.getvalue().strip().splitlines()[-1]) from None


def _without(words: Sequence[str], left_out: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if not skip and word not in left_out:
            kept.append(word)
        skip = word in left_out
    return kept


@cache
def _shipped(version: str, command: str) -> ArgumentParser:
    parser = ArgumentParser(prog=command, allow_abbrev=False)
    if command == "serve":
        parser.add_argument("model")
    for option in options(version, command).values():
        _add(parser, option)
    return parser


def _add(parser: ArgumentParser, option: Option) -> None:
    if option.nargs == "none":
        parser.add_argument(*option.flags, dest=option.name, action="store_true")
        return
    parser.add_argument(
        *option.flags,
        dest=option.name,
        default=None,
        required=option.required,
        choices=option.choices or None,
        type=_TYPES.get(option.type, str),
        nargs=_NARGS[option.nargs],
    )


@cache
def _raw(version: str, command: str) -> list[tuple[ArgumentParser, tuple[str, ...]]]:
    """The real parsers by their own lists, and what is not theirs to judge."""
    names = releases()[version].tables
    found: list[tuple[ArgumentParser, tuple[str, ...]]] = []
    for name in names:
        path = FACTS / f"{name}_{command}.json"
        if not path.is_file():
            continue
        listed = json.loads(path.read_text())["options"]
        older = len(names) > 1 and command == "serve" and name == names[0]
        found.append((_raw_parser(listed, command), _BETWEEN if older else ()))
    return found


def _raw_parser(listed: Any, command: str) -> ArgumentParser:
    if isinstance(listed, list):
        parser = argparse_parser(listed, command)
        parser.allow_abbrev = False
        return parser
    params = listed["commands"]["serve"]["params"] if "commands" in listed else listed["params"]
    return click_parser([_with_alias(param) for param in params], command)


def _with_alias(param: dict[str, Any]) -> dict[str, Any]:
    """click lists choices without their aliases: `trt` is `tensorrt` (1.3.0rc3)."""
    return {**param, "choices": [*param["choices"], "trt"]} if param["dest"] == "backend" else param


def parse_family(family: str, words: Sequence[str]) -> dict[str, Any]:
    """What 1.3.0rc3's script of a family makes of the words, for versions whose own is not known."""
    return parse("1.3.0rc3", f"convert_{family}", words)


def unknown_keys(version: str, document: Mapping[str, Any]) -> list[str]:
    """The keys of a YAML document that the real server would refuse, dotted; nested ones too."""
    found = list(_unknown(document, keys(version), ""))
    path = FACTS / "1.3.0rc3_llmargs.json"
    if path.is_file():
        found += _unknown_raw(document, json.loads(path.read_text())["options"], "")
    return found


def _unknown(document: Mapping[str, Any], known: Mapping[str, Key], where: str) -> Iterator[str]:
    for name, value in document.items():
        if name not in known:
            yield f"{where}{name}"
        elif isinstance(value, dict) and known[name].sections:
            inner = known[name].sections.values()
            yield from _fewest(_unknown(_chosen(name, value), fields, f"{where}{name}.") for fields in inner)


def _unknown_raw(document: Mapping[str, Any], known: Mapping[str, Any], where: str) -> list[str]:
    found = []
    for name, value in document.items():
        if name not in known:
            found.append(f"{where}{name}")
        elif isinstance(value, dict) and known[name].get("fields"):
            inner = known[name]["fields"].values()
            found += _fewest(
                _unknown_raw(_chosen(name, value), fields, f"{where}{name}.") for fields in inner
            )
    return found


def _chosen(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping without the key that chooses its class."""
    chooser = CHOOSERS[name][0] if name in CHOOSERS else None
    return {key: each for key, each in value.items() if key != chooser}


def _fewest(tries: Iterator[Any]) -> list[str]:
    return min((list(each) for each in tries), key=len)
