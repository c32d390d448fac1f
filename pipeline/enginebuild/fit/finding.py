"""What is wrong with a recipe for a model and a GPU, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass

from enginebuild.engines.words import listed
from enginebuild.errors import Problem
from enginebuild.recipe.checks import Check
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Change:
    """Values of the recipe that would be different, by their dotted path, as `--set` takes them."""

    values: tuple[tuple[str, Json], ...]

    def __str__(self) -> str:
        """As it is written in a recipe: the last key and the value."""
        return " with ".join(f"{path.rpartition('.')[2]}: {_shown(value)}" for path, value in self.values)

    @property
    def overrides(self) -> list[str]:
        return [f"{path}={_shown(value)}" for path, value in self.values]


def _shown(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Finding:
    """`refused`: it cannot work; else it may. `allowed`: it is refused, and the recipe allows it."""

    check: Check
    path: tuple[str, ...]
    message: str
    changes: tuple[Change, ...] = ()
    hint: str = ""
    refused: bool = True
    allowed: bool = False

    def to_json(self) -> dict[str, Json]:
        return {
            "check": self.check,
            "refused": self.refused,
            "message": self.message,
            "advice": self.advice() or None,
        }

    def problem(self) -> Problem:
        return Problem(self.path, self.message, self.advice())

    def advice(self) -> str:
        """What to do: the changes that were found to work, else a word of the check's own."""
        if self.changes:
            return f"write {listed([str(change) for change in self.changes])}"
        return self.hint
