"""The section `verify`: what the finished image must do before it is published."""

from __future__ import annotations

from enginebuild.recipe.containers import ListOf
from enginebuild.recipe.kinds import Choice, Count
from enginebuild.recipe.section import Field, Section
from enginebuild.recipe.units import DURATION_KIND, SIZE_KIND
from enginebuild.recipe.unknown import answer
from enginebuild.recipe.verify_kinds import TEXT, Counts, Entries, Number, OneOrMore
from enginebuild.recipe.verify_tasks import LM_EVAL, TASK

DEFAULT_VERIFY_TIMEOUT = "1h"
DEFAULT_VERIFY_SHM_SIZE = "16GB"
DEFAULT_CONCURRENCY = (1, 8)
#: Bounds of `quality` for its prompts.
BOUNDS = ("max_exact_match_drop", "max_perplexity_increase")

MESSAGE = Section(
    (
        Field(
            "role",
            Choice(("system", "user", "assistant"), {"human": "user", "bot": "assistant"}),
            "Who says it.",
            "user",
            "user",
        ),
        Field("content", TEXT, "What is said.", "What is the capital of France?", required=True),
    ),
    answer,
)

PROMPT = Section(
    (
        Field("prompt", TEXT, "A text to go on with, for /v1/completions.", "The capital of France is"),
        Field(
            "messages",
            Entries(MESSAGE),
            "A conversation, for /v1/chat/completions, instead of `prompt`.",
            [{"content": "What is the capital of France?"}],
        ),
        Field(
            "expect", OneOrMore(TEXT), "A text that the answer must have; of several, one will do.", "Paris"
        ),
        Field("max_tokens", Count(), "The longest answer, in tokens.", 32, 32),
        Field("stop", OneOrMore(TEXT), "Texts at which the answer ends.", ["\n\n"]),
    ),
    answer,
    conditions={"oneOf": [{"required": ["prompt"]}, {"required": ["messages"]}]},
)

SMOKE = Section(
    (
        Field(
            "prompts",
            Entries(PROMPT),
            "Questions with the answers that are expected, asked with and without streaming.",
            [{"prompt": "The capital of France is", "expect": "Paris"}],
        ),
    ),
    answer,
)

QUALITY = Section(
    (
        Field(
            "prompts",
            ListOf(TEXT, "The capital of France is"),
            "Texts on which both models are compared.",
            ["The capital of France is", "Water boils at"],
        ),
        Field("max_tokens", Count(), "Tokens that are compared after each text.", 16, 16),
        Field(
            "max_exact_match_drop",
            Number(zero=True),
            "The largest share of texts that the quantized model may go on with differently, from 0 to 1.",
            0.2,
        ),
        Field(
            "max_perplexity_increase",
            Number(zero=True),
            "How much larger the perplexity of the texts may be, as a share: 0.05 for 5 percent. vLLM alone.",
            0.05,
        ),
        Field(
            "tasks",
            Entries(TASK),
            "Tasks of EleutherAI's lm-evaluation-harness that both models solve.",
            [
                {
                    "task": "capitals",
                    "dataset": "file:./capitals",
                    "metric": "exact_match",
                    "max_drop": 0.02,
                }
            ],
        ),
        Field("lm_eval", LM_EVAL, "In what lm-eval runs, for `tasks`.", {"environment": "/opt/lm-eval"}),
    ),
    answer,
    conditions={
        "anyOf": [{"required": ["prompts"]}, {"required": ["tasks"]}],
        "dependentRequired": {
            "tasks": ["lm_eval"],
            "lm_eval": ["tasks"],
            **{bound: ["prompts"] for bound in BOUNDS},
        },
        "if": {"required": ["prompts"]},
        "then": {"anyOf": [{"required": [bound]} for bound in BOUNDS]},
    },
)

PERFORMANCE = Section(
    (
        Field(
            "concurrency",
            Counts(),
            "How many requests are under way at the same time; each is measured.",
            [1, 8, 32],
            list(DEFAULT_CONCURRENCY),
        ),
        Field("requests", Count(), "Requests at each concurrency.", 64, 64),
        Field("input_len", Count(), "Tokens of a request's prompt.", 512, 512),
        Field("output_len", Count(), "Tokens of its answer.", 128, 128),
        Field(
            "percentile",
            Choice(("p50", "p90", "p95", "p99"), {"median": "p50"}),
            "Of the requests, which one the bounds of times are held against.",
            "p95",
            "p95",
        ),
        Field(
            "max_time_to_first_token_ms",
            Number(),
            "The longest time to the first token at any concurrency, in milliseconds.",
            500,
        ),
        Field(
            "max_time_per_output_token_ms",
            Number(),
            "The longest time for each further token at any concurrency, in milliseconds.",
            50,
        ),
        Field(
            "min_throughput_tokens_per_second",
            Number(),
            "Tokens per second that all answers together must reach at one of the concurrencies.",
            1000,
        ),
    ),
    answer,
)

VERIFY = Section(
    (
        Field(
            "smoke",
            SMOKE,
            "What the server must answer, beside what every server must.",
            {"prompts": [{"prompt": "The capital of France is", "expect": "Paris"}]},
        ),
        Field(
            "quality",
            QUALITY,
            "The quantized model against its unquantized source, which is served for it, too.",
            {"prompts": ["The capital of France is"], "max_exact_match_drop": 0.2},
        ),
        Field(
            "performance",
            PERFORMANCE,
            "Times and throughput under load, by the engine's own benchmark, and bounds for them.",
            {"concurrency": [1, 8], "max_time_to_first_token_ms": 500},
        ),
        Field(
            "timeout",
            DURATION_KIND,
            "The longest that a server may take for all of it, its start included.",
            "1h",
            DEFAULT_VERIFY_TIMEOUT,
        ),
        Field("memory", SIZE_KIND, "Limit of the server's container. By default none.", "64GB"),
        Field(
            "shm_size",
            SIZE_KIND,
            "Shared memory of the server's container.",
            "16GB",
            DEFAULT_VERIFY_SHM_SIZE,
        ),
    ),
    answer,
)
