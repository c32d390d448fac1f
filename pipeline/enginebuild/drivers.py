"""NVIDIA drivers that a CUDA version needs: drivers.json, facts with their sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class DriverFloor:
    """`lowest` runs programs of this major CUDA (minor version compatibility), `own` came with the version.

    Between the two everything runs but what is compiled from PTX at run time. None: not known.
    """

    lowest: str | None
    own: str | None


_FILE = Path(__file__).parent / "drivers.json"


def driver_floor(cuda: str | None) -> DriverFloor:
    """Of `13.1.0`; of a patch that is not in the table (13.0.3) the newest known one of its minor version."""
    if cuda is None:
        return DriverFloor(None, None)
    table = _table()
    major, _, rest = cuda.partition(".")
    minor = f"{major}.{rest.partition('.')[0]}."
    own = table["own"].get(cuda) or next(
        (entry for version, entry in reversed(table["own"].items()) if version.startswith(minor)), None
    )
    lowest = table["lowest"].get(major)
    return DriverFloor(lowest and lowest["driver"], own and own["driver"])


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return table
