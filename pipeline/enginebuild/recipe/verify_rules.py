"""Rules between the section `verify` and the rest of a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.errors import Problem
from enginebuild.recipe.engine_rules import section, text
from enginebuild_cache import Json


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
    if "prompts" not in quality:
        return []
    path = ("verify", "quality")
    if values.get("quantization") == "none":
        message = (
            "verify.quality compares a quantized model with its source, and this recipe quantizes nothing"
        )
        return [Problem(path, message, "delete it, or add quantization", on_key=True)]
    problems = []
    bounds = ("max_exact_match_drop", "max_perplexity_increase")
    if all(name in quality and quality[name] is None for name in bounds):
        message = "verify.quality has no bound"
        problems.append(Problem(path, message, f"add {bounds[0]} or {bounds[1]}", on_key=True))
    vllm = section(values, "engine").get("type") == "vllm"
    if quality.get("max_perplexity_increase") is not None and not vllm:
        message = "verify.quality.max_perplexity_increase needs logprobs of the prompt, which only vLLM gives"
        hint = "write max_exact_match_drop instead"
        problems.append(Problem((*path, "max_perplexity_increase"), message, hint, on_key=True))
    return problems
