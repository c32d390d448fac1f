"""Tasks of lm-eval: what a model reached, and a quantized one against its source. Pure.

A result is what `scripts/lm_eval_tasks.py` says of a task: `metrics` by their names with filters, such as
`exact_match,strict-match`, None where no number came out; `higher_is_better` by the names without; `samples`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, cast

from enginebuild.recipe.verification import Task
from enginebuild_cache import Json

_ERROR = "_stderr"

#: Bodies of requests, or of answers, task by task.
Bodies = Sequence[Sequence[Mapping[str, Json]]]


class Evaluator(Protocol):
    """Tasks that a model is to solve over /v1/completions."""

    @property
    def num_concurrent(self) -> int:
        """Requests under way at the same time."""
        ...

    def key_fields(self) -> dict[str, Json]:
        """What decides the results, beside the server."""
        ...

    def requests(self, tokenizer: Mapping[str, bytes], max_length: int) -> Bodies:
        """What the tasks ask, without the model's name. `max_length`: tokens of a request and its answer."""
        ...

    def results(
        self, tokenizer: Mapping[str, bytes], max_length: int, asked: Bodies, answers: Bodies
    ) -> tuple[Mapping[str, Json], ...]:
        """What each task measures of the answers to its requests."""
        ...


def metric_names(result: Mapping[str, Json]) -> tuple[str, ...]:
    """All that the task measures."""
    return tuple(name for name in sorted(_metrics(result)) if _ERROR not in name)


def metric_of(task: Task, result: Mapping[str, Json]) -> str | None:
    """The full name of the metric that the recipe means; None if there is none, or several by that name."""
    names = metric_names(result)
    found = [name for name in names if task.metric in (name, name.partition(",")[0])]
    return found[0] if len(found) == 1 else None


def metric_problem(task: Task, result: Mapping[str, Json]) -> str:
    """Why the recipe's metric cannot be held against a bound; empty if it can."""
    name, names = metric_of(task, result), metric_names(result)
    if name is None:
        several = any(each.startswith(f"{task.metric},") for each in names)
        what = "several metrics" if several else "no metric"
        return f"the task {task.task} has {what} {task.metric}"
    if not isinstance(_higher(result, name), bool):
        return f"lm-eval does not say whether more {task.metric} is better in the task {task.task}"
    return ""


def compared_tasks(
    tasks: Sequence[Task], source: Sequence[Mapping[str, Json]], ours: Sequence[Mapping[str, Json]]
) -> list[Json]:
    """The report's rows. `drop` is relative to the source's value, negative where ours is better; None where
    it is no number.
    """
    rows: list[Json] = []
    for task, before, after in zip(tasks, source, ours, strict=True):
        name = metric_of(task, after) or task.metric
        values = _metrics(before).get(name), _metrics(after).get(name)
        rows.append(
            {
                "task": task.task,
                "metric": name,
                "source": values[0],
                "value": values[1],
                "stderr": _metrics(after).get(_error_of(name)),
                "drop": _drop(*values, higher_is_better=bool(_higher(after, name))),
                "samples": after.get("samples"),
                "version": after.get("version"),
                "lm_eval": after.get("lm_eval"),
            }
        )
    return rows


def task_problems(tasks: Sequence[Task], rows: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    """The bounds that do not hold, a line each."""
    for task, row in zip(tasks, rows, strict=True):
        drop, what = row["drop"], f"quality, task {task.task}: {row['metric']}"
        if not isinstance(drop, int | float):
            values = f"{_shown(row['source'])} unquantized and {_shown(row['value'])} quantized"
            yield f"{what} is {values}: no drop can be told"
        elif drop > task.max_drop:
            yield (
                f"{what} went from {_shown(row['source'])} to {_shown(row['value'])}, a drop of {drop:.3g}, "
                f"max_drop allows {task.max_drop:g}"
            )


def task_lines(rows: Sequence[Mapping[str, Json]]) -> list[str]:
    """The rows for people."""
    return [
        f"quality: {row.get('task')} {row.get('metric')} {_shown(row.get('value'))}, "
        f"unquantized {_shown(row.get('source'))} ({row.get('samples')} examples)"
        for row in rows
    ]


def _drop(source: Json, ours: Json, *, higher_is_better: bool) -> float | None:
    """A source that reaches nothing has nothing to lose: a bound would hold whatever the other does."""
    if not isinstance(source, int | float) or not isinstance(ours, int | float) or source == 0:
        return None
    lost = source - ours if higher_is_better else ours - source
    return lost / abs(source)


def _metrics(result: Mapping[str, Json]) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", result.get("metrics") or {})


def _higher(result: Mapping[str, Json], name: str) -> Json:
    return cast("Mapping[str, Json]", result.get("higher_is_better") or {}).get(name.partition(",")[0])


def _error_of(name: str) -> str:
    metric, comma, chosen = name.partition(",")
    return f"{metric}{_ERROR}{comma}{chosen}"


def _shown(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "no number"
