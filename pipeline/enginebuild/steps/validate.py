"""The step `validate`: the vLLM that will serve is asked about its configuration, before anything large.

A gate: nothing is made of its output, and the build does not go on without it. It reads the configuration and
all of the model but its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enginebuild.engines import vllm
from enginebuild.engines.vllm import validation
from enginebuild.errors import Problem, RecipeError, StepError
from enginebuild.events import Note, Report
from enginebuild.execution import (
    ContainerEnvironment,
    Environment,
    Execution,
    Folders,
    Limits,
    Runner,
)
from enginebuild.lock import BaseLock, BuilderLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.step import Result, Step, unresolved_step
from enginebuild.steps.commands import RunCommands
from enginebuild.steps.environment import environment_of
from enginebuild.steps.fetch import FETCH_VERSION, part_step
from enginebuild.steps.made import Made
from enginebuild.steps.vllm_serving import vllm_settings
from enginebuild_cache import Json, Store, Tree

NAME = "validate"
METADATA_VERSION = 1
_SECONDS = 1800.0

#: vLLM's CPU platform needs no GPU, and answers the same on every machine.
_VARIABLES: Mapping[str, str] = {
    **vllm.ENVIRONMENT,
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class WithoutWeights:
    """All of a checkpoint that this build made but its weights."""

    checkpoint: str

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        return Tree.of(file for file in inputs[self.checkpoint] if validation.is_metadata(file.path))


@dataclass(frozen=True)
class Validate(RunCommands):
    """Run the program, and say what it found that is no mistake."""

    asked: Mapping[str, Json] = field(default_factory=dict)

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Result:
        result = super().__call__(inputs, store, report)
        for note in read_validation(result.tree, store, self.asked).notes:
            report(Note(note))
        return result


def read_validation(tree: Tree, store: Store, asked: Mapping[str, Json]) -> validation.Validation:
    """What the output of a finished step says."""
    return validation.validation(store.read_bytes(tree.file(validation.RESULT)), asked)


def validate_steps(
    recipe: Recipe, resolution: Resolution, made: Made, configure: Step, runner: Runner | None
) -> tuple[Step, Step]:
    """metadata → validate. Raises RecipeError where no vLLM of that version can be run."""
    metadata = _metadata(recipe, resolution, made)
    environment = _environment(recipe, resolution)
    unresolved = configure.unresolved or metadata.unresolved
    if isinstance(environment, str) or unresolved:
        reason = environment if isinstance(environment, str) else unresolved
        inputs = (configure.name, metadata.name)
        return metadata, unresolved_step(NAME, validation.VALIDATE_VERSION, reason, inputs)
    asked = validation.request(vllm_settings(recipe, ""))

    def check(folders: Folders) -> None:
        found = validation.validation((folders.output / validation.RESULT).read_bytes(), asked)
        if found.problems:
            raise refusal(recipe, found)

    command = validation.command()
    return metadata, Step(
        NAME,
        validation.VALIDATE_VERSION,
        validation.key_fields(asked),
        Validate(
            Execution(NAME, environment, (command,), limits=Limits(timeout=_SECONDS), variables=_VARIABLES),
            runner,
            check,
            scripts=validation.scripts(asked),
            asked=asked,
        ),
        (configure.name, metadata.name),
        str(environment),
        (command,),
        gate=True,
    )


def refusal(recipe: Recipe, found: validation.Validation) -> StepError:
    """The recipe's lines that vLLM does not take, or takes otherwise."""
    return StepError(
        recipe.located(found.problems).message, "a run asks vLLM only with engine.validate: true"
    )


def _metadata(recipe: Recipe, resolution: Resolution, made: Made) -> Step:
    model, name = resolution.model, validation.METADATA
    if made.checkpoint != "fetch":
        step = next(step for step in made.steps if step.name == made.checkpoint)
        if step.unresolved:
            return unresolved_step(name, METADATA_VERSION, step.unresolved, (made.checkpoint,))
        fields: dict[str, Json] = {"files": "all but weights"}
        return Step(name, METADATA_VERSION, fields, WithoutWeights(made.checkpoint), (made.checkpoint,))
    if isinstance(model, Unresolved):
        return unresolved_step(name, FETCH_VERSION, model.reason)
    assert isinstance(model, ModelLock)
    paths = [file.path for file in model.tree if validation.is_metadata(file.path)]
    return part_step(name, model_request(recipe), model, paths)


def _environment(recipe: Recipe, resolution: Resolution) -> Environment | str:
    """In what this recipe's vLLM runs; a text says why that is not known yet. Raises RecipeError."""
    if recipe.builder.runner == "local":
        builder = resolution.builder
        if isinstance(builder, Unresolved):
            return builder.reason
        assert isinstance(builder, BuilderLock)
        _require_version(recipe, builder)
        return environment_of(builder)
    base = resolution.base
    if isinstance(base, Unresolved):
        return base.reason
    if base.digest is None or base.reference.startswith("oci:"):
        raise _not_pullable(recipe, base)
    return ContainerEnvironment(base.reference, base.digest, base.platform)


def _require_version(recipe: Recipe, builder: BuilderLock) -> None:
    found = builder.versions.get("vllm", "").partition("+")[0]
    if found == recipe.engine.version:
        return
    has = f"has vLLM {found}" if found else "has none"
    message = f"validation runs vLLM {recipe.engine.version}, and builder.environment {has}"
    hint = "name an environment with that version, or write runner: docker, which runs image.base"
    raise recipe.located([Problem(("builder", "environment"), message, hint)])


def _not_pullable(recipe: Recipe, base: BaseLock) -> RecipeError:
    message = f"validation runs image.base in a Docker Engine, and {base.reference} is in no registry"
    hint = "push it to one, or name an environment with vLLM: builder: {runner: local, environment: …}"
    return recipe.located([Problem(("image", "base"), message, hint)])
