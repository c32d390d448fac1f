"""Headers of archives: read back by Python's tarfile and by GNU tar, up to the limits of names and sizes."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild_images import tar
from enginebuild_images.errors import ImageError

GIB = 1 << 30

LONG_NAMES = [
    "n" * 99,
    "n" * 100,
    "n" * 101,
    "d/" + "n" * 100,
    "d/" + "n" * 101,
    "d" * 155 + "/" + "n" * 100,
    "d" * 156 + "/" + "n" * 90,
    "d" * 100 + "/" + "e" * 54 + "/" + "n" * 100,
    "d" * 100 + "/" + "e" * 55 + "/" + "n" * 44,
    "/".join(["folder"] * 60) + "/n",
    "/".join(["d" * 255] * 15) + "/" + "n" * 255,
    "modèle.bin",
    "模型/权重.safetensors",
    "a b\tc\nd",
    "back\\slash",
    "-x",
    "trailing ",
]


def _archive(path: Path, header: bytes, size: int) -> Path:
    """An archive of one file of zeros, sparse on the disk."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size + len(tar.padding(size)) + len(tar.END))
    return path


def _only(path: Path) -> tarfile.TarInfo:
    with tarfile.open(path) as archive:
        (member,) = archive.getmembers()
    return member


@pytest.mark.parametrize("name", LONG_NAMES)
def test_names_are_read_back(tmp_path: Path, name: str) -> None:
    path = _archive(tmp_path / "a.tar", tar.file_header(name, 0o644, 5, 7, 0), 5)
    member = _only(path)
    assert (member.name, member.size, member.mode, member.mtime) == (name, 5, 0o644, 7)
    listed = subprocess.run(["tar", "--list", "--quoting-style=literal", "-f", path], capture_output=True)
    assert listed.stdout.decode() == f"{name}\n"
    assert listed.stderr == b""


@pytest.mark.parametrize("name", LONG_NAMES)
def test_names_of_directories_are_read_back(tmp_path: Path, name: str) -> None:
    member = _only(_archive(tmp_path / "a.tar", tar.directory_header(name, 7), 0))
    assert (member.name, member.isdir(), member.mode, member.mtime) == (name, True, 0o755, 7)


@pytest.mark.parametrize(
    "size", [0, 1, 511, 512, 4095, 4096, 4097, 8 * GIB - 1, 8 * GIB, 9 * GIB, 200 * GIB + 1]
)
def test_sizes_are_read_back(tmp_path: Path, size: int) -> None:
    header = tar.file_header("model/rank0.engine", 0o644, size, 0, 0)
    path = _archive(tmp_path / "a.tar", header, size)
    member = _only(path)
    assert (member.size, member.offset_data) == (size, len(header))
    listed = subprocess.run(["tar", "--list", "--verbose", "-f", path], capture_output=True, text=True)
    assert listed.stdout.split()[2] == str(size)
    assert listed.stderr == ""


def test_only_a_size_above_ustars_limit_is_written_as_a_pax_record() -> None:
    assert b"size=" not in tar.file_header("f", 0o644, 8 * GIB - 1, 0)
    assert b"\x00" + b"19 size=8589934592\n" in tar.file_header("f", 0o644, 8 * GIB, 0)


def test_owner_group_and_device_are_nobodys(tmp_path: Path) -> None:
    member = _only(_archive(tmp_path / "a.tar", tar.file_header("f", 0o755, 0, 0), 0))
    assert (member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, "", "", 0o755)


def test_ustars_own_field_is_zero_where_a_pax_record_has_the_size() -> None:
    header = tar.file_header("f", 0o644, 9 * GIB, 0)
    assert header[-512:][124:136] == b"00000000000\0"


@given(offset=st.integers(0, 200).map(lambda blocks: blocks * 512), size=st.integers(4096, 10 * GIB))
def test_files_of_4096_bytes_start_at_a_multiple_of_4096(offset: int, size: int) -> None:
    for name in ("f", "d" * 200 + "/" + "n" * 99, "ü"):
        header = tar.file_header(name, 0o644, size, 0, offset)
        assert (offset + len(header)) % 4096 == 0
        assert len(header) <= 2 * 4096


@given(offset=st.integers(0, 200).map(lambda blocks: blocks * 512), size=st.integers(0, 4095))
def test_smaller_files_cost_one_header(offset: int, size: int) -> None:
    assert len(tar.file_header("f", 0o644, size, 0, offset)) == 512


def test_a_file_that_lies_right_has_no_pax_header() -> None:
    assert len(tar.file_header("f", 0o644, 4096, 0, 7 * 512)) == 512


def test_padding_at_every_distance_is_a_valid_record(tmp_path: Path) -> None:
    for long in range(90, 112):  # with a path record of every length around the change of digits
        for blocks in range(8):
            header = tar.file_header("ü" + "n" * long, 0o644, 4096, 0, blocks * 512)
            member = _only(_archive(tmp_path / "a.tar", header, 4096))
            assert (member.name, set(member.pax_headers)) == ("ü" + "n" * long, {"path", "comment"})
            assert member.pax_headers["comment"].strip() == ""


@pytest.mark.parametrize("length", [*range(1, 120), 980, *range(985, 1000)])
def test_a_record_counts_itself(length: int) -> None:
    name = "ü" + "".join("/" if at % 200 == 199 else "n" for at in range(length))
    header = tar.file_header(name, 0o644, 0, 0)
    record = header[512:-512].rstrip(b"\0")
    counted, _, rest = record.partition(b" ")
    assert int(counted) == len(record)
    assert rest == f"path={name}\n".encode()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "not a plain relative path"),
        ("/a", "not a plain relative path"),
        ("a/../b", "not a plain relative path"),
        ("a//b", "not a plain relative path"),
        ("a\0b", "not a plain relative path"),
        ("a/.wh.b", "a name that starts with .wh. deletes files of the layers below"),
        (".wh..wh..opq", "a name that starts with .wh. deletes files of the layers below"),
        ("a/" + "b" * 256, "Linux allows 4096 bytes, and 255 between slashes"),
        ("a/" * 2048 + "b", "Linux allows 4096 bytes, and 255 between slashes"),
        ("a\udcff", "the name is not UTF-8"),
    ],
)
def test_names_that_no_image_can_hold_are_refused(name: str, why: str) -> None:
    with pytest.raises(ImageError) as caught:
        tar.file_header(name, 0o644, 1, 0)
    assert caught.value.message == f"an image cannot hold a file named {name!r}: {why}"
    assert caught.value.hint == "rename the file"


def test_directories_are_held_to_the_same_names() -> None:
    with pytest.raises(ImageError) as caught:
        tar.directory_header("a/.wh.b", 0)
    assert caught.value.message == (
        "an image cannot hold a file named 'a/.wh.b': "
        "a name that starts with .wh. deletes files of the layers below"
    )


@pytest.mark.parametrize("mtime", [-1, 8**11])
def test_times_that_no_archive_can_hold_are_refused(mtime: int) -> None:
    with pytest.raises(ImageError) as caught:
        tar.check_mtime(mtime)
    assert caught.value.message == f"{mtime} cannot be the time of files in an image"
    assert caught.value.hint == "set SOURCE_DATE_EPOCH to whole seconds since 1970, or unset it"
