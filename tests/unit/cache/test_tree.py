"""Trees: equal for equal paths and bytes, and never a path that leaves its folder."""

from __future__ import annotations

import itertools

import pytest

from enginebuild_cache import Digest, File, Json, Tree

_A, _B = Digest.of(b"a"), Digest.of(b"b")


def test_the_order_of_files_does_not_matter() -> None:
    files = [File("b/c", _A, 1), File("a", _B, 1), File("b.d", _A, 1)]
    trees = {Tree.of(order).digest for order in itertools.permutations(files)}
    assert len(trees) == 1


def test_the_digest_of_a_tree_is_this_and_stays_this() -> None:
    tree = Tree.of([File("config.json", _A, 1)])
    assert tree.digest.hex == "e5dddb773488fcd5f59489d0ec42c649b35f9b8b8be69142c07367de5f5c2fd7"


@pytest.mark.parametrize("other", [File("x", _A, 1), File("a", _B, 1), File("a", _A, 2)])
def test_another_path_digest_or_size_is_another_tree(other: File) -> None:
    assert Tree.of([other]).digest != Tree.of([File("a", _A, 1)]).digest


def test_reading_what_was_written() -> None:
    tree = Tree.of([File("b/c", _A, 10), File("a", _B, 0)])
    assert Tree.from_json(tree.to_json()) == tree
    assert (len(tree), tree.size, [file.path for file in tree]) == (2, 10, ["a", "b/c"])
    assert tree.file("b/c") == File("b/c", _A, 10)
    with pytest.raises(KeyError):
        tree.file("c")


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "./a", "..", "../a", "a/../b", "a/..", "a\0b"])
def test_a_path_that_could_leave_its_folder(path: str) -> None:
    with pytest.raises(ValueError) as error:
        File(path, _A, 1)
    assert str(error.value) == f"not a plain relative path: {path!r}"


@pytest.mark.parametrize("path", ["...", ".hidden", "a b", "a\nb", "ü/é", "-", "a..b", "..a"])
def test_a_strange_path_that_is_fine(path: str) -> None:
    assert File(path, _A, 1).path == path


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a", "b", "a"], "a tree names these paths twice: a"),
        (["a", "a/b"], "a is both a file and a folder (of a/b)"),
        (["a", "a.b", "a/b/c"], "a is both a file and a folder (of a/b/c)"),
    ],
)
def test_files_that_cannot_be_together(paths: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Tree.of(File(path, _A, 1) for path in paths)
    assert str(error.value) == message


_GOOD: dict[str, Json] = {"path": "a", "sha256": _A.hex, "size": 1}


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        "text",
        [1],
        [{}],
        [_GOOD, _GOOD],
        [_GOOD | {"path": "../a"}],
        [_GOOD | {"size": -1}],
        [_GOOD | {"size": True}],
        [_GOOD | {"size": "1"}],
        [_GOOD | {"sha256": "0"}],
    ],
)
def test_what_is_no_tree(value: Json) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Tree.from_json(value)
