"""What can go wrong with the cache, each with what to do about it."""

from __future__ import annotations


class CacheError(Exception):
    """The cache cannot be used or does not hold what it should. `hint` says what to do (exit code 9)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
