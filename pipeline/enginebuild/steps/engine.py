"""The steps `convert`, `quantize` and `compile`: TensorRT-LLM's own commands make a model an engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from enginebuild.engines.tensorrt_llm import manifest as manifests
from enginebuild.engines.tensorrt_llm import outputs, programs
from enginebuild.engines.tensorrt_llm.compile import build_options, compile_command, workers
from enginebuild.engines.tensorrt_llm.convert import convert_command
from enginebuild.engines.tensorrt_llm.families import family_of
from enginebuild.engines.tensorrt_llm.quantize import quantize_command
from enginebuild.engines.tensorrt_llm.settings import Settings, dtype_of, settings_of
from enginebuild.execution import INPUT, OUTPUT, SCRIPTS, Folders, Runner
from enginebuild.lock import BuilderLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.model import Quantization
from enginebuild.resolve import Resolution, Unresolved
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.commands import Ran, RunCommands
from enginebuild.steps.environment import any_gpus, environment_of, execution_of, gpu_count, target_gpus
from enginebuild_cache import Digest, Json

#: Raised when the same fields would give another result.
CONVERT_VERSION = 1
COMPILE_VERSION = 1

#: Of the step `compile`: what is left beside the engine, and where the timing cache that is read lies.
TIMING_CACHE = "timing_cache"
_TIMING_FILE = "model.cache"
_DESCRIPTION = "described.json"
#: What a record promises of another run (NVIDIA/TensorRT#4798, #3316: not even with one timing cache).
SAME_BYTES = "never: TensorRT measures while it builds"


@dataclass(frozen=True)
class _Known:
    """All that the commands of an engine depend on."""

    recipe: Recipe
    settings: Settings
    model: ModelLock
    config: Mapping[str, Json]
    builder: BuilderLock
    calibrated: bool
    timed: ModelLock | None
    runner: Runner | None


def engine_steps(recipe: Recipe, resolution: Resolution, runner: Runner | None) -> tuple[Step, ...]:
    """convert → compile, or quantize → compile where the weights are calibrated.

    Raises RefusedError for an architecture that this version of TensorRT-LLM has no script for.
    """
    settings = settings_of(recipe)
    first = settings.route
    parts = (resolution.model, resolution.config, resolution.builder, resolution.calibration)
    for part in (*parts, resolution.timing_cache):
        if isinstance(part, Unresolved):
            return (
                unresolved_step(first, CONVERT_VERSION, part.reason, ("fetch",)),
                unresolved_step("compile", COMPILE_VERSION, part.reason, (first,)),
            )
    assert isinstance(resolution.model, ModelLock)
    assert isinstance(resolution.builder, BuilderLock)
    assert isinstance(resolution.config, Mapping)
    assert not isinstance(resolution.timing_cache, Unresolved)
    known = _Known(
        recipe,
        settings,
        resolution.model,
        resolution.config,
        resolution.builder,
        resolution.calibration is not None,
        resolution.timing_cache,
        runner,
    )
    return (_checkpoint(known), _compile(known))


def checkpoint_command(
    settings: Settings, config: Mapping[str, Json], *, calibrated: bool
) -> tuple[str, ...]:
    """The words that make TensorRT-LLM's own kind of checkpoint of a model with this config.json.

    Raises RefusedError for a model that no script of that version makes one of.
    """
    family = family_of(config, settings)
    if settings.route == "convert":
        return convert_command(settings, family, INPUT / "fetch", OUTPUT)
    data = INPUT / "calibration" if calibrated else None
    return quantize_command(settings, INPUT / "fetch", data, OUTPUT, dtype=dtype_of(settings, config))


def _checkpoint(known: _Known) -> Step:
    """Keyed by the whole command: it has nothing in it that does not decide the checkpoint."""
    name: str = known.settings.route
    command = checkpoint_command(known.settings, known.config, calibrated=known.calibrated)
    inputs = ("fetch", "calibration") if known.calibrated else ("fetch",)
    execution = execution_of(known.recipe, known.builder, name, (command,), any_gpus(known.recipe))
    return Step(
        name,
        CONVERT_VERSION,
        {"command": list(command)},
        RunCommands(
            execution,
            runner=known.runner,
            check=lambda folders: outputs.check_checkpoint(folders.output, known.settings),
        ),
        inputs,
        str(environment_of(known.builder)),
        (command,),
    )


def _compile(known: _Known) -> Step:
    settings, recipe = known.settings, known.recipe
    before = None
    if known.timed is not None:
        before = INPUT / TIMING_CACHE / known.timed.tree.files[0].path
    compiled = compile_command(
        settings,
        INPUT / settings.route,
        OUTPUT,
        before,
        OUTPUT / _TIMING_FILE,
        workers(settings, gpu_count(recipe)),
    )

    def check(folders: Folders) -> Mapping[str, Json]:
        outputs.check_engine(folders.output, settings)
        return {"same_bytes": SAME_BYTES}

    def finish(folder: Path, ran: Ran) -> None:
        _write_manifest(folder, known, ran, step.key(ran.inputs))

    commands = (compiled, ("python3", str(SCRIPTS / "describe.py"), str(OUTPUT / _DESCRIPTION)))
    assert settings.gpu is not None
    fields: dict[str, Json] = {
        "tensorrt_llm": settings.version,
        "options": build_options(settings),
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "gpu": {"name": settings.gpu.name, "compute_capability": settings.gpu.compute_capability},
    }
    step = Step(
        "compile",
        COMPILE_VERSION,
        fields,
        RunCommands(
            execution_of(recipe, known.builder, "compile", commands, target_gpus(recipe)),
            scripts=programs.describing(),
            runner=known.runner,
            check=check,
            side={TIMING_CACHE: _TIMING_FILE},
            finish=finish,
        ),
        (settings.route, *((TIMING_CACHE,) if known.timed is not None else ())),
        str(environment_of(known.builder)),
        commands,
    )
    return step


def _write_manifest(folder: Path, known: _Known, ran: Ran, key: Digest) -> None:
    """Put beside config.json what it does not say: what built this engine, from what, for which GPU."""
    described = folder / _DESCRIPTION
    description = json.loads(described.read_bytes())
    described.unlink()
    seconds = ran.facts.get("seconds")
    manifest = manifests.manifest_of(
        _origin(known, ran, key),
        known.settings,
        (folder / "config.json").read_bytes(),
        description,
        image=None if known.builder.digest is None else str(known.builder.digest),
        seconds=seconds if isinstance(seconds, float) else None,
        log=ran.log.read_text("utf-8", "replace").splitlines(),
    )
    (folder / manifests.NAME).write_bytes(manifest.to_bytes())


def _origin(known: _Known, ran: Ran, key: Digest) -> manifests.Origin:
    recipe, quantization = known.recipe, known.recipe.quantization
    return manifests.Origin(
        model=recipe.model.source if known.model.commit is not None else "local folder",
        commit=known.model.commit,
        quantization=None if quantization is None else _as_json(quantization),
        checkpoint=str(ran.inputs[known.settings.route].digest),
        key=str(key),
    )


def _as_json(quantization: Quantization) -> dict[str, Json]:
    """As in the recipe, without where calibration data come from: their digest decides the key."""
    return {
        "method": quantization.method,
        "kv_cache_dtype": quantization.kv_cache_dtype,
        "group_size": quantization.group_size,
    }
