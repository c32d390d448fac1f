"""The machine as nvidia-smi, the driver's library and this Python's packages show it; None where unknown.

Nothing here raises: a machine that cannot be looked at is a machine of which less is known.
"""

from __future__ import annotations

import csv
import ctypes
import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

#: What nvidia-smi is asked; compute_cap since driver 470.
FIELDS = ("index", "uuid", "name", "compute_cap", "memory.total", "memory.free", "driver_version")
QUERY = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")

#: Our name of a library → its distributions; TensorRT's carry the CUDA that they are for.
DISTRIBUTIONS = {
    "tensorrt_llm": ("tensorrt_llm", "tensorrt-llm"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt_cu13", "tensorrt-cu12", "tensorrt_cu12"),
    "torch": ("torch",),
    "modelopt": ("nvidia-modelopt", "nvidia_modelopt"),
    "vllm": ("vllm",),
}

_MIB = 1 << 20
#: Seconds; without persistence mode the driver is loaded first, which takes some on 8 GPUs.
_PATIENCE = 120.0


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it. Memory in bytes."""

    index: int
    uuid: str
    product: str
    compute_capability: str | None = None
    memory_total: int | None = None
    memory_free: int | None = None


@dataclass(frozen=True)
class Gpus:
    """All GPUs that are visible here, and their driver; without any, `reason` says why."""

    gpus: Sequence[Gpu]
    driver: str | None
    reason: str = ""


def read_gpus(variables: Mapping[str, str] = os.environ) -> Gpus:
    """Ask nvidia-smi. CUDA_VISIBLE_DEVICES leaves only those that CUDA would see, in its order."""
    try:
        ended = subprocess.run(
            QUERY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        return Gpus((), None, "there is no nvidia-smi")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Gpus((), None, f"nvidia-smi does not run: {error}")
    text = ended.stdout.decode("utf-8", "replace").strip()
    if ended.returncode != 0:
        return Gpus((), None, f"nvidia-smi says: {text.splitlines()[0] if text else ended.returncode}")
    return visible(parsed(text), variables.get("CUDA_VISIBLE_DEVICES"))


def parsed(text: str) -> Gpus:
    """The answer to QUERY. A line that is none ("No devices were found") is the reason."""
    gpus = []
    driver = None
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) != len(FIELDS) or not row[0].isdigit():
            return Gpus((), None, f"nvidia-smi says: {', '.join(row)}")
        index, uuid, product, capability, total, free, version = (_known(cell) for cell in row)
        driver = driver or version
        gpus.append(Gpu(int(index or 0), uuid or "", product or "", capability, _bytes(total), _bytes(free)))
    return Gpus(tuple(gpus), driver, "" if gpus else "nvidia-smi lists none")


def visible(found: Gpus, wanted: str | None) -> Gpus:
    """CUDA takes them one by one, by index or by the beginning of a UUID, and stops at the first unknown one.

    MIG instances are not listed by QUERY, so a list that names one is not followed.
    """
    if wanted is None or "MIG-" in wanted:
        return found
    chosen = []
    for word in (each.strip() for each in wanted.split(",")):
        gpu = next((g for g in found.gpus if word and (word == str(g.index) or _begins(g.uuid, word))), None)
        if gpu is None:
            break
        chosen.append(gpu)
    reason = found.reason or ("" if chosen else f"CUDA_VISIBLE_DEVICES is {wanted!r}")
    return Gpus(tuple(chosen), found.driver, reason)


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Versions of libraries (keys of DISTRIBUTIONS) in this Python, from their metadata: none is imported."""
    return {name: _version(name) for name in names}


def cuda(variables: Mapping[str, str] = os.environ, root: str = "/usr/local/cuda") -> str | None:
    """CUDA of this image: its variable CUDA_VERSION (NVIDIA's images set it), else the toolkit's file."""
    found = variables.get("CUDA_VERSION")
    if not found:
        try:
            with open(os.path.join(root, "version.json"), encoding="utf-8") as file:
                document: Any = json.load(file)
            found = str(document["cuda"]["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    # NVIDIA's own images have a fourth number, the build: 13.1.0.036
    return ".".join(found.split(".")[:3])


def driver_cuda() -> str | None:
    """The CUDA that the driver's library serves, such as 13.0; forward compatibility raises it.

    Asks libcuda.so.1 itself; `cuDriverGetVersion` needs no initialization and no GPU.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
        number = ctypes.c_int(0)
        if library.cuDriverGetVersion(ctypes.byref(number)) != 0 or number.value <= 0:
            return None
    except (OSError, AttributeError):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _begins(uuid: str, word: str) -> bool:
    return word.startswith("GPU-") and uuid.startswith(word)


def _known(cell: str) -> str | None:
    cell = cell.strip()
    return None if not cell or cell.startswith("[") else cell


def _bytes(cell: str | None) -> int | None:
    return int(cell) * _MIB if cell is not None and cell.isdigit() else None


def _version(name: str) -> str | None:
    for distribution in DISTRIBUTIONS[name]:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
