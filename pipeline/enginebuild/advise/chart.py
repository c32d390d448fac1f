"""Cost over volume as a picture: a line per candidate, and a mark where two cost the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from enginebuild.advise.advice import Advice, Candidate
from enginebuild.advise.figure import grouped, shown_amount
from enginebuild.advise.shapes import Dot, Label, Line, Picture, Point, Shape
from enginebuild.errors import RecipeError

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 30, 76, 60
_LEGEND = 46
_GRID, _AXIS, MARK = "#e3e3e3", "#555555", "#333333"
COLOURS = ("#4c78a8", "#e4572e", "#54a24b", "#b279a2", "#9d755d", "#72b7b2")
_POINTS = 80


def write_chart(advice: Advice, path: Path) -> None:
    """Write the picture; its suffix says which kind. Raises RecipeError."""
    content = picture(advice, path.suffix.lower())
    try:
        path.write_bytes(content)
    except OSError as error:
        raise RecipeError(f"{path} cannot be written: {error.strerror}") from error


def picture(advice: Advice, suffix: str) -> bytes:
    """The bytes of `.svg` or `.png`. Raises RecipeError for another kind, and where a PNG cannot be drawn."""
    if suffix not in (".svg", ".png"):
        raise RecipeError(f"--plot writes .svg and .png, not '{suffix}'", "write for example cost.svg")
    if not advice.known:
        raise RecipeError("--plot has nothing to draw: no throughput is known", "give --throughput")
    drawn = chart(advice)
    return drawn.svg() if suffix == ".svg" else _png(drawn)


def _png(drawn: Picture) -> bytes:
    try:
        from enginebuild.advise.raster import png  # Pillow: optional, and slow to import
    except ImportError as error:
        raise RecipeError(
            f"a PNG is painted by Pillow, which is not here: {error}",
            "pip install 'enginebuild[plot]', or write .svg",
        ) from error
    return png(drawn)


def chart(advice: Advice) -> Picture:
    """Both axes by powers of ten."""
    scale = _Scale.of(advice)
    title = Label((_LEFT, 24), _title(advice), size=15)
    shapes = (title, *_axes(scale), *_lines(advice, scale), *_marks(advice, scale))
    return Picture(_WIDTH, _HEIGHT, shapes)


def _title(advice: Advice) -> str:
    of = f" of {advice.subject}" if advice.subject else ""
    return f"Cost{of} per month at {advice.price:g} $ per GPU-hour, compiling included"


class _Scale:
    """From tokens and dollars to places; both by powers of ten."""

    def __init__(self, tokens: tuple[float, float], dollars: tuple[float, float]) -> None:
        self.tokens, self.dollars = tokens, dollars

    @classmethod
    def of(cls, advice: Advice) -> _Scale:
        """Room for every volume and every break-even, up to whole powers of ten for dollars."""
        crossings = [each.tokens for each in advice.break_evens if each.tokens is not None]
        places = [*advice.volumes, *crossings]
        low, high = min(places) / 3, max(places) * 3
        costs = [each.cost(at, advice.price) for each in advice.known for at in (low, high)]
        return cls((low, high), (_power(min(costs), up=False), _power(max(costs), up=True)))

    def x(self, tokens: float) -> float:
        return _LEFT + _share(tokens, self.tokens) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, dollars: float) -> float:
        return _HEIGHT - _BOTTOM - _share(dollars, self.dollars) * (_HEIGHT - _TOP - _BOTTOM)


def _share(value: float, limits: tuple[float, float]) -> float:
    low, high = map(math.log10, limits)
    return (math.log10(value) - low) / ((high - low) or 1.0)


def _power(value: float, *, up: bool) -> float:
    """The power of ten above or below."""
    power = math.log10(value)
    return float(10.0 ** (math.ceil(power) if up else math.floor(power)))


def _powers(limits: tuple[float, float]) -> Iterator[float]:
    first, last = math.ceil(math.log10(limits[0]) - 1e-9), math.floor(math.log10(limits[1]) + 1e-9)
    return (10.0**power for power in range(first, last + 1))


def _axes(scale: _Scale) -> Iterator[Shape]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tokens in _powers(scale.tokens):
        x = scale.x(tokens)
        yield Line(((x, _TOP), (x, bottom)), _GRID)
        yield Label((x, bottom + 18), shown_amount(tokens), "middle")
    for dollars in _powers(scale.dollars):
        y = scale.y(dollars)
        yield Line(((_LEFT, y), (right, y)), _GRID)
        yield Label((_LEFT - 8, y + 4), grouped(dollars), "end")
    yield Line(((_LEFT, _TOP), (_LEFT, bottom), (right, bottom)), _AXIS)
    yield Label(((_LEFT + right) / 2, bottom + 40), "tokens per month", "middle")
    yield Label((_LEFT, _TOP - 10), "$", "end")


def _lines(advice: Advice, scale: _Scale) -> Iterator[Shape]:
    low, high = scale.tokens
    for number, candidate in enumerate(advice.known):
        colour = COLOURS[number % len(COLOURS)]

        def point(tokens: float, candidate: Candidate = candidate) -> Point:
            return scale.x(tokens), scale.y(candidate.cost(tokens, advice.price))

        places = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
        yield Line([point(at) for at in places], colour, 2)
        yield from (Dot(point(tokens), 3.5, colour) for tokens in advice.volumes)
        yield from _legend(number, len(advice.known), colour, candidate.name)


def _legend(number: int, count: int, colour: str, name: str) -> Iterator[Shape]:
    """In two rows at most, each of three or more."""
    columns = max(3, math.ceil(count / 2))
    at = _LEFT + number % columns * (_WIDTH - _LEFT) / columns
    below = _LEGEND + number // columns * 16
    yield Line(((at, below - 4), (at + 24, below - 4)), colour, 2)
    yield Label((at + 30, below), name)


def _marks(advice: Advice, scale: _Scale) -> Iterator[Shape]:
    by_name = {each.name: each for each in advice.known}
    for number, found in enumerate(each for each in advice.break_evens if each.tokens is not None):
        assert found.tokens is not None
        x = scale.x(found.tokens)
        y = scale.y(by_name[found.name].cost(found.tokens, advice.price))
        text = f"{found.name} = {found.reference} at {shown_amount(found.tokens)}"
        below = _HEIGHT - _BOTTOM - 8 - number * 16
        yield Line(((x, _TOP), (x, _HEIGHT - _BOTTOM)), MARK, dashed=True)
        yield Dot((x, y), 5, MARK, ring=True)
        right = x < _WIDTH / 2
        yield Label((x + (6 if right else -6), below), text, "start" if right else "end")
