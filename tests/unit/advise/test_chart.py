"""The picture of cost over volume."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from enginebuild.advise.advice import Advice, Candidate
from enginebuild.advise.candidates import Circumstances, candidates, given
from enginebuild.advise.chart import chart, picture, write_chart
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


def test_lines_cross_where_the_mark_is() -> None:
    drawn = ET.fromstring(chart(ADVICE))
    vllm, engine = (points(line) for line in drawn.findall(f"{SVG}polyline"))
    assert [x for x, _ in vllm] == [x for x, _ in engine]
    (mark,) = (each for each in drawn.findall(f"{SVG}circle") if each.attrib["fill"] == "none")
    at = float(mark.attrib["cx"])
    # Down is cheaper: above the mark's volume the engine, below it vLLM.
    assert all(ours[1] >= theirs[1] for ours, theirs in zip(engine, vllm, strict=True) if ours[0] > at)
    assert all(ours[1] <= theirs[1] for ours, theirs in zip(engine, vllm, strict=True) if ours[0] < at)
    nearest = min(vllm, key=lambda point: abs(point[0] - at))
    assert abs(nearest[1] - float(mark.attrib["cy"])) < 10


def test_texts() -> None:
    drawn = ET.fromstring(chart(ADVICE))
    texts = [text.text for text in drawn.findall(f"{SVG}text")]
    assert texts[0] == "Cost of a<b per month at 1.48 $ per GPU-hour, compiling included"
    assert texts[-3:] == ["vllm", "tensorrt_llm", "tensorrt_llm = vllm at 10M"]
    assert [text for text in texts if text and re.fullmatch(r"\d+[MB]", text)] == ["10M", "100M", "1B", "10B"]


def test_equal_advice_gives_equal_bytes_and_all_lies_inside() -> None:
    drawn = chart(ADVICE)
    assert drawn == chart(ADVICE)
    for line in ET.fromstring(drawn).findall(f"{SVG}polyline"):
        assert all(80 <= x <= 730 and 76 <= y <= 400 for x, y in points(line))


def test_one_candidate_at_one_volume() -> None:
    (vllm,) = (each for each in ADVICE.candidates if each.engine == "vllm")
    drawn = ET.fromstring(chart(Advice((vllm,), (1e6,), 1.0)))
    assert len(drawn.findall(f"{SVG}polyline")) == 1
    assert [each.attrib["fill"] for each in drawn.findall(f"{SVG}circle")] == ["#4c78a8"]


def test_it_is_written(tmp_path: Path) -> None:
    write_chart(ADVICE, tmp_path / "cost.svg")
    assert (tmp_path / "cost.svg").read_bytes() == chart(ADVICE)
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


def test_a_png_is_drawn_where_cairosvg_is_and_refused_where_it_is_not() -> None:
    if importlib.util.find_spec("cairosvg") is None:
        with pytest.raises(RecipeError) as caught:
            picture(ADVICE, ".png")
        assert caught.value.message == (
            "a PNG is drawn by CairoSVG, which is not here: No module named 'cairosvg'"
        )
        assert caught.value.hint == "pip install cairosvg (and Cairo itself: libcairo2), or write .svg"
    else:
        assert picture(ADVICE, ".png").startswith(b"\x89PNG\r\n")
