"""Which GPUs a step may have, and what is said if there are none that fit."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.execution import GpuNeed
from enginebuild.runners.machine import Gpu, Machine, choose, read, this_machine
from parts.services import NVIDIA_STANDIN

#: What nvidia-smi 580 says on a machine with two different GPUs, and where memory is the CPU's (GB10).
TWO = """\
0, GPU-4f0e2c1a-7c6d-9a51-2b1f-0d9c7e5a1b2c, NVIDIA H100 80GB HBM3, 9.0, 81559, 81004, 590.44.01
1, GPU-0b9a8c7d-6e5f-4a3b-8c2d-1e0f9a8b7c6d, NVIDIA L4, 8.9, 23034, 22563, 590.44.01
"""
UNIFIED = "0, GPU-aa, NVIDIA GB10, 12.1, [N/A], [N/A], 580.95.05\n"
FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running."
)
SAYS = "the NVIDIA driver does not answer: nvidia-smi says:"
OLD = "the NVIDIA driver is too old:"
MIB = 1 << 20
L4 = "NVIDIA L4"


def test_what_nvidia_smi_says() -> None:
    first, second = read(TWO, 0).gpus
    assert first == Gpu(
        "0",
        "GPU-4f0e2c1a-7c6d-9a51-2b1f-0d9c7e5a1b2c",
        "NVIDIA H100 80GB HBM3",
        "9.0",
        81559 * MIB,
        81004 * MIB,
        "590.44.01",
    )
    assert (second.index, second.name) == ("1", L4)


def test_memory_that_the_driver_does_not_tell_is_enough() -> None:
    machine = read(UNIFIED, 0)
    assert machine.gpus[0].memory is None
    assert choose(GpuNeed(1, free_bytes=10**12), "compile", machine).gpus == machine.gpus


@pytest.mark.parametrize(
    ("text", "code", "trouble"),
    [
        ("No devices were found\n", 6, "no NVIDIA GPU: nvidia-smi lists none"),
        ("", 0, "no NVIDIA GPU: nvidia-smi lists none"),
        (
            f"{FAILED}\n\n",
            9,
            f"{SAYS} {FAILED}",
        ),
        (
            'Field "compute_cap" is not a valid field to query.\n\n',
            2,
            f'{SAYS} Field "compute_cap" is not a valid field to query.',
        ),
        ("", 3, f"{SAYS} nothing, and ends with exit code 3"),
    ],
)
def test_no_gpu_and_why(text: str, code: int, trouble: str) -> None:
    assert read(text, code) == Machine(trouble=trouble)


HAS = "0 (NVIDIA H100 80GB HBM3, 9.0), 1 (NVIDIA L4, 8.9)"


@pytest.mark.parametrize(
    ("need", "sentence"),
    [
        (GpuNeed(4), f"too few GPUs: the step compile needs 4, and this machine has {HAS}"),
        (GpuNeed(ids=("1", "7", "9")), f"no GPU 7, 9: this machine has {HAS}"),
        (
            GpuNeed(1, compute_capability="10.0"),
            f"wrong compute capability: the step compile needs 10.0 on 1 GPU, and this machine has {HAS}",
        ),
        (
            GpuNeed(2, compute_capability="9.0"),
            f"wrong compute capability: the step compile needs 9.0 on 2 GPUs, and this machine has {HAS}",
        ),
        (
            GpuNeed(ids=("1",), compute_capability="9.0"),
            (
                "wrong compute capability: the step compile needs 9.0 on GPU 1, and this machine has "
                "1 (NVIDIA L4, 8.9)"
            ),
        ),
        (
            GpuNeed(1, compute_capability="9.0", product="NVIDIA H200"),
            (
                "wrong GPU: the step compile needs NVIDIA H200 as 1 GPU, and this machine has "
                "0 (NVIDIA H100 80GB HBM3, 9.0)"
            ),
        ),
        (
            GpuNeed(2, free_bytes=60 * 10**9),
            (
                "too little GPU memory is free: the step compile needs 60.0 GB on 2 GPUs, and "
                "GPU 0 has 84.9 GB, GPU 1 has 23.7 GB"
            ),
        ),
        (
            GpuNeed(1, driver_floor="595.10"),
            f"{OLD} the step compile needs 595.10 or newer, and this machine has 590.44.01",
        ),
    ],
)
def test_what_is_lacking(need: GpuNeed, sentence: str) -> None:
    choice = choose(need, "compile", read(TWO, 0))
    assert choice.lacking == (sentence,)
    assert choice.gpus == ()


def test_all_that_is_lacking_is_said_at_once() -> None:
    need = GpuNeed(1, compute_capability="10.0", driver_floor="600")
    assert len(choose(need, "compile", read(TWO, 0)).lacking) == 2


@pytest.mark.parametrize(
    ("need", "wanted"),
    [
        (GpuNeed(1), "1 GPU"),
        (GpuNeed(2), "2 GPUs"),
        (GpuNeed(ids=("0", "1")), "GPU 0, 1"),
    ],
)
def test_a_machine_without_any(need: GpuNeed, wanted: str) -> None:
    machine = Machine(trouble="no NVIDIA GPU: nvidia-smi lists none")
    assert choose(need, "compile", machine).lacking == (
        f"no NVIDIA GPU: nvidia-smi lists none, and the step compile needs {wanted}",
    )
    assert choose(GpuNeed(), "compile", machine).lacking == ()


@pytest.mark.parametrize(
    ("need", "indices"),
    [
        (GpuNeed(), []),
        (GpuNeed(1), ["0"]),
        (GpuNeed(2), ["0", "1"]),
        (GpuNeed(1, compute_capability="8.9"), ["1"]),
        (GpuNeed(1, product=L4, driver_floor="590.44"), ["1"]),
        (GpuNeed(ids=("GPU-0b9a8c7d-6e5f-4a3b-8c2d-1e0f9a8b7c6d",)), ["1"]),
        (GpuNeed(1, free_bytes=80 * 10**9), ["0"]),
    ],
)
def test_what_is_chosen(need: GpuNeed, indices: list[str]) -> None:
    assert [gpu.index for gpu in choose(need, "compile", read(TWO, 0)).gpus] == indices


def test_the_emptiest_is_chosen_and_the_machine_s_order_kept() -> None:
    rows = [f"{n}, GPU-{n}, {L4}, 8.9, 23034, {free}, 590.44" for n, free in enumerate((100, 9000, 5, 8000))]
    machine = read("\n".join(rows), 0)
    assert [gpu.index for gpu in choose(GpuNeed(2), "compile", machine).gpus] == ["1", "3"]


def test_reserved_gpus_come_last_and_all_of_their_memory_will_be_free() -> None:
    rows = [f"{n}, GPU-{n}, {L4}, 8.9, 23034, {free}, 590.44" for n, free in enumerate((9000, 10, 8000))]
    machine = read("\n".join(rows), 0)

    def chosen(need: GpuNeed, *reserved: str) -> list[str]:
        return [gpu.index for gpu in choose(need, "compile", machine, reserved).gpus]

    assert chosen(GpuNeed(1), "GPU-0") == ["2"]
    assert chosen(GpuNeed(2), "GPU-0", "GPU-2") == ["0", "1"]
    roomy = GpuNeed(1, free_bytes=20000 * MIB)
    assert chosen(roomy, "GPU-1") == ["1"]
    assert chosen(replace(roomy, free_bytes=24000 * MIB), "GPU-1") == []


def test_the_standin_answers_in_the_real_one_s_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{NVIDIA_STANDIN}:{os.environ['PATH']}")
    monkeypatch.setenv(
        "NVIDIA_SMI_STANDIN_GPUS", "NVIDIA H100 80GB HBM3, 9.0, 81559, 81004; NVIDIA L4, 8.9, 23034, 22563"
    )
    uuids = [gpu.uuid for gpu in read(TWO, 0).gpus]
    said = this_machine()
    assert [gpu.uuid[:4] for gpu in said.gpus] == ["GPU-", "GPU-"]
    assert len({gpu.uuid for gpu in said.gpus}) == 2
    assert len(said.gpus[0].uuid) == len(uuids[0])
    assert [
        (gpu.index, gpu.name, gpu.compute_capability, gpu.memory, gpu.free, gpu.driver) for gpu in said.gpus
    ] == [
        (gpu.index, gpu.name, gpu.compute_capability, gpu.memory, gpu.free, gpu.driver)
        for gpu in read(TWO, 0).gpus
    ]
    monkeypatch.setenv("NVIDIA_SMI_STANDIN_GPUS", "none")
    assert this_machine() == Machine(trouble="no NVIDIA GPU: nvidia-smi lists none")
    monkeypatch.setenv(
        "NVIDIA_SMI_STANDIN_FAILS", "Failed to initialize NVML: Driver/library version mismatch"
    )
    assert this_machine() == Machine(
        trouble="the NVIDIA driver does not answer: nvidia-smi says: "
        "Failed to initialize NVML: Driver/library version mismatch"
    )


def test_a_machine_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_machine() == Machine(trouble="no NVIDIA driver: this machine has no program nvidia-smi")
    assert shutil.which("nvidia-smi") is None
