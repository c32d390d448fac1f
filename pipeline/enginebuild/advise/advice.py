"""The comparison itself: arithmetic over candidates, volumes and a price. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from enginebuild.advise.figure import Figure, three_digits
from enginebuild_cache import Json

#: A month has 365.25 × 24 / 12 = 730.5 hours.
HOURS_PER_MONTH = 730.5

Relation = Literal["from", "up to", "always", "never"]


@dataclass(frozen=True)
class Compiling:
    """What an engine costs before it serves: so many minutes on so many GPUs, so often a month."""

    minutes: Figure
    per_month: Figure
    gpus: int = 1

    def once(self, price: float) -> float:
        """Dollars for one compilation."""
        return self.minutes.value / 60 * self.gpus * price

    def monthly(self, price: float) -> float:
        """Dollars a month."""
        return self.once(price) * self.per_month.value

    def to_json(self) -> dict[str, Json]:
        return {
            "minutes": self.minutes.to_json(),
            "per_month": self.per_month.to_json(),
            "gpus": self.gpus,
        }


@dataclass(frozen=True)
class Candidate:
    """An engine, a quantization (empty: none) and the GPUs of one server.

    `throughput` in tokens per GPU-hour; None: nobody has measured or given it. `fixed`: dollars a month for
    what no GPU does. `weeks` until a new model is served; `lost`: what it does not have, a sentence each.
    """

    engine: str
    quantization: str = ""
    gpus: int = 1
    throughput: Figure | None = None
    compiling: Compiling | None = None
    fixed: Figure | None = None
    weeks: Figure | None = None
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is written in --throughput."""
        method = f":{self.quantization}" if self.quantization else ""
        return f"{self.engine}{method}{f'x{self.gpus}' if self.gpus > 1 else ''}"

    def per_token(self, price: float) -> float:
        """Dollars. Only for one whose throughput is known."""
        assert self.throughput is not None
        return price / self.throughput.value

    def per_month(self, price: float) -> float:
        """Dollars a month, whatever the volume."""
        compiling = self.compiling.monthly(price) if self.compiling is not None else 0.0
        return compiling + (self.fixed.value if self.fixed is not None else 0.0)

    def cost(self, tokens: float, price: float) -> float:
        """Dollars for so many tokens a month, unrounded."""
        return tokens * self.per_token(price) + self.per_month(price)

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "engine": self.engine,
            "quantization": self.quantization or None,
            "gpus": self.gpus,
            "tokens_per_gpu_hour": _figure(self.throughput),
            "compiling": self.compiling.to_json() if self.compiling else None,
            "fixed": _figure(self.fixed),
            "weeks_until_new_model": _figure(self.weeks),
            "lost": list(self.lost),
        }


def _figure(figure: Figure | None) -> Json:
    return figure.to_json() if figure is not None else None


@dataclass(frozen=True)
class Use:
    """A candidate at a volume. `hours` of GPUs at full load, to three digits; `serving` follows from these.

    `gpus`: so many are busy at least; `rented`: dollars if these are rented all month. Costs are in dollars.
    """

    tokens: float
    hours: float
    exact_hours: float
    gpus: int
    serving: float
    monthly: float
    rented: float

    @property
    def total(self) -> float:
        """Dollars a month, serving and what does not depend on the volume."""
        return self.serving + self.monthly

    def to_json(self) -> dict[str, Json]:
        return {
            "tokens": self.tokens,
            "gpu_hours": self.hours,
            "gpu_hours_exact": round(self.exact_hours, 3),
            "gpus": self.gpus,
            "serving": round(self.serving, 2),
            "monthly": round(self.monthly, 2),
            "total": round(self.total, 2),
            "rented": round(self.rented, 2),
        }


def use(candidate: Candidate, tokens: float, price: float) -> Use:
    """Only for a candidate whose throughput is known."""
    assert candidate.throughput is not None
    exact = tokens / candidate.throughput.value
    hours = three_digits(exact)
    servers = max(1, math.ceil(exact / HOURS_PER_MONTH / candidate.gpus))
    gpus = servers * candidate.gpus
    return Use(
        tokens,
        hours,
        exact,
        gpus,
        hours * price,
        candidate.per_month(price),
        gpus * HOURS_PER_MONTH * price,
    )


@dataclass(frozen=True)
class BreakEven:
    """Where `name` costs less than `reference`: from or up to `tokens` a month, always or never.

    `repaid`: tokens that pay one compilation back by what serving costs less; None where it costs no less.
    """

    name: str
    reference: str
    relation: Relation
    tokens: float | None = None
    repaid: float | None = None
    once: float | None = None

    def to_json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "reference": self.reference,
            "cheaper": self.relation,
            "tokens_per_month": None if self.tokens is None else round(self.tokens),
            "compilation": None if self.once is None else round(self.once, 4),
            "repaid_by_tokens": None if self.repaid is None else round(self.repaid),
        }


def break_even(candidate: Candidate, reference: Candidate, price: float) -> BreakEven:
    """Both have a throughput."""
    saved = reference.per_token(price) - candidate.per_token(price)
    more = candidate.per_month(price) - reference.per_month(price)
    once = candidate.compiling.once(price) if candidate.compiling is not None else None
    repaid = once / saved if once is not None and saved > 0 else None
    relation, tokens = _relation(saved, more)
    return BreakEven(candidate.name, reference.name, relation, tokens, repaid, once)


def _relation(saved: float, more: float) -> tuple[Relation, float | None]:
    """`saved` dollars for a token, `more` dollars a month."""
    if saved > 0:
        return ("from", more / saved) if more > 0 else ("always", None)
    if more >= 0:
        return "never", None
    return ("up to", more / saved) if saved < 0 else ("always", None)


@dataclass(frozen=True)
class Advice:
    """Candidates at volumes (tokens a month) and a price (dollars per GPU-hour)."""

    candidates: tuple[Candidate, ...]
    volumes: tuple[float, ...]
    price: float
    subject: str = ""

    @property
    def known(self) -> tuple[Candidate, ...]:
        """Those whose throughput is known."""
        return tuple(each for each in self.candidates if each.throughput is not None)

    def uses(self, candidate: Candidate) -> tuple[Use, ...]:
        """At each volume."""
        return tuple(use(candidate, tokens, self.price) for tokens in self.volumes)

    @cached_property
    def break_evens(self) -> tuple[BreakEven, ...]:
        """Of all others against the first that compiles nothing, or else the first."""
        reference = _reference(self.known)
        if reference is None:
            return ()
        others = (each for each in self.known if each is not reference)
        return tuple(break_even(each, reference, self.price) for each in others)

    def cheapest(self, tokens: float) -> Candidate | None:
        """At a volume, everything counted; the first of equals."""
        return min(self.known, key=lambda each: each.cost(tokens, self.price), default=None)

    def to_json(self) -> dict[str, Json]:
        cheapest = [self.cheapest(tokens) for tokens in self.volumes]
        return {
            "recipe": self.subject or None,
            "gpu_price": self.price,
            "tokens_per_month": list(self.volumes),
            "candidates": [
                {
                    **each.to_json(),
                    "uses": [found.to_json() for found in self.uses(each)] if each.throughput else [],
                }
                for each in self.candidates
            ],
            "cheapest": [each.name if each else None for each in cheapest],
            "break_even": [each.to_json() for each in self.break_evens],
        }


def _reference(candidates: Sequence[Candidate]) -> Candidate | None:
    plain = (each for each in candidates if each.compiling is None)
    return next(plain, next(iter(candidates), None))
