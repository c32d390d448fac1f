"""The GPUs of a machine, as nvidia-smi lists them, and which of them a step may have."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from enginebuild.execution import GpuNeed
from enginebuild_cache import Json

#: What is asked; --query-gpu has had compute_cap since driver 470.
QUERY = (
    "--query-gpu=index,uuid,name,compute_cap,memory.total,memory.free,driver_version",
    "--format=csv,noheader,nounits",
)
_PROGRAM = "nvidia-smi"
_COLUMNS = 7
_MIB = 1 << 20
_TIMEOUT = 60.0  # seconds; without its persistence daemon a driver takes some for each GPU


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. `memory` and `free` in bytes; None where the driver does not say (unified memory)."""

    index: str
    uuid: str
    name: str
    compute_capability: str
    memory: int | None
    free: int | None
    driver: str

    def __str__(self) -> str:
        return f"{self.index} ({self.name}, {self.compute_capability})"

    def to_json(self) -> dict[str, Json]:
        return {
            "index": self.index,
            "name": self.name,
            "compute_capability": self.compute_capability,
            "memory": self.memory,
            "driver": self.driver,
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """The GPUs of a machine; `trouble` says why there are none."""

    gpus: tuple[Gpu, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The GPUs for an execution, or sentences that say why it cannot have them."""

    gpus: tuple[Gpu, ...] = ()
    lacking: tuple[str, ...] = ()


def this_machine() -> Machine:
    """Ask nvidia-smi."""
    try:
        ended = subprocess.run(
            [_PROGRAM, *QUERY], capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError:
        return Machine(trouble="no NVIDIA driver: this machine has no program nvidia-smi")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Machine(trouble=f"the NVIDIA driver does not answer: {error}")
    return read(ended.stdout.decode("utf-8", "replace"), ended.returncode)


def read(text: str, code: int) -> Machine:
    """What nvidia-smi said, and its exit code (6: no device; 9: no driver)."""
    if code == 6 or (code == 0 and not text.strip()):
        return Machine(trouble="no NVIDIA GPU: nvidia-smi lists none")
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    if code != 0 or any(len(row) != _COLUMNS for row in rows):
        said = (text.strip() or f"nothing, and ends with exit code {code}").splitlines()[0]
        return Machine(trouble=f"the NVIDIA driver does not answer: nvidia-smi says: {said}")
    return Machine(tuple(_gpu(row) for row in rows))


def _gpu(row: Sequence[str]) -> Gpu:
    index, uuid, name, capability, total, free, driver = row
    return Gpu(index, uuid, name, capability, _bytes(total), _bytes(free), driver)


def _bytes(mib: str) -> int | None:
    return int(mib) * _MIB if mib.isdigit() else None  # [N/A], [Not Supported]


def choose(need: GpuNeed, step: str, machine: Machine, reserved: Collection[str] = ()) -> Choice:
    """The GPUs with most memory free that fit, or those named; what is lacking is said in sentences.

    `reserved`: uuids of those that other executions have. They come last, and all of their memory counts as
    free: it will be.
    """
    if not need.wanted:
        return Choice()
    if machine.trouble:
        return Choice(lacking=(f"{machine.trouble}, and the step {step} needs {_wanted(need)}",))
    found = _candidates(need, step, machine)
    if isinstance(found, str):
        return Choice(lacking=(found,))
    lacking = [_too_old(need, step, machine), _unfit(need, step, found)]
    fitting = [gpu for gpu in found if _fits(need, gpu)]
    enough = [gpu for gpu in fitting if _has_room(need, gpu.memory if gpu.uuid in reserved else gpu.free)]
    wanted = len(need.ids) or need.count
    if len(fitting) >= wanted > len(enough):
        lacking.append(_too_full(need, step, fitting))
    said = tuple(sentence for sentence in lacking if sentence)
    if said:
        return Choice(lacking=said)
    best = sorted(enough, key=lambda gpu: (gpu.uuid in reserved, _fullness(gpu)))[:wanted]
    return Choice(tuple(sorted(best, key=lambda gpu: machine.gpus.index(gpu))))


def _wanted(need: GpuNeed) -> str:
    if need.ids:
        return f"GPU {', '.join(need.ids)}"
    return "1 GPU" if need.count == 1 else f"{need.count} GPUs"


def _candidates(need: GpuNeed, step: str, machine: Machine) -> tuple[Gpu, ...] | str:
    """Those named, else all; a sentence if there are not so many."""
    if need.ids:
        known = {name: gpu for gpu in machine.gpus for name in (gpu.index, gpu.uuid)}
        unknown = [name for name in need.ids if name not in known]
        if unknown:
            return f"no GPU {', '.join(unknown)}: this machine has {_list(machine.gpus)}"
        return tuple(known[name] for name in need.ids)
    if len(machine.gpus) < need.count:
        return f"too few GPUs: the step {step} needs {need.count}, and this machine has {_list(machine.gpus)}"
    return machine.gpus


def _too_old(need: GpuNeed, step: str, machine: Machine) -> str:
    driver = machine.gpus[0].driver
    if need.driver_floor is None or _version(driver) >= _version(need.driver_floor):
        return ""
    return (
        f"the NVIDIA driver is too old: the step {step} needs {need.driver_floor} or newer, "
        f"and this machine has {driver}"
    )


def _unfit(need: GpuNeed, step: str, gpus: Sequence[Gpu]) -> str:
    wanted = len(need.ids) or need.count
    right = [gpu for gpu in gpus if need.compute_capability in (None, gpu.compute_capability)]
    if len(right) < wanted:
        return (
            f"wrong compute capability: the step {step} needs {need.compute_capability} "
            f"on {_wanted(need)}, and this machine has {_list(gpus)}"
        )
    if sum(_fits(need, gpu) for gpu in right) < wanted:
        return (
            f"wrong GPU: the step {step} needs {need.product} as {_wanted(need)}, "
            f"and this machine has {_list(right)}"
        )
    return ""


def _fits(need: GpuNeed, gpu: Gpu) -> bool:
    return need.compute_capability in (None, gpu.compute_capability) and need.product in (None, gpu.name)


def _has_room(need: GpuNeed, memory: int | None) -> bool:
    return memory is None or memory >= need.free_bytes


def _too_full(need: GpuNeed, step: str, gpus: Sequence[Gpu]) -> str:
    each = ", ".join(f"GPU {gpu.index} has {gigabytes(gpu.free or 0)}" for gpu in gpus)
    return (
        f"too little GPU memory is free: the step {step} needs {gigabytes(need.free_bytes)} "
        f"on {_wanted(need)}, and {each}"
    )


def _list(gpus: Sequence[Gpu]) -> str:
    return ", ".join(map(str, gpus))


def _fullness(gpu: Gpu) -> int:
    return -(gpu.free or 0)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", text)))


def gigabytes(count: int) -> str:
    """Bytes in the unit that GPUs and images are sold in."""
    return f"{count / 1e9:.1f} GB"
