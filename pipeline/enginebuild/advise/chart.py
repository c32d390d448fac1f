"""Cost over volume as a picture: a line per candidate, and a mark where two cost the same.

SVG is written here. PNG is drawn from it by CairoSVG, which is no dependency of enginebuild.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from enginebuild.advise.advice import Advice
from enginebuild.advise.figure import grouped, shown_amount
from enginebuild.errors import RecipeError

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 30, 76, 60
_LEGEND = 48
_COLOURS = ("#4c78a8", "#e4572e", "#54a24b", "#b279a2", "#9d755d", "#72b7b2")
_POINTS = 80
#: A PNG has so many pixels for one of the SVG.
_SCALE = 2


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
    return drawn if suffix == ".svg" else _png(drawn)


def _png(drawn: bytes) -> bytes:
    try:
        cairosvg = importlib.import_module("cairosvg")
    except (ImportError, OSError) as error:  # OSError: the library that it calls is not there
        raise RecipeError(
            f"a PNG is drawn by CairoSVG, which is not here: {error}",
            "pip install cairosvg (and Cairo itself: libcairo2), or write .svg",
        ) from error
    png: bytes = cairosvg.svg2png(bytestring=drawn, scale=_SCALE)
    return png


def chart(advice: Advice) -> bytes:
    """Both axes by powers of ten. Equal advice gives equal bytes."""
    scale = _Scale.of(advice)
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{escape(_title(advice))}</text>',
        *_axes(scale),
        *_lines(advice, scale),
        *_marks(advice, scale),
    ]
    return "\n".join([*parts, "</svg>", ""]).encode()


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


def _axes(scale: _Scale) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tokens in _powers(scale.tokens):
        x = scale.x(tokens)
        yield f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#e3e3e3"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{shown_amount(tokens)}</text>'
    for dollars in _powers(scale.dollars):
        y = scale.y(dollars)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e3e3e3"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{grouped(dollars)}</text>'
    yield f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#555555"/>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle:.0f}" y="{bottom + 40}" text-anchor="middle">tokens per month</text>'
    yield f'<text x="{_LEFT}" y="{_TOP - 10}" text-anchor="end">$</text>'


def _lines(advice: Advice, scale: _Scale) -> Iterator[str]:
    low, high = scale.tokens
    for number, candidate in enumerate(advice.known):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [low * (high / low) ** (step / _POINTS) for step in range(_POINTS + 1)]
        points = " ".join(
            f"{scale.x(at):.1f},{scale.y(candidate.cost(at, advice.price)):.1f}" for at in places
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for tokens in advice.volumes:
            x, y = scale.x(tokens), scale.y(candidate.cost(tokens, advice.price))
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
        at = _LEFT + number * 190
        yield f'<path d="M{at} {_LEGEND - 4}h24" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{at + 30}" y="{_LEGEND}">{escape(candidate.name)}</text>'


def _marks(advice: Advice, scale: _Scale) -> Iterator[str]:
    by_name = {each.name: each for each in advice.known}
    for number, found in enumerate(each for each in advice.break_evens if each.tokens is not None):
        assert found.tokens is not None
        x = scale.x(found.tokens)
        y = scale.y(by_name[found.name].cost(found.tokens, advice.price))
        text = f"{found.name} = {found.reference} at {shown_amount(found.tokens)}"
        below = _HEIGHT - _BOTTOM - 8 - number * 16
        yield (
            f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#333333" stroke-dasharray="4 4"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="none" stroke="#333333" stroke-width="2"/>'
        )
        aside, anchor = (6, "start") if x < _WIDTH / 2 else (-6, "end")
        yield f'<text x="{x + aside:.1f}" y="{below}" text-anchor="{anchor}">{escape(text)}</text>'
