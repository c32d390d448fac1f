"""A picture as PNG, painted by Pillow, which only the extra `plot` brings."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from enginebuild.advise.shapes import Anchor, Dot, Label, Line, Picture, Point

#: Pixels of the PNG for one of the picture's, and those that are painted for one of the PNG's: smooth edges.
SCALE = 2
_FINER = 2
#: Pillow's words for where a text's place is on its base line.
_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}
_DASH = 4.0


def png(picture: Picture) -> bytes:
    """Equal pictures give equal pixels."""
    factor = SCALE * _FINER
    image = Image.new("RGB", (picture.width * factor, picture.height * factor), "#ffffff")
    painter = _Painter(ImageDraw.Draw(image), factor)
    for shape in picture.shapes:
        match shape:
            case Line():
                painter.line(shape)
            case Dot():
                painter.dot(shape)
            case Label():
                painter.label(shape)
    small = image.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.LANCZOS)
    content = BytesIO()
    small.save(content, "PNG", optimize=True)
    return content.getvalue()


class _Painter:
    def __init__(self, draw: ImageDraw.ImageDraw, factor: int) -> None:
        self._draw, self._factor = draw, factor

    def line(self, line: Line) -> None:
        pieces = _dashes(line.points[0], line.points[-1]) if line.dashed else iter([line.points])
        for piece in pieces:
            places = [self._place(point) for point in piece]
            self._draw.line(places, fill=line.colour, width=line.width * self._factor, joint="curve")

    def dot(self, dot: Dot) -> None:
        (x, y), radius = self._place(dot.centre), dot.radius * self._factor
        if dot.ring:
            radius += self._factor  # half of the ring is outside, as in SVG
        box = (x - radius, y - radius, x + radius, y + radius)
        if dot.ring:
            self._draw.ellipse(box, outline=dot.colour, width=2 * self._factor)
        else:
            self._draw.ellipse(box, fill=dot.colour)

    def label(self, label: Label) -> None:
        font = ImageFont.load_default(label.size * self._factor)
        anchor = _ANCHORS[label.anchor]
        self._draw.text(self._place(label.at), label.text, fill="#000000", font=font, anchor=anchor)

    def _place(self, point: Point) -> Point:
        return point[0] * self._factor, point[1] * self._factor


def _dashes(first: Point, last: Point) -> Iterator[tuple[Point, Point]]:
    """Every other piece of a straight line."""
    (x, y), (to_x, to_y) = first, last
    length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
    places = [min(_DASH * number / length, 1.0) for number in range(int(length / _DASH) + 2)]
    for begin, end in list(pairwise(places))[::2]:
        yield (
            (x + (to_x - x) * begin, y + (to_y - y) * begin),
            (x + (to_x - x) * end, y + (to_y - y) * end),
        )
