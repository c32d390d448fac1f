"""Engines named on the command line: a folder, or `cache:KEY`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild.cli.options import default_cache_dir
from enginebuild.cli.output import size
from enginebuild.errors import SourceError

if TYPE_CHECKING:
    from enginebuild.engines.tensorrt_llm.built import BuiltEngine
    from enginebuild.engines.tensorrt_llm.manifest import Manifest
    from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
    from enginebuild_cache import Json, Record, Store

CACHE = "cache:"


def engine_named(name: str, cache_dir: Path | None) -> BuiltEngine | None:
    """None for the name of an image: what is neither `cache:KEY`, a folder with an engine, nor a path.

    Raises SourceError.
    """
    from enginebuild.engines.tensorrt_llm.built import engine_in_cache, engine_in_folder, is_engine_folder

    if name.startswith(CACHE):
        from enginebuild_cache import Store

        store = Store.open(cache_dir or default_cache_dir())
        return engine_in_cache(store, _record(store, name.removeprefix(CACHE)), name)
    folder = Path(name)
    if is_engine_folder(folder):
        return engine_in_folder(folder, name)
    if folder.is_dir() and (folder / "oci-layout").is_file():
        raise SourceError(f"{name} is an OCI layout", f"write oci:{name}")
    if name.startswith((".", "/")):
        what = "holds no engine" if folder.is_dir() else "is no folder"
        raise SourceError(f"{name} {what}", "an engine's folder has config.json and rank0.engine")
    return None


def _record(store: Store, key: str) -> Record:
    digits = key.removeprefix("sha256:")
    found = [record for record in store.records() if record.key.hex.startswith(digits)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError(
            f"the cache has no record whose key begins with {key!r}", "`enginebuild cache list` shows all"
        )
    keys = ", ".join(record.key.short for record in found)
    raise SourceError(f"{key!r} could be any of {keys}", "give more digits")


def needed(needs: Needs) -> str:
    """`2 × NVIDIA L4 (compute capability 8.9), CUDA 13.1.0, TensorRT-LLM 1.2.1`, as far as it is known."""
    from enginebuild.engines.tensorrt_llm.scripts.fitness import TITLES, wanted_gpus

    libraries = [f"{TITLES.get(name, name)} {version}" for name, version in needs.libraries]
    return ", ".join([wanted_gpus(needs), *([f"CUDA {needs.cuda}"] if needs.cuda else []), *libraries])


def engine_lines(engine: BuiltEngine) -> list[str]:
    """What people read of an engine."""
    model, ranks = engine.pretrained, len(engine.ranks)
    architecture = model.get("architecture", "of an unknown model")
    lines = [
        engine.name,
        f"  engine      TensorRT-LLM {engine.config['version']}, {architecture}",
        f"  ranks       {ranks} of {engine.needs.world_size}, {size(engine.size)}",
        f"  dtype       {model.get('dtype', 'unknown')}",
        f"  quantized   {_quantized(model)}",
        f"  needs       {needed(engine.needs)}",
    ]
    if engine.manifest is None:
        lines.append("  manifest    none: its GPU, TensorRT, CUDA and model are not known")
    else:
        lines += _manifest_lines(engine.manifest)
    lines.append("  build")
    return [*lines, *(f"    {name} = {_shown(value)}" for name, value in sorted(engine.build.items()))]


def _manifest_lines(manifest: Manifest) -> list[str]:
    origin, builder = manifest.origin, manifest.builder
    libraries = [f"{name} {version}" for name, version in sorted(builder.libraries.items())]
    made_with = [builder.image, f"driver {builder.driver}" if builder.driver else None, *libraries]
    lines = [
        f"  model       {origin.model}{f'@{origin.commit}' if origin.commit else ''}",
        f"  checkpoint  {origin.checkpoint}",
        f"  key         {origin.key}",
        f"  built with  {', '.join(each for each in made_with if each) or 'unknown'}",
    ]
    if manifest.seconds is not None:
        alone = f", the engine alone {manifest.engine_seconds:.0f} s" if manifest.engine_seconds else ""
        lines.append(f"  built in    {manifest.seconds:.0f} s{alone}")
    if manifest.rewritten:
        lines += ["  changed by the library", *(f"    {each}" for each in manifest.rewritten)]
    return lines


def _quantized(pretrained: Mapping[str, Json]) -> str:
    block = pretrained.get("quantization")
    said = block if isinstance(block, dict) else {}
    weights, cache = said.get("quant_algo"), said.get("kv_cache_quant_algo")
    return f"{weights or 'no'}{f', KV cache {cache}' if cache else ''}"


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
