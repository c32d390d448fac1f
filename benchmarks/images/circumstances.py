"""When, where and how: what a reader needs to judge the figures, or to repeat them."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_PATH = f"/usr/bin:/usr/sbin:{os.environ.get('PATH', os.defpath)}"
_PROGRAMS = ("dockerd", "docker", "buildah", "skopeo")


def circumstances(words: Sequence[str], *, size: str, registry: str, blobs: str) -> dict[str, str]:
    """`words`: the command line's."""
    programs = [*_PROGRAMS, *([registry] if registry != "standin" else [])]
    versions = [f"{Path(name).name} {version}" for name in programs if (version := _version(name))]
    kept = "stand-in that discards blobs" if registry == "standin" else f"{Path(registry).name} on {blobs}"
    return {
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "Command": f"`{shlex.join(['python', 'benchmarks/images', *map(_no_folder, words)])}`",
        "Machine": _machine(),
        "Load when it began": f"{os.getloadavg()[0]:.1f}",
        "What is pushed": size,
        "Registry": kept,
        "Versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }


def _no_folder(word: str) -> str:
    """A path on this machine says nothing to anybody else."""
    return Path(word).name if "/" in word else word


def _machine() -> str:
    model = re.search(r"(?m)^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpu = model[1] if model else platform.machine()
    return f"{os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux {platform.release().split('-')[0]}"


def _version(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        return ""
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\d+\.\d+[^\s,]*", said)
    return version[0] if version else ""
