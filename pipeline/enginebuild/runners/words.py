"""What runners say of a command, in the same words wherever it ran."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from enginebuild.errors import StepError
from enginebuild.execution import CommandFailed, Execution

#: Letters of a command that a headline has room for.
_HEADLINE = 120
_UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def shown(command: tuple[str, ...]) -> str:
    """A command for people, as a shell would take it."""
    return shlex.join(command)


def brief(command: tuple[str, ...]) -> str:
    """A command in a headline: of a long one its program, for it stands whole in the log and below."""
    whole = shown(command)
    if len(whole) <= _HEADLINE:
        return whole
    words = command[:2] if command[1].endswith(".py") else command[:1]
    return f"{shown(words)} …"


def secrets_of(execution: Execution) -> Mapping[str, str]:
    """The secrets that are set here, by the name of their variable."""
    return {name: os.environ[name] for name in execution.secrets if os.environ.get(name)}


def duration(seconds: float) -> str:
    """`12 h`, `90 min`, `45 s`: in the largest unit that leaves no rest."""
    for length, unit in _UNITS:
        if seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:g} s"


def cannot_start(step: str, lacking: Sequence[str]) -> StepError:
    """Nothing was run: the machine lacks something."""
    return StepError(f"the step {step} cannot start: {'; '.join(lacking)}")


def timed_out(execution: Execution, command: tuple[str, ...]) -> CommandFailed:
    """It was stopped by us."""
    limit = duration(execution.limits.timeout)
    return CommandFailed(
        f"the step {execution.step} took longer than {limit} and was stopped at {brief(command)}",
        command,
        "builder.timeout sets the limit",
    )


def killed(execution: Execution, command: tuple[str, ...], signal: int, limit: str = "") -> CommandFailed:
    """A signal ended it; `limit` names the memory that it was allowed, if that is known to be why."""
    if limit:
        why, hint = f"needed more than the {limit} of memory that it may have", "raise builder.memory"
    elif signal == 9:
        why, hint = "was killed by signal 9: out of memory?", "dmesg on the builder says who killed it"
    else:
        why, hint = f"was ended by signal {signal}", ""
    return CommandFailed(f"the step {execution.step} failed: {brief(command)} {why}", command, hint)


def failed(execution: Execution, command: tuple[str, ...], code: int) -> CommandFailed:
    """It ended by itself, with an exit code that is not 0. A shell's 128 + n stands for signal n."""
    if 128 < code < 128 + 65:
        return killed(execution, command, code - 128)
    return CommandFailed(
        f"the step {execution.step} failed: {brief(command)} ended with exit code {code}", command
    )


def quoted(path: Path) -> str:
    """A path for a shell; one that is relative begins at the folder in which the shell is."""
    return shlex.quote(str(path)) if path.is_absolute() else f'"$PWD"/{shlex.quote(str(path))}'
