"""Secrets among an engine's settings: what is in an image can be read by anybody who can pull it."""

from __future__ import annotations

import re

from enginebuild.errors import Problem
from enginebuild_cache import Json

_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}|://[^/\s:@]+:[^/\s@]+@")
_SECRET_KEY = re.compile(
    r"(?:^|_)(?:api_?key|access_key|secret|secret_key|password|passwd|auth_token)$", re.I
)


def secret_problem(value: Json, path: tuple[str | int, ...], key: str = "") -> Problem | None:
    """The first secret somewhere in a value of engine.args or its like. The message does not repeat it."""
    items: list[tuple[str | int, Json]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    elif isinstance(value, str) and value and (_SECRET_KEY.search(key) or _TOKEN.search(value)):
        where = ".".join(str(part) for part in path[2:])
        message = f"{where} holds a secret: in the image, anybody who can pull it could read it"
        return Problem(path, message, "give it when the container starts")
    found = (secret_problem(item, (*path, inner), str(inner)) for inner, item in items)
    return next(filter(None, found), None)
