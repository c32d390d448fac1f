"""Whether TensorRT-LLM's PyTorch backend serves the class that a config.json names (architectures.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild.engines.unserved import Unserved

_FILE = Path(__file__).with_name("architectures.json")


@cache
def _document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


def unserved(version: str, classes: Sequence[str]) -> Unserved | None:
    """Why mode pytorch of a version cannot serve a model, None if nothing is known against it. Pure.

    The backend looks up the first class alone (1.3.0rc3, modeling_auto.py: "Unknown architecture for
    AutoModelForCausalLM"). Of versions newer than the index nothing is certain.
    """
    if not classes:
        return None
    name, document = classes[0], _document()
    if name in document["pytorch"]:
        since = document["since"].get(name)
        return None if since is None else _before(version, name, since)
    whose = "TensorRT-LLM's PyTorch backend"
    if name in document["autodeploy"]:
        return Unserved(f"{whose} has no {name}: AutoDeploy has, which is another backend")
    certain = _place(version) <= _place(document["until"])
    return Unserved(f"{whose} has no {name}, in any version that is known", certain=certain)


def _before(version: str, name: str, since: Mapping[str, str]) -> Unserved | None:
    """Versions between the two tables may have it."""
    absent, present = since["absent"], since.get("present")
    if _place(version) >= _place(present or _document()["until"]):
        return None
    certain = _place(version) <= _place(absent)
    has = "has no" if certain else "is not known to have"
    later = f": its documentation names it from {present} on" if present else ""
    message = f"TensorRT-LLM {version} {has} {name} in mode pytorch{later}"
    return Unserved(message, certain=certain, version=present)


def _place(version: str) -> int:
    return list(releases()).index(version)
