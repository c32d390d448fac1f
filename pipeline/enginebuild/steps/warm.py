"""The step `warm`: the finished image is started for its compile cache, and a second start must use it.

The cache becomes the image's last layer, as a seed that is only read; the entry point makes a copy of it. A
cache that a second start from that seed does not use is not shipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from enginebuild.bases import Bases
from enginebuild.build import build
from enginebuild.engines import vllm
from enginebuild.engines.vllm import warm
from enginebuild.events import Event, Report, StepFinished, StepStarted
from enginebuild.lock import ModelLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.warming import Warming
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.step import Result, Step, unresolved_step
from enginebuild.steps.fetch import FETCH_VERSION, part_step
from enginebuild.steps.image import Packing, image_of, image_step
from enginebuild.steps.made import Made
from enginebuild.steps.server import Serving, Told, nothing
from enginebuild.steps.warm_start import NAME
from enginebuild.steps.warm_work import WarmWork
from enginebuild.steps.warmth import Warmth
from enginebuild.terminable import terminable
from enginebuild_cache import Digest, Json, Store, Tree
from enginebuild_cache.errors import failing_as

CONFIG = "model_config"
CONFIG_VERSION = 1


@dataclass(frozen=True)
class Configuration:
    """Of a checkpoint that this build made, what decides the code that is compiled for it."""

    checkpoint: str

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        return Tree.of(file for file in inputs[self.checkpoint] if warm.decides_code(file.path))


def with_seed(serving: Serving) -> Serving:
    """The engine's part of an image with a seed: the program of its entry point, and what labels say."""
    server = serving.server
    program: dict[str, Json] = {"program": str(Digest.of(warm.program()))}
    return replace(
        serving,
        configuration={**serving.configuration, "warm": program},
        files=lambda fingerprint: {**serving.files(fingerprint), warm.PROGRAM: warm.program()},
        server=replace(
            server,
            environment=warm.WARM_ENVIRONMENT,
            entrypoint=lambda base: warm.warm_entrypoint(server.entrypoint(base)),
            fields={**server.fields, "seed": warm.SEED},
        ),
        tell=_told,
    )


def _told(inputs: Mapping[str, Tree], store: Store) -> Told:
    about = about_cache(inputs[NAME], store)
    return Told(
        {
            "enginebuild.warm": str(about["proven"]),
            "enginebuild.warm.entries": str(about["entries"]),
            "enginebuild.warm.bytes": str(about["bytes"]),
        }
    )


def about_cache(tree: Tree, store: Store) -> Mapping[str, Json]:
    """What a finished step says of its cache."""
    about: Mapping[str, Json] = json.loads(store.read_bytes(tree.file(warm.ABOUT)))
    return about


def config_step(recipe: Recipe, resolution: Resolution, made: Made) -> Step:
    """The part of the checkpoint that decides what is compiled."""
    model = resolution.model
    if made.checkpoint != "fetch":
        action = Configuration(made.checkpoint)
        return Step(CONFIG, CONFIG_VERSION, {"files": "what decides code"}, action, (made.checkpoint,))
    if isinstance(model, Unresolved):
        return unresolved_step(CONFIG, FETCH_VERSION, model.reason)
    assert isinstance(model, ModelLock)
    paths = [file.path for file in model.tree if warm.decides_code(file.path)]
    return part_step(CONFIG, model_request(recipe), model, paths)


def warm_step(
    recipe: Recipe, warmth: Warmth, packing: Packing, before: Sequence[Step], bases: Bases, jobs: int
) -> Step:
    """`packing` is the finished image's, `before` the steps of which it is made without this one."""
    assert recipe.warm is not None
    assert warmth.hardware is not None
    paths = {name: path for name, path in packing.paths.items() if name != NAME}
    server = replace(packing.server, entrypoint=vllm.entrypoint, fields={})
    cold = replace(packing, paths=paths, server=server, tell=nothing)
    fields = warmth.key_fields(recipe, packing.base)
    action = Warm(
        recipe.name,
        (*before, image_step(cold, "none", bases, jobs, None)),
        cold,
        bases,
        recipe.warm,
        warmth,
        fields,
    )
    command = (*vllm.entrypoint(None),)
    return Step(NAME, warm.WARM_VERSION, fields, action, (CONFIG,), str(packing.base.digest), (command,))


@dataclass(frozen=True)
class Warm:
    """Start the image without a cache, keep what it compiled, and start it again from that.

    `steps` make that image, which is no input: a served name changes its bytes and nothing that is compiled.
    """

    name: str
    steps: tuple[Step, ...]
    packing: Packing
    bases: Bases
    warming: Warming
    warmth: Warmth
    fields: Mapping[str, Json]

    def lacking(self) -> tuple[str, ...]:
        """What this machine lacks to run it, each as one sentence."""
        from enginebuild.runners.served import lacking  # imports Docker's SDK: slow

        return lacking(self.warmth.need)

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Result:
        key = Digest.of_json({"fields": dict(self.fields), "inputs": _digests(inputs)})
        made = build(self.steps, f"{self.name} (not warmed)", store, _without_steps(report))
        image = image_of(made["image"].tree, store, self.packing.base, self.bases)
        with store.workspace() as folder, failing_as("write to", folder), terminable(), ExitStack() as stack:
            work = WarmWork(self.name, self.warming, self.warmth, image, folder, store, report, stack)
            return work.result(key)


def _digests(inputs: Mapping[str, Tree]) -> dict[str, Json]:
    return {name: str(tree.digest) for name, tree in sorted(inputs.items())}


def _without_steps(report: Report) -> Report:
    """The steps of the image without a cache are no steps of this build."""

    def heard(event: Event) -> None:
        if not isinstance(event, StepStarted | StepFinished):
            report(event)

    return heard
