"""Load on a server, made by its engine's own benchmark inside the container, and bounds for what comes out.

`vllm bench serve` (vLLM 0.10 and newer) and TensorRT-LLM's `tensorrt_llm.serve.scripts.benchmark_serving`
(documented since 1.0) are of one origin: the same options, and results under the same names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from enginebuild.errors import StepError
from enginebuild.recipe.verification import Performance
from enginebuild_cache import Json

_VLLM = ("vllm", "bench", "serve")
_TENSORRT_LLM = ("python3", "-m", "tensorrt_llm.serve.scripts.benchmark_serving")
#: Seed of the random prompts.
_SEED = "0"


def bench_command(
    engine: str,
    bounds: Performance,
    concurrency: int,
    model: str,
    tokenizer: str,
    port: int,
    result: PurePosixPath,
) -> tuple[str, ...]:
    """The words that put load on the server and write `result`. `tokenizer` is a folder in the container."""
    program = _TENSORRT_LLM if engine == "tensorrt_llm" else _VLLM
    own = ("--random-ids", "--no-test-input") if engine == "tensorrt_llm" else ("--disable-tqdm",)
    return (
        *program,
        *("--backend", "openai", "--host", "127.0.0.1", "--port", str(port), "--endpoint", "/v1/completions"),
        *("--model", model, "--tokenizer", tokenizer, "--seed", _SEED),
        *("--dataset-name", "random", "--random-input-len", str(bounds.input_len)),
        *("--random-output-len", str(bounds.output_len), "--ignore-eos"),
        *("--num-prompts", str(bounds.requests), "--max-concurrency", str(concurrency)),
        *("--percentile-metrics", "ttft,tpot", "--metric-percentiles", str(bounds.percentile)),
        *("--save-result", "--result-dir", str(result.parent), "--result-filename", result.name),
        *own,
    )


def measurement(bounds: Performance, concurrency: int, document: bytes) -> dict[str, Json]:
    """A row of the report, from the benchmark's result. Raises StepError for one that is something else."""
    try:
        result = json.loads(document)
        row: dict[str, Json] = {
            "concurrency": concurrency,
            "requests": bounds.requests,
            "completed": int(result["completed"]),
            "percentile": bounds.percentile,
            "ttft_ms": _milliseconds(result[f"p{bounds.percentile}_ttft_ms"]),
            "median_ttft_ms": _milliseconds(result["median_ttft_ms"]),
            "tpot_ms": _milliseconds(result[f"p{bounds.percentile}_tpot_ms"]),
            "median_tpot_ms": _milliseconds(result["median_tpot_ms"]),
            "output_throughput": _milliseconds(result["output_throughput"]),
            "request_throughput": _milliseconds(result["request_throughput"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise StepError(
            f"the benchmark's result is not what enginebuild knows: {error!r}",
            "leave verify.performance out, or use an engine's version that is known",
        ) from error
    return row


def _milliseconds(value: object) -> float:
    """Nothing is measured finer than a microsecond; what is no number is none."""
    return round(float(str(value)), 3)


def performance_problems(bounds: Performance, rows: Sequence[Mapping[str, Json]]) -> tuple[str, ...]:
    """The requests that failed and the bounds that do not hold, a line each."""
    problems = [problem for row in rows for problem in _row_problems(bounds, row)]
    best = max((_float(row["output_throughput"]) for row in rows), default=0.0)
    least = bounds.min_throughput_tokens_per_second
    if least is not None and best < least:
        problems.append(
            f"performance: {best:.4g} tokens per second at the best concurrency, "
            f"min_throughput_tokens_per_second asks for {least:g}"
        )
    return tuple(problems)


def _row_problems(bounds: Performance, row: Mapping[str, Json]) -> list[str]:
    at, problems = f"performance, {row['concurrency']} at a time", []
    if row["completed"] != row["requests"]:
        problems.append(f"{at}: {row['completed']} of {row['requests']} requests were answered")
    for key, name, what in (
        ("ttft_ms", "max_time_to_first_token_ms", "to the first token"),
        ("tpot_ms", "max_time_per_output_token_ms", "for each further token"),
    ):
        bound: float | None = getattr(bounds, name)
        if bound is not None and not _float(row[key]) <= bound:
            value = f"{_float(row[key]):.4g} ms {what} (p{bounds.percentile})"
            problems.append(f"{at}: {value}, {name} allows {bound:g}")
    return problems


def _float(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
