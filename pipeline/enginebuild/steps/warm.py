"""The step `warm`: the finished image is started for its compile cache, and a second start must use it.

The cache becomes the image's last layer, as a seed that is only read; the entry point makes a copy of it. A
cache that a second start from that seed does not use is not shipped.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.bases import Bases
from enginebuild.build import build
from enginebuild.engines import vllm
from enginebuild.engines.vllm import warm
from enginebuild.engines.vllm.scripts import start_warm
from enginebuild.errors import StepError
from enginebuild.events import Event, Note, Report, StepFinished, StepStarted
from enginebuild.execution import GpuNeed
from enginebuild.lock import BaseLock, ModelLock
from enginebuild.recipe import Recipe
from enginebuild.recipe.gpu import catalogue
from enginebuild.recipe.warming import Warming
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.runners.machine import choose, this_machine
from enginebuild.step import Result, Step, unresolved_step
from enginebuild.steps.commands import LOG, LOG_FILE
from enginebuild.steps.fetch import FETCH_VERSION, part_step
from enginebuild.steps.image import Packing, image_of, image_step
from enginebuild.steps.made import Made
from enginebuild.steps.server import Serving, Told, nothing
from enginebuild.steps.vllm_serving import vllm_settings
from enginebuild.steps.warm_start import NAME, FailedStartError, Started, Starter
from enginebuild.terminable import terminable
from enginebuild.verify.server import Subject
from enginebuild_cache import Digest, File, Json, Store, Tree, canonical_json
from enginebuild_cache.errors import failing_as
from enginebuild_images.image import Image
from enginebuild_images.index import Variant

if TYPE_CHECKING:  # imports Docker's SDK: slow
    from enginebuild.runners.served import Start

CONFIG = "model_config"
CONFIG_VERSION = 1
_REFUSED = "an unproven cache is not shipped; warm: false builds without one"


@dataclass(frozen=True)
class Configuration:
    """Of a checkpoint that this build made, what decides the code that is compiled for it."""

    checkpoint: str

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        return Tree.of(file for file in inputs[self.checkpoint] if warm.decides_code(file.path))


@dataclass(frozen=True)
class Warmth:
    """What is known beforehand of a recipe's warm image. `trouble` says why `hardware` is not known.

    `paths`: where the step's output stands in the image.
    """

    need: GpuNeed
    hardware: warm.Hardware | None
    trouble: str = ""
    version: int = warm.WARM_VERSION
    paths: Mapping[str, str] = field(default_factory=lambda: {NAME: warm.SEED})

    def key_fields(self, recipe: Recipe, base: BaseLock) -> dict[str, Json]:
        """What decides the cache beside the model's configuration; part of the build's key."""
        assert self.hardware is not None
        settings = vllm_settings(recipe, "")
        name = str(base.digest) if base.digest else base.reference
        return warm.key_fields(settings, name, base.platform, self.hardware)


def warmth_of(recipe: Recipe) -> Warmth:
    """Look at this machine, whose hardware is in the key."""
    need = _need(recipe)
    if not _engine_is_here():
        where = "the Docker Engine that DOCKER_HOST names is on another machine"
        return Warmth(need, None, f"{where}, and a cache is made for one machine's hardware")
    if not need.wanted:
        return Warmth(need, warm.Hardware("cpu", start_warm.this_cpu()))
    choice = choose(need, NAME, this_machine())
    if choice.lacking:
        return Warmth(need, None, "; ".join(choice.lacking))
    first = choice.gpus[0]
    name = start_warm.gpu(first.name, first.compute_capability)
    return Warmth(need, warm.Hardware("gpu", name, first.driver.partition(".")[0]))


def _engine_is_here() -> bool:
    """By DOCKER_HOST alone: a plan does not need the SDK."""
    return (os.environ.get("DOCKER_HOST") or "unix://").startswith("unix://")


def _need(recipe: Recipe) -> GpuNeed:
    """The GPUs of the recipe, one for each rank; none where it names no GPU."""
    if recipe.gpu is None:
        return GpuNeed()
    gpu, ids = catalogue()[recipe.gpu], recipe.builder.gpus
    need = GpuNeed(compute_capability=gpu.compute_capability, product=gpu.product)
    if isinstance(ids, tuple):
        return replace(need, ids=ids)
    return replace(need, count=recipe.tensor_parallel_size * recipe.pipeline_parallel_size)


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
            work = _Work(self, folder, image, store, report, stack)
            return work.result(key)


@dataclass(frozen=True)
class _Work:
    """One run of the step, in a workspace."""

    step: Warm
    folder: Path
    image: Image
    store: Store
    report: Report
    stack: ExitStack

    def result(self, key: Digest) -> Result:
        from enginebuild.runners.served import Start

        hardware = self.step.warmth.hardware
        assert hardware is not None
        starter = self._starter()
        seed = self.folder / "seed"
        cache = seed / warm.FILES
        cache.mkdir(parents=True)
        self._say("starting the image for its compile cache")
        cold = self._started(starter, Start(NAME), cache, "it did not come up without its cache")
        count, size = len(warm.entries(cold.files)), sum(path.stat().st_size for path in _files(cache))
        if not count:
            raise self._refusal("the server left no compile cache", cold.log)
        about: dict[str, Json] = {"key": str(key), "hardware": hardware.to_json()}
        self._write(seed, about)
        self._say(f"compiled in {cold.seconds:.0f} s to the first completion; starting it from that cache")
        words = warm.warm_entrypoint(_entrypoint(starter.subject))
        variables = warm.FORCED if hardware.kind == "gpu" else {}
        how = Start(NAME, variables, words, self._archive(seed))
        warmed = self._started(starter, how, None, "it did not come up from its cache")
        found = warm.proof(hardware.kind, warmed.log.decode("utf-8", "replace"), cold.files, warmed.files)
        if found not in ("aot", "inductor"):
            raise self._refusal(f"the compile cache does not hit: {found}", warmed.log)
        about |= {"proven": found, "entries": count, "bytes": size}
        self._write(seed, about)
        self._say(f"{warmed.seconds:.0f} s with the cache, proven: {found}")
        return self._kept(seed, about, cold, warmed)

    def _starter(self) -> Starter:
        from enginebuild.runners.served import gpus_for, loaded, reserved_gpus

        config = Variant(self.image, {}).config.get("config")
        subject = Subject(self.step.name, str(self.image.digest), config if isinstance(config, dict) else {})
        need = self.step.warmth.need
        if subject.is_for_gpus and not need.wanted:
            raise StepError(
                "warm starts the image on its GPU, and the recipe names none",
                "add gpu, such as gpu: H100-SXM-80GB, or take a base for CPUs",
            )
        gpus, missing = gpus_for(need)
        if missing:
            raise StepError(f"the step warm cannot start: {'; '.join(missing)}")
        try:
            name = self.stack.enter_context(loaded(self.image, self.report, NAME))
        except StepError as error:
            raise StepError(error.message.replace("verified", "warmed"), error.hint) from error
        gpus = self.stack.enter_context(reserved_gpus(gpus, name, NAME, self.report))
        return Starter(name, subject, self.step.warming, gpus, self.report)

    def _started(self, starter: Starter, how: Start, cache: Path | None, trouble: str) -> Started:
        try:
            return starter.start(how, cache)
        except FailedStartError as error:
            lines = [f"{trouble}: {error}"]
            if last := error.lines():
                lines += ["the last lines of its log:", *(f"  {line}" for line in last)]
            raise self._refusal("\n".join(lines), error.log) from error

    def _refusal(self, why: str, log: bytes) -> StepError:
        when = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        kept = self.store.logs / f"{NAME}-{when}"
        kept.mkdir(parents=True)
        (kept / LOG_FILE).write_bytes(log)
        return StepError(
            f"the step warm failed: {why}", f"{_REFUSED}\nthe server's whole log is {kept / LOG_FILE}"
        )

    def _write(self, seed: Path, about: Mapping[str, Json]) -> None:
        (seed / warm.ABOUT).write_bytes(canonical_json(dict(about)))

    def _archive(self, seed: Path) -> Path:
        """The seed as the image will have it: owned by root, and read by everybody."""

        def entry(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.isdir() else 0o644
            return info

        path = self.folder / "seed.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(seed, warm.SEED.lstrip("/"), filter=entry)
        return path

    def _kept(self, seed: Path, about: Mapping[str, Json], cold: Started, warmed: Started) -> Result:
        log = b"".join((b"--- without a cache\n", cold.log, b"--- from the cache\n", warmed.log))
        tree = self.store.collect(seed)
        provenance: dict[str, Json] = {
            **about,
            "seconds": {"cold": round(cold.seconds, 1), "warm": round(warmed.seconds, 1)},
        }
        kept = Tree.of([File(LOG_FILE, self.store.put_bytes(log), len(log))])
        return Result(tree, {NAME: provenance}, {LOG: kept})

    def _say(self, text: str) -> None:
        self.report(Note(f"{NAME}: {text}"))


def _entrypoint(subject: Subject) -> tuple[str, ...]:
    words = subject.config.get("Entrypoint")
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _digests(inputs: Mapping[str, Tree]) -> dict[str, Json]:
    return {name: str(tree.digest) for name, tree in sorted(inputs.items())}


def _without_steps(report: Report) -> Report:
    """The steps of the image without a cache are no steps of this build."""

    def heard(event: Event) -> None:
        if not isinstance(event, StepStarted | StepFinished):
            report(event)

    return heard
