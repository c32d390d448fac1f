"""Variables that are set for a server. A recipe holds none; what each comes to is data: environment.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.importing.draft import Draft
from enginebuild.importing.model import auth_apart

_FILE = Path(__file__).parent / "environment.json"
_SECRET = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY)", re.I)
_DEFAULT_AUTH = "HF_TOKEN"


@cache
def _known() -> Mapping[str, Any]:
    known: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return known


def carry_environment(draft: Draft, environment: Mapping[str, str]) -> None:
    """Say what becomes of each variable: the name of a token's becomes model.auth, others comments."""
    known = _known()
    for name, value in environment.items():
        if name in known["ours"] or name == _DEFAULT_AUTH:
            continue
        if name in known["tokens"]:
            if not _of_the_hub(draft):
                continue
            auth_apart(draft)
            draft.put(("model", "auth"), name)
        elif name in known["arguments"] and draft.get(("engine", "type")) == "vllm":
            _argument(draft, name, known["arguments"][name], value)
        else:
            draft.lose(*_lost(name, value))


def _of_the_hub(draft: Draft) -> bool:
    model = draft.get(("model",))
    return str(model.get("source") if isinstance(model, dict) else model).startswith("hf:")


def _argument(draft: Draft, name: str, argument: str, value: str) -> None:
    place = ("engine", "args", argument)
    if draft.get(place) is None:
        draft.put(place, value, name)


def _lost(name: str, value: str) -> tuple[str, str]:
    known = _known()
    if name in known["machine"]:
        return name, "differs from machine to machine: set it when the container starts"
    if name in known["folders"]:
        return name, "for downloads, and the image downloads nothing; set it where enginebuild runs"
    if name in known["sources"]:
        return name, "a recipe's model comes from the Hugging Face Hub or from a folder"
    if _SECRET.search(name) or value.startswith("$"):
        return name, "no part of an image that others can pull: set it when the container starts"
    said = f"{name}={value}" if len(value) <= 60 else name
    return (
        said,
        "a recipe sets no variables: give it when the container starts (-e), or in an image.base of yours",
    )
