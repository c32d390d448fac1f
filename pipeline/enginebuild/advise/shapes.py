"""What a picture is made of, in pixels from the upper left corner, and as SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

#: Size of letters in pixels, where nothing else is said.
TEXT = 12


@dataclass(frozen=True, slots=True)
class Line:
    """Straight from point to point."""

    points: Sequence[Point]
    colour: str
    width: int = 1
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc, or a ring of 2 pixels."""

    centre: Point
    radius: float
    colour: str
    ring: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """Text on one line; `at` is on its base line, where `anchor` says."""

    at: Point
    text: str
    anchor: Anchor = "start"
    size: int = TEXT


Shape = Line | Dot | Label


@dataclass(frozen=True, slots=True)
class Picture:
    """Shapes on white, the later ones above."""

    width: int
    height: int
    shapes: Sequence[Shape]

    def svg(self) -> bytes:
        """Equal pictures give equal bytes."""
        box = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="{TEXT}">',
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            *_elements(self.shapes),
        ]
        return "\n".join([*parts, "</svg>", ""]).encode()


def _elements(shapes: Sequence[Shape]) -> Iterator[str]:
    for shape in shapes:
        match shape:
            case Line(points, colour, width, dashed):
                places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                dashes = ' stroke-dasharray="4 4"' if dashed else ""
                stroke = f'stroke="{colour}" stroke-width="{width}"{dashes}'
                yield f'<polyline points="{places}" fill="none" {stroke}/>'
            case Dot((x, y), radius, colour, ring):
                paint = f'fill="none" stroke="{colour}" stroke-width="2"' if ring else f'fill="{colour}"'
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {paint}/>'
            case Label((x, y), text, anchor, size):
                asked = "" if size == TEXT else f' font-size="{size}"'
                place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
                yield f"<text {place}{asked}>{escape(text)}</text>"
