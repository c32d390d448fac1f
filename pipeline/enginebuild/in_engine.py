"""A configuration asked of the vLLM that will serve it, without building anything of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from enginebuild.bases import Bases
from enginebuild.build import build
from enginebuild.engines.vllm.validation import METADATA, Validation
from enginebuild.errors import Problem
from enginebuild.events import Note, Report
from enginebuild.execution import Runner
from enginebuild.locking import previous_lock
from enginebuild.recipe import Recipe
from enginebuild.require import require_runner
from enginebuild.resolve import resolve
from enginebuild.steps import steps_of
from enginebuild.steps.validate import NAME, Validate, read_validation
from enginebuild_cache import Store


def validate_now(
    recipe: Recipe, store: Store, bases: Bases, report: Report, runner: Callable[[], Runner]
) -> Validation:
    """Run the step `validate`, and what it reads, whether the recipe asks for it or not.

    Of a model that will be quantized the configuration is that of the model as it is: nothing is quantized.
    Raises StepError with the recipe's lines that vLLM does not take, RefusedError, RecipeError.
    """
    asked = _asking(recipe)
    with store.lease():
        resolution = resolve(asked, previous_lock(asked.path), store, bases, report)
        resolution.lock()  # raises what is not known
        steps = {step.name: step for step in steps_of(asked, resolution, bases, 1, None, runner()).steps}
        wanted = [steps[name] for name in (METADATA, "configure", NAME)]
        require_runner(wanted, store, report)
        outcomes = build(wanted, asked.name, store, report)
        action = steps[NAME].action
        assert isinstance(action, Validate)
        found = read_validation(outcomes[NAME].tree, store, action.asked)
        if outcomes[NAME].status == "hit":  # the step says it only when it runs
            for note in found.notes:
                report(Note(note))
        return found


def _asking(recipe: Recipe) -> Recipe:
    """The recipe with the step, and without what makes another model of the one that it names."""
    if recipe.engine.type != "vllm":
        message = "--in-engine asks vLLM, and this recipe's engine is another one"
        raise recipe.located([Problem(("engine", "type"), message, "check it without --in-engine")])
    if recipe.image.layout != "server":
        layout = recipe.image.layout
        message = f"--in-engine asks about a server's configuration, and layout {layout} has none"
        raise recipe.located([Problem(("image", "layout"), message, "check it without --in-engine")])
    return replace(recipe, quantization=None, engine=replace(recipe.engine, validate=True))
