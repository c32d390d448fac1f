"""Models in local folders: pinned by digest, links followed no further than they may, changes noticed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.events import Event, Progress, silent
from enginebuild.sources import ModelRequest, ResolvedModel, fetch, resolve
from enginebuild.sources.checkpoint import HINT_BROKEN
from enginebuild_cache import Digest, Store
from parts.hub_models import write_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


def request(folder: Path, source: str = "file:./model", ignore: tuple[str, ...] = ()) -> ModelRequest:
    return ModelRequest(source, None, folder, ignore_patterns=ignore)


def refusal(ask: ModelRequest, store: Store) -> tuple[str, str]:
    with pytest.raises(SourceError) as caught:
        resolve(ask, store, silent)
    return caught.value.message, caught.value.hint


def test_a_folder_is_pinned_and_fetched(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model", shards=2)
    resolved = resolve(request(tmp_path), store, silent)
    assert resolved.commit is None
    assert resolved.revision is None
    assert resolved.licence == "apache-2.0"
    assert "README.md" not in {file.path for file in resolved.tree}
    assert {file.path: file.digest for file in resolved.tree} == {
        file.path: Digest.of_file(folder / file.path) for file in resolved.tree
    }
    assert not any(store.has(file.digest) for file in resolved.tree)
    events: list[Event] = []
    fetch(request(tmp_path), resolved, store, events.append)
    for file in resolved.tree:
        assert store.read_bytes(file) == (folder / file.path).read_bytes()
    assert events[-1] == Progress("model", resolved.tree.size, resolved.tree.size)


def test_the_folder_stays_as_it_is(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    before = {path: (path.stat().st_mode, path.stat().st_nlink) for path in folder.iterdir()}
    fetch(request(tmp_path), resolve(request(tmp_path), store, silent), store, silent)
    assert {path: (path.stat().st_mode, path.stat().st_nlink) for path in folder.iterdir()} == before


@pytest.mark.parametrize("form", ["file:{}", "file://{}"])
def test_absolute_sources(tmp_path: Path, store: Store, form: str) -> None:
    folder = write_model(tmp_path / "model")
    assert resolve(request(Path("elsewhere"), form.format(folder)), store, silent).tree.size > 0


def test_a_second_time_reads_no_weights(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "model")
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    first = resolve(request(tmp_path), store, silent)

    def refuse(_path: Path) -> Digest:
        raise AssertionError("digested again")

    monkeypatch.setattr(Digest, "of_file", refuse)
    monkeypatch.setattr(Digest, "of_chunks", refuse)
    assert resolve(request(tmp_path), store, silent) == first


def test_a_file_changed_since_the_lock(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    resolved = resolve(request(tmp_path), store, silent)
    write_model(folder, seed=9)
    with pytest.raises(SourceError) as caught:
        fetch(request(tmp_path), resolved, store, silent)
    assert (caught.value.message, caught.value.hint) == (
        "file:./model: model.safetensors was changed since the recipe was locked",
        "lock the recipe again with `enginebuild lock`, or put the former file back",
    )


def test_a_file_removed_since_the_lock(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    resolved = resolve(request(tmp_path), store, silent)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SourceError) as caught:
        fetch(request(tmp_path), resolved, store, silent)
    assert caught.value.message == "file:./model: tokenizer.json cannot be read: No such file or directory"


def test_no_folder(tmp_path: Path, store: Store) -> None:
    assert refusal(request(tmp_path), store) == (
        f"file:./model: the folder {tmp_path}/model cannot be read: No such file or directory",
        "file: paths are relative to the recipe's folder",
    )


def test_a_file_instead_of_a_folder(tmp_path: Path, store: Store) -> None:
    (tmp_path / "model").write_text("")
    assert refusal(request(tmp_path), store) == (
        f"file:./model: {tmp_path}/model is a file, not a folder",
        "name the folder that holds config.json and the *.safetensors files",
    )


@pytest.mark.parametrize("source", ["./model", "s3://bucket/model", "file:", "hf:org/name"])
def test_not_a_source(tmp_path: Path, store: Store, source: str) -> None:
    assert refusal(request(tmp_path, source), store) == (
        f"not a model source: {source!r}",
        "write hf://organisation/name or file:./folder",
    )


@pytest.mark.parametrize("source", ["hf://", "hf://a/b/c", "hf://org/na me", "hf://org/name?x"])
def test_not_a_repository(tmp_path: Path, store: Store, source: str) -> None:
    assert refusal(request(tmp_path, source), store) == (
        f"not a Hugging Face repository: {source!r}",
        "write hf://organisation/name, as in the model's URL",
    )


def test_links_inside_the_folder_are_followed(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "tokenizer.json").rename(folder / "kept.json")
    (folder / "tokenizer.json").symlink_to("kept.json")
    assert resolve(request(tmp_path), store, silent).tree.file("tokenizer.json").size > 0


def test_links_out_of_the_folder_are_refused(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    assert refusal(request(tmp_path), store) == (
        f"file:./model: model.safetensors is a link that leads out of the folder, to {tmp_path}/elsewhere",
        "copy or hard-link the file into the folder, or leave it out with model.ignore_patterns",
    )


def test_dangling_and_circular_links(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "extra.json").symlink_to("nowhere")
    assert refusal(request(tmp_path), store) == (
        "file:./model: extra.json cannot be read: No such file or directory",
        "mend the file or the link, or leave it out with model.ignore_patterns",
    )
    (folder / "extra.json").unlink()
    (folder / "extra.json").symlink_to("extra.json")
    message, _ = refusal(request(tmp_path), store)
    assert message.startswith("file:./model: extra.json cannot be read: ")
    assert resolve(request(tmp_path, ignore=("extra*",)), store, silent).tree.size > 0


def test_special_files_are_refused(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    os.mkfifo(folder / "pipe.json")
    assert refusal(request(tmp_path), store) == (
        "file:./model: pipe.json is not a regular file",
        "remove it, or leave it out with model.ignore_patterns",
    )


def test_what_is_not_selected_may_be_anything(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    os.mkfifo(folder / "pipe")
    (folder / "notes.txt").symlink_to("/nowhere")
    (folder / ".git").mkdir()
    assert resolve(request(tmp_path), store, silent).tree.size > 0


@pytest.mark.parametrize("shared", [False, True])
def test_a_snapshot_of_the_hugging_face_cache(tmp_path: Path, store: Store, shared: bool) -> None:
    hub = tmp_path / "hub"
    snapshot = hub / "models--org--name" / "snapshots" / ("0" * 40)
    blobs = hub / "models--org--name" / "blobs"
    blobs.mkdir(parents=True)
    write_model(snapshot)
    for number, path in enumerate(sorted(snapshot.iterdir())):
        blob = blobs / str(number)
        if shared:
            (hub / "blobs").mkdir(exist_ok=True)
            shutil.move(path, hub / "blobs" / str(number))
            blob.symlink_to(Path("../../blobs") / str(number))
        else:
            shutil.move(path, blob)
        path.symlink_to(Path("../../blobs") / str(number))
    resolved = resolve(request(tmp_path, f"file:{snapshot}"), store, silent)
    fetch(request(tmp_path, f"file:{snapshot}"), resolved, store, silent)
    assert all(store.has(file.digest) for file in resolved.tree)


def test_a_broken_checkpoint_is_refused_when_it_is_locked(tmp_path: Path, store: Store) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"short")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    message, hint = refusal(request(tmp_path), store)
    assert message == (
        "file:./model is not a checkpoint that can be served:\n"
        "  model.safetensors is no safetensors file: 5 bytes are less than the 8 of its header's length"
    )
    assert hint == HINT_BROKEN


def test_a_tree_from_a_lock_is_enough_to_fetch(tmp_path: Path, store: Store) -> None:
    write_model(tmp_path / "model")
    resolved = resolve(request(tmp_path), store, silent)
    other = Store.open(tmp_path / "other")
    fetch(request(tmp_path), ResolvedModel("file:./model", None, None, resolved.tree, None), other, silent)
    assert all(other.has(file.digest) for file in resolved.tree)
