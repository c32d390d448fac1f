"""The runner of a recipe's commands, with what it asks of registries."""

from __future__ import annotations

from enginebuild.cli.tools import Tools
from enginebuild.execution import ContainerEnvironment, Runner
from enginebuild.recipe import Recipe


def made_runner(recipe: Recipe, tools: Tools) -> Runner:
    """By the recipe's builder.runner. Of an image that is not here its registry is asked, not the engine."""
    from enginebuild.runners import make

    def pullable(environment: ContainerEnvironment) -> int:
        base = tools.bases.open(environment.reference, environment.platform, environment.digest)
        return sum(layer.descriptor.size for layer in base.layers)

    return make(recipe.builder.runner, tools.output, pullable)
