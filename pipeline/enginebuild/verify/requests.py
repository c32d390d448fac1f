"""What a server is asked: what every server must answer, and what the recipe expects of this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from enginebuild.recipe.verification import Prompt
from enginebuild.verify.answers import Answer, shortened
from enginebuild_cache import Json

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"

#: The first request of all, whose answer says that a server is ready.
FIRST = "The capital of France is"
_QUESTION: Json = [{"role": "user", "content": "What is the capital of France?"}]
_LENGTH = 3
#: The program's name in the tools' list, and what its arguments must have.
_TOOL = "get_weather"
_ARGUMENT = "city"

#: Says what is wrong with an answer; an empty text if nothing is.
Judge = Callable[[Answer], str]


@dataclass(frozen=True, slots=True)
class Request:
    """One question. `body` lacks the model's name, which the server tells."""

    name: str
    path: str
    body: Mapping[str, Json]
    judge: Judge


@dataclass(frozen=True, slots=True)
class Able:
    """What a server can do beside completions, as its configuration says."""

    chat: bool = False
    tools: bool = False
    reasoning: bool = False


def first_body() -> dict[str, Json]:
    return {"prompt": FIRST, "max_tokens": 16, "temperature": 0}


def smoke(able: Able, prompts: Sequence[Prompt]) -> tuple[Request, ...]:
    """What every server must answer, then the recipe's own questions."""
    requests = [
        *_both("completion", COMPLETIONS, first_body(), says_something),
        Request(
            "length",
            COMPLETIONS,
            {"prompt": FIRST, "max_tokens": _LENGTH, "temperature": 0, "ignore_eos": True},
            _ends_at_its_length,
        ),
    ]
    if able.chat:
        # One that thinks first says nothing within a few tokens.
        longest = 1024 if able.reasoning else 32
        body: dict[str, Json] = {"messages": _QUESTION, "max_tokens": longest, "temperature": 0}
        requests += _both("chat", CHAT, body, says_something)
        if able.tools:
            requests.append(Request("tool call", CHAT, _tool_body(), _calls_the_tool))
        if able.reasoning:
            requests.append(Request("reasoning", CHAT, body, _reasons))
    for number, prompt in enumerate(prompts, 1):
        requests += _both(f"prompt {number}", *_asked(prompt), expecting(prompt.expect))
    return tuple(requests)


def _both(name: str, path: str, body: Mapping[str, Json], judge: Judge) -> list[Request]:
    streamed = Request(
        f"{name}, streamed", path, {**body, "stream": True}, lambda answer: _ended(answer, judge)
    )
    return [Request(name, path, body, judge), streamed]


def _asked(prompt: Prompt) -> tuple[str, dict[str, Json]]:
    body: dict[str, Json] = {"max_tokens": prompt.max_tokens, "temperature": 0}
    if prompt.stop:
        body["stop"] = list(prompt.stop)
    if prompt.prompt is not None:
        return COMPLETIONS, {"prompt": prompt.prompt, **body}
    messages: Json = [{"role": role, "content": content} for role, content in prompt.messages]
    return CHAT, {"messages": messages, **body}


def _tool_body() -> dict[str, Json]:
    tool: Json = {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "The weather of a city now.",
            "parameters": {
                "type": "object",
                "properties": {_ARGUMENT: {"type": "string"}},
                "required": [_ARGUMENT],
            },
        },
    }
    question = "What is the weather in Paris now? Call the tool."
    return {
        "messages": [{"role": "user", "content": question}],
        "tools": [tool],
        "tool_choice": "auto",
        "max_tokens": 1024,
        "temperature": 0,
    }


def says_something(answer: Answer) -> str:
    if answer.text.strip() or answer.reasoning.strip():
        return ""
    return f"the answer is empty (finish_reason {answer.finish_reason or 'none'})"


def expecting(texts: Sequence[str]) -> Judge:
    """One of the texts must be in the answer; without any it must only say something."""

    def judge(answer: Answer) -> str:
        if not texts or any(text in answer.text for text in texts):
            return says_something(answer)
        wanted = " or ".join(map(repr, texts))
        return f"the answer lacks {wanted}: {shortened(answer.text)}"

    return judge


def _ended(answer: Answer, judge: Judge) -> str:
    if not answer.ended:
        return "the stream has no [DONE] at its end"
    if not answer.finish_reason:
        return "no event of the stream has a finish_reason"
    return judge(answer)


def _ends_at_its_length(answer: Answer) -> str:
    if answer.finish_reason != "length":
        return f"finish_reason is {answer.finish_reason or 'none'} after {_LENGTH} tokens, not length"
    if answer.tokens not in (None, _LENGTH):
        return f"{answer.tokens} tokens were made of the {_LENGTH} that max_tokens allows"
    return ""


def _calls_the_tool(answer: Answer) -> str:
    if not answer.tool_calls:
        return f"the answer has no tool call: {shortened(answer.text)}; does tool_call_parser fit the model?"
    call = answer.tool_calls[0]
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        return f"the tool call's arguments are not JSON: {shortened(call.arguments)}"
    if call.name != _TOOL or not isinstance(arguments, dict) or _ARGUMENT not in arguments:
        return f"the tool call is {call.name}({call.arguments}), not {_TOOL} with {_ARGUMENT}"
    return ""


def _reasons(answer: Answer) -> str:
    if answer.reasoning.strip():
        return ""
    return (
        f"the answer has no reasoning apart: {shortened(answer.text)}; does reasoning_parser fit the model?"
    )
