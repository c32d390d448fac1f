"""A planted token and a planted password: used where they must be, and found nowhere else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from parts import cli, recipes
from parts.checkpoints import write_checkpoint
from parts.hub_server import Fault, HubServer
from parts.registry_login import htpasswd
from parts.registry_quirks import PASSWORD, USER
from parts.registry_real import docker_registry

TOKEN = "hf_plantedPlantedPlantedPlantedPlanted"
WRONG = "planted-password-4711"
AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
WRONG_AUTH = base64.b64encode(f"{USER}:{WRONG}".encode()).decode()
SECRETS = (TOKEN, PASSWORD, AUTH, WRONG, WRONG_AUTH)


def assert_nowhere(*texts: str, below: Path) -> None:
    """No secret in a text, nor in a file below a folder."""
    for secret in SECRETS:
        for text in texts:
            assert secret not in text
        for path in below.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path


@pytest.fixture
def docker_config(home: Path) -> Path:
    folder = home / "docker"
    folder.mkdir()
    return folder / "config.json"


def test_they_reach_neither_image_nor_cache_nor_log(tmp_path: Path, docker_config: Path) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=100_000)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "login").mkdir()
    users = htpasswd(tmp_path / "login")
    with (
        HubServer(tmp_path / "hub") as hub,
        docker_registry(tmp_path / "registry", htpasswd=users) as registry,
    ):
        hub.private.add("org/tiny")
        hub.tokens[TOKEN] = frozenset({"org/tiny"})
        docker_config.write_text(json.dumps({"auths": {registry: {"auth": AUTH}}}))
        recipe = recipes.write(work, "hf://org/tiny@main", extra=f"  repository: {registry}/llm/tiny\n")
        env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        words = ("run", recipe, "--push", "--output", work / "out", "--cache-dir", work / "cache")
        done = cli.enginebuild(*words, "--json", env=env).ok()
        shown = cli.enginebuild("inspect", done.result["image"]["names"][-1]).ok()
        assert any(
            "Authorization" in request.headers or "authorization" in request.headers
            for request in hub.requests
        )
    assert_nowhere(done.stdout, done.stderr, shown.stdout, below=work)
    assert_nowhere(below=tmp_path / "registry")


def test_they_are_not_in_errors(tmp_path: Path, docker_config: Path) -> None:
    write_checkpoint(tmp_path / "hub" / "org" / "tiny", shards=1, shard_size=100_000)
    (tmp_path / "login").mkdir()
    users = htpasswd(tmp_path / "login")
    with (
        HubServer(tmp_path / "hub") as hub,
        docker_registry(tmp_path / "registry", htpasswd=users) as registry,
    ):
        docker_config.write_text(json.dumps({"auths": {registry: {"auth": WRONG_AUTH}}}))
        recipe = recipes.write(tmp_path, "hf://org/tiny@main", extra=f"  repository: {registry}/llm/tiny\n")
        words = ("run", recipe, "--push", "--cache-dir", tmp_path / "cache", "--json")
        env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        refused = cli.enginebuild(*words, env=env)
        assert refused.code == 8
        assert "401" in refused.stderr
        hub.faults.append(Fault("status", "*", times=None, status=403, body=b"no"))
        forbidden = cli.enginebuild(*words, env={**env, "HF_ENDPOINT": hub.endpoint}, cwd=tmp_path)
    for ended in (refused, forbidden):
        for secret in SECRETS:
            assert secret not in ended.stdout + ended.stderr


def test_a_token_in_a_recipe_is_refused_without_being_shown(tmp_path: Path) -> None:
    recipe = recipes.write(tmp_path, f"{{source: hf://org/tiny, auth: {TOKEN}}}")
    ended = cli.enginebuild("check", recipe)
    assert ended.code == 2
    assert TOKEN not in ended.stdout + ended.stderr
