"""The catalogue of GPUs that a recipe may name: gpus.json, facts with their sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory_gb` is the datasheet's figure; `product` is what nvidia-smi calls the GPU."""

    name: str
    compute_capability: str
    memory_gb: int
    product: str


_FILE = Path(__file__).parent.parent / "gpus.json"


@cache
def catalogue() -> Mapping[str, Gpu]:
    """Every GPU by its name, in the order of the file."""
    document = json.loads(_FILE.read_text("utf-8"))
    return {
        name: Gpu(name, entry["compute_capability"], entry["memory_gb"], entry["product"])
        for name, entry in document["gpus"].items()
    }


def candidates(text: str) -> list[str]:
    """What a text that is no name may mean: a name spelled otherwise, a product, or a family (`H100`)."""
    wanted = _letters(text)
    same = [gpu.name for gpu in catalogue().values() if wanted in (_letters(gpu.name), _letters(gpu.product))]
    if same or not wanted:
        return same
    family = wanted.removeprefix("nvidia").removeprefix("tesla").removeprefix("geforce")
    return [name for name in catalogue() if family and _family(name) in (family, _family_of(family))]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _family(name: str) -> str:
    return _letters(name.split("-")[0] if name[0] != "R" else name)


def _family_of(wanted: str) -> str:
    """`h10080gbhbm3` begins with the family `h100`; the longest that fits counts."""
    known = sorted((_family(name) for name in catalogue()), key=len, reverse=True)
    return next((family for family in known if wanted.startswith(family)), "")
