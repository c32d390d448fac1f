"""What missing steps take: by a record of this recipe, else of another one, else by the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from enginebuild.durations import Work, figures, modelled
from enginebuild.errors import RecipeError
from enginebuild.estimate import Estimate, StepEstimate, duration, estimate, gpu_price
from enginebuild.events import Report
from enginebuild.execution import ContainerEnvironment, Execution, GpuNeed
from enginebuild.past import Time
from enginebuild.plan import PlannedStep, PlanStatus
from enginebuild.recipe import Recipe, parse
from enginebuild.recipe.gpu import catalogue
from enginebuild.step import Action, Step
from enginebuild.steps.commands import RunCommands
from enginebuild.why import Since
from enginebuild_cache import Digest, Store, Tree

RECIPE = parse(
    b"version: 1\nname: llama\nmodel: hf://org/llama@main\ntensor_parallel_size: 2\ngpu: H100-SXM-80GB\n"
    b"engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n",
    "llama.yaml",
)
KEY = str(Digest.of(b"a record"))
GB = 10**9


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to estimate it")


def on(gpus: GpuNeed) -> RunCommands:
    environment = ContainerEnvironment("registry.example.com/a:1", Digest.of(b"a"))
    return RunCommands(Execution("compile", environment, (), gpus), None, lambda _: None)


def planned(name: str, status: PlanStatus = "miss", action: Action = never) -> PlannedStep:
    return PlannedStep(Step(name, 1, {}, action), status)


def took(seconds: float, subject: str = "llama", size: int | None = 16 * GB, **more: int | str) -> Time:
    since = Since(KEY, "2026-11-26T08:00:00+00:00", subject, "enginebuild 0.1.0")
    tokens = more.get("tokens")
    return Time(
        since, seconds, str(more.get("method", "")), size, tokens if isinstance(tokens, int) else None
    )


@dataclass(frozen=True)
class Known:
    """Times by step, as a cache has them."""

    known: Mapping[str, Sequence[Time]]

    def times(self, step: str) -> Sequence[Time]:
        return self.known.get(step, ())


def one(step: PlannedStep, work: Work | None, *times: Time, recipe: Recipe = RECIPE) -> StepEstimate:
    works = {} if work is None else {step.step.name: work}
    (found,) = estimate((step,), works, Known({step.step.name: times}), recipe, 0).steps
    return found


COMPILE = Work("compile", 16 * GB)


def test_this_recipes_record_goes_before_anothers_and_the_model() -> None:
    found = one(planned("compile"), COMPILE, took(99, "other"), took(2400), took(1, "llama"))
    assert (found.seconds, found.origin, found.spread, found.scale) == (
        2400,
        "this recipe's record",
        1.3,
        1.0,
    )
    assert found.said == "this recipe's record of 2026-11-26"
    assert found.source == (
        f"the record {KEY[7:19]} of 2026-11-26T08:00:00+00:00, made for llama by enginebuild 0.1.0"
    )


def test_anothers_record_is_scaled_by_size_as_the_model_has_it() -> None:
    small = replace(COMPILE, size=2 * GB)
    found = one(planned("compile"), COMPILE, took(50, "other", None), took(100, "small", 2 * GB))
    scale = modelled(COMPILE).seconds / modelled(small).seconds
    assert found.seconds == pytest.approx(100 * scale)
    assert (found.origin, found.spread) == ("another recipe's record", 2)
    assert found.scale == pytest.approx(scale)
    assert found.said == f"small's record of 2026-11-26, scaled by {scale:.2g}"


def test_anothers_record_of_the_same_size_is_as_good_as_this_ones() -> None:
    found = one(planned("compile"), COMPILE, took(100, "twin"))
    assert (found.seconds, found.origin, found.spread) == (100, "another recipe's record", 1.3)
    assert found.said == "twin's record of 2026-11-26"


def test_a_record_that_does_not_tell_its_size() -> None:
    found = one(planned("compile"), COMPILE, took(100, "other", None))
    assert (found.seconds, found.spread) == (100, 4)
    assert found.said == "other's record of 2026-11-26, of unknown size"
    # A recipe's own is taken to be of its size.
    assert one(planned("compile"), COMPILE, took(100, "llama", None)).spread == 1.3


def test_this_recipes_record_of_another_model_is_scaled_too() -> None:
    found = one(planned("compile"), COMPILE, took(100, "llama", 2 * GB))
    assert found.seconds is not None
    assert (found.seconds > 100, found.origin, found.spread) == (True, "this recipe's record", 2)


def test_a_quantization_is_scaled_by_its_tokens() -> None:
    gpu = catalogue()["A100-SXM-80GB"]
    work = Work("quantize", 16 * GB, 8 * GB, 512 * 2048, gpu=gpu, method="modelopt fp8")
    few = one(planned("quantize"), work, took(60, "other", method="modelopt fp8", tokens=32 * 2048))
    same = one(planned("quantize"), work, took(60, "other", method="modelopt fp8", tokens=512 * 2048))
    assert few.seconds is not None
    assert few.seconds > 300
    assert same.seconds == 60


def test_another_method_or_line_tells_nothing() -> None:
    work = Work("quantize", 16 * GB, 8 * GB, method="modelopt fp8")
    found = one(planned("quantize"), work, took(60, method="llm-compressor w4a16_awq"))
    assert (found.origin, found.seconds) == ("model", modelled(work).seconds)
    fetch = Work("download", 16 * GB, method="download")
    assert one(planned("fetch"), fetch, took(1, method="copy")).origin == "model"


def test_an_earlier_fetch_tells_the_line() -> None:
    fetch = Work("download", 16 * GB, method="download")
    found = one(planned("fetch"), fetch, took(10, "other", 2 * GB, method="download"))
    assert found.seconds == pytest.approx(80)
    assert found.said == "other's record of 2026-11-26, scaled by 8"


def test_nothing_to_fetch_takes_no_time() -> None:
    found = one(planned("fetch"), Work("download", 0), took(10))
    assert (found.seconds, found.origin) == (0, "model")


def test_the_model_says_what_it_is_made_of() -> None:
    found = one(planned("compile"), COMPILE)
    known = figures()["compile"]
    assert (found.seconds, found.origin, found.spread) == (modelled(COMPILE).seconds, "model", known.spread)
    assert (found.said, found.source) == ("model: logs of trtllm-build", known.source)
    assert found.since is None


def test_of_nothing_known_nothing_is_said() -> None:
    found = one(planned("compile", "unresolved"), None)
    assert (found.seconds, found.origin, found.low, found.high, found.gpu_minutes) == (
        None,
        "unknown",
        0.0,
        0.0,
        None,
    )
    # But a recipe's own record is as good as ever.
    assert one(planned("compile", "unresolved"), None, took(100)).seconds == 100
    assert one(planned("compile", "unresolved"), None, took(100, "other")).seconds is None


STEPS = (
    planned("fetch", "hit"),
    planned("convert", "unneeded"),
    planned("quantize", "miss", on(GpuNeed(count=4))),
    planned("compile", "unresolved", on(GpuNeed(ids=("0", "1")))),
    planned("image", "unresolved"),
    planned("verify", "unresolved"),
    planned("publish", "unresolved"),
)
KNOWN = Known({"quantize": [took(600)], "compile": [took(2400, "other")], "verify": [took(90)]})
WORKS = {"compile": COMPILE, "publish": Work("upload", 16 * GB)}


def whole(price: float | None = None, steps: Sequence[PlannedStep] = STEPS) -> Estimate:
    return estimate(steps, WORKS, KNOWN, RECIPE, 1200, price)


def test_times_gpus_and_cost_are_sums() -> None:
    found = whole(2.5)
    assert [(each.step, each.seconds, each.gpus, each.gpu_minutes) for each in found.steps] == [
        ("quantize", 600.0, 4, 40.0),
        ("compile", 2400.0, 2, 80.0),
        ("image", None, 0, None),
        ("verify", 90.0, 2, 3.0),
        ("publish", 160.0, 0, 0.0),
    ]
    assert (found.seconds, found.gpu_minutes, found.unknown, found.cost) == (3250.0, 123.0, ("image",), 5.125)
    low, high = found.limits
    assert (low, high) == pytest.approx((3090 / 1.3 + 160 / 4, 3090 * 1.3 + 160 * 4))
    assert found.cost_limits == pytest.approx((5.125 / 1.3, 5.125 * 1.3))


def test_what_people_read() -> None:
    assert whole(2.5).lines("{} bytes".format) == [
        "time       54 min, between 40 min and 78 min; unknown for image",
        "  quantize   10 min     on 4 GPUs  this recipe's record of 2026-11-26; ×1.3 either way",
        "  compile    40 min     on 2 GPUs  other's record of 2026-11-26; ×1.3 either way",
        "  verify     90 s       on 2 GPUs  this recipe's record of 2026-11-26; ×1.3 either way",
        "  publish    3 min                 model: 100 MB/s, an assumed line of 1 Gbit/s; ×4 either way",
        "to fetch   1200 bytes",
        "cost       5.12 $ (3.94 to 6.66 $) for 123.0 GPU minutes at 2.5 $/h, and what is unknown: image",
    ]
    assert whole(None, STEPS[4:5]).lines("{} bytes".format)[0] == "time       unknown for image"
    assert whole(2.5, STEPS[:2]).lines("{} bytes".format) == []
    assert (
        whole(60, STEPS[6:]).lines("{} bytes".format)[-1] == "cost       0.00 $ for 0.0 GPU minutes at 60 $/h"
    )


def test_json() -> None:
    found = whole(3.0, STEPS[3:4]).to_json()
    assert found == {
        "seconds": 2400.0,
        "seconds_between": [1846.154, 3120.0],
        "gpu_minutes": 80.0,
        "unknown": [],
        "bytes_to_fetch": 1200,
        "gpu_price": 3.0,
        "cost": 4.0,
        "cost_between": [3.0769, 5.2],
        "steps": [
            {
                "name": "compile",
                "seconds": 2400.0,
                "low": 1846.154,
                "high": 3120.0,
                "spread": 1.3,
                "remote": False,
                "gpus": 2,
                "gpu_minutes": 80.0,
                "origin": "another recipe's record",
                "scale": 1.0,
                "said": "other's record of 2026-11-26",
                "source": f"the record {KEY[7:19]} of 2026-11-26T08:00:00+00:00, made for other by "
                "enginebuild 0.1.0",
                "since": {
                    "key": KEY,
                    "finished": "2026-11-26T08:00:00+00:00",
                    "subject": "other",
                    "tool": "enginebuild 0.1.0",
                },
            }
        ],
    }


def test_what_a_remote_cache_has_is_taken_and_keeps_no_gpu_busy() -> None:
    taken = replace(STEPS[3], status="hit", remote=True)
    work = Work("download", 2 * GB, method="remote cache")
    (found,) = estimate((taken,), {"compile": work}, KNOWN, RECIPE, 0).steps
    assert (found.seconds, found.gpus, found.origin) == (20, 0, "model")


@pytest.mark.parametrize(("step", "gpus"), [("quantize", 1), ("compile", 1), ("verify", 2), ("image", 0)])
def test_gpus_of_a_step_whose_commands_are_not_known_yet(step: str, gpus: int) -> None:
    assert one(planned(step, "unresolved"), None).gpus == gpus


def test_a_verification_without_gpus() -> None:
    without: Recipe = replace(RECIPE, gpu=None)
    found = one(STEPS[5], None, took(90), recipe=without)
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
