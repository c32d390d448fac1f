"""How a step's log looks while it runs: a dimmed line for people, an object for programs."""

from __future__ import annotations

import io
import json

import pytest

from enginebuild.cli.output import JsonLines, Plain
from enginebuild.events import LogLine, Waited, Waiting


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_people_see_whose_line_it_is() -> None:
    stream = io.StringIO()
    Plain(stream)(LogLine("compile", "[TRT-LLM] rank 0"))
    assert stream.getvalue() == "compile │ [TRT-LLM] rank 0\n"


def test_a_terminal_dims_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = _Terminal()
    Plain(stream)(LogLine("compile", "text"))
    assert stream.getvalue() == "\x1b[2mcompile │ text\x1b[0m\n"


def test_programs_get_an_object() -> None:
    stream = io.StringIO()
    JsonLines(stream)(LogLine("compile", "größer"))
    assert json.loads(stream.getvalue()) == {"event": "log", "step": "compile", "text": "größer"}


def test_a_wait_is_told_with_its_reason_and_its_end() -> None:
    waiting, waited = Waiting("GPU 3", "process 7 on box, step compile"), Waited("GPU 3", 61.2345)
    people, programs = io.StringIO(), io.StringIO()
    for event in (waiting, waited):
        Plain(people)(event)
        JsonLines(programs)(event)
    assert people.getvalue() == "waiting for GPU 3: process 7 on box, step compile\ngot GPU 3 after 61 s\n"
    assert [json.loads(line) for line in programs.getvalue().splitlines()] == [
        {"event": "waiting", "what": "GPU 3", "holder": "process 7 on box, step compile"},
        {"event": "waited", "what": "GPU 3", "seconds": 61.234},
    ]
