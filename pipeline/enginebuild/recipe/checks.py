"""The checks of a model against its GPUs and builder, by the names that `allow` takes (enginebuild.fit)."""

from __future__ import annotations

from typing import Literal, get_args

Check = Literal[
    "architecture",
    "attention_heads",
    "builder_memory",
    "calibration",
    "disk",
    "dtype",
    "experts",
    "gpu_count",
    "kv_cache",
    "layers",
    "length",
    "licence",
    "memory",
    "quantization",
    "quantization_groups",
    "timeout",
    "unknown",
    "widths",
]
CHECKS: tuple[Check, ...] = get_args(Check)

#: Those that may refuse a recipe; the others warn.
REFUSING: tuple[Check, ...] = tuple(
    check for check in CHECKS if check not in ("gpu_count", "licence", "timeout", "unknown")
)
