"""A container runtime that mounts folders of this machine into containers, and is runc otherwise.

Real vLLM has 3.5 GB: too much to lie in an image of a test. An image that names folders in the variable
MOUNTED_BY_TESTS finds them in its containers, whoever starts them; all else is as its config says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "MOUNTED_BY_TESTS"


def write_runtime(folder: Path, runc: Path) -> Path:
    """A program that a Docker Engine takes for a runtime."""
    path = folder / "mounting-runtime"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I {__file__} {runc} "$@"\n')
    path.chmod(0o755)
    return path


def _with_mounts(bundle: Path) -> None:
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    named = dict(word.partition("=")[::2] for word in config["process"]["env"]).get(VARIABLE, "")
    for folder in filter(None, named.split(":")):
        options = ["rbind", "ro"]
        config["mounts"].append({"destination": folder, "type": "bind", "source": folder, "options": options})
    path.write_text(json.dumps(config))


def main(words: Sequence[str]) -> None:
    runc, *rest = words
    if "create" in rest and "--bundle" in rest:
        _with_mounts(Path(rest[rest.index("--bundle") + 1]))
    os.execv(runc, [runc, *rest])


if __name__ == "__main__":
    main(sys.argv[1:])
