"""What a server is asked, and which answers will do."""

from __future__ import annotations

import pytest

from enginebuild.recipe.verification import Prompt
from enginebuild.verify.answers import Answer, ToolCall
from enginebuild.verify.requests import Able, Request, smoke

SOUND = Answer(" Paris", "stop")


def request(name: str, able: Able | None = None, *prompts: Prompt) -> Request:
    (found,) = (each for each in smoke(able or Able(), prompts) if each.name == name)
    return found


def test_what_is_asked_follows_from_what_is_configured() -> None:
    base = ["completion", "completion, streamed", "length"]
    chat = [*base, "chat", "chat, streamed"]
    for able, names in (
        (Able(tools=True, reasoning=True), base),  # without a template nobody can chat
        (Able(chat=True), chat),
        (Able(chat=True, tools=True), [*chat, "tool call"]),
        (Able(chat=True, reasoning=True), [*chat, "reasoning"]),
    ):
        assert [each.name for each in smoke(able, ())] == names


def test_the_recipe_s_questions() -> None:
    first = Prompt("Water boils at", expect=("100",), max_tokens=5, stop=("\n",))
    second = Prompt(messages=(("system", "Be brief."), ("user", "Who?")))
    one = request("prompt 1, streamed", None, first, second)
    assert (one.path, one.body) == (
        "/v1/completions",
        {"prompt": "Water boils at", "max_tokens": 5, "temperature": 0, "stop": ["\n"], "stream": True},
    )
    two = request("prompt 2", None, first, second)
    assert (two.path, two.body) == (
        "/v1/chat/completions",
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}],
            "max_tokens": 32,
            "temperature": 0,
        },
    )


@pytest.mark.parametrize(
    ("name", "answer", "problem"),
    [
        ("completion", SOUND, ""),
        ("completion", Answer(" ", "stop"), "the answer is empty (finish_reason stop)"),
        ("completion", Answer(), "the answer is empty (finish_reason none)"),
        ("completion, streamed", SOUND, ""),
        (
            "completion, streamed",
            Answer("x", "stop", ended=False),
            "the stream has no [DONE] at its end",
        ),
        ("completion, streamed", Answer("x"), "no event of the stream has a finish_reason"),
        ("chat", Answer("", "length", reasoning="so"), ""),
        ("length", Answer("a b c", "length", tokens=3), ""),
        ("length", Answer("a b c", "length"), ""),
        ("length", Answer("a", "stop"), "finish_reason is stop after 3 tokens, not length"),
        ("length", Answer("a"), "finish_reason is none after 3 tokens, not length"),
        (
            "length",
            Answer("a b", "length", tokens=2),
            "2 tokens were made of the 3 that max_tokens allows",
        ),
        ("tool call", Answer(tool_calls=(ToolCall("get_weather", '{"city": "Paris"}'),)), ""),
        (
            "tool call",
            Answer("<tool_call>{}"),
            "the answer has no tool call: '<tool_call>{}'; does tool_call_parser fit the model?",
        ),
        (
            "tool call",
            Answer(tool_calls=(ToolCall("get_weather", '{"city"'),)),
            "the tool call's arguments are not JSON: '{\"city\"'",
        ),
        (
            "tool call",
            Answer(tool_calls=(ToolCall("weather", "{}"),)),
            "the tool call is weather({}), not get_weather with city",
        ),
        ("reasoning", Answer("5", reasoning="2 + 3"), ""),
        (
            "reasoning",
            Answer("<think>2 + 3"),
            "the answer has no reasoning apart: '<think>2 + 3'; does reasoning_parser fit the model?",
        ),
        ("prompt 1", SOUND, ""),
        ("prompt 1", Answer("Lutetia"), ""),
        ("prompt 1", Answer("London"), "the answer lacks 'Paris' or 'Lutetia': 'London'"),
        ("prompt 2", Answer("whatever"), ""),
        ("prompt 2", Answer(), "the answer is empty (finish_reason none)"),
    ],
)
def test_an_answer_is_judged(name: str, answer: Answer, problem: str) -> None:
    prompts = (Prompt("France", expect=("Paris", "Lutetia")), Prompt("Hello"))
    assert request(name, Able(True, True, True), *prompts).judge(answer) == problem
