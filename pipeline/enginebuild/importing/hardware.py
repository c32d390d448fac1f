"""The hardware that vLLM's recipes speak of, and ours: hardware.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from enginebuild.engines.words import closest, listed
from enginebuild.importing.draft import no_command
from enginebuild.recipe import Gpu, catalogue
from enginebuild.recipe.show import quoted

_FILE = Path(__file__).parent / "hardware.json"


@cache
def _known() -> Mapping[str, Any]:
    known: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return known


@dataclass(frozen=True, slots=True)
class Hardware:
    """`profile` is vLLM's id (`h200`), "" where there is none."""

    gpu: Gpu
    profile: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of hardware_overrides that apply, the most general first."""
        generation = _known()["generations"].get(self.gpu.compute_capability, "")
        return tuple(key for key in ("nvidia", generation, self.profile) if key)


def hardware(name: str) -> Hardware:
    """By vLLM's id or by our name. Raises RecipeError for what is neither."""
    profiles: Mapping[str, str] = _known()["gpus"]
    plain = name.lower().replace("-", "_")
    if plain in profiles:
        return Hardware(catalogue()[profiles[plain]], plain)
    if name in catalogue():
        profile = next((each for each, ours in profiles.items() if ours == name), "")
        return Hardware(catalogue()[name], profile)
    near = closest(name, [*profiles, *catalogue()])
    hint = f"did you mean {near}?" if near else f"known are {listed(profiles)}"
    raise no_command([f"{quoted(name)} is no NVIDIA GPU that enginebuild knows; {hint}"], "--hardware")
