"""The run of one cell in a process of its own: what it reports, how it ended, how it is stopped.

A process each, so that signals, memory and a crash of one do not reach the others.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from enginebuild.errors import Exit
from enginebuild.event_json import event_of
from enginebuild.events import Report
from enginebuild_cache import Json

#: Lines of a process that ended without a word of ours.
_LAST_LINES = 20


@dataclass(frozen=True)
class Ended:
    """How a run ended, after so many `seconds` of wall time.

    `result` is what it built; `message` and `hint` say why it did not.
    """

    exit: Exit
    seconds: float
    result: Mapping[str, Json] = field(default_factory=dict)
    message: str = ""
    hint: str = ""


class CellProcess:
    """`words`: the command, which writes one JSON object a line, as `enginebuild run --json` does."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def run(self, report: Report) -> Ended:
        """Run it to its end. Its events go to `report`."""
        begun = time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as complaints:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for us, who pass it on once
            )
            if self._stopped:  # between its turn and its start
                self.stop()
            last = self._heard(report)
            code = self._process.wait()
            seconds = time.monotonic() - begun
            if last.get("event") == "result" and code == Exit.DONE:
                result = {name: value for name, value in last.items() if name != "event"}
                return Ended(Exit.DONE, seconds, result)
            if last.get("event") == "error":
                hint = str(last.get("hint") or "")
                return Ended(_exit(code), seconds, message=str(last["message"]), hint=hint)
            # One that is stopped while Python starts ends in other ways than 130.
            how = Exit.INTERRUPTED if self._stopped else _exit(code)
            return Ended(how, seconds, message=_silent_end(code, complaints))

    def stop(self) -> None:
        """Let it clean up and end, as Ctrl-C does."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it now."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _heard(self, report: Report) -> Mapping[str, Json]:
        """The last document that is no event; empty if there is none."""
        assert self._process is not None
        assert self._process.stdout is not None
        last: Mapping[str, Json] = {}
        with self._process.stdout as lines:
            for line in lines:
                try:
                    document = json.loads(line)
                    event = event_of(document)
                except (ValueError, KeyError, AttributeError):
                    continue  # the last line of a process that was killed
                if event is not None:
                    report(event)
                else:
                    last = document
        return last


def _exit(code: int) -> Exit:
    """A process that a signal ended is as one that was interrupted, or a bug."""
    if code in (-signal.SIGINT, -signal.SIGTERM):
        return Exit.INTERRUPTED
    return Exit(code) if code in set(Exit) else Exit.BUG


def _silent_end(code: int, complaints: IO[str]) -> str:
    complaints.seek(0)
    lines = complaints.read().strip().splitlines()[-_LAST_LINES:]
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return "\n  ".join([f"its process {how}", *lines])
