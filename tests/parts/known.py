"""What users and vendors say of recipes, as files: failures that were seen, and combinations that work.

A file is a list. An entry has a recipe's `engine` (of parts.fits), what is different in its `recipe`, and the
model: a name of published_models.json, with what its `config` has beside or instead, or `config` alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from parts.fits import TEXTS
from parts.published_models import config


@dataclass(frozen=True, slots=True)
class Combination:
    """`source`: repository#number, or a path in a repository, or the page of a vendor."""

    source: str
    engine: str
    model: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def model_config(self) -> dict[str, Any]:
        """The model's config.json."""
        return {**(config(self.model) if self.model else {}), **self.config}

    def write(self, folder: Path) -> Path:
        """The recipe and, beside it, the model's folder with its config.json."""
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(self.model_config()))
        path = folder / "recipe.yaml"
        changed = merged(yaml.safe_load(TEXTS[self.engine]) | {"model": "file:./model"}, self.recipe)
        path.write_text(yaml.safe_dump(changed, sort_keys=False))
        return path


@dataclass(frozen=True, slots=True)
class Failure(Combination):
    """`seen`: what users got, of an engine that ran or a build that broke. `says` is our reason, at the line
    of `at`; `mends` are changes as `--set` takes them, each of which must be in the hint and must work,
    together with what it `entails` of itself. `vllm_says`: how vLLM 0.33.0 itself refuses it, where it needs
    no GPU for that.

    `check`: what `allow` would have to name, one or several; empty for a mistake of the recipe itself,
    and for what is `refused` whatever is allowed.
    """

    seen: str = ""
    at: str = ""
    says: str = ""
    check: str | Sequence[str] = ()
    mends: tuple[tuple[str, ...], ...] = ()
    entails: Sequence[str] = ()
    refused: bool = False
    vllm_says: str = ""

    @property
    def checks(self) -> Sequence[str]:
        return (self.check,) if isinstance(self.check, str) else self.check

    @property
    def exit(self) -> int:
        return 5 if self.check or self.refused else 2


_C = TypeVar("_C", bound=Combination)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings within mappings; null takes a key away, `{}` empties one."""
    found = dict(base)
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and value and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found


def failures(folder: Path) -> dict[str, Failure]:
    """By their source, and a number where one source has several."""
    return _named(
        Failure(**entry | {"mends": tuple(map(_together, entry.get("mends", ())))})
        for entry in _entries(folder)
    )


def combinations(folder: Path) -> dict[str, Combination]:
    return _named(Combination(**entry) for entry in _entries(folder))


def _entries(folder: Path) -> list[dict[str, Any]]:
    return [
        entry
        for path in sorted(folder.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]


def _together(mend: str | list[str]) -> tuple[str, ...]:
    """Several changes that only help together are a list."""
    return (mend,) if isinstance(mend, str) else tuple(mend)


def _named(entries: Iterable[_C]) -> dict[str, _C]:
    found: dict[str, _C] = {}
    for entry in entries:
        count = sum(name.split(" (")[0] == entry.source for name in found)
        found[f"{entry.source} ({count + 1})" if count else entry.source] = entry
    return found
