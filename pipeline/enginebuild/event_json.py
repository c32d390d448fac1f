"""Events as JSON documents, as `--json` writes them, and back: a cell's run tells its events to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from enginebuild.events import (
    Event,
    InCell,
    LogLine,
    Note,
    Progress,
    StepFinished,
    StepStarted,
    Waited,
    Waiting,
)
from enginebuild_cache import Digest, Json


def document_of(event: Event) -> dict[str, Json]:
    """An event as one JSON object; `event` is its kind."""
    match event:
        case InCell(cell, inner):
            return {**document_of(inner), "cell": cell}
        case Note(text, level):
            return {"event": "note", "level": level, "text": text}
        case StepStarted(step, key):
            return {"event": "step_started", "step": step, "key": str(key)}
        case StepFinished(step, key, status, seconds):
            return {
                "event": "step_finished",
                "step": step,
                "key": str(key),
                "status": status,
                "seconds": round(seconds, 3),
            }
        case Progress(label, done, total):
            return {"event": "progress", "label": label, "done": done, "total": total}
        case LogLine(step, text):
            return {"event": "log", "step": step, "text": text}
        case Waiting(what, holder):
            return {"event": "waiting", "what": what, "holder": holder}
        case Waited(what, seconds):
            return {"event": "waited", "what": what, "seconds": round(seconds, 3)}


def event_of(document: Mapping[str, Json]) -> Event | None:
    """What `document_of` made; None for a document that is no event, such as a result."""
    values = cast("Mapping[str, str]", document)
    match document.get("event"):
        case "note":
            return Note(values["text"], values["level"])  # type: ignore[arg-type] # as document_of wrote it
        case "step_started":
            return StepStarted(values["step"], Digest.parse(values["key"]))
        case "step_finished":
            key, seconds = Digest.parse(values["key"]), float(values["seconds"])
            return StepFinished(values["step"], key, values["status"], seconds)  # type: ignore[arg-type] # likewise
        case "progress":
            return Progress(values["label"], int(values["done"]), int(values["total"]))
        case "log":
            return LogLine(values["step"], values["text"])
        case "waiting":
            return Waiting(values["what"], values["holder"])
        case "waited":
            return Waited(values["what"], float(values["seconds"]))
    return None
