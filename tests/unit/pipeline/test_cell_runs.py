"""Runs side by side: what a process says, how it ends, failures, stopping. The processes are real."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from enginebuild.cell_process import CellProcess, Ended
from enginebuild.cell_runs import CellRuns
from enginebuild.each_cell import each_cell
from enginebuild.errors import EngineBuildError, Exit, RefusedError, SourceError
from enginebuild.event_json import document_of, event_of
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
    silent,
)
from enginebuild.recipe import Recipe, read_cells
from enginebuild_cache import Digest

KEY = Digest.of(b"key")
EVENTS: list[Event] = [
    Note("careful", "warning"),
    StepStarted("fetch", KEY),
    StepFinished("fetch", KEY, "built", 1.5),
    Progress("model.safetensors", 5, 10),
    LogLine("quantize", "layer 1 of 2"),
    Waiting("step fetch", "process 1"),
    Waited("GPU 0", 2.0),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_document(event: Event) -> None:
    assert event_of(json.loads(json.dumps(document_of(event)))) == event


def test_a_cells_event_says_whose_it_is() -> None:
    assert document_of(InCell("a", Note("hello"))) == {
        "event": "note",
        "level": "info",
        "text": "hello",
        "cell": "a",
    }
    assert event_of({"event": "result", "image": None}) is None


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_run_tells_its_events_and_its_result() -> None:
    heard: list[Event] = []
    lines = [*map(document_of, EVENTS), {"event": "result", "image": {"digest": "d"}, "steps": []}]
    ended = CellProcess(program(f"print({chr(10).join(map(json.dumps, lines))!r})")).run(heard.append)
    assert heard == EVENTS
    assert (ended.exit, ended.result) == (Exit.DONE, {"image": {"digest": "d"}, "steps": []})


def test_an_error_that_it_says() -> None:
    document = {"event": "error", "exit": 5, "message": "too large", "hint": "take two"}
    text = f"print({json.dumps(document)!r}); raise SystemExit(5)"
    ended = CellProcess(program(text)).run(silent)
    assert (ended.exit, ended.message, ended.hint) == (Exit.REFUSED, "too large", "take two")


@pytest.mark.parametrize(
    ("text", "exit_", "message"),
    [
        (
            "raise ValueError('ours')",
            Exit.BUG,
            "its process ended with exit code 1\n  Traceback (most recent call last):",
        ),
        ("import os; os.kill(os.getpid(), 9)", Exit.BUG, "its process was killed by SIGKILL"),
        ("import os; os.kill(os.getpid(), 15)", Exit.INTERRUPTED, "its process was killed by SIGTERM"),
        ('print(\'{"event": "no\'); raise SystemExit(77)', Exit.BUG, "its process ended with exit code 77"),
    ],
)
def test_an_end_without_a_word(text: str, exit_: Exit, message: str) -> None:
    ended = CellProcess(program(text)).run(silent)
    assert ended.exit is exit_
    assert ended.message.startswith(message)


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Recipe, ...]:
    path = tmp_path / "r.yaml"
    path.write_text(
        "version: 1\nname: r\nmodel: hf://org/a@main\nimage: {base: scratch}\n"
        "engine: {type: vllm, version: 0.33.0}\nmatrix: {dtype: [auto, float16, bfloat16]}\n"
    )
    return read_cells(path)


GOOD = 'print(\'{"event": "result"}\')'
BAD = 'print(\'{"event": "error", "message": "no"}\'); raise SystemExit(3)'
SLOW = f"import time; time.sleep(60); {GOOD}"


def runs(texts: Sequence[str], cells: Sequence[Recipe], parallel: int, *, fail_fast: bool) -> CellRuns:
    by_name = {cell.name: text for cell, text in zip(cells, texts, strict=True)}
    return CellRuns(lambda cell: program(by_name[cell.name]), parallel, fail_fast, silent)


def test_a_failure_leaves_the_others_alone(cells: tuple[Recipe, ...]) -> None:
    results = runs([GOOD, BAD, GOOD], cells, 2, fail_fast=False).run(cells)
    assert [result.status for result in results] == ["built", "failed", "built"]
    assert [result.recipe.name for result in results] == [cell.name for cell in cells]
    assert results[1].to_json()["error"] == {"message": "no", "hint": None}
    assert results[0].to_json()["error"] is None


def test_fail_fast_stops_them(cells: tuple[Recipe, ...]) -> None:
    begun = time.monotonic()
    results = runs([SLOW, BAD, GOOD], cells, 2, fail_fast=True).run(cells)
    assert [result.status for result in results] == ["skipped", "failed", "skipped"]
    assert time.monotonic() - begun < 30


def test_nothing_begins_after_a_failure(cells: tuple[Recipe, ...]) -> None:
    over = runs([GOOD, GOOD, GOOD], cells, 2, fail_fast=True)
    over.over = True
    assert {result.status for result in over.run(cells)} == {"skipped"}


def test_a_process_that_is_stopped_ends_as_by_ctrl_c() -> None:
    process = CellProcess(program("import time; print('{}', flush=True); time.sleep(60)"))
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(process.run(silent)))
    thread.start()
    process.stop()
    thread.join(30)
    assert ended[0].exit is Exit.INTERRUPTED


def test_for_each_cell_all_that_goes_wrong_is_said(cells: tuple[Recipe, ...]) -> None:
    def act(cell: Recipe) -> None:
        if cell.dtype == "float16":
            raise RefusedError("too large", "take two")
        if cell.dtype == "bfloat16":
            raise SourceError("not there")

    with pytest.raises(EngineBuildError) as caught:
        each_cell(cells, act)
    assert caught.value.exit is Exit.REFUSED
    assert caught.value.message == (
        "r-float16:\ntoo large\n  hint: take two\n\nr-bfloat16:\nnot there\n\n2 of 3 cells"
    )


def test_what_is_wrong_with_all_cells_is_said_as_of_one(cells: tuple[Recipe, ...]) -> None:
    def act(_cell: Recipe) -> None:
        raise RefusedError("too large", "take two")

    with pytest.raises(RefusedError) as caught:
        each_cell(cells, act)
    assert (caught.value.message, caught.value.hint) == ("too large", "take two")
