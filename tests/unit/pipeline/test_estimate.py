"""What missing steps take: from records alone, and nothing made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from enginebuild.errors import RecipeError
from enginebuild.estimate import StepEstimate, duration, estimate, gpu_price
from enginebuild.events import Report
from enginebuild.execution import ContainerEnvironment, Execution, GpuNeed
from enginebuild.plan import PlannedStep, PlanStatus
from enginebuild.recipe import Recipe, parse
from enginebuild.step import Action, Step
from enginebuild.steps.commands import RunCommands
from enginebuild_cache import Digest, Json, Record, Store, Tree

RECIPE = parse(
    b"version: 1\nname: llama\nmodel: hf://org/llama@main\ntensor_parallel_size: 2\ngpu: H100-SXM-80GB\n"
    b"engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n",
    "llama.yaml",
)
NO_TREE = Tree.of([])


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to estimate it")


def on(gpus: GpuNeed) -> RunCommands:
    environment = ContainerEnvironment("registry.example.com/a:1", Digest.of(b"a"))
    return RunCommands(Execution("compile", environment, (), gpus), None, lambda _: None)


def planned(name: str, status: PlanStatus, action: Action = never) -> PlannedStep:
    return PlannedStep(Step(name, 1, {}, action), status)


def took(name: str, seconds: Json, subject: str = "llama") -> Record:
    fields: dict[str, Json] = {"step": name}
    provenance: dict[str, Json] = {
        "subject": subject,
        "finished": "2026-11-26T08:00:00+00:00",
        "tool": "enginebuild 0.1.0",
    }
    if seconds is not None:
        provenance["seconds"] = seconds
    return Record(Digest.of_json(fields), name, fields, NO_TREE, provenance)


STEPS = (
    planned("fetch", "hit"),
    planned("convert", "unneeded"),
    planned("quantize", "miss", on(GpuNeed(count=4))),
    planned("compile", "unresolved", on(GpuNeed(ids=("0", "1")))),
    planned("image", "unresolved"),
    planned("verify", "unresolved"),
    planned("publish", "unresolved"),
)
RECORDS = {
    each.step: each for each in (took("quantize", 600), took("compile", 2400.0, "other"), took("verify", 90))
}


def test_times_gpus_and_cost_are_those_of_the_last_records() -> None:
    found = estimate(STEPS, RECORDS, RECIPE, 1_200_000_000, 2.5)
    assert [(each.step, each.seconds, each.gpus, each.gpu_minutes) for each in found.steps] == [
        ("quantize", 600.0, 4, 40.0),
        ("compile", 2400.0, 2, 80.0),
        ("image", None, 0, None),
        ("verify", 90.0, 2, 3.0),
    ]
    assert [each.since.subject if each.since else None for each in found.steps] == [
        "llama",
        "other",
        None,
        "llama",
    ]
    assert (found.seconds, found.gpu_minutes, found.unknown, found.cost) == (3090.0, 123.0, ("image",), 5.125)


def test_what_people_read() -> None:
    def lines(steps: Sequence[PlannedStep], to_fetch: int | None, price: float | None) -> list[str]:
        return estimate(steps, RECORDS, RECIPE, to_fetch, price).lines("llama", "{} bytes".format)

    times = "quantize 10 min on 4 GPUs, compile 40 min on 2 GPUs (as for other), verify 90 s on 2 GPUs"
    assert lines(STEPS, 1200, 2.5) == [
        f"time       {times}; unknown for image",
        "to fetch   1200 bytes",
        "cost       5.12 $ for 123.0 GPU minutes at 2.5 $/h, and what is unknown: image",
    ]
    assert lines(STEPS[4:5], None, None) == ["time       unknown for image"]
    assert lines((planned("verify", "miss", on(GpuNeed(count=1))),), 0, 60) == [
        "time       verify 90 s on 1 GPU",
        "cost       1.50 $ for 1.5 GPU minutes at 60 $/h",
    ]
    assert lines(STEPS[:2], 0, 2.5) == []


def test_json() -> None:
    found = estimate(STEPS[2:3], RECORDS, RECIPE, None)
    assert found.to_json() == {
        "seconds": 600.0,
        "gpu_minutes": 40.0,
        "unknown": [],
        "bytes_to_fetch": None,
        "gpu_price": None,
        "cost": None,
        "steps": [
            {
                "name": "quantize",
                "seconds": 600.0,
                "gpus": 4,
                "gpu_minutes": 40.0,
                "since": {
                    "key": str(RECORDS["quantize"].key),
                    "finished": "2026-11-26T08:00:00+00:00",
                    "subject": "llama",
                    "tool": "enginebuild 0.1.0",
                },
            }
        ],
    }


@pytest.mark.parametrize("seconds", [None, True, "12"])
def test_a_record_without_a_time_tells_none(seconds: Json) -> None:
    found = estimate(STEPS[2:3], {"quantize": took("quantize", seconds)}, RECIPE, 0)
    assert found.steps == (StepEstimate("quantize", 4),)
    assert found.unknown == ("quantize",)


def test_a_verification_without_gpus() -> None:
    without: Recipe = replace(RECIPE, gpu=None)
    (found,) = estimate(STEPS[5:6], RECORDS, without, 0).steps
    assert (found.gpus, found.gpu_minutes) == (0, 0.0)


@pytest.mark.parametrize(
    ("text", "price"),
    [("2.5/h", 2.5), ("2.5", 2.5), ("$1.48/h", 1.48), ("3$/hour", 3.0), ("2/GPU-hour", 2.0)],
)
def test_a_price(text: str, price: float) -> None:
    assert gpu_price(text) == price


@pytest.mark.parametrize("text", ["", "free", "0/h", "-1", "2.5/min"])
def test_what_is_no_price(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        gpu_price(text)
    assert caught.value.message == f"--gpu-price must be dollars per GPU-hour, not '{text}'"
    assert caught.value.hint == "write for example 2.5/h"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "under 1 s"), (42.4, "42 s"), (99.0, "99 s"), (100, "2 min"), (2400, "40 min"), (12600, "3.5 h")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
