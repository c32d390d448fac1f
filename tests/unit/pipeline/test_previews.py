"""The plans of several cells together: each step once, whose times these are, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from enginebuild.durations import Work
from enginebuild.events import Report
from enginebuild.past import Time
from enginebuild.plan import PlannedStep
from enginebuild.preview import Preview
from enginebuild.previews import Previews
from enginebuild.recipe import parse
from enginebuild.step import Step
from enginebuild.why import Since
from enginebuild_cache import Digest, Store, Tree

RECIPE = parse(
    b"version: 1\nname: llama\nmodel: hf://org/llama@main\ngpu: H100-SXM-80GB\n"
    b"engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n",
    "llama.yaml",
)
KEY = Digest.of(b"a key")
GB = 10**9


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to plan it")


@dataclass(frozen=True)
class Compiled:
    """Somebody compiled an engine once."""

    def times(self, step: str) -> tuple[Time, ...]:
        since = Since(str(KEY), "2026-11-26T08:00:00+00:00", "llama", "enginebuild 0.1.0")
        return (Time(since, 600.0, "", 16 * GB),) if step == "compile" else ()


def planned(name: str, key: str, *, remote: bool = False) -> PlannedStep:
    status = PlannedStep(Step(name, 1, {}, never), "hit" if remote else "miss", Digest.of(key.encode()))
    return replace(status, remote=remote)


def cell(name: str, *steps: PlannedStep, works: Mapping[str, Work], to_fetch: int | None = 0) -> Preview:
    recipe = replace(RECIPE, name=name)
    return Preview(name, KEY, None, None, steps, recipe, Compiled(), works, to_fetch)


WORKS = {
    "fetch": Work("download", 16 * GB, method="download"),
    "compile": Work("compile", 16 * GB),
    "publish": Work("upload", 8 * GB),
}
FETCH = planned("fetch", "the model")


def test_a_shared_step_counts_once_and_times_say_whose_they_are() -> None:
    first = cell("llama", FETCH, planned("compile", "a"), works=WORKS, to_fetch=16 * GB)
    second = cell("other", FETCH, planned("compile", "b"), works=WORKS, to_fetch=16 * GB)
    lines = list(Previews([first, second]).lines(3.0, "{:,}".format))
    assert lines == [
        f"llama  {KEY.short}  to make: fetch, compile",
        f"other  {KEY.short}  to make: fetch, compile",
        "2 cells, 0 cached",
        "to make    1 × fetch (3 min), 2 × compile (20 min)",
        "time       23 min, between 16 min and 37 min; 2 by records, 1 modelled",
        "to fetch   16,000,000,000",
        "cost       1.00 $ (0.77 to 1.30 $) for 20.0 GPU minutes at 3 $/h",
    ]


def test_what_is_taken_from_elsewhere_is_told_apart() -> None:
    there = planned("fetch", "the model", remote=True)
    works = {"fetch": Work("download", 2 * GB, method="remote cache")}
    lines = list(Previews([cell("llama", there, works=works)]).lines(None, "{:,}".format))
    assert lines[1:] == [
        "1 cells, 1 cached",
        "to make    1 × fetch from the remote cache (20 s)",
        "time       20 s, between 5 s and 80 s; 1 modelled",
    ]


def test_what_nobody_knows_is_said_once() -> None:
    unknown = planned("fetch", "a"), planned("image", "b")
    cells = [cell("llama", *unknown, works={}), cell("other", *unknown[1:], works={})]
    lines = list(Previews(cells).lines(2.5, "{:,}".format))
    assert lines[3:] == [
        "to make    1 × fetch (time unknown), 1 × image (time unknown)",
        "time       unknown for fetch, image",
        "cost       0.00 $ for 0.0 GPU minutes at 2.5 $/h, and what is unknown: fetch, image",
    ]


def test_bytes_to_send_are_told_before_the_image_is_known() -> None:
    unknown = cell("llama", FETCH, works=WORKS)
    assert (unknown.about_to_send, unknown.to_json()["bytes_to_send_about"]) == (8 * GB, 8 * GB)
    assert replace(unknown, bytes_to_send=5).about_to_send is None
    assert replace(unknown, works={}).about_to_send is None
