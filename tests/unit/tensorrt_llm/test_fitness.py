"""Engines × machines: what loads, what does not, and every word that is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enginebuild.engines.tensorrt_llm.scripts.fitness import (
    Finding,
    Gpu,
    Level,
    Machine,
    Needs,
    compare,
    fits,
    number,
    wanted_gpus,
)

H100 = "NVIDIA H100 80GB HBM3"
VERSIONS = {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48"}

#: An engine of two ranks, built on H100 by TensorRT-LLM 1.2.1.
ENGINE = Needs(True, 2, "9.0", H100, "13.1.0", "580", "590.44", VERSIONS)
#: An image that compiles nothing beforehand, made for one L4.
IMAGE = Needs(False, 1, "8.9", "NVIDIA L4", "13.0.3", "580", "580.95", {"vllm": "0.33.0"})
#: An old engine, of which config.json alone is there.
OLD = Needs(True, 1, versions={"tensorrt_llm": "0.16.0"})
#: An image whose recipe names no GPU.
PLAIN = Needs(False)


def machine(*gpus: tuple[str, str | None], driver: str | None = "590.44.01", **more: object) -> Machine:
    listed = tuple(Gpu(str(index), product, capability) for index, (product, capability) in enumerate(gpus))
    return replace(Machine(listed, driver), **more)  # type: ignore[arg-type] # Machine's own fields


TWO = machine((H100, "9.0"), (H100, "9.0"))
L4 = machine(("NVIDIA L4", "8.9"))
NOTHING = machine(driver=None, reason="there is no nvidia-smi")

NAMES = "tied, world_size, compute_capability, gpu, cuda, lowest_driver, own_driver, versions"
GIVE_MORE = "give it more (docker run --gpus, CUDA_VISIBLE_DEVICES), or build it with smaller parallel sizes"
GPUS_ALL = "on a machine with NVIDIA's driver: docker run --gpus all"
PTX = "it runs, but what is compiled from PTX at run time may not"
ELSEWHERE = "build it again for this machine's GPU, or run it on the one that it was built for"


def with_versions(**versions: str | None) -> Machine:
    return replace(TWO, versions=versions)


CASES: dict[str, tuple[Needs, Machine, list[Finding]]] = {
    "the machine that built it": (ENGINE, TWO, []),
    "more GPUs than it needs": (ENGINE, machine(*[(H100, "9.0")] * 8), []),
    "no nvidia-smi": (
        ENGINE,
        NOTHING,
        [
            Finding(
                "refusal",
                f"the engine needs 2 × {H100} (compute capability 9.0), and no GPU is visible here "
                "(there is no nvidia-smi)",
                GPUS_ALL,
            )
        ],
    ),
    "one GPU for two ranks": (
        ENGINE,
        machine((H100, "9.0")),
        [
            Finding(
                "refusal",
                "the engine needs 2 GPUs (tensor × pipeline parallel size), and 1 is visible here",
                GIVE_MORE,
            )
        ],
    ),
    "another compute capability (TensorRT-LLM #3031)": (
        ENGINE,
        machine(("NVIDIA L40S", "8.9"), ("NVIDIA L40S", "8.9")),
        [
            Finding(
                "refusal",
                f"the engine loads only on compute capability 9.0 ({H100}), and here is NVIDIA L40S (8.9)",
                ELSEWHERE,
            )
        ],
    ),
    "neither the right GPU nor enough": (
        ENGINE,
        L4,
        [
            Finding(
                "refusal",
                f"the engine loads only on compute capability 9.0 ({H100}), and here is NVIDIA L4 (8.9)",
                ELSEWHERE,
            ),
            Finding(
                "refusal",
                "the engine needs 2 GPUs (tensor × pipeline parallel size), and 1 is visible here",
                GIVE_MORE,
            ),
        ],
    ),
    "GPUs of two kinds, enough of the right one": (
        ENGINE,
        machine(("NVIDIA L4", "8.9"), (H100, "9.0"), (H100, "9.0")),
        [
            Finding(
                "warning",
                "the engine loads only on compute capability 9.0; here is also NVIDIA L4 (8.9)",
                "CUDA_VISIBLE_DEVICES=1,2 leaves those that fit",
            )
        ],
    ),
    "GPUs of two kinds, too few of the right one": (
        ENGINE,
        machine(("NVIDIA L4", "8.9"), (H100, "9.0")),
        [
            Finding(
                "refusal",
                f"the engine loads only on compute capability 9.0 ({H100}), and here is NVIDIA L4 (8.9)",
                ELSEWHERE,
            )
        ],
    ),
    "another board of the same compute capability (NVIDIA/TensorRT#2900)": (
        ENGINE,
        machine(("NVIDIA H200", "9.0"), ("NVIDIA H200", "9.0")),
        [
            Finding(
                "warning",
                f"the engine was built on {H100}, and here is NVIDIA H200 (9.0): it loads, but was tuned "
                "for other speeds and another size of memory",
            )
        ],
    ),
    "a capability that nvidia-smi does not tell": (
        ENGINE,
        machine((H100, None), (H100, None)),
        [Finding("unknown", f"nvidia-smi does not tell the compute capability of {H100} (unknown)")],
    ),
    "a driver that CUDA 13 refuses": (
        ENGINE,
        replace(TWO, driver="570.124.06"),
        [
            Finding(
                "refusal",
                "CUDA 13.1.0 needs driver 580 or newer, here is 570.124.06",
                "update the driver; on data centre GPUs the image's own cuda-compat may do instead",
            )
        ],
    ),
    "a driver older than CUDA's own": (
        ENGINE,
        replace(TWO, driver="580.95.05"),
        [Finding("warning", f"CUDA 13.1.0 came with driver 590.44, here is 580.95.05: {PTX}")],
    ),
    "the oldest driver of CUDA 13": (
        replace(ENGINE, own_driver=None),
        replace(TWO, driver="580"),
        [],
    ),
    "the driver that came with it": (ENGINE, replace(TWO, driver="590.44"), []),
    "a driver that is not told": (
        ENGINE,
        replace(TWO, driver=None),
        [Finding("unknown", "CUDA 13.1.0 was not compared with the driver: the driver is not known")],
    ),
    "a CUDA without a floor": (
        replace(ENGINE, cuda="14.0.0", lowest_driver=None, own_driver=None),
        TWO,
        [
            Finding(
                "unknown", "CUDA 14.0.0 was not compared with the driver: no driver is known to be its oldest"
            )
        ],
    ),
    "forward compatibility makes an old driver do": (ENGINE, replace(TWO, driver="535.161", cuda="13.1"), []),
    "the library serves an older CUDA": (
        ENGINE,
        replace(TWO, cuda="12.8"),
        [
            Finding(
                "refusal",
                "this image has CUDA 13.1.0, and the driver here serves CUDA 12.8",
                "update the driver",
            )
        ],
    ),
    "the library serves an older minor version": (
        ENGINE,
        replace(TWO, cuda="13.0"),
        [Finding("warning", f"this image has CUDA 13.1.0, and the driver here serves CUDA 13.0: {PTX}")],
    ),
    "the versions that built it": (ENGINE, with_versions(**VERSIONS), []),
    "the same TensorRT, packed again": (
        ENGINE,
        with_versions(tensorrt_llm="1.2.1", tensorrt="10.14.1.48.post1"),
        [],
    ),
    "another last digit (tensorrtllm_backend#194)": (
        ENGINE,
        with_versions(tensorrt_llm="1.2.1", tensorrt="10.14.1.47"),
        [
            Finding(
                "refusal",
                "the engine was built with TensorRT 10.14.1.48, and here is 10.14.1.47",
                "an engine loads only with what built it: use an image with TensorRT 10.14.1.48, or build it "
                "again",
            )
        ],
    ),
    "a .post1 of TensorRT-LLM is another version": (
        replace(ENGINE, versions={"tensorrt_llm": "0.17.0"}),
        with_versions(tensorrt_llm="0.17.0.post1"),
        [
            Finding(
                "refusal",
                "the engine was built with TensorRT-LLM 0.17.0, and here is 0.17.0.post1",
                "an engine loads only with what built it: use an image with TensorRT-LLM 0.17.0, or build it "
                "again",
            )
        ],
    ),
    "TensorRT-LLM is not installed": (
        ENGINE,
        with_versions(tensorrt_llm=None),
        [
            Finding(
                "unknown",
                "TensorRT-LLM is not among the packages here, so it was not compared with 1.2.1",
            )
        ],
    ),
    "an old engine": (
        OLD,
        L4,
        [
            Finding(
                "unknown",
                "the engine does not say which GPU built it, so compute capability was not compared",
                "TensorRT says so when it loads the engine, and so would an engine that enginebuild built",
            )
        ],
    ),
    "an old engine without a GPU": (
        OLD,
        NOTHING,
        [
            Finding(
                "refusal",
                "the engine needs 1 × a GPU, and no GPU is visible here (there is no nvidia-smi)",
                GPUS_ALL,
            )
        ],
    ),
    "an image on its GPU": (IMAGE, L4, []),
    "an image on another GPU": (
        IMAGE,
        TWO,
        [
            Finding(
                "warning",
                f"the image was made for NVIDIA L4 (compute capability 8.9), and here is {H100} (9.0): its "
                "quantization and settings may not run there, or run slower",
            )
        ],
    ),
    "an image on another board": (
        IMAGE,
        machine(("NVIDIA L40S", "8.9")),
        [
            Finding(
                "warning",
                "the image was made for NVIDIA L4, and here is NVIDIA L40S (8.9): it loads, but was tuned "
                "for other speeds and another size of memory",
            )
        ],
    ),
    "an image with another version inside": (
        IMAGE,
        replace(L4, versions={"vllm": "0.32.0"}),
        [
            Finding(
                "warning",
                "the image was configured for vLLM 0.33.0, and here is 0.32.0: arguments may be unknown "
                "there, or mean something else",
            )
        ],
    ),
    "an image that needs a GPU": (
        IMAGE,
        machine(driver=None),
        [
            Finding(
                "refusal",
                "the image needs 1 × NVIDIA L4 (compute capability 8.9), and no GPU is visible here",
                GPUS_ALL,
            )
        ],
    ),
    "an image that says nothing, without a GPU": (
        PLAIN,
        NOTHING,
        [
            Finding(
                "unknown",
                "no GPU is visible here (there is no nvidia-smi), and the image does not say "
                "whether it needs one",
                "an image for CPUs runs without; name the GPU in the recipe, and the image says so",
            )
        ],
    ),
    "an image that says nothing, with one": (PLAIN, L4, []),
    "an image that says nothing but its size": (
        Needs(False, 4),
        TWO,
        [
            Finding(
                "refusal",
                "the image needs 4 GPUs (tensor × pipeline parallel size), and 2 are visible here",
                GIVE_MORE,
            )
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_compare(case: str) -> None:
    needs, here, expected = CASES[case]
    assert list(compare(needs, here)) == expected
    assert fits(expected) == all(finding.level != "refusal" for finding in expected)


def test_labels_of_findings() -> None:
    levels: tuple[Level, ...] = ("refusal", "warning", "unknown")
    labels = [Finding(level, "").label for level in levels]
    assert labels == ["error", "warning", "not checked"]


@pytest.mark.parametrize("needs", [ENGINE, IMAGE, OLD, PLAIN])
def test_needs_are_read_as_written(needs: Needs) -> None:
    assert Needs.from_json(needs.to_json()) == needs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tied": 1}, "a field has a value of the wrong type"),
        ({"world_size": True}, "a field has a value of the wrong type"),
        ({"world_size": 0}, "a field has a value of the wrong type"),
        ({"world_size": "2"}, "a field has a value of the wrong type"),
        ({"cuda": 13.1}, "a field has a value of the wrong type"),
        ({"versions": ["vllm"]}, "a field has a value of the wrong type"),
        ({"versions": {"vllm": None}}, "a field has a value of the wrong type"),
        (
            {"colour": "green"},
            f"it must have the fields {NAMES}",
        ),
    ],
)
def test_other_documents_are_no_needs(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        Needs.from_json(ENGINE.to_json() | change)
    assert str(refused.value) == message


def test_a_list_is_no_needs() -> None:
    with pytest.raises(ValueError):
        Needs.from_json([])


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("590.44.01", (590, 44, 1)),
        ("580", (580,)),
        ("13.1", (13, 1)),
        ("570.86.15-1", (570, 86, 15)),
        ("?", ()),
    ],
)
def test_numbers(version: str, parts: tuple[int, ...]) -> None:
    assert number(version) == parts


def test_wanted_gpus() -> None:
    assert wanted_gpus(ENGINE) == f"2 × {H100} (compute capability 9.0)"
    assert wanted_gpus(PLAIN) == "1 × a GPU"
