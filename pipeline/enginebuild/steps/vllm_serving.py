"""vLLM's part of an image."""

from __future__ import annotations

from pathlib import PurePosixPath

from enginebuild.engines import vllm
from enginebuild.recipe import Recipe
from enginebuild.steps.server import Server, Serving
from enginebuild_cache import Json

_CONFIG = PurePosixPath(vllm.CONFIG_PATH)


def vllm_serving(recipe: Recipe, checkpoint: str) -> Serving:
    """`checkpoint` is the step that made what is served."""
    port = vllm_settings(recipe, "").port
    return Serving(
        configuration=_configuration(recipe),
        files=lambda fingerprint: {_CONFIG.name: vllm.render(vllm_settings(recipe, fingerprint))},
        folder=str(_CONFIG.parent),
        paths={checkpoint: vllm.MODEL_PATH},
        server=Server(port, vllm.ENVIRONMENT, vllm.healthcheck(port), vllm.entrypoint),
    )


def _configuration(recipe: Recipe) -> dict[str, Json]:
    """The recipe's fields that decide the engine's configuration, under the recipe's own names."""
    return {
        "engine": recipe.engine.type,
        "version": recipe.engine.version,
        "served_model_name": served_model_name(recipe),
        "dtype": recipe.dtype,
        "tensor_parallel_size": recipe.tensor_parallel_size,
        "pipeline_parallel_size": recipe.pipeline_parallel_size,
        "args": dict(recipe.engine.args),
    }


def vllm_settings(recipe: Recipe, fingerprint: str) -> vllm.VllmSettings:
    """All that vLLM's configuration says; responses carry the fingerprint."""
    return vllm.VllmSettings(
        version=recipe.engine.version,
        served_model_name=served_model_name(recipe),
        fingerprint=fingerprint,
        dtype=recipe.dtype,
        tensor_parallel_size=recipe.tensor_parallel_size,
        pipeline_parallel_size=recipe.pipeline_parallel_size,
        args=recipe.engine.args,
    )


def served_model_name(recipe: Recipe) -> str:
    """The public id of a Hub model. A folder has none, and its recipe's name must not decide the image."""
    source = recipe.model.source
    return source.removeprefix("hf://") if source.startswith("hf://") else "model"
