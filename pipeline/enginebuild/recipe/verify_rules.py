"""Rules between the section `verify` and the rest of a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.engine_rules import section, text
from enginebuild.recipe.verify_section import BOUNDS
from enginebuild_cache import Json

_QUALITY = ("verify", "quality")


def verify_problems(values: Mapping[str, Json]) -> list[Problem]:
    """`values` holds the fields that were read without a problem."""
    verify = values.get("verify")
    if not isinstance(verify, dict):
        return []
    return [
        *_server(values),
        *_prompts(section(verify, "smoke").get("prompts")),
        *_quality(values, section(verify, "quality")),
    ]


def _server(values: Mapping[str, Json]) -> list[Problem]:
    layout, server = section(values, "image").get("layout"), section(values, "engine").get("server")
    if layout in ("model", "modelpack"):
        message = f"verify needs a server to ask, and an image of layout {text(layout)} has none"
        return [Problem(("verify",), message, "delete verify, or write layout: server", on_key=True)]
    if server == "triton":
        message = "verify asks over the OpenAI API, which the server triton does not have"
        return [Problem(("verify",), message, "delete verify, or write server: trtllm-serve", on_key=True)]
    return []


def _prompts(prompts: Json) -> list[Problem]:
    problems = []
    for number, entry in enumerate(prompts if isinstance(prompts, list) else []):
        if not isinstance(entry, dict) or "prompt" not in entry or "messages" not in entry:
            continue
        path, name = ("verify", "smoke", "prompts", number), f"verify.smoke.prompts[{number}]"
        if entry["prompt"] is None and entry["messages"] is None:
            problems.append(Problem(path, f"{name} asks nothing", "add prompt: … or messages: …"))
        elif entry["prompt"] is not None and entry["messages"] is not None:
            message = f"{name} has both prompt and messages"
            problems.append(Problem((*path, "messages"), message, "make two entries of it", on_key=True))
    return problems


def _quality(values: Mapping[str, Json], quality: Mapping[str, Json]) -> list[Problem]:
    if not {"prompts", "tasks", "lm_eval"} <= set(quality):
        return []
    if values.get("quantization") == "none":
        message = (
            "verify.quality compares a quantized model with its source, and this recipe quantizes nothing"
        )
        return [Problem(_QUALITY, message, "delete it, or add quantization", on_key=True)]
    if quality["prompts"] is None and quality["tasks"] is None:
        return [Problem(_QUALITY, "verify.quality compares nothing", "add prompts or tasks", on_key=True)]
    return [*_bounds(values, quality), *_lm_eval(quality)]


def _bounds(values: Mapping[str, Json], quality: Mapping[str, Json]) -> list[Problem]:
    problems = []
    if quality["prompts"] is not None:
        if all(name in quality and quality[name] is None for name in BOUNDS):
            hint = f"add {BOUNDS[0]} or {BOUNDS[1]}"
            problems.append(Problem(_QUALITY, "verify.quality has no bound", hint, on_key=True))
    else:
        for name in BOUNDS:
            if quality.get(name) is not None:
                message = f"verify.quality.{name} is about prompts, and there are none"
                problems.append(Problem((*_QUALITY, name), message, "add prompts, or delete it", on_key=True))
    vllm = section(values, "engine").get("type") == "vllm"
    if quality.get("max_perplexity_increase") is not None and not vllm:
        message = "verify.quality.max_perplexity_increase needs logprobs of the prompt, which only vLLM gives"
        hint = "write max_exact_match_drop instead"
        problems.append(Problem((*_QUALITY, "max_perplexity_increase"), message, hint, on_key=True))
    return problems


def _lm_eval(quality: Mapping[str, Json]) -> list[Problem]:
    tasks, runs = quality["tasks"], quality["lm_eval"]
    if tasks is not None and runs is None:
        message, hint = "verify.quality.tasks need lm-eval", "add lm_eval: {environment: /opt/lm-eval}"
        return [Problem((*_QUALITY, "tasks"), message, f"{hint}; images/builders says how", on_key=True)]
    path = (*_QUALITY, "lm_eval")
    if tasks is None and runs is not None:
        message = "verify.quality.lm_eval means nothing without tasks"
        return [Problem(path, message, "add tasks, or delete it", on_key=True)]
    if not isinstance(runs, dict) or not {"environment", "image"} <= set(runs):
        return []
    if runs["environment"] is None and runs["image"] is None:
        message = "verify.quality.lm_eval has neither environment nor image"
        return [Problem(path, message, "add environment: /opt/lm-eval, or image: … by digest", on_key=True)]
    if runs["environment"] is not None and runs["image"] is not None:
        message = "verify.quality.lm_eval has both environment and image"
        return [Problem((*path, "image"), message, "delete one of them", on_key=True)]
    return []
