"""Start a server whose compile cache is in its image: `start_warm.py PROGRAM WORD…`, the image's entry point.

The seed is only read: layers are shared, and root's. A writable copy is made of it in VLLM_CACHE_ROOT, where
there is none of this seed yet, and PROGRAM takes this process's place. A copy is made only on the hardware
that the cache was made on: vLLM's own keys know neither the GPU nor the CPU (0.32.0), and code for another
one ends a server again and again. Nothing here keeps a server from starting: without its cache it compiles.

    ENGINEBUILD_WARM=off       no copy; vLLM's own variables are left as they are
    VLLM_DISABLE_COMPILE_CACHE=1   vLLM's own switch

Python 3.9 and its standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

#: What the image ships: what the cache is for, and the files of VLLM_CACHE_ROOT.
SEED = "/etc/enginebuild/cache"
ABOUT = "warm.json"
FILES = "vllm"
#: Where the copy goes: any user can make a folder there, whatever HOME is.
ROOT = "/tmp/enginebuild/vllm"  # noqa: S108 - it must be the server's own, and that is looked at
VARIABLE = "VLLM_CACHE_ROOT"
SWITCH = "ENGINEBUILD_WARM"
#: In VLLM_CACHE_ROOT: the key of the seed that was copied there, written last.
MARK = ".enginebuild-warm"

_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
_PATIENCE = 60.0  # seconds for nvidia-smi, which takes some where no daemon keeps the driver loaded
#: Instruction sets for which code is generated: a virtual machine may hide some of its CPU's.
_FLAGS = re.compile(r"^(avx|amx|sse|ssse|fma|f16c|bmi|asimd|sve|bf16|i8mm|fp16)")


def cpu(text: str) -> str:
    """The CPU of /proc/cpuinfo, with a digest of the instruction sets that it is known to have."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    name = found.get("model name") or f"{found.get('CPU implementer', '')} {found.get('CPU part', '')}"
    flags = sorted(set(filter(_FLAGS.match, found.get("flags", found.get("Features", "")).split())))
    return f"{' '.join(name.split())} ({hashlib.sha256(' '.join(flags).encode()).hexdigest()[:8]})"


def this_cpu() -> str:
    """This machine's."""
    return cpu(Path("/proc/cpuinfo").read_text("utf-8", "replace"))


def gpu(name: str, compute_capability: str) -> str:
    """How a GPU is written down."""
    return f"{name}, {compute_capability}"


def _gpus() -> list[list[str]]:
    """Name, compute capability and driver of each GPU that this container sees; none where it has none."""
    try:
        said = subprocess.run(_QUERY, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return []
    lines = said.stdout.decode("utf-8", "replace").splitlines() if said.returncode == 0 else []
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    return [row for row in rows if len(row) == 3]


def misfit(about: dict[str, Any]) -> str:
    """Why the cache is not for this machine; an empty text if it is."""
    hardware = about["hardware"]
    if hardware["kind"] == "cpu":
        here = this_cpu()
        return "" if here == hardware["name"] else f"it was made on {hardware['name']}, and this is {here}"
    rows = _gpus()
    if not rows:
        return "nvidia-smi shows no GPU here"
    others = sorted({gpu(*row[:2]) for row in rows} - {hardware["name"]})
    if others:
        return f"it was made on {hardware['name']}, and this is {', '.join(others)}"
    driver = rows[0][2].partition(".")[0]
    if driver != hardware["driver"]:
        _say(f"the compile cache was made with driver {hardware['driver']}, and this is {driver}")
    return ""


def _writable_root() -> Path:
    """VLLM_CACHE_ROOT, made if it must be; a new folder where the usual one is somebody else's."""
    root = Path(os.environ.get(VARIABLE) or ROOT)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return _new_root()
    return root if _is_own(root) else _new_root()


def _is_own(root: Path) -> bool:
    """Whether the folder can be written to, and, if it lies where anybody may write, is this user's."""
    if not os.access(root, os.W_OK | os.X_OK):
        return False
    return str(root) != ROOT or root.stat().st_uid == os.geteuid()


def _new_root() -> Path:
    return Path(tempfile.mkdtemp(prefix="enginebuild-vllm-"))


def _mark(root: Path) -> str | None:
    try:
        return (root / MARK).read_text("utf-8")
    except OSError:
        return None


def copy(seed: Path, root: Path) -> int:
    """Every file of the seed, each whole or not at all: others may use the folder now. How many there are."""
    count = 0
    for folder, _, names in os.walk(seed):
        target = root / Path(folder).relative_to(seed)
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(names):
            part = target / f".{name}.{os.urandom(4).hex()}"  # every container's first process is 1
            shutil.copyfile(Path(folder) / name, part)
            part.replace(target / name)
            count += 1
    return count


def seeded(seed: Path) -> Path:
    """VLLM_CACHE_ROOT, with the cache in it if it is for this machine. Raises OSError, KeyError."""
    root = _writable_root()
    about = json.loads((seed / ABOUT).read_text("utf-8"))
    why, mark = misfit(about), _mark(root)
    if why:
        _say(f"the compile cache of this image is not used: {why}")
        # A volume that came from another machine has what must not be loaded here.
        return root if mark is None else _new_root()
    if mark == about["key"]:
        _say(f"the compile cache of this image is in {root} already")
        return root
    (root / MARK).write_text("", "utf-8")  # what is here from now on is of this hardware
    count = copy(seed / FILES, root)
    (root / MARK).write_text(about["key"], "utf-8")
    _say(f"the compile cache of this image is in {root}: {count} files")
    return root


def _say(text: str) -> None:
    print(f"enginebuild: {text}", flush=True)  # noqa: T201 - the server's log is where it is looked for


def main(words: list[str], seed: str = SEED) -> NoReturn:
    """Never returns."""
    if os.environ.get(SWITCH, "").strip().lower() not in ("off", "0", "false", "no"):
        try:
            os.environ[VARIABLE] = str(seeded(Path(seed)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            _say(f"the compile cache of this image cannot be used: {error}")
            if os.environ.get(VARIABLE) == ROOT and not _is_own(Path(ROOT)):
                del os.environ[VARIABLE]  # vLLM's own choice may be one that it can write to
    os.execvp(words[0], words)  # noqa: S606 - the image's own words


if __name__ == "__main__":
    main(sys.argv[1:])
