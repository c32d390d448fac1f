"""GPUs for an execution alone: no two executions of a machine have the same one at a time.

All that an execution wants are taken at once, or none: nobody waits while holding one, and no two wait for
each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from enginebuild.events import Note, Report, Waited, Waiting
from enginebuild.execution import GpuNeed
from enginebuild.runners.gpu_locks import GpuLocks, gpu_locks
from enginebuild.runners.machine import Choice, Gpu, Machine, choose
from enginebuild.runners.words import cannot_start

#: Lists the GPUs of a machine. Raises StepError.
Ask = Callable[[], Machine]

_POLL = 1.0  # seconds between two looks at locks that others hold
#: Seconds for which a refusal is looked at again: memory is free a moment after its user is gone.
_PATIENCE = 2.0
_MOMENT = 0.2  # seconds between two such looks


def lacking(need: GpuNeed, step: str, ask: Ask) -> tuple[str, ...]:
    """What the machine lacks for an execution, a sentence each; GPUs that others have will be free."""
    if not need.wanted:
        return ()
    choice, _ = _choice(need, step, ask, gpu_locks())
    if choice.lacking:  # one that was given back after it was listed counted as full
        choice, _ = _choice(need, step, ask, gpu_locks())
    return choice.lacking


@contextmanager
def reserved(need: GpuNeed, step: str, ask: Ask, report: Report) -> Iterator[tuple[Gpu, ...]]:
    """The GPUs for an execution, which nobody else gets while the block runs; waits until they are free.

    Raises StepError if the machine has none that fit, whoever has them now.
    """
    if not need.wanted:
        yield ()
        return
    with ExitStack() as held:
        yield _take(need, step, ask, report, held)


def _take(need: GpuNeed, step: str, ask: Ask, report: Report, held: ExitStack) -> tuple[Gpu, ...]:
    locks = gpu_locks()
    since: float | None = None
    until = time.monotonic() + _PATIENCE
    while True:
        choice, holders = _choice(need, step, ask, locks)
        awaited = [gpu for gpu in choice.gpus if gpu.uuid in holders]
        if choice.lacking:
            if time.monotonic() > until:
                raise cannot_start(step, choice.lacking)
            time.sleep(_MOMENT)
        elif awaited:
            if since is None:
                since = time.monotonic()
                report(Waiting(_names(awaited), _who(awaited, holders)))
            while locks.holders(holders).keys() == holders.keys():
                time.sleep(_POLL)
            until = time.monotonic() + _PATIENCE
        elif _is_held(locks, choice.gpus, step, report, held):
            if since is not None:
                report(Waited(_names(choice.gpus), time.monotonic() - since))
            return choice.gpus


def _choice(need: GpuNeed, step: str, ask: Ask, locks: GpuLocks) -> tuple[Choice, Mapping[str, str]]:
    """The GPUs to take or to wait for, and who holds those of the machine that are held."""
    machine = ask()
    holders = locks.holders(gpu.uuid for gpu in machine.gpus)
    return choose(need, step, machine, holders), holders


def _is_held(locks: GpuLocks, gpus: Sequence[Gpu], step: str, report: Report, held: ExitStack) -> bool:
    """Whether they are ours now. Where there can be no locks the build goes on without."""
    try:
        return held.enter_context(locks.taken((gpu.uuid for gpu in gpus), f"step {step}"))
    except OSError as error:
        why = f"{error.filename or locks.folder}: {error.strerror or error}"
        report(Note(f"GPUs are not reserved, and another run may take the same: {why}", "warning"))
        return True


def _names(gpus: Sequence[Gpu]) -> str:
    return f"GPU {', '.join(gpu.index for gpu in gpus)}"


def _who(gpus: Sequence[Gpu], holders: Mapping[str, str]) -> str:
    return "; ".join(dict.fromkeys(holders[gpu.uuid] for gpu in gpus))
