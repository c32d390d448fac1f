"""`enginebuild cache …` as a process: what it shows, keeps and refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.step import beside_document
from enginebuild_cache import Digest, File, Record, Store, Tree
from parts import cli, recipes
from parts.services import missing


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one build of the quickstart's model in it."""
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    build(tmp_path, tmp_path / "cache").ok()
    return tmp_path / "cache"


def build(folder: Path, cache: Path, *words: str) -> cli.Ended:
    recipe = recipes.write(folder, "file:./model")
    return cli.enginebuild("run", recipe, "--cache-dir", cache, "--output", folder / "out", "--json", *words)


def command(cache: Path, *words: str | Path) -> cli.Ended:
    return cli.enginebuild("cache", *words, "--cache-dir", cache)


def keys(cache: Path) -> dict[str, str]:
    """Step → key of its (last listed) record."""
    return {entry["step"]: entry["key"] for entry in json.loads(command(cache, "list", "--json").ok().stdout)}


def test_list(cache: Path) -> None:
    listed = json.loads(command(cache, "list", "--json").ok().stdout)
    assert sorted(entry["step"] for entry in listed) == ["configure", "fetch", "image", "layer", "layer"]
    fetch = next(entry for entry in listed if entry["step"] == "fetch")
    assert fetch["size"] == sum(
        path.stat().st_size for path in recipes.QUICKSTART_MODEL.iterdir() if path.name != "README.md"
    )
    assert (fetch["files"], fetch["provenance"]["subject"]) == (5, "tiny")
    shown = command(cache, "list").ok()
    assert len(shown.stdout.splitlines()) == 5
    assert shown.stderr == f"5 records, 9 files, 343.8 kB in {cache}\n"


def test_show_explains_a_key(cache: Path) -> None:
    key = keys(cache)["configure"]
    shown = command(cache, "show", key.removeprefix("sha256:")[:10]).ok().document
    assert f"sha256:{shown['key']}" == key
    assert shown["fields"]["fields"]["args"] == {"max_model_len": 256}
    assert [file["path"] for file in shown["tree"]] == ["vllm.yaml"]
    assert shown["provenance"]["subject"] == "tiny"


@pytest.mark.parametrize("words", [("show", "ffffffffffff"), ("pin", "prod", "ffffffffffff")])
def test_a_key_that_is_not_there(cache: Path, words: tuple[str, ...]) -> None:
    ended = command(cache, *words)
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1] == (
        "Error: no record's key begins with 'ffffffffffff'; `enginebuild cache list` shows all"
    )


def test_a_key_that_is_too_short(cache: Path) -> None:
    ended = command(cache, "show", "")
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1].endswith(": give more digits")


def test_gc_removes_what_is_old_and_a_run_makes_it_anew(cache: Path, tmp_path: Path) -> None:
    ended = command(cache, "gc", "--max-size", "0").ok()
    assert ended.stdout == "removed 5 records and 9 files, 343.8 kB freed, 0 B kept\n"
    assert command(cache, "list").ok().stdout == ""
    shutil.rmtree(tmp_path / "out")
    assert set(build(tmp_path, cache).ok().statuses.values()) == {"built"}


def test_gc_keeps_what_is_young_pinned_or_small_enough(cache: Path) -> None:
    assert command(cache, "gc", "--max-age", "30d", "--max-size", "1GB").ok().stdout == (
        "removed 0 records and 0 files, 0 B freed, 343.8 kB kept\n"
    )
    command(cache, "pin", "prod", *keys(cache).values()).ok()
    command(cache, "gc", "--max-size", "0").ok()
    assert {"fetch", "configure", "image"} <= set(keys(cache))
    assert command(cache, "unpin", "prod").ok().stdout == "unpinned prod\n"
    command(cache, "gc", "--max-size", "0").ok()
    assert keys(cache) == {}


def test_unpin_what_is_not_pinned(cache: Path) -> None:
    ended = command(cache, "unpin", "prod")
    assert (ended.code, ended.stderr.splitlines()[-1]) == (
        2,
        "Error: there is no pin called 'prod'; there are: none",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Error: say how much to keep: --max-size 50GB, --max-age 30d, or both"),
        (
            ("--max-size", "50 parsecs"),
            "Error: Invalid value for '--max-size': '50 parsecs' is no size; write it like 50GB",
        ),
        (
            ("--max-age", "soon"),
            "Error: Invalid value for '--max-age': 'soon' is no age; write it like 30d",
        ),
    ],
)
def test_gc_wants_a_bound(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    ended = command(tmp_path / "cache", "gc", *words)
    assert (ended.code, ended.stderr.splitlines()[-1]) == (2, message)


def test_a_folder_that_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    ended = command(tmp_path, "list")
    assert ended.code == 9
    assert ended.stderr.startswith(f"error: {tmp_path} ")
    assert "Traceback" not in ended.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    if os.geteuid() != 0:
        missing("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    foreseen = build(tmp_path, small_disk / "cache")
    assert foreseen.code == 5
    assert "are to be fetched, and the cache's disk has" in foreseen.stderr
    ended = build(tmp_path, small_disk / "cache", "--set", "allow=[disk]")
    assert ended.code == 9
    assert str(small_disk) in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.result["event"] == "error"
    assert ended.result["exit"] == 9
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    build(tmp_path, small_disk / "cache").ok()
    assert command(small_disk / "cache", "verify").ok().stderr.endswith(" 0 damaged\n")


def test_a_read_only_cache_is_said(tmp_path: Path, small_disk: Path) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    ended = build(tmp_path, small_disk / "cache")
    assert ended.code == 9
    assert "read-only" in ended.stderr.lower()
    assert "Traceback" not in ended.stderr


def test_export_writes_files_that_may_be_changed(cache: Path, tmp_path: Path) -> None:
    key = keys(cache)["fetch"].removeprefix("sha256:")
    folder = tmp_path / "new" / "model"
    ended = command(cache, "export", key[:10], folder).ok()
    assert ended.stdout == f"fetch {key[:12]}: 5 files, 340.1 kB in {folder}\n"
    for path in folder.iterdir():
        assert path.read_bytes() == (recipes.QUICKSTART_MODEL / path.name).read_bytes()
        path.write_bytes(b"changed")
    assert command(cache, "verify").ok().stderr.endswith(" 0 damaged\n")


@pytest.mark.parametrize("what", ["a file", "a folder with something in it"])
def test_export_never_writes_over_anything(cache: Path, tmp_path: Path, what: str) -> None:
    target = tmp_path / "there"
    if what == "a file":
        target.write_bytes(b"mine")
    else:
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    ended = command(cache, "export", keys(cache)["fetch"], target)
    assert ended.code == 2
    assert ended.stderr.splitlines()[-1] == f"Error: {target} is not an empty folder; name another one"


def test_show_names_what_a_step_left_beside_its_output(cache: Path, tmp_path: Path) -> None:
    store = Store.open(cache)
    key = Digest.parse(keys(cache)["fetch"])
    fields = beside_document("log", key)
    tree = Tree.of([File("log.txt", store.put_bytes(b"what it said\n"), 13)])
    log = store.put_record(Record(Digest.of_json(fields), "log", fields, tree, {"subject": "tiny"}))
    shown = command(cache, "show", key.hex[:12]).ok().document
    assert shown["beside"] == {"log": log.key.hex}
    assert "beside" not in command(cache, "show", keys(cache)["configure"]).ok().document
    command(cache, "export", shown["beside"]["log"], tmp_path / "log").ok()
    assert (tmp_path / "log/log.txt").read_bytes() == b"what it said\n"
