"""What the programs inside images read of a machine: nvidia-smi's lines, CUDA, and the drivers for it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from enginebuild import drivers
from enginebuild.drivers import DriverFloor, driver_floor
from enginebuild.engines.tensorrt_llm import programs
from enginebuild.engines.tensorrt_llm.scripts.machine import Gpu, Gpus, cuda, parsed, versions, visible
from enginebuild.engines.tensorrt_llm.versions import releases

FIRST = Gpu(0, "GPU-aaaa-1", "NVIDIA L4", "8.9", 23034 << 20, 22563 << 20)
SECOND = Gpu(1, "GPU-bbbb-2", "NVIDIA L4", "8.9", 23034 << 20, 10 << 20)
BOTH = Gpus((FIRST, SECOND), "580.95.05")

#: As nvidia-smi 580 writes it.
LINES = """0, GPU-aaaa-1, NVIDIA L4, 8.9, 23034, 22563, 580.95.05
1, GPU-bbbb-2, NVIDIA L4, 8.9, 23034, 10, 580.95.05
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LINES, BOTH),
        ("", Gpus((), None, "nvidia-smi lists none")),
        ("No devices were found\n", Gpus((), None, "nvidia-smi says: No devices were found")),
        (
            "0, GPU-aaaa-1, NVIDIA GB10, 12.1, [N/A], [Not Supported], 580.95.05\n",
            Gpus((Gpu(0, "GPU-aaaa-1", "NVIDIA GB10", "12.1"),), "580.95.05"),
        ),
        (
            "0, GPU-aaaa-1, NVIDIA L4, [N/A], 23034, 22563, [N/A]\n",
            Gpus((Gpu(0, "GPU-aaaa-1", "NVIDIA L4", None, 23034 << 20, 22563 << 20),), None),
        ),
        (LINES.replace("10, 580.95.05", "10, [N/A]"), BOTH),
    ],
)
def test_lines_of_nvidia_smi(text: str, found: Gpus) -> None:
    assert parsed(text) == found


@pytest.mark.parametrize(
    ("wanted", "gpus", "reason"),
    [
        (None, [FIRST, SECOND], ""),
        ("1", [SECOND], ""),
        ("1,0", [SECOND, FIRST], ""),
        ("0, 7, 1", [FIRST], ""),
        ("GPU-bb", [SECOND], ""),
        ("G", [], "CUDA_VISIBLE_DEVICES is 'G'"),
        ("", [], "CUDA_VISIBLE_DEVICES is ''"),
        ("-1", [], "CUDA_VISIBLE_DEVICES is '-1'"),
        ("MIG-1234", [FIRST, SECOND], ""),
    ],
)
def test_cuda_visible_devices(wanted: str | None, gpus: list[Gpu], reason: str) -> None:
    assert visible(BOTH, wanted) == Gpus(tuple(gpus), "580.95.05", reason)


def test_a_reason_is_kept() -> None:
    assert visible(Gpus((), None, "there is no nvidia-smi"), "0").reason == "there is no nvidia-smi"


def test_cuda_of_an_image(tmp_path: Path) -> None:
    assert cuda({"CUDA_VERSION": "13.1.0.036"}, str(tmp_path)) == "13.1.0"
    assert cuda({}, str(tmp_path)) is None
    (tmp_path / "version.json").write_text(json.dumps({"cuda": {"name": "CUDA SDK", "version": "12.8.1"}}))
    assert cuda({}, str(tmp_path)) == "12.8.1"
    (tmp_path / "version.json").write_text("[]")
    assert cuda({}, str(tmp_path)) is None


def test_versions_of_packages() -> None:
    assert versions(["tensorrt_llm", "vllm"]) == {"tensorrt_llm": None, "vllm": None}


@pytest.mark.parametrize(
    ("version", "floor"),
    [
        ("13.1.0", DriverFloor("580", "590.44")),
        ("13.0.2", DriverFloor("580", "580.95")),
        ("13.0.3", DriverFloor("580", "580.95")),
        ("12.8.0", DriverFloor("525", "570.86")),
        ("12.8", DriverFloor("525", "570.124")),
        ("12.4.1", DriverFloor("525", None)),
        ("11.8.0", DriverFloor("450.80.02", None)),
        ("14.0.0", DriverFloor(None, None)),
    ],
)
def test_drivers_of_cuda(version: str, floor: DriverFloor) -> None:
    assert driver_floor(version) == floor


def test_the_drivers_are_those_of_the_releases() -> None:
    known = {each.cuda: each.driver for each in releases().values() if each.cuda and each.driver}
    assert known
    assert {version: driver_floor(version).own for version in known} == known


def test_each_driver_has_a_source() -> None:
    table = json.loads(Path(drivers.__file__).with_suffix(".json").read_text())
    entries = [*table["lowest"].values(), *table["own"].values()]
    assert {entry["source"] for entry in entries} == set(table["sources"])
    assert all(re.fullmatch(r"\d{3}(\.\d+)*", entry["driver"]) for entry in entries)


PROGRAMS = {
    "describe.py": programs.describing(),
    "fill_repository.py": programs.filling(),
    "start.py": programs.starting(),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run_on_old_pythons(name: str) -> None:
    """Images have Pythons from 3.8 on, which know newer types as long as nothing evaluates them."""
    for part, content in PROGRAMS[name].items():
        tree = ast.parse(content, part, feature_version=(3, 8))
        froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert any(node.module == "__future__" and node.names[0].name == "annotations" for node in froms)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_all_its_files(name: str) -> None:
    files = PROGRAMS[name]
    imported = {
        alias.name
        for content in files.values()
        for node in ast.walk(ast.parse(content))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert name in files
    assert {f"{each}.py" for each in ("machine", "fitness") if each in imported} == set(files) - {name}
