"""The lock of a matrix: each answer once, in an order of its own, and a cell's lock found in it again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild import __version__
from enginebuild.errors import DriftError, EngineBuildError, RecipeError, SourceError
from enginebuild.events import silent
from enginebuild.lock import BaseLock, BuilderLock, Lock, ModelLock
from enginebuild.lock_file import LockFile, lock_path, read_lock_file, write_lock_file
from enginebuild.locking import Cells, Locked, joined, lock_cells
from enginebuild.recipe import Recipe, read_cells
from enginebuild.resolve import Resolution, Unresolved, asked_of, lock_for, model_request, require_locked
from enginebuild_cache import Digest, File, Tree

TREE = Tree.of([File("model.safetensors", Digest.of(b"w"), 1)])


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Recipe, ...]:
    path = tmp_path / "r.yaml"
    path.write_text(
        "version: 1\nname: r\nmodel: hf://org/a@main\nimage: {base: registry.example.com/v:1}\n"
        "engine: {type: vllm}\nmatrix:\n  model: [hf://org/a@main, hf://org/b@main]\n"
        "  engine.version: [0.32.0, 0.33.0]\n"
    )
    return read_cells(path)


def lock_of(cell: Recipe) -> Lock:
    asked = asked_of(model_request(cell))
    return Lock(
        ModelLock(asked, "c" * 40, TREE),
        BaseLock(cell.image.base, "linux/amd64", Digest.of(b"base")),
        {"vllm": cell.engine.version},
    )


def resolution_of(lock: Lock) -> Resolution:
    return Resolution(lock.model, lock.base, lock.tools, lock.builder, lock.calibration)


def test_each_answer_is_in_it_once(cells: tuple[Recipe, ...], tmp_path: Path) -> None:
    file = LockFile.of([lock_of(cell) for cell in cells])
    assert [model.asked["source"] for model in file.models] == ["hf://org/a", "hf://org/b"]
    assert (len(file.bases), file.tools) == (1, {"vllm": ("0.32.0", "0.33.0")})
    assert file.lock is None
    path = tmp_path / "r.lock"
    assert write_lock_file(path, file)
    assert read_lock_file(path) == file
    document = json.loads(path.read_text())
    assert document["tools"] == {"enginebuild": __version__, "vllm": ["0.32.0", "0.33.0"]}
    assert (document["builders"], document["calibrations"], document["timing_caches"]) == ([], [], [])


def test_its_bytes_do_not_hang_on_the_order_of_the_cells(cells: tuple[Recipe, ...]) -> None:
    locks = [lock_of(cell) for cell in cells]
    assert LockFile.of(locks).to_bytes() == LockFile.of(locks[::-1]).to_bytes()


def test_a_lock_is_a_file_of_one(cells: tuple[Recipe, ...]) -> None:
    lock = lock_of(cells[0])
    file = LockFile.of([lock])
    assert file.lock == lock
    assert file.to_json() == lock.to_json()
    assert LockFile.from_json(json.loads(file.to_bytes())) == file


def test_a_cells_lock_is_found_in_it(cells: tuple[Recipe, ...]) -> None:
    file = LockFile.of([lock_of(cell) for cell in cells])
    for cell in cells:
        assert lock_for(cell, file) == lock_of(cell)
        assert require_locked(cell, file, resolution_of(lock_of(cell))) == lock_of(cell)
    assert lock_for(cells[0], None) is None
    assert lock_for(cells[-1], LockFile.of([lock_of(cells[0])])) is None


def test_the_one_lock_of_a_matrix_is_not_for_cells_that_ask_otherwise(cells: tuple[Recipe, ...]) -> None:
    with_builder = replace(lock_of(cells[0]), builder=BuilderLock("registry.example.com/q:1", "linux/amd64"))
    found = lock_for(cells[0], LockFile.of([with_builder]))
    assert found == lock_of(cells[0])  # the builder is another cell's


def test_drift_of_a_cell(cells: tuple[Recipe, ...]) -> None:
    first, *_, last = cells
    file = LockFile.of([lock_of(first)])
    with pytest.raises(DriftError) as absent:
        require_locked(last, file, resolution_of(lock_of(last)))
    assert absent.value.message == (
        f"{last.path}: the lock has none for the cell {last.name}, and --locked forbids to make one"
    )
    moved = replace(lock_of(first), base=replace(lock_of(first).base, digest=Digest.of(b"new")))
    with pytest.raises(DriftError) as caught:
        require_locked(first, file, resolution_of(moved))
    assert caught.value.fields == ("base.digest",)


def test_the_others_answers_stay(cells: tuple[Recipe, ...]) -> None:
    whole = LockFile.of([lock_of(cell) for cell in cells])
    moved = replace(lock_of(cells[0]), model=replace(lock_of(cells[0]).model, commit="d" * 40))
    file = joined(Cells(cells[:2], cells[2:]), [moved], whole)
    assert file is not None
    assert {(str(model.asked["source"]), model.commit) for model in file.models} == {
        ("hf://org/a", "d" * 40),
        ("hf://org/b", "c" * 40),
    }
    assert joined(Cells(cells), [], None) is None


def test_what_fails_does_not_take_the_others_with_it(
    cells: tuple[Recipe, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(recipe: Recipe, *_: object) -> Resolution:
        lock = lock_of(recipe)
        if recipe.model.source == "hf://org/b":
            return replace(resolution_of(lock), model=Unresolved(SourceError("it is gated")))
        return resolution_of(lock)

    monkeypatch.setattr("enginebuild.locking.resolve", resolve)
    unused: object = None
    found = lock_cells(Cells(cells), unused, unused, silent)  # type: ignore[arg-type]  # nothing is looked at
    assert [isinstance(each, Locked) for each in found] == [True, True, False, False]
    assert all(each.message == "it is gated" for each in found if isinstance(each, EngineBuildError))
    assert cells[0].path is not None
    file = read_lock_file(lock_path(cells[0].path))
    assert file is not None
    assert [model.asked["source"] for model in file.models] == ["hf://org/a"]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "r.lock"
    path.write_text('{"version": 1, "models": [{}]}')
    with pytest.raises(RecipeError) as caught:
        read_lock_file(path)
    assert caught.value.message == f"{path}: not a lock: 'tools' is missing"
