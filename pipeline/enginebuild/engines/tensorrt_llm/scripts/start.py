"""The first program of a server's container: `start.py NEEDS WORD…` runs WORD… if this machine can load it.

NEEDS is a file: an engine's manifest (/engine/enginebuild.json), or `fitness.Needs` alone. Exits with 5 and
says why if the machine does not fit; ENGINEBUILD_CHECK=off starts all the same. What the check itself
stumbles over is said, and does not keep the server from starting.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

sys.dont_write_bytecode = True  # the image's folder stays as it was built

if TYPE_CHECKING:
    from enginebuild.engines.tensorrt_llm.scripts import fitness, machine
else:
    import fitness
    import machine

SWITCH = "ENGINEBUILD_CHECK"
REFUSED = 5
NOT_FOUND = 127


def looked_at(needs: fitness.Needs) -> fitness.Machine:
    """This machine, as far as these needs are concerned."""
    found = machine.read_gpus()
    gpus = tuple(fitness.Gpu(str(gpu.index), gpu.product, gpu.compute_capability) for gpu in found.gpus)
    known = [name for name in needs.versions if name in machine.DISTRIBUTIONS]
    return fitness.Machine(gpus, found.driver, machine.driver_cuda(), machine.versions(known), found.reason)


def findings(path: str) -> tuple[fitness.Finding, ...]:
    """What is said of the needs in a file; of needs that cannot be read, that."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        inner = document.get("needs", document) if isinstance(document, dict) else document
        needs = fitness.Needs.from_json(inner)
    except (OSError, ValueError) as error:
        return (fitness.Finding("unknown", f"what the image needs cannot be read: {error}"),)
    return fitness.compare(needs, looked_at(needs))


def say(text: str) -> None:
    sys.stderr.write(f"enginebuild: {text}\n")


def told(found: tuple[fitness.Finding, ...]) -> bool:
    """Say all of it; whether the server may start."""
    for finding in found:
        say(f"{finding.label}: {finding.message}")
        if finding.hint:
            say(f"hint: {finding.hint}")
    if fitness.fits(found):
        return True
    say(f"not started; {SWITCH}=off starts it all the same")
    return False


def main(words: list[str]) -> int:
    if len(words) < 2:
        say("error: start.py needs a file and the words of a command")
        return 2
    needs, *command = words
    if os.environ.get(SWITCH, "").lower() != "off" and not told(findings(needs)):
        return REFUSED
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        say(f"error: {command[0]} cannot be started: {error.strerror}")
    return NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
