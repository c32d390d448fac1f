"""The step `quantize`: a Hugging Face checkpoint becomes a quantized one, which every engine can take.

TensorRT-LLM's engines have a step of this name, too, which makes another kind of checkpoint: steps/engine.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild.execution import Folders, Runner
from enginebuild.lock import BuilderLock
from enginebuild.quantizers import methods, took_effect
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.commands import RunCommands
from enginebuild.steps.environment import any_gpus, environment_of, execution_of
from enginebuild_cache import Json

_NAME = "quantize"
#: What a record promises of another run. Measured with llm-compressor 0.14.0.1 and ModelOpt 0.47.0: equal on
#: one host; GPTQ's sums differ with the number of threads, which is fixed, and may with the processor.
SAME_BYTES = "on this kind of processor, with these versions and threads"


def quantize_step(recipe: Recipe, resolution: Resolution, runner: Runner | None) -> Step:
    """Keyed by model, calibration data, tool and method; two recipes that agree in these share it."""
    quantization = recipe.quantization
    assert quantization is not None
    for part in (resolution.model, resolution.builder, resolution.calibration):
        if isinstance(part, Unresolved):
            return unresolved_step(_NAME, methods.QUANTIZE_VERSION, part.reason, (methods.MODEL,))
    builder = resolution.builder
    assert isinstance(builder, BuilderLock)
    calibrated = resolution.calibration is not None
    tool = methods.tool_of(quantization)
    command = methods.command(tool.name, calibrated=calibrated)
    asked = methods.request(quantization)

    def check(folders: Folders) -> Mapping[str, Json]:
        effect = took_effect.check(folders.inputs[methods.MODEL], folders.output, tool.name, asked)
        return {"effect": effect.to_json(), "same_bytes": SAME_BYTES}

    return Step(
        _NAME,
        methods.QUANTIZE_VERSION,
        methods.key_fields(quantization),
        RunCommands(
            execution_of(recipe, builder, _NAME, (command,), any_gpus(recipe)),
            scripts=methods.scripts(tool.name, asked),
            runner=runner,
            check=check,
        ),
        (methods.MODEL, *((methods.CALIBRATION,) if calibrated else ())),
        str(environment_of(builder)),
        (command,),
    )
