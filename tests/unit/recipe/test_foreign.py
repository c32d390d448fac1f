"""Other tools' YAML: read as PyYAML reads it, without dates, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.errors import RecipeError
from enginebuild.recipe import read_foreign
from enginebuild.recipe.foreign import LARGEST


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "f.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_values_are_those_of_yaml_1_1(tmp_path: Path) -> None:
    text = "a: no\nb: 2026-04-22\nc: 1e-5\nd: [1, {on: 010}]\ne: &x {f: null}\ng: *x\n"
    assert read_foreign(_file(tmp_path, text)) == {
        "a": False,
        "b": "2026-04-22",
        "c": "1e-5",
        "d": [1, {"true": 8}],
        "e": {"f": None},
        "g": {"f": None},
    }


_BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", ":1: no YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: !!python/name:os.system x", (":1: no YAML: could not determine a constructor for the tag "
         "'tag:yaml.org,2002:python/name:os.system'")),
        ("a: \x01", ": no YAML that can be read"),
        ("a: !!set {x}", ": holds a value of YAML that JSON has not: set"),
        (_BOMB, ": more than 100,000 values, which no such file has"),
        ("#" * (LARGEST + 1), ": more than 1,048,576 bytes, which no such file has"),
    ],
)  # fmt: skip
def test_what_is_no_plain_yaml_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_foreign(path)
    assert caught.value.message == f"{path}{message}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_foreign(tmp_path)
    assert (caught.value.message, caught.value.hint) == (
        f"{tmp_path}: cannot be read: Is a directory",
        "check the path",
    )
