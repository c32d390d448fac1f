"""What a stand-in sees of its machine: GPUs, by nvidia-smi alone; and the ways it is told to go wrong.

A fault is `STEP:KIND` or `STEP:KIND:SECONDS`, in the variable TRTLLM_STANDIN_FAULT, in a file FAULT beside
this package (which a test can change while the environment stays the same), or in a model's config.json
under `standin_fault`, from where it goes on into the checkpoint. There, @NAME stands for what the file NAME
says that the stand-in for NVIDIA's hook has brought into the container, and for nothing if there is none.
Several faults are separated by commas. Kinds:

    fail   say some lines and raise
    hang   say so and never end
    half   write a part of the output and die by SIGKILL
    slow   take SECONDS longer, while part of the output is there already
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

_VARIABLE = "TRTLLM_STANDIN_FAULT"
_FILE = Path(__file__).parent / "FAULT"
_BROUGHT = Path("/run/standin")
FAULT_KEY = "standin_fault"
_LINES = 40  # of output before a fault, more than anybody wants to see of it


class RefusedError(Exception):
    """What the real program raises: `kind` is the class of its exception."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi shows it; `sm` is 89 for compute capability 8.9."""

    name: str
    sm: int


def log(text: str) -> None:
    """A line as TensorRT-LLM's logger writes it."""
    print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [TRT-LLM] [I] {text}", flush=True)


def gpus() -> list[Gpu]:
    """The GPUs of this machine. Raises RefusedError if there is none, as CUDA does."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise RefusedError("RuntimeError", "No CUDA GPUs are available") from None
    pairs = [line.rsplit(",", 1) for line in listed.splitlines() if line.strip()]
    found = [Gpu(name.strip(), int(capability.strip().replace(".", ""))) for name, capability in pairs]
    if not found:
        raise RefusedError("RuntimeError", "No CUDA GPUs are available")
    return found


class Faults:
    """The faults of one step."""

    def __init__(self, step: str, config: Mapping[str, Any]) -> None:
        told = [os.environ.get(_VARIABLE, ""), _told(str(config.get(FAULT_KEY, "")))]
        if _FILE.exists():
            told.append(_FILE.read_text().strip())
        parts = [fault.split(":") for text in told for fault in text.split(",") if fault]
        self._kinds = {kind: rest for name, kind, *rest in parts if name == step}
        self._step = step

    def begin(self) -> None:
        """Called when the arguments are read and nothing is written."""
        if "fail" in self._kinds:
            for number in range(_LINES):
                log(f"{self._step}: line {number} before the fault")
            # Docker copies the two streams of a container side by side: what comes at once may change places.
            time.sleep(0.5)
            raise RefusedError("RuntimeError", f"{self._step} was told to fail")
        if "hang" in self._kinds:
            log(f"{self._step}: hangs")
            while True:
                time.sleep(60)

    def midway(self) -> None:
        """Called when some of the output is written."""
        if "half" in self._kinds:
            log(f"{self._step}: dies half-way")
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(128 + signal.SIGKILL)  # the first process of a container does not die by its own signal
        for seconds in self._kinds.get("slow", ()):
            time.sleep(float(seconds))


def _told(text: str) -> str:
    if not text.startswith("@"):
        return text
    brought = _BROUGHT / text[1:]
    return brought.read_text().strip() if brought.is_file() else ""


def end(refusal: RefusedError) -> NoReturn:
    """End as an exception of the real program does."""
    print(f"Traceback (most recent call last):\n{refusal}", file=sys.stderr)
    sys.exit(1)
