"""How far a pull is, from what the Docker Engine says of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from enginebuild.events import Progress

#: Layers below this many bytes are there before a bar could be drawn.
_SHOWN = 64 << 20
_VERBS = {"Downloading": "pull", "Extracting": "unpack"}
#: The engine's last word of each; it need not have said that all bytes are there.
_ENDS = {"Download complete": "pull", "Pull complete": "unpack"}


class PullProgress:
    """Makes bars of the engine's answers: one for a large layer's download, one for its unpacking."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}

    def __call__(self, answer: Mapping[str, Any]) -> Iterator[Progress]:
        status, layer = answer.get("status"), answer.get("id")
        detail = answer.get("progressDetail") or {}
        if status in _VERBS and detail.get("total", 0) >= _SHOWN:
            label = f"{_VERBS[status]} {layer}"
            self._totals[label] = detail["total"]
            # Whole only when the engine says so: a layer's last bytes are said several times.
            yield Progress(label, min(detail.get("current", 0), detail["total"] - 1), detail["total"])
        elif status in _ENDS:
            label = f"{_ENDS[status]} {layer}"
            if total := self._totals.pop(label, 0):
                yield Progress(label, total, total)
