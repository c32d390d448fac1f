"""Numbers with their origin, and how people write and read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from enginebuild.errors import RecipeError
from enginebuild_cache import Json

#: `measured`: by enginebuild, in its records. `given`: by the user. `cited`: by somebody, see `source`.
Origin = Literal["measured", "given", "cited"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMbBtT]?)\Z")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and where it is from."""

    value: float
    origin: Origin
    source: str

    def to_json(self) -> dict[str, Json]:
        return {"value": self.value, "origin": self.origin, "source": self.source}


def amount(text: str, what: str) -> float:
    """`667k`, `1.5B`, `1000000`. Raises RecipeError, which calls it `what`."""
    match = _AMOUNT.match(text.strip().replace("_", ""))
    if match is None or float(match[1]) <= 0:
        raise RecipeError(
            f"{what} must be a number of tokens, not '{text}'", "write for example 667k, 100M or 1.5B"
        )
    return float(match[1]) * _UNITS[match[2].lower()]


def shown_amount(value: float) -> str:
    """`8.9M`, `1B`, `250`: three digits at most."""
    value = three_digits(value)
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def three_digits(value: float) -> float:
    """Rounded as people write estimates: 1,499.25 → 1,500."""
    return float(f"{value:.3g}")


def grouped(value: float) -> str:
    """`1,998` and `222`; what is small with its cents: `1.97`; what is less than one, with three digits."""
    if 0 < value < 1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
