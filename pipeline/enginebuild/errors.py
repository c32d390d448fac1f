"""The classes of errors, one per exit code. A message says what and where; a hint says what to do.

The cache and the images packages raise their own (`CacheError`, `ImageError`); the command line maps those.
An exception of no class here is our bug: traceback and exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The documented exit codes."""

    DONE = 0
    BUG = 1
    RECIPE = 2
    SOURCE = 3
    DRIFT = 4
    REFUSED = 5
    STEP = 6
    VERIFICATION = 7
    PUBLISH = 8
    CACHE = 9
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a recipe. `path` leads to the value, such as ("engine", "args", "max_model_len").

    `on_key` puts the caret under the key instead of the value (an unknown key, say).
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    on_key: bool = False


class EngineBuildError(Exception):
    """Something the user can mend: shown without a traceback."""

    exit: Exit = Exit.BUG

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RecipeError(EngineBuildError):
    """The recipe or the command line is wrong. The message is the finished text of all mistakes."""

    exit = Exit.RECIPE


class SourceError(EngineBuildError):
    """The model or the base image cannot be had, or is not what it claims to be."""

    exit = Exit.SOURCE


class DriftError(EngineBuildError):
    """The lock no longer says what the recipe or the sources say, and --locked forbids to change it."""

    exit = Exit.DRIFT

    def __init__(self, message: str, fields: Sequence[str], hint: str = "") -> None:
        super().__init__(message, hint)
        self.fields = tuple(fields)


class RefusedError(EngineBuildError):
    """What was asked for cannot work, known before anything was built."""

    exit = Exit.REFUSED


class StepError(EngineBuildError):
    """A step's command failed."""

    exit = Exit.STEP


class VerificationError(EngineBuildError):
    """The image was built and did not do what it must."""

    exit = Exit.VERIFICATION


class PublishError(EngineBuildError):
    """The image is built but could not be delivered."""

    exit = Exit.PUBLISH
