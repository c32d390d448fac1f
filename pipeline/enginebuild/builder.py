"""The builder of a recipe: in what its commands run, before that has a digest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from enginebuild.errors import Problem, RecipeError, SourceError
from enginebuild.recipe import Recipe

#: Packages whose versions decide what a local environment makes; those that are not there are left out.
PACKAGES = (
    "compressed-tensors",
    "llmcompressor",
    "nvidia-modelopt",
    "tensorrt",
    "tensorrt_llm",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)

_PROBE = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_PROBE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Place:
    """An image by its name, or a folder with a Python environment."""

    image: str = ""
    environment: Path | None = None

    def versions(self) -> Mapping[str, str]:
        """The versions of PACKAGES in the folder. Raises SourceError."""
        assert self.environment is not None
        return installed(self.environment, PACKAGES, "builder.environment")


def installed(environment: Path, packages: Sequence[str], key: str) -> Mapping[str, str]:
    """The versions of those that a Python environment has, and Python's. SourceError names the `key`."""
    python = environment / "bin/python3"
    command = [str(python), "-I", "-c", _PROBE, *packages]
    try:
        ended = subprocess.run(
            command, capture_output=True, check=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL
        )
        versions: Mapping[str, str] = json.loads(ended.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SourceError(
            f"{key} {environment} is no Python environment: {_reason(python, error)}",
            "name the folder of a virtual environment, the one that has bin/python3",
        ) from error
    return versions


def needs_builder(recipe: Recipe) -> bool:
    """Whether anything but files of ours is made: an engine, or a quantized checkpoint."""
    return recipe.engine.mode == "engine" or recipe.quantization is not None


def has_commands(recipe: Recipe) -> bool:
    """Whether a step of it runs commands: in the builder, or in the base image to fill Triton's templates or
    to validate vLLM's configuration.
    """
    return needs_builder(recipe) or recipe.engine.server == "triton" or recipe.engine.validate


def with_runner(recipe: Recipe, runner: Literal["docker", "local"] | None) -> Recipe:
    """The recipe with another runner. Raises RecipeError if it does not say what that one needs."""
    if runner is None or runner == recipe.builder.runner:
        return recipe
    if runner == "local" and recipe.builder.environment is None:
        problem = Problem(
            ("builder",),
            "--runner local needs builder.environment, which this recipe does not have",
            "add it, or give --set builder.environment=/path/to/environment",
            on_key=True,
        )
        raise recipe.located([problem])
    return replace(recipe, builder=replace(recipe.builder, runner=runner))


def place_of(recipe: Recipe) -> Place | None:
    """In what the recipe's commands run; None where it has none. Raises RecipeError."""
    builder = recipe.builder
    validated = recipe.engine.validate and builder.runner == "local"
    if not (needs_builder(recipe) or validated):
        return None
    if builder.runner == "local" and builder.environment is not None:
        return Place(environment=(recipe.folder / builder.environment).absolute())
    if builder.image is not None:
        return Place(builder.image)
    if recipe.engine.mode == "engine":
        from enginebuild.engines.tensorrt_llm.versions import release_image

        return Place(release_image(recipe.engine.version))
    raise _no_builder(recipe)


def _no_builder(recipe: Recipe) -> RecipeError:
    assert recipe.quantization is not None
    return recipe.located(
        [
            Problem(
                ("quantization",),
                f"quantization by {recipe.quantization.tool} needs a builder, and this recipe names none",
                "add builder: {image: …} with that tool, or builder: {runner: local, environment: …}; "
                "images/builders says how to make one",
                on_key=True,
            )
        ]
    )


def _reason(python: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no {python}"
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"its python3 exits with {error.returncode}"
    return str(error)
