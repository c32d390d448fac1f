"""Opening a cache: what is made, what is used as it is, and what is refused and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Store
from parts.cache_samples import recorded

_OTHER = "name a folder that you can write to with --cache-dir"


def test_a_new_cache_is_marked_for_backup_programs(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "cache"
    Store.open(root)
    tag = (root / "CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (root / "version").read_bytes() == b"1\n"


def test_opening_again_finds_what_is_there(tmp_path: Path) -> None:
    record = recorded(Store.open(tmp_path), {"a": b"bytes"})
    assert Store.open(tmp_path).record(record.key) == record


def test_a_relative_root_survives_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open(Path("cache"))
    monkeypatch.chdir("/")
    store.put_bytes(b"bytes")
    assert (tmp_path / "cache" / "version").exists()


def test_folders_that_were_removed_are_made_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for name in ("tmp", "leases", "pins", "partial"):
        (tmp_path / name).rmdir()
    store = Store.open(tmp_path)
    with store.lease(), store.writer() as writer:
        writer.write(b"bytes")
        writer.commit()
    store.pin("name", [])


def test_a_cache_that_was_made_by_half_is_finished(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "CACHEDIR.TAG").write_bytes(b"")
    (tmp_path / "lost+found").mkdir()
    Store.open(tmp_path).put_bytes(b"bytes")


@pytest.mark.parametrize("name", ["cache", "cache/below"])
def test_the_root_is_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "cache").write_bytes(b"mine")
    with pytest.raises(CacheError) as error:
        Store.open(tmp_path / name)
    expected = {
        "cache": f"the cache at {tmp_path}/cache is not a folder",
        "cache/below": f"cannot make the cache at {tmp_path}/cache/below: Not a directory",
    }
    assert (error.value.message, error.value.hint) == (expected[name], _OTHER)
    assert (tmp_path / "cache").read_bytes() == b"mine"


def test_the_root_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_bytes(b"mine")
    with pytest.raises(CacheError) as error:
        Store.open(tmp_path)
    assert error.value.message == (
        f"{tmp_path} is not a cache of enginebuild and is not empty (it holds 'thesis.tex')"
    )
    assert error.value.hint == "name an empty folder, or one that does not exist yet, with --cache-dir"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_cache_of_another_version(tmp_path: Path) -> None:
    Store.open(tmp_path)
    (tmp_path / "version").write_bytes(b"2\n")
    with pytest.raises(CacheError) as error:
        Store.open(tmp_path)
    assert error.value.message == (
        f"the cache at {tmp_path} has layout version '2'; this enginebuild knows version '1'"
    )
    assert error.value.hint == "use the enginebuild that made it, or name another folder with --cache-dir"
