"""What vLLM refuses when it holds its arguments against the model's configuration.

Source: vLLM 0.33.0, config/model.py (_check_valid_dtype, _verify_with_expert_parallelism,
verify_with_parallel_config) and config/scheduler.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from enginebuild.fit.finding import Change, Finding
from enginebuild.fit.serving import Serving
from enginebuild.models import ModelFacts
from enginebuild.models.shape import Shape
from enginebuild.recipe.checks import Check
from enginebuild.recipe.model import Recipe
from enginebuild_cache import Json

#: model_type of those whose numbers are too large for float16 (_FLOAT16_NOT_SUPPORTED_MODELS).
_NOT_FLOAT16 = ("gemma2", "gemma3", "gemma3_text", "glm4")


def vllm_rules(recipe: Recipe, facts: ModelFacts, serving: Serving) -> Iterator[Finding]:
    """Nothing for other engines."""
    if recipe.engine.type != "vllm":
        return
    yield from _float16(recipe, facts)
    if facts.shape is not None:
        yield from _no_experts(recipe, facts.shape)
        yield from _context_parallel(recipe, facts.shape)
        yield from _whole_prompts(recipe, facts.shape, serving)


def _float16(recipe: Recipe, facts: ModelFacts) -> Iterator[Finding]:
    model_type = facts.named.model_type
    if recipe.dtype == "float16" and model_type in _NOT_FLOAT16:
        message = f"vLLM refuses dtype float16 for {model_type}: its numbers grow too large for it"
        yield Finding("dtype", ("dtype",), message, (Change((("dtype", "bfloat16"),)),))


def _no_experts(recipe: Recipe, shape: Shape) -> Iterator[Finding]:
    if recipe.engine.args.get("enable_expert_parallel") is True and shape.experts is None:
        yield _argument("experts", "enable_expert_parallel", False, "needs experts, and the model has none")


def _context_parallel(recipe: Recipe, shape: Shape) -> Iterator[Finding]:
    """Ranks that repeat KV heads may share the context instead; with latent attention all repeat them."""
    name = "decode_context_parallel_size"
    ranks = recipe.engine.args.get(name)
    if not isinstance(ranks, int) or ranks < 2 or shape.latent is not None:
        return
    spare = max(1, recipe.tensor_parallel_size // shape.kv_heads)
    if ranks > spare:
        text = (
            f"{ranks} is more than the {spare} GPUs for each of the {shape.kv_heads} KV heads that "
            f"tensor_parallel_size {recipe.tensor_parallel_size} makes"
        )
        yield _argument("attention_heads", name, spare, text)


def _whole_prompts(recipe: Recipe, shape: Shape, serving: Serving) -> Iterator[Finding]:
    """Without chunks a prompt of full length must fit one step; engine.args' own rules see to a given one."""
    longest, tokens = shape.scaled_positions, serving.tokens
    whole = recipe.engine.args.get("enable_chunked_prefill") is False
    if not whole or tokens is None or longest is None or serving.length is not None or serving.fitted:
        return
    if tokens < longest:
        text = f"{tokens} is less than the model's own length, {longest}, and enable_chunked_prefill is false"
        yield _argument("length", "max_num_batched_tokens", longest, text)


def _argument(check: Check, name: str, value: Json, text: str) -> Finding:
    path = ("engine", "args", name)
    return Finding(check, path, f"{name} {text}", (Change(((".".join(path), value),)),))
