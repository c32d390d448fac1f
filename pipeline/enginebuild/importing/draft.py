"""A recipe while it is being made: its values, and all that has to be said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from enginebuild.errors import RecipeError
from enginebuild.recipe.format import RECIPE_VERSION
from enginebuild_cache import Json

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """One comment. `what` as its user wrote it (`--api-key`), without its value: that may be secret."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A key that only the user can fill in, with an example that is shown in its place; None: no example."""

    path: Path
    why: str
    example: Json = None


@dataclass
class Draft:
    """`origin` says what it is made of, in words. `spelled` has the user's word for a value's place."""

    origin: str
    values: dict[str, Json] = field(default_factory=lambda: {"version": RECIPE_VERSION})
    lost: list[Note] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    remarks: dict[Path, str] = field(default_factory=dict)
    spelled: dict[Path, str] = field(default_factory=dict)

    def put(self, path: Path, value: Json, spelled: str = "") -> None:
        """Set a value. A mapping on the way is made where there is none."""
        section = self.values
        for step in path[:-1]:
            inner = section.get(step)
            if not isinstance(inner, dict):
                inner = section[step] = {}
            section = inner
        section[path[-1]] = value
        if spelled:
            self.spelled[path] = spelled

    def get(self, path: Path) -> Json:
        value: Json = self.values
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def take(self, path: Path) -> Json:
        """Remove a value and what is said of it; mappings that become empty go too."""
        section = self.get(path[:-1]) if path[:-1] else self.values
        if not isinstance(section, dict) or path[-1] not in section:
            return None
        value = section.pop(path[-1])
        for place in [p for p in self.remarks if p[: len(path)] == path]:
            del self.remarks[place]
        if not section and len(path) > 1:
            self.take(path[:-1])
        return value

    def lose(self, what: str, why: str) -> None:
        """Say that something is not carried, once."""
        note = Note(what, why)
        if note not in self.lost:
            self.lost.append(note)

    def remark(self, path: Path, text: str) -> None:
        self.remarks[path] = text

    def gap(self, path: Path, why: str, example: Json = None) -> None:
        """Say that a key is to be filled in; the first reason counts."""
        if all(each.path != path for each in self.gaps):
            self.gaps.append(Gap(path, why, example))

    def mapping(self, path: Path) -> dict[str, Json]:
        value = self.get(path)
        return value if isinstance(value, dict) else {}


def no_command(mistakes: Iterable[str], what: str = "the command cannot be understood") -> RecipeError:
    """All mistakes of a text that is no command of a kind that is known."""
    found: Sequence[str] = list(dict.fromkeys(mistakes))
    if len(found) == 1:
        return RecipeError(f"{what}: {found[0]}")
    return RecipeError("\n".join([f"{what}:", *(f"  {mistake}" for mistake in found)]))


def texts(value: Json) -> list[str]:
    """A list's texts; of one text, a list of it."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [] if value is None else [str(cast("str", value))]
