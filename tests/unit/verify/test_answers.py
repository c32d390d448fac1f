"""Answers of a server in one form: whole or streamed, completions or chat, refusals in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from enginebuild.verify.answers import Answer, ToolCall, read_answer, shortened


def whole(choice: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": 200, "seconds": 0.5, "body": {"choices": [choice], **more}}


def streamed(*events: Any, done: bool = True) -> dict[str, Any]:
    return {"status": 200, "seconds": 0.5, "events": list(events), "done": done}


def choice(**values: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **values}]}


def test_a_completion() -> None:
    logprobs: dict[str, Any] = {"token_logprobs": [None, -0.5]}
    said = whole(
        {"text": " Paris", "finish_reason": "stop", "logprobs": logprobs}, usage={"completion_tokens": 1}
    )
    assert read_answer(said) == Answer(" Paris", "stop", tokens=1, seconds=0.5, logprobs=logprobs)


def test_a_chat_with_a_tool_call_and_a_reasoning() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "tool_calls": [call], "reasoning_content": "so"}
    said = whole({"message": message, "finish_reason": "tool_calls"})
    assert read_answer(said) == Answer(
        "", "tool_calls", reasoning="so", tool_calls=(ToolCall("f", "{}"),), seconds=0.5
    )


def test_streams_are_put_together() -> None:
    said = streamed(
        choice(delta={"role": "assistant", "content": ""}, finish_reason=None),
        choice(delta={"reasoning": "so"}, finish_reason=None),
        choice(delta={"content": "Pa"}, finish_reason=None),
        choice(delta={"content": "ris"}, finish_reason="stop"),
        {"choices": [], "usage": {"completion_tokens": 2}},
    )
    assert read_answer(said) == Answer("Paris", "stop", reasoning="so", seconds=0.5)
    cut = streamed(choice(text="Pa", finish_reason=None), done=False)
    assert read_answer(cut) == Answer("Pa", "", ended=False, seconds=0.5)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"status": 500, "body": {"error": {"message": "dead"}}}, "the server answers 500: 'dead'"),
        ({"status": 404, "body": {"error": "no such model"}}, "the server answers 404: 'no such model'"),
        ({"status": 400, "body": {"message": "too long"}}, "the server answers 400: 'too long'"),
        ({"status": 422, "body": {"detail": [{"loc": 1}]}}, "the server answers 422: \"[{'loc': 1}]\""),
        ({"status": 502, "text": "<html>"}, "the server answers 502: '<html>'"),
        ({"error": "the connection broke: reset"}, "the connection broke: reset"),
        ({"status": 200, "text": "<html>"}, "the answer is not JSON: '<html>'"),
        ({"status": 200, "body": {"id": 1}}, "the answer has no choices: \"{'id': 1}\""),
        (
            {"status": 200, "events": [{"error": {"message": "dead"}}], "done": False},
            "the stream breaks off: 'dead'",
        ),
    ],
)
def test_no_answer(said: dict[str, Any], error: str) -> None:
    assert read_answer(said) == Answer(error=error)


def test_a_long_text_is_cut() -> None:
    assert shortened("a\nb") == "'a\\nb'"
    assert shortened("x" * 301) == repr("x" * 299 + "…")
