"""Kinds of values with a unit, and GPUs of the builder: durations, sizes in bytes, a count or ids."""

from __future__ import annotations

import re
from dataclasses import dataclass

from enginebuild.errors import Problem
from enginebuild.recipe.containers import ListOf
from enginebuild.recipe.kinds import Complaint, Count, Invalid, Path, Schema, Text, wrong_kind
from enginebuild.recipe.node import ListNode, Node, ScalarNode
from enginebuild.recipe.show import bare, quoted
from enginebuild_cache import Json

_SECONDS = {"s": 1, "m": 60, "h": 3600}
DURATION = r"[1-9][0-9]{0,8}[smh]"
_DURATION = re.compile(DURATION + r"\Z")
_BYTES = {
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
SIZE = rf"[1-9][0-9]{{0,8}}(?:{'|'.join(_BYTES)})"
_SIZE = re.compile(rf"([0-9]+)({'|'.join(_BYTES)})\Z")
_WHOLE_SIZE = re.compile(SIZE + r"\Z")
#: Units of others: Docker's g and m are binary, Kubernetes' Gi is GiB and its G is GB.
_UNITS = {
    "g": "GiB",
    "m": "MiB",
    "t": "TiB",
    "Gi": "GiB",
    "Mi": "MiB",
    "Ti": "TiB",
    "G": "GB",
    "M": "MB",
    "T": "TB",
}
GPU_ID = r"[0-9]{1,3}|GPU-[0-9a-fA-F-]{8,36}|MIG-[0-9a-fA-F/-]{8,80}"
_GPU_ID = re.compile(rf"(?:{GPU_ID})\Z")


def seconds(text: str) -> float:
    """A duration that `duration` accepts, in seconds."""
    return float(int(text[:-1]) * _SECONDS[text[-1]])


def size_in_bytes(text: str) -> int:
    """A size that `size` accepts, in bytes. Raises ValueError for another text."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return int(match[1]) * _BYTES[match[2]]


def duration(text: str) -> Complaint | None:
    """`90s`, `30m`, `4h`."""
    if _DURATION.match(text):
        return None
    message = f"must be a whole number of seconds, minutes or hours, not {quoted(text)}"
    days = re.fullmatch(r"([1-9][0-9]{0,3})d", text)
    if days:
        return Complaint(message, f"write {int(days[1]) * 24}h")
    mixed = re.fullmatch(r"([0-9]{1,4})h([0-9]{1,4})m", text)
    if mixed:
        return Complaint(message, f"write {int(mixed[1]) * 60 + int(mixed[2])}m")
    return Complaint(message, "write for example 90s, 30m or 4h")


def size(text: str) -> Complaint | None:
    """`512MB`, `16GB` (decimal), `16GiB` (binary)."""
    if _WHOLE_SIZE.match(text):
        return None
    message = f"must be a size in MB, GB, TB or MiB, GiB, TiB, not {quoted(text)}"
    other = re.fullmatch(r"([1-9][0-9]{0,8}) ?([A-Za-z]{1,3})", text)
    unit = _unit(other[2]) if other else ""
    return Complaint(message, f"write {other[1]}{unit}" if other and unit else "write for example 16GB")


def _unit(written: str) -> str:
    """Our unit for another's, or for ours in the wrong letters."""
    known = {unit.lower(): unit for unit in _BYTES}
    return _UNITS.get(written) or known.get(written.lower(), "")


def gpu_id(text: str) -> Complaint | None:
    """What nvidia-smi calls a GPU: its number, or its UUID."""
    if _GPU_ID.match(text):
        return None
    message = f"must be a GPU's number or UUID as in nvidia-smi -L, not {quoted(text)}"
    return Complaint(message, 'write for example "0"')


DURATION_KIND = Text("a duration", duration, rf"^(?:{DURATION})$", "write it with its unit: 90s, 30m or 4h")
SIZE_KIND = Text("a size", size, rf"^(?:{SIZE})$", "write it with its unit: 16GB or 16GiB")


@dataclass(frozen=True)
class Gpus:
    """How many GPUs of the builder, or which."""

    name: str = "a count or a list of ids"

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        if isinstance(node, ListNode):
            return self._ids().read(node, path, problems)
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and not node.value.isdigit():
            hint = f'write a count, such as 2, or ids in brackets: ["{bare(node.value)}"]'
            if node.value in ("all", "-1"):
                hint = "write how many: the builder then needs no more than that"
            return wrong_kind(problems, path, self.name, node, hint)
        return self._count().read(node, path, problems)

    def _count(self) -> Count:
        """None: a quantizer that runs on the CPU."""
        return Count(0)

    def _ids(self) -> ListOf:
        return ListOf(Text("a text", gpu_id, rf"^(?:{GPU_ID})$"), "0")

    def schema(self) -> Schema:
        return {"anyOf": [self._count().schema(), self._ids().schema()]}
