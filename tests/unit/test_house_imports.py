"""Who may import what, where import-linter cannot say "nothing else": it knows only packages by name."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from parts.checkout import texts

OURS = ("enginebuild", "enginebuild_cache", "enginebuild_images")

#: Distribution → the package that it brings, where the names differ.
IMPORTED_AS = {"huggingface-hub": "huggingface_hub", "pyyaml": "yaml"}


def imported(source: str) -> Iterator[str]:
    """The top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def beside(name: str) -> set[str]:
    """What a program for images may import: the files that are copied with it."""
    folder = Path(name).parent
    return {Path(each).stem for each in texts() if Path(each).parent == folder and folder.name == "scripts"}


def foreign(folder: str) -> dict[str, set[str]]:
    """Package → the files below `folder` that import it; without the standard library."""
    found: dict[str, set[str]] = {}
    for name, text in texts().items():
        if name.startswith(f"{folder}/") and name.endswith(".py"):
            for package in set(imported(text)) - sys.stdlib_module_names - beside(name):
                found.setdefault(package, set()).add(name)
    return found


def declared() -> set[str]:
    project = tomllib.loads(texts()["pyproject.toml"])["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    return {IMPORTED_AS.get(name, name) for name in names}


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("cache/enginebuild_cache", {"enginebuild_cache"}),
        # zstd: the standard library's from Python 3.14 on (compression), before that an extra (backports).
        (
            "images/enginebuild_images",
            {"enginebuild_images", "enginebuild_cache", "backports", "compression"},
        ),
    ],
)
def test_the_lower_packages_stand_on_little(folder: str, allowed: set[str]) -> None:
    assert {package: files for package, files in foreign(folder).items() if package not in allowed} == {}


def test_the_tool_imports_only_what_it_declares() -> None:
    allowed = declared() | set(OURS)
    undeclared = {p: f for p, f in foreign("pipeline/enginebuild").items() if p not in allowed}
    # An extra's, imported where its absence is answered.
    assert undeclared == {"PIL": {"pipeline/enginebuild/advise/raster.py"}}


def test_no_dependency_is_declared_in_vain() -> None:
    used = {p for folder in ("pipeline", "cache", "images") for p in foreign(folder)}
    assert declared() - used == set()


def test_inner_imports_are_seen() -> None:
    source = "def f():\n    import torch.nn\n    from vllm.x import y\nfrom . import z\n"
    assert set(imported(source)) == {"torch", "vllm"}
