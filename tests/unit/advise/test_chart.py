"""The picture of cost over volume."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from enginebuild.advise.advice import Advice, Candidate
from enginebuild.advise.candidates import Circumstances, candidates, given
from enginebuild.advise.chart import COLOURS, MARK, chart, picture, write_chart
from enginebuild.errors import RecipeError

SVG = "{http://www.w3.org/2000/svg}"
ADVICE = Advice(
    candidates(given(["vllm=667k", "tensorrt_llm=741k"]), (), Circumstances()),
    (100e6, 1e9, 10e9),
    1.48,
    "a<b",
)


def points(line: ET.Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in line.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def curves(drawn: ET.Element) -> list[list[tuple[float, float]]]:
    """The candidates' lines: the axes', the grid's and the legend's have fewer points."""
    return [found for line in drawn.findall(f"{SVG}polyline") if len(found := points(line)) > 3]


def break_even(drawn: ET.Element) -> tuple[float, float]:
    (mark,) = (each for each in drawn.findall(f"{SVG}circle") if each.attrib["fill"] == "none")
    return float(mark.attrib["cx"]), float(mark.attrib["cy"])


def test_lines_cross_where_the_mark_is() -> None:
    drawn = ET.fromstring(picture(ADVICE, ".svg"))
    vllm, engine = curves(drawn)
    assert [x for x, _ in vllm] == [x for x, _ in engine]
    at, height = break_even(drawn)
    # Down is cheaper: above the mark's volume the engine, below it vLLM.
    assert all(ours[1] >= theirs[1] for ours, theirs in zip(engine, vllm, strict=True) if ours[0] > at)
    assert all(ours[1] <= theirs[1] for ours, theirs in zip(engine, vllm, strict=True) if ours[0] < at)
    nearest = min(vllm, key=lambda point: abs(point[0] - at))
    assert abs(nearest[1] - height) < 10


def test_texts() -> None:
    drawn = ET.fromstring(picture(ADVICE, ".svg"))
    texts = [text.text for text in drawn.findall(f"{SVG}text")]
    assert texts[0] == "Cost of a<b per month at 1.48 $ per GPU-hour, compiling included"
    assert texts[-3:] == ["vllm", "tensorrt_llm", "tensorrt_llm = vllm at 10M"]
    assert [text for text in texts if text and re.fullmatch(r"\d+[MB]", text)] == ["10M", "100M", "1B", "10B"]


def test_equal_advice_gives_equal_bytes_and_all_lies_inside() -> None:
    drawn = picture(ADVICE, ".svg")
    assert drawn == picture(ADVICE, ".svg")
    for curve in curves(ET.fromstring(drawn)):
        assert all(80 <= x <= 730 and 76 <= y <= 400 for x, y in curve)


def test_one_candidate_at_one_volume() -> None:
    (vllm,) = (each for each in ADVICE.candidates if each.engine == "vllm")
    drawn = ET.fromstring(picture(Advice((vllm,), (1e6,), 1.0), ".svg"))
    assert len(curves(drawn)) == 1
    assert [each.attrib["fill"] for each in drawn.findall(f"{SVG}circle")] == [COLOURS[0]]


def test_a_legend_of_many_candidates_stays_in_the_picture() -> None:
    names = [
        "vllm",
        "vllm:fp8",
        "vllm:w4a16",
        "tensorrt_llm",
        "tensorrt_llm:fp8",
        "tensorrt_llm-pytorch:nvfp4",
    ]
    many = candidates(given([f"{name}=700k" for name in names]), (), Circumstances())
    drawn = ET.fromstring(picture(Advice(many, (1e9,), 1.0), ".svg"))
    found = {each.text: each.attrib for each in drawn.findall(f"{SVG}text")}
    places = [(float(found[name]["x"]), float(found[name]["y"])) for name in names]
    assert len(set(places)) == len(names)
    # A letter of 12 pixels is about 7 wide.
    assert all(x + 7 * len(name) < 760 and y < 70 for (x, y), name in zip(places, names, strict=True))


def test_both_kinds_are_written(tmp_path: Path) -> None:
    for kind in (".svg", ".png"):
        write_chart(ADVICE, tmp_path / f"cost{kind}")
        assert (tmp_path / f"cost{kind}").read_bytes() == picture(ADVICE, kind)
    with pytest.raises(RecipeError) as caught:
        write_chart(ADVICE, tmp_path / "no" / "cost.svg")
    assert caught.value.message == f"{tmp_path}/no/cost.svg cannot be written: No such file or directory"


def test_other_kinds_and_nothing_to_draw() -> None:
    with pytest.raises(RecipeError) as caught:
        picture(ADVICE, ".pdf")
    assert caught.value.message == "--plot writes .svg and .png, not '.pdf'"
    assert caught.value.hint == "write for example cost.svg"
    with pytest.raises(RecipeError) as nothing:
        picture(Advice((Candidate("vllm"),), (1e6,), 1.0), ".svg")
    assert nothing.value.message == "--plot has nothing to draw: no throughput is known"


class Painted:
    """A PNG's pixels, asked by places of the picture."""

    def __init__(self, content: bytes) -> None:
        self.image = Image.open(BytesIO(content)).convert("RGB")

    def near(self, x: float, y: float, colour: str, within: int = 2) -> bool:
        """Whether a pixel of about this colour is there."""
        wanted = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
        around = range(-within, within + 1)
        pixels = (
            self.image.getpixel((round(2 * x) + dx, round(2 * y) + dy)) for dx in around for dy in around
        )
        return any(
            max(abs(ours - theirs) for ours, theirs in zip(pixel, wanted, strict=True)) < 40
            for pixel in pixels
            if isinstance(pixel, tuple)
        )


def test_the_png_has_the_lines_the_break_even_and_the_texts_of_the_svg() -> None:
    drawn, painted = ET.fromstring(picture(ADVICE, ".svg")), Painted(picture(ADVICE, ".png"))
    assert painted.image.size == (2 * 760, 2 * 460)
    assert painted.image.getpixel((0, 0)) == painted.image.getpixel((1519, 919)) == (255, 255, 255)
    # Where the lines are apart, each has its colour; the upper one does not hide the other.
    vllm, engine = curves(drawn)
    assert all(painted.near(x, y, COLOURS[0]) for x, y in vllm[50:])
    assert all(painted.near(x, y, COLOURS[1]) for x, y in engine)
    assert not painted.near(vllm[50][0], vllm[50][1] + 40, COLOURS[0])
    at, height = break_even(drawn)
    assert all(painted.near(at + dx, height + dy, MARK) for dx, dy in ((-5, 0), (5, 0), (0, -5), (0, 5)))
    dashes = [painted.near(at, y, MARK, 0) for y in range(80, 200)]
    assert 0.3 < sum(dashes) / len(dashes) < 0.7
    for text in drawn.findall(f"{SVG}text"):
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        aside = {"start": 4, "middle": 0, "end": -4}[text.attrib["text-anchor"]]
        assert painted.near(x + aside, y - 4, "#000000", 8), text.text


def test_equal_advice_gives_equal_pixels() -> None:
    assert picture(ADVICE, ".png") == picture(ADVICE, ".png")


def test_svg_needs_nothing_and_png_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "enginebuild.advise.raster", raising=False)
    assert picture(ADVICE, ".svg") == chart(ADVICE).svg()
    with pytest.raises(RecipeError) as caught:
        picture(ADVICE, ".png")
    assert caught.value.message == (
        "a PNG is painted by Pillow, which is not here: import of PIL halted; None in sys.modules"
    )
    assert caught.value.hint == "pip install 'enginebuild[plot]', or write .svg"
