"""Quality and performance: numbers from answers and results, bounds held against them, and the plot."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from enginebuild.errors import StepError
from enginebuild.recipe.verification import Performance, Quality
from enginebuild.verify.answers import Answer
from enginebuild.verify.performance import bench_command, measurement, performance_problems
from enginebuild.verify.plot import plot
from enginebuild.verify.quality import (
    Measured,
    compared,
    measured,
    quality_problems,
    quality_requests,
)

QUALITY = Quality(("Water boils", "Two and two"), 4, 0.4, 0.05)


def likely(first: float, *rest: float) -> Answer:
    """Of a text of one token more than numbers; the last number is that of the token made."""
    values: Any = [None, first, *rest]
    top: Any = [None, *({"a": value, "b": value - 1} for value in (first, *rest))]
    return Answer("x", logprobs={"token_logprobs": values, "top_logprobs": top})


def test_what_is_asked_for_quality() -> None:
    requests = quality_requests(QUALITY, probabilities=True)
    assert [each.name for each in requests] == [
        *("quality, text 1", "quality, text 2"),
        *("quality, logprobs of text 1", "quality, logprobs of text 2"),
    ]
    assert requests[0].body == {"prompt": "Water boils", "max_tokens": 4, "temperature": 0}
    assert requests[2].body == {
        "prompt": "Water boils",
        "max_tokens": 1,
        "temperature": 0,
        "echo": True,
        "logprobs": 1,
    }
    assert requests[2].judge(likely(-0.1, -9.0)) == ""
    assert requests[2].judge(Answer("x")) == "the server gives no logprobs of the prompt"
    # A model may end at once: that is compared, and no mistake.
    assert requests[0].judge(Answer()) == ""
    assert len(quality_requests(QUALITY, probabilities=False)) == 2


def test_numbers_of_a_model() -> None:
    found = measured(
        QUALITY, [Answer(" at 100"), Answer(" is"), likely(-1.0, -2.0, -9.0), likely(-3.0, -9.0)]
    )
    assert found == Measured((" at 100", " is"), ((-1.0, -2.0), (-3.0,)), (("a", "a"), ("a",)))
    assert found.perplexity == pytest.approx(math.exp(2.0))
    assert Measured.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Measured(("x",)).perplexity is None


def test_two_models_are_compared() -> None:
    source = Measured((" at 100", " is"), ((-1.0, -1.0),), (("a", "b"),))
    ours = Measured((" at 99", " is"), ((-1.0, -1.2),), (("a", "c"),))
    numbers = compared(QUALITY, source, ours)
    assert numbers == {
        "exact_match": 0.5,
        "source_perplexity": pytest.approx(math.e),
        "perplexity": pytest.approx(math.exp(1.1)),
        "perplexity_increase": pytest.approx(math.exp(0.1) - 1),
        "top_token_agreement": 0.5,
    }
    assert quality_problems(QUALITY, numbers) == (
        (
            "quality: 0.5 of the texts go on otherwise than the unquantized model has them, "
            "max_exact_match_drop allows 0.4"
        ),
        "quality: the perplexity grew by 0.105 to 3.004, max_perplexity_increase allows 0.05",
    )
    assert (
        quality_problems(replace(QUALITY, max_exact_match_drop=0.5, max_perplexity_increase=0.11), numbers)
        == ()
    )
    assert compared(QUALITY, Measured(("x",)), Measured(("x",))) == {"exact_match": 1.0}


def test_a_perplexity_that_is_no_number_is_over_every_bound() -> None:
    (problem,) = quality_problems(
        replace(QUALITY, max_exact_match_drop=None),
        {"exact_match": 1.0, "perplexity": math.nan, "perplexity_increase": math.nan},
    )
    assert problem == "quality: the perplexity grew by nan to nan, max_perplexity_increase allows 0.05"


BOUNDS = Performance((1, 8), 64, 512, 128, 95)
RESULT = {
    "completed": 64,
    "output_throughput": 812.3456,
    "request_throughput": 6.3,
    "median_ttft_ms": 20.0,
    "p95_ttft_ms": 41.23456,
    "median_tpot_ms": 7.0,
    "p95_tpot_ms": 9.5,
    "date": "20261127",
}


def words(engine: str) -> str:
    return " ".join(bench_command(engine, BOUNDS, 8, "org/m", "/model", 8000, PurePosixPath("/e/8.json")))


def test_the_command_of_each_engine() -> None:
    common = (
        "--backend openai --host 127.0.0.1 --port 8000 --endpoint /v1/completions --model org/m "
        "--tokenizer /model --seed 0 --dataset-name random --random-input-len 512 --random-output-len 128 "
        "--ignore-eos --num-prompts 64 --max-concurrency 8 --percentile-metrics ttft,tpot "
        "--metric-percentiles 95 --save-result --result-dir /e --result-filename 8.json"
    )
    assert words("vllm") == f"vllm bench serve {common} --disable-tqdm"
    program = "python3 -m tensorrt_llm.serve.scripts.benchmark_serving"
    assert words("tensorrt_llm") == f"{program} {common} --random-ids --no-test-input"


def row(**changed: Any) -> dict[str, Any]:
    return measurement(BOUNDS, 8, json.dumps({**RESULT, **changed}).encode())


def test_a_result_becomes_a_row() -> None:
    assert row() == {
        "concurrency": 8,
        "requests": 64,
        "completed": 64,
        "percentile": 95,
        "ttft_ms": 41.235,
        "median_ttft_ms": 20.0,
        "tpot_ms": 9.5,
        "median_tpot_ms": 7.0,
        "output_throughput": 812.346,
        "request_throughput": 6.3,
    }


def test_a_result_of_another_kind_is_refused() -> None:
    with pytest.raises(StepError) as caught:
        measurement(BOUNDS, 8, b"{}")
    assert (
        caught.value.message == "the benchmark's result is not what enginebuild knows: KeyError('completed')"
    )
    assert caught.value.hint == "leave verify.performance out, or use an engine's version that is known"


def test_bounds_of_performance() -> None:
    assert performance_problems(BOUNDS, [row()]) == ()
    bounds = replace(
        BOUNDS,
        max_time_to_first_token_ms=41.0,
        max_time_per_output_token_ms=9.5,
        min_throughput_tokens_per_second=900.0,
    )
    assert performance_problems(bounds, [row(), {**row(), "concurrency": 16, "completed": 63}]) == (
        "performance, 8 at a time: 41.23 ms to the first token (p95), max_time_to_first_token_ms allows 41",
        "performance, 16 at a time: 63 of 64 requests were answered",
        "performance, 16 at a time: 41.23 ms to the first token (p95), max_time_to_first_token_ms allows 41",
        (
            "performance: 812.3 tokens per second at the best concurrency, "
            "min_throughput_tokens_per_second asks for 900"
        ),
    )
    # Not a number is under no bound.
    problems = performance_problems(bounds, [row(p95_ttft_ms="nan", output_throughput=900.0)])
    assert problems == (
        "performance, 8 at a time: nan ms to the first token (p95), max_time_to_first_token_ms allows 41",
    )


def test_the_plot_is_an_image_with_every_number() -> None:
    drawn = plot([row(), {**row(), "concurrency": 16, "output_throughput": 1200.0}], "org/m on <two> & more")
    root = ET.fromstring(drawn)
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "org/m on <two> & more"
    assert {"41.23", "9.5", "812.3", "1200", "8", "16"} <= set(texts)
    assert drawn == plot(
        [row(), {**row(), "concurrency": 16, "output_throughput": 1200.0}], "org/m on <two> & more"
    )
    ET.fromstring(plot([], "nothing"))
