"""Folders as tar streams: what goes out is a tar that others read, what comes in may not lead elsewhere."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from enginebuild.errors import StepError
from enginebuild.runners.tar_stream import packed, size_of, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "from"
    (top / "deep" / ("n" * 120) / ("m" * 120)).mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "deep" / ("n" * 120) / ("m" * 120) / "gr\u00fc\u00dfe").write_bytes(b"x" * 513)
    (top / "run").write_bytes(b"#!/bin/sh\n")
    (top / "run").chmod(0o755)
    (top / "zero").write_bytes(b"")
    return top


def content(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() else None for path in top.rglob("*")
    }


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    sent: list[int] = []
    stream = packed(folder, PurePosixPath("output"), sent.append)
    (tmp_path / "to").mkdir()
    unpack(stream, tmp_path / "to")
    assert content(tmp_path / "to") == content(folder)
    assert sum(sent) == size_of(folder) == 513 + 10


def test_gnu_tar_reads_it(folder: Path, tmp_path: Path) -> None:
    stream = b"".join(packed(folder, PurePosixPath("a/b"), lambda _count: None))
    (tmp_path / "to").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "to"], input=stream, check=True)
    assert content(tmp_path / "to" / "a" / "b") == content(folder)
    assert (tmp_path / "to/a/b/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "to/a/b/zero").stat().st_mode & 0o777 == 0o644


def test_little_memory(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    with (tmp_path / "from" / "large").open("wb") as file:
        file.truncate(200 << 20)
    (tmp_path / "to").mkdir()
    tracemalloc.start()
    unpack(packed(tmp_path / "from", PurePosixPath("x"), lambda _count: None), tmp_path / "to")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "to" / "large").stat().st_size == 200 << 20
    assert peak < 16 << 20


def archive(*entries: tarfile.TarInfo) -> Iterator[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    yield out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            entry("output/a/../../../b"),
            "cannot store a/../../../b: it has a path that leads out of the output",
        ),
        (entry("output/link", tarfile.SYMTYPE, "/etc"), "cannot store link: it is a symbolic link"),
        (entry("output/pipe", tarfile.FIFOTYPE), "cannot store pipe: it is not a regular file"),
        (
            entry("output/hard", tarfile.LNKTYPE, "output/../../secret"),
            "cannot store hard: it is a link that leads out of the output",
        ),
    ],
)
def test_what_must_not_come_in(bad: tarfile.TarInfo, message: str, tmp_path: Path) -> None:
    with pytest.raises(StepError) as error:
        unpack(archive(entry("output", tarfile.DIRTYPE), bad), tmp_path)
    assert error.value.message == message
    assert error.value.hint == "a step must leave regular files only"
    assert list(tmp_path.iterdir()) == []


def test_a_hard_link_within_is_a_copy(tmp_path: Path) -> None:
    unpack(archive(entry("output/a", size=5), entry("output/b", tarfile.LNKTYPE, "output/a")), tmp_path)
    assert content(tmp_path) == {"a": b"xxxxx", "b": b"xxxxx"}
