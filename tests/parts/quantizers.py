"""The quantizers' environments, made once from the locked requirements (under a minute and 1.7 GB each).

`python -m parts.quantizers llm-compressor` makes one and prints the path of its python.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from enginebuild_cache import Digest
from parts.built_once import built_once
from parts.checkout import ROOT
from parts.isolation import ORIGINAL


def requirements(tool: str) -> Path:
    """The locked requirements of a tool's environment."""
    return ROOT / "images" / "builders" / tool / "requirements.txt"


def quantizer(tool: str) -> Path:
    """The folder of the tool's environment, made now if it does not exist. Raises RuntimeError with the end
    of pip's output.
    """
    locked = Digest.of_file(requirements(tool)).hex[:12]
    name = f"{tool}-py{sys.version_info[0]}{sys.version_info[1]}-{locked}"
    return built_once(name, lambda folder: _build(folder, tool)) / "venv"


def _build(folder: Path, tool: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, env=ORIGINAL)
    python, listed = folder / "venv" / "bin" / "python", requirements(tool)
    words: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", listed]
    made = subprocess.run(words, capture_output=True, text=True, check=False, env=ORIGINAL)
    if made.returncode:
        raise RuntimeError(f"{tool}: {made.stderr[-3000:]}")


if __name__ == "__main__":
    print(quantizer(sys.argv[1]) / "bin" / "python")
