"""Write what built here: `python3 describe.py FILE` makes a JSON document of versions, CUDA, driver and GPUs.

Runs in the builder's environment, after its commands. It imports none of the libraries, so a broken one is
still described. What is unknown is null.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginebuild.engines.tensorrt_llm.scripts import machine
else:
    import machine

LIBRARIES = ("tensorrt_llm", "tensorrt", "torch", "modelopt")


def description() -> dict[str, Any]:
    """The document."""
    found = machine.read_gpus()
    document: dict[str, Any] = dict(machine.versions(LIBRARIES))
    document["cuda"] = machine.cuda()
    document["driver"] = found.driver
    document["gpus"] = [asdict(gpu) for gpu in found.gpus]
    return document


def main(words: list[str]) -> int:
    text = json.dumps(description(), indent=2, sort_keys=True) + "\n"
    if words == ["-"]:
        sys.stdout.write(text)
        return 0
    if len(words) != 1:
        sys.stderr.write("usage: describe.py FILE (- for standard output)\n")
        return 2
    with open(words[0], "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
