"""Trees checked out to folders, and folders collected as trees."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, File, Store, Tree
from parts.cache_samples import stored

_FILES = {"config.json": b"{}", "weights/a.bin": b"a" * 5000, "weights/b.bin": b"", "z/y/x": b"{}"}


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_out_and_in_again(store: Store, tmp_path: Path) -> None:
    tree = stored(store, _FILES)
    work = tmp_path / "work"
    store.checkout(tree, work)
    assert _content(work) == _FILES
    assert store.collect(work) == tree
    assert _content(work) == {}
    assert store.verify().findings == ()


def test_a_checked_out_file_is_read_only(store: Store, tmp_path: Path) -> None:
    store.checkout(stored(store, {"a": b"x"}), tmp_path / "work")
    assert (tmp_path / "work/a").stat().st_mode & 0o777 == 0o444


def test_what_a_step_made_moves_in(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "engine/empty").mkdir(parents=True)
    (out / "engine/rank0.engine").write_bytes(b"engine")
    inode = (out / "engine/rank0.engine").stat().st_ino
    tree = store.collect(out)
    assert [file.path for file in tree] == ["engine/rank0.engine"]
    assert store.path(tree.files[0]).stat().st_ino == inode


def test_a_checkout_never_writes_over_a_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(CacheError) as error:
        store.checkout(stored(store, {"a": b"x"}), tmp_path)
    assert error.value.message == f"cannot write {tmp_path}/a: File exists"
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_checkout_of_a_missing_file(store: Store, tmp_path: Path) -> None:
    tree = Tree.of([File("a", Digest.of(b"x"), 1)])
    with pytest.raises(CacheError) as error:
        store.checkout(tree, tmp_path / "work")
    assert error.value.message.startswith("a is no longer in the cache: ")


def _symbolic_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(_symbolic_link, "a symbolic link"), (_pipe, "not a regular file"), (_socket, "not a regular file")],
)
def test_a_step_must_leave_regular_files(
    store: Store, tmp_path: Path, make: object, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "out/deep")  # the path of a socket is short
    assert callable(make)
    make(Path("x"))
    with pytest.raises(CacheError) as error:
        store.collect(tmp_path / "out")
    assert error.value.message == f"cannot store deep/x: it is {kind}"
    assert error.value.hint == "a step must leave regular files only"


def test_a_step_must_leave_names_in_utf_8(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/out/\xff")).write_bytes(b"")
    with pytest.raises(CacheError) as error:
        store.collect(tmp_path / "out")
    assert error.value.message == "cannot store b'\\xff': its name is not UTF-8"
    assert error.value.hint == "a step must leave names in UTF-8"


def test_no_such_folder(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CacheError) as error:
        store.collect(tmp_path / "absent")
    assert error.value.message == f"cannot read {tmp_path}/absent: No such file or directory"
