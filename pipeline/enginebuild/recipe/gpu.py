"""The catalogue of GPUs that a recipe may name: gpus.json, facts with their sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from enginebuild.errors import Problem
from enginebuild.recipe.forms import any_text
from enginebuild.recipe.kinds import INVALID, Invalid, Path, Schema, Text, any_of, dotted
from enginebuild.recipe.node import Node, ScalarNode
from enginebuild.recipe.show import described
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Gpu:
    """`memory_gb` is the datasheet's figure; `product` is what nvidia-smi calls the GPU."""

    name: str
    compute_capability: str
    memory_gb: int
    product: str


_FILE = FilePath(__file__).parent.parent / "gpus.json"


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
    from difflib import get_close_matches

    wanted = _letters(text)
    names = {_letters(name): name for name in catalogue()}
    products = {_letters(gpu.product): gpu.name for gpu in catalogue().values()}
    for known in (names, products):
        if wanted in known:
            return [known[wanted]]
    if close := get_close_matches(wanted, names, 1, 0.75):
        return [names[close[0]]]
    family = next((each for each in _families() if wanted.startswith(each)), "")
    return [name for name in catalogue() if _family(name) == family]


def _letters(text: str) -> str:
    letters = re.sub(r"[^a-z0-9]", "", text.lower())
    return re.sub(r"^(nvidia)?(tesla|geforce)?", "", letters)


def _family(name: str) -> str:
    """`H100-SXM-80GB` is of the family h100; a workstation's GPU is one of its own."""
    return _letters(name if name.startswith("RTX") else name.split("-")[0])


def _families() -> list[str]:
    """The longest first, so that l40s is not taken for l4."""
    return sorted({_family(name) for name in catalogue()}, key=len, reverse=True)


class GpuName:
    """A name of the catalogue. It is read when a recipe names a GPU, not before."""

    name = "a GPU of the catalogue"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            return Text(self.name, any_text, hint="write for example H100-SXM-80GB").read(
                node, path, problems
            )
        if node.value in catalogue():
            return node.value
        names = candidates(node.value)
        hint = f"did you mean {any_of(names)}?" if names else f"the catalogue has {', '.join(catalogue())}"
        message = f"{dotted(path)} must be {self.name}, not {described(node)}"
        problems.append(Problem(path, message, hint))
        return INVALID

    def schema(self) -> Schema:
        return {"enum": list(catalogue())}
