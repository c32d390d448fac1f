"""A quantized model against its unquantized source: how each goes on with the same texts, and how likely it
thinks them.

The probabilities of a text's own tokens come from `echo` with `logprobs` of OpenAI's completions, which vLLM
has (and lm-eval uses the same way: lm_eval/models/openai_completions.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from enginebuild.recipe.verification import Quality
from enginebuild.verify.answers import Answer
from enginebuild.verify.requests import COMPLETIONS, Request, says_something
from enginebuild.verify.tasks import compared_tasks, task_problems
from enginebuild_cache import Json


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model said, text by text. `logprobs` of a text's tokens but the first, and the likeliest token
    at each place; empty where the server gives none. `tasks`: results of lm-eval's."""

    texts: tuple[str, ...]
    logprobs: tuple[tuple[float, ...], ...] = ()
    top: tuple[tuple[str, ...], ...] = ()
    tasks: tuple[Mapping[str, Json], ...] = ()

    @property
    def perplexity(self) -> float | None:
        """Of all texts together; None without probabilities."""
        flat = [value for values in self.logprobs for value in values]
        return math.exp(-sum(flat) / len(flat)) if flat else None

    def to_json(self) -> dict[str, Json]:
        return {
            "texts": list(self.texts),
            "logprobs": [list(values) for values in self.logprobs],
            "top": [list(tokens) for tokens in self.top],
            "tasks": [dict(result) for result in self.tasks],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Measured:
        rows = cast("list[list[float]]", value["logprobs"])
        top = cast("list[list[str]]", value["top"])
        texts = tuple(cast("list[str]", value["texts"]))
        tasks = tuple(cast("list[Mapping[str, Json]]", value.get("tasks", [])))
        return cls(texts, tuple(map(tuple, rows)), tuple(map(tuple, top)), tasks)


def quality_requests(quality: Quality, probabilities: bool) -> tuple[Request, ...]:
    """How the model goes on with each text, and then, with `probabilities`, how likely it thinks it."""
    going_on = [
        Request(
            f"quality, text {number}",
            COMPLETIONS,
            {"prompt": text, "max_tokens": quality.max_tokens, "temperature": 0},
            lambda _answer: "",
        )
        for number, text in enumerate(quality.prompts, 1)
    ]
    likely = [
        Request(
            f"quality, logprobs of text {number}",
            COMPLETIONS,
            {"prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1},
            _has_logprobs,
        )
        for number, text in enumerate(quality.prompts, 1)
    ]
    return (*going_on, *(likely if probabilities else ()))


def _has_logprobs(answer: Answer) -> str:
    values = (answer.logprobs or {}).get("token_logprobs")
    if not isinstance(values, list) or len(values) < 2:
        return "the server gives no logprobs of the prompt"
    return says_something(answer)


def measured(quality: Quality, answers: Sequence[Answer]) -> Measured:
    """From the answers to `quality_requests`, none of which failed."""
    count = len(quality.prompts)
    likely = [answer.logprobs or {} for answer in answers[count:]]
    return Measured(
        tuple(answer.text for answer in answers[:count]),
        # The first token has no probability, and the last one is no token of the text.
        tuple(tuple(map(float, cast("list[float]", each["token_logprobs"])[1:-1])) for each in likely),
        tuple(
            tuple(map(_likeliest, cast("list[Json]", each.get("top_logprobs") or [])[1:-1]))
            for each in likely
        ),
    )


def _likeliest(tokens: Json) -> str:
    found = cast("dict[str, float]", tokens) if isinstance(tokens, dict) else {}
    return max(found, key=lambda token: found[token]) if found else ""


def compared(quality: Quality, source: Measured, ours: Measured) -> dict[str, Json]:
    """The report's numbers; shares from 0 to 1."""
    tasks = compared_tasks(quality.tasks, source.tasks, ours.tasks)
    return {**_compared_texts(source, ours), **({"tasks": tasks} if tasks else {})}


def _compared_texts(source: Measured, ours: Measured) -> dict[str, Json]:
    if not source.texts:
        return {}
    same = sum(1 for before, after in zip(source.texts, ours.texts, strict=True) if before == after)
    numbers: dict[str, Json] = {"exact_match": same / len(source.texts)}
    before, after = source.perplexity, ours.perplexity
    if before is not None and after is not None:
        numbers |= {
            "source_perplexity": before,
            "perplexity": after,
            "perplexity_increase": after / before - 1,
        }
    pairs = [
        (left, right)
        for lefts, rights in zip(source.top, ours.top, strict=False)
        for left, right in zip(lefts, rights, strict=False)
    ]
    if pairs:
        numbers["top_token_agreement"] = sum(1 for left, right in pairs if left == right) / len(pairs)
    return numbers


def quality_problems(quality: Quality, numbers: Mapping[str, Json]) -> tuple[str, ...]:
    """The bounds that do not hold, a line each."""
    problems = []
    drop, bound = 1 - cast("float", numbers.get("exact_match", 1.0)), quality.max_exact_match_drop
    if bound is not None and drop > bound:
        problems.append(
            f"quality: {drop:.3g} of the texts go on otherwise than the unquantized model has them, "
            f"max_exact_match_drop allows {bound:g}"
        )
    increase, limit = numbers.get("perplexity_increase"), quality.max_perplexity_increase
    if limit is not None and isinstance(increase, int | float) and not increase <= limit:
        problems.append(
            f"quality: the perplexity grew by {increase:.3g} to {_shown(numbers['perplexity'])}, "
            f"max_perplexity_increase allows {limit:g}"
        )
    rows = cast("Sequence[Mapping[str, Json]]", numbers.get("tasks", ()))
    return (*problems, *task_problems(quality.tasks, rows))


def _shown(value: Json) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
