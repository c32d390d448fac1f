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
    """`memory_gb` is the datasheet's figure; `product` is what nvidia-smi calls the GPU, `memory_mib` what it
    says of its memory (None: not seen). `tflops` are dense, by `fp16` (bfloat16 too), `fp8`, `int8`, `fp4`;
    what the GPU cannot do is not in it. `joined` GPUs reach each other by NVLink, at `nvlink_gb_s` both ways
    together; None: by PCIe alone. `driver_floor` is the first driver for its architecture.
    """

    name: str
    compute_capability: str
    memory_gb: int
    product: str
    memory_mib: int | None
    bandwidth_gb_s: float
    tflops: Mapping[str, float]
    nvlink_gb_s: float | None
    joined: int
    driver_floor: str

    def distance(self, other: Gpu) -> tuple[bool, int, float]:
        """For choosing what is next to `other` among GPUs that are no smaller: servers' to servers'."""
        workstation = self.name.startswith("RTX") != other.name.startswith("RTX")
        return workstation, self.memory_gb, float(self.compute_capability)

    @property
    def usable_bytes(self) -> int:
        """What CUDA offers of the memory: nvidia-smi's figure less what the driver keeps, 0.4 to 0.9 GiB.

        Seen from PyTorch: H100 79.1 of 79.6 GiB, A100 79.1 of 80.0, L4 22.0 of 22.5, H200 139.8 of 140.4.
        """
        whole = self.memory_mib * _MIB if self.memory_mib is not None else self.memory_gb * 10**9
        return whole - (640 if self.memory_gb >= 40 else 448) * _MIB


_MIB = 1 << 20
_FILE = FilePath(__file__).parent.parent / "gpus.json"


@cache
def catalogue() -> Mapping[str, Gpu]:
    """Every GPU by its name, in the order of the file."""
    document = json.loads(_FILE.read_text("utf-8"))
    return {
        name: Gpu(
            name,
            entry["compute_capability"],
            entry["memory_gb"],
            entry["product"],
            entry["memory_mib"],
            entry["bandwidth_gb_s"],
            entry["tflops"],
            entry["nvlink_gb_s"],
            entry["joined"],
            document["driver_floors"][entry["compute_capability"]]["driver"],
        )
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
