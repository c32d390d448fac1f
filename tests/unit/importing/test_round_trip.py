"""The server of an imported recipe is told what the command told it: 42 commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.check import read_checked
from enginebuild.engines.vllm import VERSIONS, VllmSettings, render
from enginebuild.importing.sources import Request, imported
from enginebuild.recipe import Recipe, read_foreign
from enginebuild_cache import Json
from parts.import_commands import COMMANDS

_OURS: dict[str, Json] = {
    "model": "/model",
    "served-model-name": "org/m",
    "dtype": "auto",
    "tensor-parallel-size": 1,
    "pipeline-parallel-size": 1,
    "host": "0.0.0.0",
    "port": 8000,
    "generation-config": "auto",
    "fingerprint-mode": "custom",
    "fingerprint-value": "sha256:ab",
}


def recipe_of(command: str, folder: Path, version: str | None = None) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(imported(Request([command], version)).text, encoding="utf-8")
    return read_checked(path)


def settings_of(recipe: Recipe) -> VllmSettings:
    return VllmSettings(
        recipe.engine.version,
        "org/m",
        "sha256:ab",
        recipe.dtype,
        recipe.tensor_parallel_size,
        recipe.pipeline_parallel_size,
        recipe.engine.args,
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_server_is_told_the_same(name: str, version: str, tmp_path: Path) -> None:
    sample = COMMANDS[name]
    recipe = recipe_of(sample.command, tmp_path, version)
    assert recipe.engine.version == version
    rendered = tmp_path / "vllm.yaml"
    rendered.write_bytes(render(settings_of(recipe)))
    assert read_foreign(rendered) == {**_OURS, **sample.says}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_text_each_time(name: str) -> None:
    texts = {imported(Request([COMMANDS[name].command])).text for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_lost_is_said(name: str) -> None:
    found = imported(Request([COMMANDS[name].command]))
    said = {line.partition(":")[0] for line in found.lost}
    assert {f"--{argument.replace('_', '-')}" for argument in COMMANDS[name].lost} <= said
    assert all(f"# - {line[:20]}" in found.text for line in found.lost)
