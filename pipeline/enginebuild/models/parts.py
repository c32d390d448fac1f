"""The weights of a model by kind, and how engines divide them over GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: `draft` is a layer for speculation (multi-token prediction), which is in the checkpoint and not loaded;
#: `other` is what the headers of the files have and no kind is known for.
Kind = Literal[
    "embeddings",
    "lm_head",
    "attention",
    "mlp",
    "experts",
    "shared_experts",
    "router",
    "norms",
    "vision",
    "other",
    "draft",
]

KINDS: tuple[Kind, ...] = (
    "embeddings",
    "lm_head",
    "attention",
    "mlp",
    "experts",
    "shared_experts",
    "router",
    "norms",
    "vision",
    "other",
    "draft",
)

#: How tensor parallelism divides it: evenly; by KV heads, which are repeated where there are more GPUs than
#: heads; by experts, evenly or whole ones; not at all.
Split = Literal["even", "kv_heads", "experts", "whole"]

#: The stages of pipeline parallelism that do not hold layers: the embeddings and the end of the model.
FIRST, LAST = -1, -2


@dataclass(frozen=True, slots=True)
class Part:
    """Equal weights in some layers: `count` parameters in each of `layers` (numbers, FIRST, LAST).

    `linear`: of matrices that a quantizer takes. `size`: bytes in each layer as the files have them, where
    their headers were read. `kept`: an engine loads it as it is stored (quantized numbers and their scales).
    """

    kind: Kind
    count: int
    layers: tuple[int, ...]
    split: Split = "whole"
    linear: bool = False
    size: int | None = None
    kept: bool = False

    @property
    def total(self) -> int:
        return self.count * len(self.layers)


def parameters(parts: Iterable[Part], *kinds: Kind) -> int:
    """Parameters of some kinds; without kinds of all that a server loads."""
    wanted = kinds or tuple(kind for kind in KINDS if kind != "draft")
    return sum(part.total for part in parts if part.kind in wanted)
