"""The same client against a Hub server that is not ours (olah): the happy path."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.events import silent
from enginebuild.sources import ModelRequest, fetch, resolve
from enginebuild.sources.headers import ask_headers
from enginebuild_cache import Digest, Store
from parts.hub_models import write_model
from parts.hub_olah import olah
from parts.services import program


@pytest.mark.slow
def test_an_independent_server(tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("git")  # olah serves git repositories
    model = write_model(tmp_path / "model", shards=2, shard_size=1_000_000)
    store = Store.open(cache_dir)
    request = ModelRequest("hf://org/name", None, Path())
    (tmp_path / "olah").mkdir()
    with olah(tmp_path / "olah", model) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        resolved = resolve(request, store, silent)
        headers = ask_headers(request, resolved.commit, resolved.tree, store)
        fetch(request, resolved, store, silent)
    assert headers is not None  # it has no ranges: the beginning of each answer does
    assert [tensor.name for tensor in headers.tensors] == ["layer.0.weight", "layer.1.weight"]
    assert resolved.licence == "apache-2.0"
    assert {file.path: file.digest for file in resolved.tree} == {
        path.name: Digest.of_file(path) for path in model.iterdir() if path.name != "README.md"
    }
    assert all(store.has(file.digest) for file in resolved.tree)
