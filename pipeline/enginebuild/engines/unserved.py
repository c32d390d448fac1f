"""Why an engine's version does not serve a model's class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unserved:
    """`reason` is a sentence, `hint` what to do, empty where nothing is known. `certain`: else it may work.

    `version` of the same engine has it: the next one that can be built for, None where none is known.
    `plugged`: it hangs on what an image has beside the engine, of which only the engine's own image is known.
    """

    reason: str
    hint: str = ""
    certain: bool = True
    version: str | None = None
    plugged: bool = False
