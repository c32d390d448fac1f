"""The section `verify` as read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from enginebuild.recipe.units import seconds, size_in_bytes
from enginebuild.recipe.verify_section import DEFAULT_VERIFY_SHM_SIZE, DEFAULT_VERIFY_TIMEOUT
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question: a text to go on with, or (role, content) of each message. `expect`: one of them will do."""

    prompt: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    expect: tuple[str, ...] = ()
    max_tokens: int = 32
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task of lm-eval. `dataset` is `file:folder`, or `hf://datasets/org/name` at the commit `revision`.

    `max_drop` is a share of the unquantized model's value. `num_fewshot` None: the task's own;
    `limit` None: all examples.
    """

    task: str
    dataset: str
    revision: str | None
    metric: str
    max_drop: float
    num_fewshot: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class LmEval:
    """Where lm-eval is: a folder with a Python environment, or an image by digest. One of them is None."""

    environment: str | None
    image: str | None
    num_concurrent: int = 1


@dataclass(frozen=True, slots=True)
class Quality:
    """Bounds are shares; None: not bounded. `lm_eval` is None where there are no tasks."""

    prompts: tuple[str, ...]
    max_tokens: int
    max_exact_match_drop: float | None
    max_perplexity_increase: float | None
    tasks: tuple[Task, ...] = ()
    lm_eval: LmEval | None = None


@dataclass(frozen=True, slots=True)
class Performance:
    """Lengths in tokens, times in milliseconds, throughput in tokens per second; None: not bounded."""

    concurrency: tuple[int, ...]
    requests: int
    input_len: int
    output_len: int
    percentile: int
    max_time_to_first_token_ms: float | None = None
    max_time_per_output_token_ms: float | None = None
    min_throughput_tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What an image must do before it is published. `timeout` in seconds; `memory`, `shm_size` in bytes."""

    prompts: tuple[Prompt, ...] = ()
    quality: Quality | None = None
    performance: Performance | None = None
    timeout: float = seconds(DEFAULT_VERIFY_TIMEOUT)
    memory: int | None = None
    shm_size: int = size_in_bytes(DEFAULT_VERIFY_SHM_SIZE)


def verification_of(value: Json) -> Verification | None:
    """What the section's values say; None where there is none."""
    if not isinstance(value, dict):
        return None
    smoke = value["smoke"]
    prompts = smoke["prompts"] if isinstance(smoke, dict) else None
    return Verification(
        prompts=tuple(_prompt(entry) for entry in _entries(prompts)),
        quality=_quality(value["quality"]),
        performance=_performance(value["performance"]),
        timeout=seconds(str(value["timeout"])),
        memory=None if value["memory"] is None else size_in_bytes(str(value["memory"])),
        shm_size=size_in_bytes(str(value["shm_size"])),
    )


def _prompt(values: Mapping[str, Json]) -> Prompt:
    messages = tuple((str(each["role"]), str(each["content"])) for each in _entries(values["messages"]))
    prompt = values["prompt"]
    return Prompt(
        None if prompt is None else str(prompt),
        messages,
        _texts(values["expect"]),
        cast("int", values["max_tokens"]),
        _texts(values["stop"]),
    )


def _quality(value: Json) -> Quality | None:
    if not isinstance(value, dict):
        return None
    return Quality(
        _texts(value["prompts"]),
        cast("int", value["max_tokens"]),
        cast("float | None", value["max_exact_match_drop"]),
        cast("float | None", value["max_perplexity_increase"]),
        tuple(_task(entry) for entry in _entries(value["tasks"])),
        _lm_eval(value["lm_eval"]),
    )


def _task(values: Mapping[str, Json]) -> Task:
    dataset, at, revision = str(values["dataset"]).partition("@")
    if not dataset.startswith("hf:"):
        dataset, at, revision = str(values["dataset"]), "", ""
    return Task(
        str(values["task"]),
        dataset,
        revision if at else None,
        str(values["metric"]),
        float(cast("float", values["max_drop"])),
        cast("int | None", values["num_fewshot"]),
        cast("int | None", values["limit"]),
    )


def _lm_eval(value: Json) -> LmEval | None:
    if not isinstance(value, dict):
        return None
    environment, image = (None if value[key] is None else str(value[key]) for key in ("environment", "image"))
    return LmEval(environment, image, cast("int", value["num_concurrent"]))


def _performance(value: Json) -> Performance | None:
    if not isinstance(value, dict):
        return None
    return Performance(
        tuple(cast("list[int]", value["concurrency"])),
        cast("int", value["requests"]),
        cast("int", value["input_len"]),
        cast("int", value["output_len"]),
        int(str(value["percentile"]).removeprefix("p")),
        cast("float | None", value["max_time_to_first_token_ms"]),
        cast("float | None", value["max_time_per_output_token_ms"]),
        cast("float | None", value["min_throughput_tokens_per_second"]),
    )


def _entries(value: Json) -> list[Mapping[str, Json]]:
    return cast("list[Mapping[str, Json]]", value or [])


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in cast("list[Json]", value or []))
