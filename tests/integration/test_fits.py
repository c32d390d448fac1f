"""A model that does not fit is refused by check, lock and run, as processes, before weights are fetched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from enginebuild.sources.headers import FIRST
from parts import cli, recipes
from parts.hub_server import HubServer
from parts.tiny_llama import write_tiny_llama

REFUSED = """\
error: tiny.yaml:5:23: tensor_parallel_size 3 does not divide the 2 attention heads of the model
  tensor_parallel_size: 3
                        ^
  hint: write tensor_parallel_size: 2

tiny.yaml:5:23: tensor_parallel_size 3 does not divide the MLP's width 128 of the model
  tensor_parallel_size: 3
                        ^
  hint: write tensor_parallel_size: 2

2 mistakes
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    root = tmp_path / "hub"
    write_tiny_llama(root / "org" / "tiny")
    with HubServer(root) as server:
        yield server


def _recipe(folder: Path, model: str, *lines: str) -> None:
    path = recipes.write(folder, model)
    text = path.read_text().replace("engine:", "\n".join((*lines, "engine:")), 1)
    path.write_text(text)


def _ended(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> cli.Ended:
    return cli.enginebuild(*words, "--cache-dir", folder / "cache", cwd=folder, env=env)


def test_a_folder_is_looked_at_where_it_lies(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model")
    _recipe(tmp_path, "file:./model", "tensor_parallel_size: 3", "gpu: L4")
    before = sorted(path.name for path in tmp_path.iterdir())
    ended = _ended(tmp_path, "check", "tiny.yaml")
    assert (ended.code, ended.stdout, ended.stderr) == (5, "", REFUSED)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_a_recipe_allows_is_a_warning(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "model")
    _recipe(
        tmp_path, "file:./model", "tensor_parallel_size: 3", "gpu: L4", "allow: [attention_heads, widths]"
    )
    ended = _ended(tmp_path, "check", "tiny.yaml").ok()
    assert ended.stdout == "tiny.yaml: ok (vllm 0.33.0, not locked)\n"
    assert ended.stderr == (
        "warning: tensor_parallel_size 3 does not divide the 2 attention heads of the model "
        "(allow: attention_heads)\n"
        "warning: tensor_parallel_size 3 does not divide the MLP's width 128 of the model (allow: widths)\n"
    )
    _ended(tmp_path, "run", "tiny.yaml", "--output", "out").ok()


def test_a_refusal_takes_less_than_a_second(tmp_path: Path) -> None:
    """As a user waits for it: a process of its own; the best of a few, for the machine may be busy."""
    write_tiny_llama(tmp_path / "model")
    _recipe(tmp_path, "file:./model", "tensor_parallel_size: 3", "gpu: L4")
    waited = []
    for _ in range(5):
        began = time.monotonic()
        assert _ended(tmp_path, "check", "tiny.yaml").code == 5
        waited.append(time.monotonic() - began)
    assert min(waited) < 1


def test_lock_and_run_refuse_before_the_weights(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "hf://org/tiny", "tensor_parallel_size: 3", "gpu: L4")
    env = {"HF_ENDPOINT": hub.endpoint}
    for words in (("lock", "tiny.yaml"), ("run", "tiny.yaml", "--output", "out")):
        ended = _ended(tmp_path, *words, env=env)
        assert ended.code == 5, ended.stderr
        assert ended.stderr.endswith(REFUSED)
    assert hub.bytes_sent("*.safetensors") == 1  # whether the Hub would give them
    assert not (tmp_path / "out").exists()


def test_check_needs_no_network_unless_it_is_asked_to(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "hf://org/tiny", "tensor_parallel_size: 3", "gpu: L4")
    env = {"HF_ENDPOINT": hub.endpoint}
    ended = _ended(tmp_path, "check", "tiny.yaml", "--explain", env=env).ok()
    assert ended.stdout == "tiny.yaml: ok (vllm 0.33.0, not locked)\n"
    assert ended.stderr == "the model's config.json is not here: --online asks for it\n"
    assert hub.requests == []
    online = _ended(tmp_path, "check", "tiny.yaml", "--online", env=env)
    assert (online.code, online.stderr[-len(REFUSED) :]) == (5, REFUSED)
    assert hub.bytes_sent("*.safetensors") == FIRST


def test_a_locked_model_whose_config_is_in_the_cache_needs_no_network(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "hf://org/tiny", "gpu: L4")
    _ended(tmp_path, "lock", "tiny.yaml", env={"HF_ENDPOINT": hub.endpoint}).ok()
    known = len(hub.requests)
    words = ("check", "tiny.yaml", "--set", "engine.args.max_model_len=4096")
    ended = _ended(tmp_path, *words, env={"HF_ENDPOINT": hub.endpoint})
    assert len(hub.requests) == known
    assert ended.code == 5
    place = "--set engine.args.max_model_len=…"
    assert ended.stderr.splitlines() == [
        f"error: {place}: max_model_len 4096 is more than the 2048 positions of the model",
        "  engine.args.max_model_len=4096",
        "                            ^",
        "  hint: write max_model_len: 2048",
    ]


def test_a_disk_without_room(tmp_path: Path, hub: HubServer) -> None:
    """The lock says how large the files are: here more than any disk."""
    _recipe(tmp_path, "hf://org/tiny", "gpu: L4")
    env = {"HF_ENDPOINT": hub.endpoint}
    _ended(tmp_path, "lock", "tiny.yaml", env=env).ok()
    lock = tmp_path / "tiny.lock"
    document = json.loads(lock.read_text())
    (large,) = [file for file in document["model"]["files"] if file["path"] == "generation_config.json"]
    large |= {"size": 1 << 60, "sha256": "0" * 64}
    lock.write_text(json.dumps(document))
    ended = _ended(tmp_path, "run", "tiny.yaml", "--output", "out", env=env)
    assert ended.code == 5, ended.stderr
    free = r"[0-9.]+ GiB"
    assert re.search(
        r"^error: tiny\.yaml:3:8: 1073741824\.0 GiB are to be fetched, and the cache's disk has "
        rf"{free} left\n"
        r"  model: hf://org/tiny\n +\^\n"
        r"  hint: --cache-dir with a folder on a larger disk, or enginebuild cache gc\n\Z",
        ended.stderr,
        re.MULTILINE,
    )
