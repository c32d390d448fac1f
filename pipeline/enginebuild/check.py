"""Reading a recipe with everything that can be known of it without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from enginebuild.errors import Problem, RefusedError
from enginebuild.recipe import Recipe, chosen, one_of, read_cells
from enginebuild_cache import Json


def read_checked(path: Path, overrides: Sequence[str] = (), cells: Sequence[str] = ()) -> Recipe:
    """The one recipe of a file, or the one cell that is chosen. Raises RecipeError."""
    return one_of(chosen(read_checked_cells(path, overrides), cells))


def read_checked_cells(path: Path, overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """All cells, the engine's part of each held against the table of its version. Raises RecipeError."""
    return read_cells(path, overrides, check_engine)


def check_engine(values: Mapping[str, Json]) -> Sequence[Problem]:
    """What the engine finds wrong with the sound fields, among which are engine.type and engine.version."""
    engine = values["engine"]
    if not isinstance(engine, dict):
        raise TypeError("an engine is a mapping")
    # Imported here: neither engine's tables are read for the other's recipes.
    if engine["type"] == "tensorrt_llm":
        from enginebuild.engines.tensorrt_llm.check import check

        return check(values)
    from enginebuild.engines import vllm

    args = engine.get("args")
    found = vllm.check_arguments(str(engine["version"]), args if isinstance(args, dict) else {})
    from enginebuild.engines.vllm.hardware import hardware_problems

    return (*found, *_unserved(values, str(engine["version"])), *hardware_problems(values))


def _unserved(values: Mapping[str, Json], version: str) -> Sequence[Problem]:
    """A quantization that this vLLM does not serve on the GPU that is named."""
    quantization = values.get("quantization")
    if not isinstance(quantization, dict) or quantization.get("method") in (None, "none"):
        return ()
    from enginebuild.quantizers.compatibility import methods, refusal
    from enginebuild.recipe.gpu import catalogue
    from enginebuild.recipe.methods import default_tool

    method, cache = str(quantization["method"]), quantization.get("kv_cache_dtype")
    tool = str(quantization.get("tool") or default_tool("vllm"))
    if tool not in ("llm-compressor", "modelopt") or method not in methods(tool):
        return ()  # the recipe's own rules say so
    gpu = catalogue().get(str(values.get("gpu")))
    reason = refusal(
        method,
        tool,
        "vllm",
        version,
        gpu.compute_capability if gpu else None,
        cache if isinstance(cache, str) else None,
    )
    return () if reason is None else (Problem(("quantization",), reason, on_key=True),)


def warnings_of(recipe: Recipe) -> Sequence[str]:
    """What works and may disappoint: a quantization that the GPU loads and does not compute in."""
    quantization = recipe.quantization
    if quantization is None or recipe.gpu is None or recipe.engine.type != "vllm":
        return ()
    from enginebuild.quantizers.compatibility import fallback
    from enginebuild.recipe.gpu import catalogue

    gpu, tool = catalogue()[recipe.gpu], str(quantization.tool)
    said = fallback(quantization.method, tool, "vllm", gpu.compute_capability)
    return () if said is None else (said,)


def check_folder(recipe: Recipe) -> None:
    """What a model in a folder tells beforehand: whether an engine can be made of its architecture.

    Raises RefusedError for one of which none can, SourceError for a folder without a config.json.
    """
    if recipe.engine.mode != "engine" or not recipe.model.source.startswith("file:"):
        return
    from enginebuild.engines.tensorrt_llm.settings import settings_of
    from enginebuild.resolve import model_request
    from enginebuild.sources import read_folder_config
    from enginebuild.steps.engine import checkpoint_command

    calibrated = recipe.quantization is not None and recipe.quantization.calibration is not None
    config = read_folder_config(model_request(recipe))
    try:
        checkpoint_command(settings_of(recipe), config, calibrated=calibrated)
    except RefusedError as error:
        problem = Problem(("model",), error.message, error.hint)
        raise RefusedError(recipe.located([problem]).message) from error
