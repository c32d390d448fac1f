"""The catalogue of GPUs: each figure has a document, is without sparsity, and fits its relatives'."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from enginebuild.recipe import gpu as module
from enginebuild.recipe.gpu import Gpu, catalogue

DOCUMENT = json.loads(module._FILE.read_text("utf-8"))
GPUS = catalogue()

#: GPUs that people build for, each in every form that it is sold in.
WANTED = {
    *("T4", "A10G", "L4", "L40S", "H20-96GB", "GH200-96GB", "B200-SXM-180GB", "B300-SXM-288GB"),
    *("A100-PCIe-40GB", "A100-SXM-40GB", "A100-PCIe-80GB", "A100-SXM-80GB"),
    *("H100-PCIe-80GB", "H100-SXM-80GB", "H100-NVL-94GB", "H200-SXM-141GB", "GB200-186GB"),
    *("RTX-PRO-6000", "RTX-4090", "RTX-5090"),
}

#: FP16 in TFLOPs as the documents print it, with sparsity; of DGX and NVL72 a GPU's share.
WITH_SPARSITY = {
    "A10": 250,
    "A30": 330,
    "A40": 299.4,
    "A100-SXM-80GB": 624,
    "L4": 242,
    "L40": 362.1,
    "L40S": 733,
    "H100-SXM-80GB": 1979,
    "H100-PCIe-80GB": 1513,
    "H100-NVL-94GB": 1671,
    "H200-SXM-141GB": 1979,
    "H200-NVL-141GB": 1671,
    "B200-SXM-180GB": 36_000 / 8,
    "B300-SXM-288GB": 36_000 / 8,
    "GB200-186GB": 360_000 / 72,
    "GB300-288GB": 360_000 / 72,
}


def test_all_that_people_build_for_are_there() -> None:
    assert set(GPUS) >= WANTED


@pytest.mark.parametrize("name", GPUS)
def test_an_entry_names_a_document_of_its_own_and_where_its_speed_is_from(name: str) -> None:
    sources = set(DOCUMENT["gpus"][name]["source"])
    general = {"cuda-gpus", "cuda-legacy-gpus", "speed", "smi-memory", "nim"}
    assert len(sources - general) == 1
    assert sources >= {"speed"}
    assert sources & {"cuda-gpus", "cuda-legacy-gpus", "nvidia-smi", "aws-g5"}


def test_no_source_is_listed_in_vain() -> None:
    used = {source for entry in DOCUMENT["gpus"].values() for source in entry["source"]}
    used |= {floor["source"] for floor in DOCUMENT["driver_floors"].values()}
    assert used == set(DOCUMENT["sources"])


@pytest.mark.parametrize(("name", "printed"), WITH_SPARSITY.items())
def test_tflops_are_without_sparsity(name: str, printed: float) -> None:
    assert GPUS[name].tflops["fp16"] == pytest.approx(printed / 2, rel=0.015)


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_narrower_types_are_faster_by_whole_factors(gpu: Gpu) -> None:
    fp16, fp8, fp4, int8 = (gpu.tflops.get(name) for name in ("fp16", "fp8", "fp4", "int8"))
    assert fp16 is not None
    if fp8 is not None:
        assert fp8 == pytest.approx(2 * fp16, rel=0.03)
    if fp4 is not None:
        # Blackwell Ultra's FP4 is thrice its FP8; GeForce halves all but INT8 and FP4, whose sums are FP32.
        factor = 3 if gpu.compute_capability == "10.3" else 4 if gpu.name == "RTX-5090" else 2
        assert fp4 == pytest.approx(factor * (fp8 or 0), rel=0.01)
    if int8 is not None:
        factor = 4 if gpu.product.startswith("NVIDIA GeForce") else 2
        assert int8 == pytest.approx(factor * fp16, rel=0.03)


@pytest.mark.parametrize(
    "names",
    [
        ("L4", "A10G", "L40S", "A100-SXM-40GB", "A100-PCIe-80GB", "A100-SXM-80GB"),
        ("H100-PCIe-80GB", "H100-SXM-80GB", "H100-NVL-94GB", "H20-96GB", "H200-SXM-141GB", "B200-SXM-180GB"),
        ("RTX-3090", "RTX-4090", "RTX-5090"),
        ("RTX-A6000", "RTX-6000-Ada", "RTX-PRO-6000", "RTX-PRO-6000-Workstation"),
        ("A2", "T4", "V100-SXM2-16GB"),
    ],
    ids=lambda names: names[0],
)
def test_memory_grows_faster_in_this_order(names: tuple[str, ...]) -> None:
    for slower, faster in pairwise(names):
        assert GPUS[slower].bandwidth_gb_s < GPUS[faster].bandwidth_gb_s, (slower, faster)


@pytest.mark.parametrize(
    "names",
    [
        ("A2", "T4", "A10G", "L4", "H20-96GB", "A100-SXM-80GB", "L40S", "H100-PCIe-80GB", "H100-NVL-94GB"),
        ("H100-NVL-94GB", "H100-SXM-80GB", "B200-SXM-180GB", "GB200-186GB"),
        ("RTX-3090", "RTX-4090", "RTX-5090", "RTX-6000-Ada", "RTX-PRO-6000"),
    ],
    ids=lambda names: names[0],
)
def test_computing_grows_faster_in_this_order(names: tuple[str, ...]) -> None:
    for slower, faster in pairwise(names):
        assert GPUS[slower].tflops["fp16"] < GPUS[faster].tflops["fp16"], (slower, faster)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("H100-SXM-80GB", "H200-SXM-141GB"),
        ("H100-SXM-80GB", "GH200-96GB"),
        ("H100-NVL-94GB", "H200-NVL-141GB"),
        ("A100-SXM-40GB", "A100-PCIe-80GB"),
        ("B200-SXM-180GB", "B300-SXM-288GB"),
        ("RTX-PRO-6000", "RTX-PRO-6000-Workstation"),
    ],
)
def test_the_same_chip_computes_as_fast_whatever_its_memory(one: str, other: str) -> None:
    assert GPUS[one].tflops["fp16"] == GPUS[other].tflops["fp16"]
    assert GPUS[one].compute_capability[:2] == GPUS[other].compute_capability[:2]


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_what_is_usable_is_nearly_all_and_never_more(gpu: Gpu) -> None:
    """Sold as GB and counted in GiB: what is seen may be more than what is printed, by 7.4 % at most."""
    assert 0.9 * gpu.memory_gb * 10**9 < gpu.usable_bytes < gpu.memory_gb * 2**30


def test_newer_chips_need_no_older_drivers() -> None:
    floors = {
        tuple(map(int, other.compute_capability.split("."))): tuple(map(int, other.driver_floor.split(".")))
        for other in GPUS.values()
        if not other.compute_capability.startswith("12")  # of the same toolkit as 10.0
    }
    ordered = [floors[capability] for capability in sorted(floors)]
    assert ordered == sorted(ordered)
    assert len(ordered) == 8


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_nvlink_is_of_a_generation(gpu: Gpu) -> None:
    """Links of a GPU, both ways together: bridges and boards of each generation."""
    bridges = {None, 112.5, 200, 300, 400, 600, 900, 1800}
    assert gpu.nvlink_gb_s in bridges
    assert gpu.joined in (1, 2, 4, 8, 72)
