"""The arithmetic: the public table, break-evens, and everything that is said of it, whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enginebuild.advise.advice import Advice, BreakEven, Candidate, Compiling, break_even, use
from enginebuild.advise.candidates import Circumstances, candidates, facts, fixed_costs, given
from enginebuild.advise.figure import Figure, amount, grouped, shown_amount, three_digits
from enginebuild.advise.text import lines
from enginebuild.errors import RecipeError

VOLUMES = (100e6, 1e9, 10e9)
PRICE = 1.48
MINUTES = Figure(40, "given", "--compile-minutes 40")
TWICE = Figure(2, "given", "--recompiles-per-month 2")


def public_table() -> Advice:
    asked = given(["vllm=667k", "tensorrt_llm=741k"])
    return Advice(candidates(asked, (), Circumstances(MINUTES, TWICE)), VOLUMES, PRICE)


def test_the_public_table() -> None:
    """At 1.48 $ per GPU-hour; GPU-hours to three digits, costs from these, whole dollars."""
    advice = public_table()
    rows = {
        each.name: [(use.hours, round(use.serving)) for use in advice.uses(each)] for each in advice.known
    }
    assert rows == {
        "vllm": [(150, 222), (1500, 2220), (15000, 22200)],
        "tensorrt_llm": [(135, 200), (1350, 1998), (13500, 19980)],
    }


def test_what_people_read() -> None:
    text = "\n".join(lines(public_table()))
    assert text == (
        "tokens per month                    100M          1B         10B\n"
        "vllm\n"
        "  GPU-hours                          150       1,500      15,000\n"
        "  $ per month                        222       2,220      22,200\n"
        "  GPUs busy at least                   1           3          21\n"
        "  $ if rented all month            1,081       3,243      22,704\n"
        "tensorrt_llm\n"
        "  GPU-hours                          135       1,350      13,500\n"
        "  $ per month                        200       1,998      19,980\n"
        "  $ whatever the volume             1.97        1.97        1.97\n"
        "  $ together                         202       2,000      19,982\n"
        "  GPUs busy at least                   1           2          19\n"
        "  $ if rented all month            1,081       2,162      20,542\n"
        "tensorrt_llm-pytorch: its throughput is not known; give --throughput "
        "tensorrt_llm-pytorch=TOKENS\n"
        "\n"
        "tensorrt_llm costs less than vllm from 8.91M tokens per month on; a compilation of 0.99 $ is paid "
        "back by 4.45M tokens\n"
        "\n"
        "lost with vllm:\n"
        "  0 weeks until a new model is served: cited, Qwen3-Next, published on 2025-09-11: vLLM had it when "
        "TensorRT-LLM was asked for it on 2025-09-13 (NVIDIA/TensorRT-LLM #7694)\n"
        "  kernels are compiled at a first start without a warm cache: 18 s (vllm-project/vllm #47573) to "
        "166 s of an 11-minute start (mitchross/talos-argocd-proxmox #1848)\n"
        "lost with tensorrt_llm:\n"
        "  10 weeks until a new model is served: cited, Qwen3, published on 2025-04-29: engines from "
        "2025-07-10 on (NVIDIA/TensorRT-LLM #5650); since November 2025 there are no new ones (#8564)\n"
        "  2 compilations a month: given, --recompiles-per-month 2\n"
        "  no new features or models since November 2025 (NVIDIA/TensorRT-LLM #8564); removed after "
        "1.3.0rc20 (#15918)\n"
        "  no DeepSeek-V3, Llama 4 or GPT-OSS in any version\n"
        "  one engine per compute capability (#222, #3031) and per TensorRT version "
        "(triton-inference-server/tensorrtllm_backend #194)\n"
        "  batch size, lengths, beam width, parallel sizes and quantization are fixed when it is built\n"
        "lost with tensorrt_llm-pytorch:\n"
        "  3 weeks until a new model is served: cited, Qwen3-Next, published on 2025-09-11: in its main "
        "branch on 2025-10-02 (NVIDIA/TensorRT-LLM #7694)\n"
        "  CUDA graphs, autotuning and kernels are made at each start\n"
        "\n"
        "where the numbers are from:\n"
        "  1.48 $ per GPU-hour: given, --gpu-price\n"
        "  vllm, 667,000 tokens per GPU-hour: given, --throughput vllm=667k\n"
        "  tensorrt_llm, 741,000 tokens per GPU-hour: given, --throughput tensorrt_llm=741k\n"
        "  tensorrt_llm, 40 minutes of compiling: given, --compile-minutes 40"
    )


def test_json_has_it_unrounded() -> None:
    document: Any = public_table().to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["cheapest"] == ["tensorrt_llm"] * 3
    assert document["break_even"] == [
        {
            "name": "tensorrt_llm",
            "reference": "vllm",
            "cheaper": "from",
            "tokens_per_month": 8905351,
            "compilation": 0.9867,
            "repaid_by_tokens": 4452676,
        }
    ]
    vllm, engine, pytorch = document["candidates"]
    assert vllm["uses"][0] == {
        "tokens": 100e6,
        "gpu_hours": 150.0,
        "gpu_hours_exact": 149.925,
        "gpus": 1,
        "serving": 222.0,
        "monthly": 0.0,
        "total": 222.0,
        "rented": 1081.14,
    }
    assert engine["compiling"] == {
        "minutes": MINUTES.to_json(),
        "per_month": TWICE.to_json(),
        "gpus": 1,
    }
    assert engine["tokens_per_gpu_hour"] == {
        "value": 741000.0,
        "origin": "given",
        "source": "--throughput tensorrt_llm=741k",
    }
    assert (pytorch["tokens_per_gpu_hour"], pytorch["uses"]) == (None, [])


def rated(name: str, tokens: float, fixed: float = 0.0) -> Candidate:
    cost = Figure(fixed, "given", "") if fixed else None
    return Candidate(name, throughput=Figure(tokens, "given", ""), fixed=cost)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (rated("a", 200, 10), BreakEven("a", "b", "from", 2000.0)),
        (rated("a", 200), BreakEven("a", "b", "always")),
        (rated("a", 50), BreakEven("a", "b", "never")),
        (rated("a", 100), BreakEven("a", "b", "never")),
    ],
)
def test_where_costs_cross(one: Candidate, expected: BreakEven) -> None:
    assert break_even(one, rated("b", 100), 1.0) == expected


def test_where_a_fixed_cost_is_spared() -> None:
    assert break_even(rated("a", 50), rated("b", 100, 10), 1.0) == BreakEven("a", "b", "up to", 1000.0)
    assert break_even(rated("a", 100), rated("b", 100, 10), 1.0) == BreakEven("a", "b", "always")


def test_the_sentences_of_each() -> None:
    def said(one: Candidate, other: Candidate) -> list[str]:
        text = lines(Advice((other, one), (1000.0,), 1.0))
        return [line for line in text if "cost" in line]

    assert said(rated("a", 50), rated("b", 100, 10)) == ["a costs less than b up to 1k tokens per month"]
    assert said(rated("a", 200), rated("b", 100)) == ["a costs less than b at every volume"]
    assert said(rated("a", 50), rated("b", 100)) == ["a does not cost less than b at any volume"]


def test_a_compilation_that_saves_nothing_is_never_paid_back() -> None:
    slow = Candidate("a", throughput=Figure(50, "given", ""), compiling=Compiling(MINUTES, TWICE, 2))
    found = break_even(slow, rated("b", 100), 3.0)
    assert (found.relation, found.once, found.repaid) == ("never", 4.0, None)


def test_servers_are_whole() -> None:
    two = Candidate("a", gpus=2, throughput=Figure(1000, "given", ""))
    assert [use(two, tokens, 1.0).gpus for tokens in (1.0, 730_500.0, 1_461_000.0, 1_500_000.0)] == [
        2,
        2,
        2,
        4,
    ]


def test_nothing_known_compares_nothing() -> None:
    advice = Advice((Candidate("vllm"),), (1000.0,), 1.0)
    assert (advice.break_evens, advice.cheapest(1000.0)) == ((), None)


@pytest.mark.parametrize(
    ("text", "value"), [("667k", 667e3), ("1.5B", 1.5e9), ("100M", 1e8), ("2T", 2e12), ("1_000", 1000)]
)
def test_amounts(text: str, value: float) -> None:
    assert amount(text, "it") == value


@pytest.mark.parametrize("text", ["", "0", "-1M", "many", "5G"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        amount(text, "--tokens-per-month")
    assert caught.value.message == f"--tokens-per-month must be a number of tokens, not '{text}'"
    assert caught.value.hint == "write for example 667k, 100M or 1.5B"


def test_numbers_as_people_write_them() -> None:
    assert [shown_amount(value) for value in (1e12, 1.5e9, 8_905_351, 999_999, 12_000, 250)] == [
        "1T",
        "1.5B",
        "8.91M",
        "1M",
        "12k",
        "250",
    ]
    assert [three_digits(value) for value in (1499.25, 13495.3, 0.12345)] == [1500, 13500, 0.123]
    assert [grouped(value) for value in (1998.4, 222, 99, 1.973, 0.0015)] == [
        "1,998",
        "222",
        "99",
        "1.97",
        "0.0015",
    ]


def test_cited_figures_stand_in_where_nothing_else_is_known() -> None:
    found = candidates((), (), Circumstances())
    assert [(each.name, each.throughput and each.throughput.origin) for each in found] == [
        ("vllm", "cited"),
        ("tensorrt_llm", "cited"),
        ("tensorrt_llm-pytorch", None),
    ]
    assert [each.compiling is not None for each in found] == [False, True, False]
    compiling = found[1].compiling
    assert compiling is not None
    assert (compiling.minutes.value, compiling.minutes.origin) == (90, "cited")
    assert (compiling.per_month.value, compiling.per_month.origin) == (1, "cited")
    assert [each.weeks and each.weeks.origin for each in found] == ["cited"] * 3


def test_what_is_given_goes_before_what_is_measured_and_nothing_is_cited_beside_it() -> None:
    measured = tuple(
        Candidate(engine, throughput=Figure(5.0, "measured", "verify")) for engine in ("vllm", "tensorrt_llm")
    )
    found = candidates(given(["vllm=667k", "vllm:fp8x2=1.1M"]), measured, Circumstances())
    assert [(each.name, each.throughput and each.throughput.origin) for each in found] == [
        ("vllm", "given"),
        ("vllm:fp8x2", "given"),
        ("tensorrt_llm", "measured"),
        ("tensorrt_llm-pytorch", None),
    ]


@pytest.mark.parametrize("text", ["vllm=", "sglang=1k", "=1k", "vllm:FP8=1k", "vllmx0=1k"])
def test_what_is_no_throughput(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        given([text])
    name = text.partition("=")[0]
    if name == "vllm":
        assert caught.value.message == "--throughput vllm must be a number of tokens, not ''"
        return
    assert caught.value.message == (
        f"--throughput '{name}' is not ENGINE, ENGINE:QUANTIZATION or ENGINE:QUANTIZATIONxGPUS"
    )
    assert caught.value.hint == (
        "engines are vllm, tensorrt_llm, tensorrt_llm-pytorch; "
        "write for example vllm=667k or tensorrt_llm:fp8x2=741k"
    )


def test_one_candidate_twice() -> None:
    with pytest.raises(RecipeError) as caught:
        given(["vllm=1k", "vllm=2k"])
    assert (caught.value.message, caught.value.hint) == (
        "--throughput names vllm twice",
        "give each one once",
    )


def test_fixed_costs() -> None:
    found = candidates(given(["vllm=1k"]), (), Circumstances(fixed=fixed_costs(["tensorrt_llm=500"])))
    assert [each.fixed and each.fixed.value for each in found] == [None, 500.0, None]
    with pytest.raises(RecipeError) as caught:
        fixed_costs(["vllm=much"])
    assert caught.value.message == "--fixed-cost vllm must be dollars per month, not 'much'"
    with pytest.raises(RecipeError) as strange:
        candidates((), (), Circumstances(fixed=fixed_costs(["vllm:fp8=1"])))
    assert strange.value.message == "--fixed-cost names vllm:fp8, which is not compared"
    assert strange.value.hint == "compared are vllm, tensorrt_llm, tensorrt_llm-pytorch"


def test_every_cited_figure_has_a_source() -> None:
    known = facts()
    figures = [known.compile_minutes, known.recompiles]
    for engine in known.engines.values():
        figures += [engine.weeks, *([engine.throughput] if engine.throughput else [])]
    assert all(figure.origin == "cited" and len(figure.source) > 40 for figure in figures)
