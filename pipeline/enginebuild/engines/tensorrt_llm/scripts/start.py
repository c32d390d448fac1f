"""The first program of a server's container: `start.py WORD…` runs WORD… if this machine can load it.

What the image needs lies beside it, in engine.json (`fitness.Needs`). Exits with 5 and says why if the
machine does not fit; ENGINEBUILD_CHECK=off starts all the same. What the check itself stumbles over is said,
and does not keep the server from starting.
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

NEEDS = "engine.json"
SWITCH = "ENGINEBUILD_CHECK"
REFUSED = 5
NOT_FOUND = 127


def looked_at(needs: fitness.Needs) -> fitness.Machine:
    """This machine, as far as these needs are concerned."""
    found = machine.read_gpus()
    gpus = tuple(fitness.Gpu(str(gpu.index), gpu.product, gpu.compute_capability) for gpu in found.gpus)
    known = [name for name in needs.versions if name in machine.DISTRIBUTIONS]
    return fitness.Machine(gpus, found.driver, machine.driver_cuda(), machine.versions(known), found.reason)


def findings(folder: str) -> tuple[fitness.Finding, ...]:
    """What is said of the needs in a folder; of needs that cannot be read, that."""
    try:
        with open(os.path.join(folder, NEEDS), encoding="utf-8") as file:  # noqa: PTH118, PTH123
            needs = fitness.Needs.from_json(json.load(file))
    except (OSError, ValueError) as error:
        text = f"{NEEDS} cannot be read, so this machine was not looked at: {error}"
        return (fitness.Finding("unknown", text),)
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
    if not words:
        say("error: start.py needs the words of a command")
        return 2
    if os.environ.get(SWITCH, "").lower() != "off":
        folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
        if not told(findings(folder)):
            return REFUSED
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell is wanted
    except OSError as error:
        say(f"error: {words[0]} cannot be started: {error.strerror}")
    return NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
