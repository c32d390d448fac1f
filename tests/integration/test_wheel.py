"""The wheel holds every file of the three packages, and nothing of the tests, recipes or documents."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from enginebuild import __version__
from parts.checkout import ROOT, tracked

ROOTS = ("pipeline", "cache", "images")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    below = {
        str(p.relative_to(ROOT / root)) for root in ROOTS for p in tracked() if (ROOT / root) in p.parents
    }
    wanted = {name for name in below if name.startswith("enginebuild")}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert wanted - found == set()
    assert {name.partition("/")[0] for name in found} == {
        "enginebuild",
        "enginebuild_cache",
        "enginebuild_images",
    }


def test_no_stand_in_is_in_it(wheel: Path) -> None:
    """What stands in for a GPU's programs cannot be reached by anybody's recipe."""
    with zipfile.ZipFile(wheel) as archive:
        named = [name for name in archive.namelist() if "standin" in name.lower()]
        speaking = [
            name for name in archive.namelist() if re.search(rb"(?i)stand-?in[s_]?\b", archive.read(name))
        ]
    assert (named, speaking) == ([], [])


def test_it_runs_from_the_archive_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-P", "-m", "enginebuild", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"enginebuild {__version__}\n"
    where = [sys.executable, "-P", "-c", "import enginebuild; print(enginebuild.__file__)"]
    found = subprocess.run(
        where, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == tmp_path / "enginebuild" / "__init__.py"
