"""The kind of `quantization`: known methods are answered, none is built yet."""

from __future__ import annotations

from enginebuild.errors import Problem
from enginebuild.recipe.kinds import INVALID, Choice, Complaint, Invalid, Path, dotted
from enginebuild.recipe.node import MappingNode, Node, ScalarNode
from enginebuild.recipe.words import QUANTIZATIONS
from enginebuild_cache import Json


def _quantized(method: str) -> Complaint:
    return Complaint(
        f"{method!r} is not built by this version of enginebuild",
        "use a checkpoint that is already quantized (quantization: none), "
        "or engine.args.quantization for on-load quantization",
    )


class Quantization(Choice):
    """`none`; a known method is answered as one, in the words that its users look for."""

    def read(self, node: Node, path: Path, problems: list[Problem]) -> Json | Invalid:
        method = _method(node)
        if method not in QUANTIZATIONS:
            return super().read(node, path, problems)
        complaint = _quantized(method)
        problems.append(Problem(path, f"{dotted(path)} {complaint.message}", complaint.hint))
        return INVALID


def _method(node: Node) -> str:
    """The method that is named, in the short form or in that of a mapping (`{method: fp8}`)."""
    if isinstance(node, MappingNode) and "method" in node.entries:
        node = node.entries["method"].value
    return node.value.lower() if isinstance(node, ScalarNode) and isinstance(node.value, str) else ""
