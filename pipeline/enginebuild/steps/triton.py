"""The step that fills Triton's model repository: with the templates of the very image that will serve it."""

from __future__ import annotations

import json

from enginebuild.engines.tensorrt_llm import programs, triton
from enginebuild.engines.tensorrt_llm.settings import Settings
from enginebuild.errors import StepError
from enginebuild.execution import OUTPUT, SCRIPTS, ContainerEnvironment, Execution, Folders, Limits, Runner
from enginebuild.lock import BaseLock
from enginebuild.recipe import Recipe
from enginebuild.resolve import Unresolved
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.commands import RunCommands
from enginebuild_cache import Digest, Json

#: Raised when the same values would give another repository.
REPOSITORY_VERSION = 1
_VALUES = "values.json"
_SECONDS = 600.0


def repository_step(
    name: str, recipe: Recipe, base: BaseLock | Unresolved, settings: Settings, runner: Runner | None
) -> Step:
    """Needs no GPU, and no network once the base image is there."""
    if isinstance(base, Unresolved):
        return unresolved_step(name, REPOSITORY_VERSION, base.reason)
    if base.digest is None:
        return unresolved_step(
            name, REPOSITORY_VERSION, "Triton's templates are in its image, and scratch has none"
        )
    values = triton.repository_values(settings)
    scripts = {**programs.filling(), _VALUES: (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()}
    command = (
        *("python3", str(SCRIPTS / "fill_repository.py"), triton.TEMPLATES[settings.mode]),
        *(str(SCRIPTS / _VALUES), str(OUTPUT)),
    )
    environment = ContainerEnvironment(base.reference, base.digest, base.platform)
    fields: dict[str, Json] = {
        "values": values,
        "templates": triton.TEMPLATES[settings.mode],
        "programs": {each: str(Digest.of(content)) for each, content in sorted(programs.filling().items())},
    }
    return Step(
        name,
        REPOSITORY_VERSION,
        fields,
        RunCommands(
            Execution(name, environment, (command,), limits=Limits(timeout=_SECONDS)),
            scripts=scripts,
            runner=runner,
            check=_check,
        ),
        environment=str(environment),
        commands=(command,),
    )


def _check(folders: Folders) -> None:
    if not any(folders.output.rglob("config.pbtxt")):
        raise StepError("the model repository has no config.pbtxt", "see the step's log")
