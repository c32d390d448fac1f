"""The section `warm` as read."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.recipe.units import seconds, size_in_bytes
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Warming:
    """Limits of a start. `timeout` in seconds; `memory` and `shm_size` in bytes, `memory` None: no limit."""

    timeout: float
    memory: int | None
    shm_size: int


def warming_of(value: Json) -> Warming | None:
    """What the section's values say; None where nothing is to be warmed."""
    if not isinstance(value, dict):
        return None
    return Warming(
        seconds(str(value["timeout"])),
        None if value["memory"] is None else size_in_bytes(str(value["memory"])),
        size_in_bytes(str(value["shm_size"])),
    )
