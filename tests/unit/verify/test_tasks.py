"""Results of lm-eval's tasks: which metric is meant, what was lost, and the bounds that do not hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from enginebuild.recipe.verification import Task
from enginebuild.verify.report import summary
from enginebuild.verify.tasks import compared_tasks, metric_of, metric_problem, task_lines, task_problems

TASK = Task("gsm8k", "file:./gsm8k", None, "exact_match,strict-match", 0.02)
RESULT: dict[str, Any] = {
    "task": "gsm8k",
    "metrics": {
        "exact_match,strict-match": 0.5,
        "exact_match_stderr,strict-match": 0.01,
        "exact_match,flexible-extract": 0.6,
        "word_perplexity,none": 10.0,
        "odd,none": 1.0,
    },
    "higher_is_better": {"exact_match": True, "word_perplexity": False, "odd": None},
    "samples": 100,
    "version": 3.0,
    "lm_eval": "0.4.13",
}


def result(**metrics: Any) -> dict[str, Any]:
    """With other values; a name's first underscores stand for its comma."""
    named = {name.replace("__", ","): value for name, value in metrics.items()}
    return {**RESULT, "metrics": {**RESULT["metrics"], **named}}


@pytest.mark.parametrize(
    ("metric", "found", "problem"),
    [
        ("exact_match,strict-match", "exact_match,strict-match", ""),
        ("word_perplexity", "word_perplexity,none", ""),
        ("exact_match", None, "the task gsm8k has several metrics exact_match"),
        ("acc", None, "the task gsm8k has no metric acc"),
        (
            "exact_match_stderr,strict-match",
            None,
            "the task gsm8k has no metric exact_match_stderr,strict-match",
        ),
        ("odd", "odd,none", "lm-eval does not say whether more odd is better in the task gsm8k"),
    ],
)
def test_the_metric_that_is_meant(metric: str, found: str | None, problem: str) -> None:
    task = replace(TASK, metric=metric)
    assert (metric_of(task, RESULT), metric_problem(task, RESULT)) == (found, problem)


def rows(task: Task, source: dict[str, Any], ours: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[Any] = compared_tasks([task], [source], [ours])
    return found


def test_a_row_of_the_report() -> None:
    assert rows(TASK, RESULT, result(**{"exact_match__strict-match": 0.49})) == [
        {
            "task": "gsm8k",
            "metric": "exact_match,strict-match",
            "source": 0.5,
            "value": 0.49,
            "stderr": 0.01,
            "drop": pytest.approx(0.02),
            "samples": 100,
            "version": 3.0,
            "lm_eval": "0.4.13",
        }
    ]


@pytest.mark.parametrize(
    ("metric", "source", "ours", "drop"),
    [
        ("exact_match,strict-match", 0.5, 0.45, 0.1),
        ("exact_match,strict-match", 0.5, 0.55, -0.1),
        ("word_perplexity,none", 10.0, 11.0, 0.1),
        ("word_perplexity,none", 10.0, 9.0, -0.1),
        ("word_perplexity,none", -2.0, -1.0, 0.5),  # a log-likelihood, say
        ("exact_match,strict-match", 0.0, 0.0, None),
        ("exact_match,strict-match", 0.5, None, None),
        ("word_perplexity,none", None, 10.0, None),
    ],
)
def test_a_drop_is_relative_and_towards_the_worse(
    metric: str, source: float | None, ours: float | None, drop: float | None
) -> None:
    task = replace(TASK, metric=metric)
    (row,) = rows(task, result(**{metric: source}), result(**{metric: ours}))
    assert row["drop"] == (None if drop is None else pytest.approx(drop))


def test_bounds() -> None:
    name = "exact_match,strict-match"
    found = rows(TASK, RESULT, result(**{name: 0.45}))
    assert list(task_problems([TASK], found)) == [
        (
            "quality, task gsm8k: exact_match,strict-match went from 0.5 to 0.45, a drop of 0.1, max_drop "
            "allows 0.02"
        )
    ]
    assert list(task_problems([replace(TASK, max_drop=0.11)], found)) == []
    nothing = rows(TASK, result(**{name: 0.0}), result(**{name: 0.0}))
    assert list(task_problems([replace(TASK, max_drop=9.0)], nothing)) == [
        "quality, task gsm8k: exact_match,strict-match is 0 unquantized and 0 quantized: no drop can be told"
    ]
    lost = rows(TASK, RESULT, result(**{name: None}))
    assert list(task_problems([TASK], lost)) == [
        (
            "quality, task gsm8k: exact_match,strict-match is 0.5 unquantized and no number quantized: no "
            "drop can be told"
        )
    ]


def test_for_people() -> None:
    found = rows(TASK, RESULT, result(**{"exact_match__strict-match": 0.49}))
    line = "quality: gsm8k exact_match,strict-match 0.49, unquantized 0.5 (100 examples)"
    assert task_lines(found) == [line]
    quality: dict[str, Any] = {"exact_match": 1.0, "tasks": found}
    assert summary({"quality": quality})[3:] == ["quality: exact_match 1", line]
