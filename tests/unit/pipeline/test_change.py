"""Why a key is another: the fields that differ, by name."""

from __future__ import annotations

import pytest

from enginebuild.change import Change, changes
from enginebuild_cache import Json


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"a": 1}, {"a": 1}, [], id="equal"),
        pytest.param({"a": 1}, {"a": 2}, ["a: 1 → 2"], id="scalar"),
        pytest.param({"a": "x"}, {"a": "y"}, ["a: x → y"], id="text without quotes"),
        pytest.param({"a": True}, {"a": None}, ["a: true → null"], id="boolean and null"),
        pytest.param({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a.b.c: 1 → 2"], id="nested"),
        pytest.param({}, {"a": [1, 2]}, ["a: (absent) → [1,2]"], id="added list"),
        pytest.param(
            {"a": {}}, {"a": {"b": 1}}, ["a: {} → (absent)", "a.b: (absent) → 1"], id="empty mapping"
        ),
        pytest.param({"b": 1, "a": 1}, {"a": 2, "b": 2}, ["a: 1 → 2", "b: 1 → 2"], id="sorted"),
        pytest.param(
            {"files": [{"path": "a", "size": 1}, {"path": "c", "size": 3}]},
            {"files": [{"path": "a", "size": 1}, {"path": "b", "size": 2}, {"path": "c", "size": 4}]},
            ["files[b].size: (absent) → 2", "files[c].size: 3 → 4"],
            id="files by path, not by place",
        ),
    ],
)
def test_changes(old: dict[str, Json], new: dict[str, Json], expected: list[str]) -> None:
    assert [str(change) for change in changes(old, new)] == expected


def test_a_change_is_a_value() -> None:
    assert changes({"a": 1}, {"a": 2}) == (Change("a", "1", "2"),)
