"""TensorRT-LLM's part of an image: an engine or a checkpoint, served by trtllm-serve or by Triton."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from enginebuild.drivers import driver_floor
from enginebuild.engines.health import healthcheck
from enginebuild.engines.tensorrt_llm import compile as compiling
from enginebuild.engines.tensorrt_llm import manifest, programs, serve, triton
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from enginebuild.engines.tensorrt_llm.settings import Settings, settings_of
from enginebuild.engines.tensorrt_llm.versions import releases
from enginebuild.execution import Runner
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, model_request
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.fetch import FETCH_VERSION, part_step
from enginebuild.steps.made import Made
from enginebuild.steps.server import Server, Serving, Tell, Told, nothing
from enginebuild.steps.triton import repository_step
from enginebuild_cache import Digest, Json, Store, Tree

FOLDER = "/etc/enginebuild"
_CONFIG = PurePosixPath(serve.CONFIG_PATH).name
_NEEDS = "engine.json"
_TOKENIZER = "tokenizer"
_TRITON = "triton"


@dataclass(frozen=True)
class _Words:
    """The server's words as they stand in the image: behind the program that looks at the machine."""

    settings: Settings

    def __call__(self, engine: Mapping[str, Json] | None = None) -> tuple[str, ...]:
        if self.settings.server == "triton":
            words = triton.triton_entrypoint(self.settings)
        else:
            words = serve.entrypoint(self.settings, engine)
        by_engine = self.settings.mode == "engine"
        needs = f"{serve.ENGINE_PATH}/{manifest.NAME}" if by_engine else f"{FOLDER}/{_NEEDS}"
        return ("python3", f"{FOLDER}/start.py", needs, *words)


def trtllm_serving(recipe: Recipe, resolution: Resolution, made: Made, runner: Runner | None) -> Serving:
    """Raises RefusedError for a version that cannot serve so."""
    settings = settings_of(recipe)
    words = _Words(settings)
    own = {**programs.starting(), **_own_files(settings)}
    steps = [*_tokenizer(recipe, resolution, settings), *_repository(recipe, resolution, settings, runner)]
    places = {made.checkpoint: serve.ENGINE_PATH if settings.mode == "engine" else serve.MODEL_PATH}
    places |= {step.name: _PLACES[step.name] for step in steps}
    return Serving(
        configuration=_configuration(settings, own),
        files=lambda _fingerprint: own,
        folder=FOLDER,
        paths=places,
        server=_server(settings, words),
        steps=tuple(steps),
        labels=_labels(settings),
        tell=_telling(words) if settings.mode == "engine" else nothing,
    )


_PLACES = {_TOKENIZER: serve.TOKENIZER_PATH, _TRITON: triton.REPOSITORY}


def _server(settings: Settings, words: _Words) -> Server:
    by_triton = settings.server == "triton"
    port, path = (triton.PORT, triton.HEALTH_PATH) if by_triton else (serve.PORT, "/health")
    planned = words()
    return Server(
        port=port,
        environment=serve.ENVIRONMENT,
        healthcheck=healthcheck(port, path),
        entrypoint=lambda _base: planned,
        fields={"entrypoint": list(planned)},
    )


def _own_files(settings: Settings) -> dict[str, bytes]:
    """What the server reads. What an engine needs of a machine is told by the engine itself."""
    if settings.mode == "engine":
        return {}
    files = {_NEEDS: _json(_needs(settings).to_json())}
    return files if settings.server == "triton" else {_CONFIG: serve.serve_yaml(settings), **files}


def _needs(settings: Settings) -> Needs:
    known, gpu = releases()[settings.version], settings.gpu
    floor = driver_floor(known.cuda) if known.cuda else None
    return Needs(
        tied=False,
        world_size=settings.world_size,
        compute_capability=gpu.compute_capability if gpu else None,
        gpu=gpu.product if gpu else None,
        cuda=known.cuda,
        lowest_driver=floor.lowest if floor else None,
        own_driver=floor.own if floor else None,
        versions={"tensorrt_llm": settings.version},
    )


def _configuration(settings: Settings, files: Mapping[str, bytes]) -> dict[str, Json]:
    """What decides the files, under the recipe's own names; our programs count by their digests."""
    return {
        "engine": "tensorrt_llm",
        "version": settings.version,
        "mode": settings.mode,
        "server": settings.server,
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "kv_cache_dtype": settings.kv_cache_dtype,
        "runtime": dict(settings.runtime),
        "programs": {name: str(Digest.of(files[name])) for name in sorted(files) if name.endswith(".py")},
    }


def _labels(settings: Settings) -> dict[str, str]:
    return {"enginebuild.mode": settings.mode, "enginebuild.server": settings.server}


def _tokenizer(recipe: Recipe, resolution: Resolution, settings: Settings) -> tuple[Step, ...]:
    """An engine has no tokenizer of its own: only these files of the model are in the image."""
    if settings.mode != "engine":
        return ()
    model = resolution.model
    if isinstance(model, Unresolved):
        return (unresolved_step(_TOKENIZER, FETCH_VERSION, model.reason),)
    paths = serve.tokenizer_files(model.tree)
    return (part_step(_TOKENIZER, model_request(recipe), model, paths),)


def _repository(
    recipe: Recipe, resolution: Resolution, settings: Settings, runner: Runner | None
) -> tuple[Step, ...]:
    if settings.server != "triton":
        return ()
    return (repository_step(_TRITON, recipe, resolution.base, settings, runner),)


def _telling(words: _Words) -> Tell:
    """Labels and sizes of the engine that was built: the library rewrites what it was asked for."""

    def tell(inputs: Mapping[str, Tree], store: Store) -> Told:
        engine = inputs["compile"]
        built = manifest.Manifest.from_bytes(store.read_bytes(engine.file(manifest.NAME)))
        resolved = compiling.resolved(store.read_bytes(engine.file("config.json")))
        return Told(manifest.labels(built), words(resolved))

    return tell


def _json(document: Json) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
