"""What a server answered, as the probe saw it, in one form for completions and chat, streamed or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from enginebuild_cache import Json

_SHOWN = 300  # characters of an answer in a message


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function; `arguments` is JSON's text, as the API has it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`error` says why there is none. `ended`: a stream had its last word; `tokens`: those of the answer."""

    text: str = ""
    finish_reason: str = ""
    error: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tokens: int | None = None
    ended: bool = True
    seconds: float = 0.0
    logprobs: Mapping[str, Json] | None = None


def read_answer(said: Mapping[str, Json]) -> Answer:
    """What the probe's line says."""
    seconds = float(cast("float", said.get("seconds", 0.0)))
    status, body, events = said.get("status"), said.get("body"), said.get("events")
    if status is not None and status != 200:
        return Answer(error=f"the server answers {status}: {_refusal(said)}", seconds=seconds)
    if error := said.get("error"):
        return Answer(error=str(error), seconds=seconds)
    if isinstance(events, list):
        return _streamed(events, bool(said.get("done")), seconds)
    if isinstance(body, dict):
        return _whole(body, seconds)
    return Answer(error=f"the answer is not JSON: {shortened(str(said.get('text', body)))}", seconds=seconds)


def shortened(text: str) -> str:
    """A text for a message: in quotes, with its line breaks escaped."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _refusal(said: Mapping[str, Json]) -> str:
    """The message of an error in OpenAI's form, an older one, or whatever was said."""
    body = said.get("body")
    if not isinstance(body, dict):
        return shortened(str(said.get("text", "")))
    error = body.get("error", body)
    message = error.get("message") if isinstance(error, dict) else error
    return shortened(str(message or body.get("detail") or body))


def _whole(body: Mapping[str, Json], seconds: float) -> Answer:
    choice = _first(body.get("choices"))
    if choice is None:
        return Answer(error=f"the answer has no choices: {shortened(str(dict(body)))}", seconds=seconds)
    message = _object(choice.get("message"))
    usage = _object(body.get("usage"))
    return Answer(
        text=_text(choice.get("text")) or _text(message.get("content")),
        finish_reason=_text(choice.get("finish_reason")),
        reasoning=_reasoning(message),
        tool_calls=_calls(message.get("tool_calls")),
        tokens=cast("int | None", usage.get("completion_tokens")),
        seconds=seconds,
        logprobs=_object(choice.get("logprobs")) or None,
    )


def _streamed(events: Sequence[Json], done: bool, seconds: float) -> Answer:
    text, reasoning, reason = "", "", ""
    for event in map(_object, events):
        if "error" in event:
            return Answer(error=f"the stream breaks off: {_refusal({'body': event})}", seconds=seconds)
        choice = _first(event.get("choices")) or {}
        delta = _object(choice.get("delta"))
        text += _text(choice.get("text")) + _text(delta.get("content"))
        reasoning += _reasoning(delta)
        reason = _text(choice.get("finish_reason")) or reason
    return Answer(text, reason, reasoning=reasoning, ended=done, seconds=seconds)


def _reasoning(message: Mapping[str, Json]) -> str:
    """Under its new name (vLLM 0.12 and newer) or its old one."""
    return _text(message.get("reasoning")) or _text(message.get("reasoning_content"))


def _calls(value: Json) -> tuple[ToolCall, ...]:
    calls = value if isinstance(value, list) else []
    functions = [_object(_object(call).get("function")) for call in calls]
    return tuple(ToolCall(_text(each.get("name")), _text(each.get("arguments"))) for each in functions)


def _first(choices: Json) -> dict[str, Json] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
