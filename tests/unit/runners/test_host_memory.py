"""The memory of a machine, as Linux and its control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from enginebuild.execution import HostMemory
from enginebuild.runners.host_memory import host_memory

MEMINFO = (
    "MemTotal:       16000 kB\nMemFree:         1 kB\nSwapCached:        7 kB\nSwapTotal:       2000 kB\n"
)


def _host(folder: Path, meminfo: str | None, *limits: str) -> HostMemory | None:
    if meminfo is not None:
        (folder / "meminfo").write_text(meminfo)
    files = [folder / f"limit{number}" for number, _ in enumerate(limits)]
    for file, text in zip(files, limits, strict=True):
        file.write_text(f"{text}\n")
    return host_memory(folder / "meminfo", (*files, folder / "absent"))


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((), HostMemory(16000 << 10, 2000 << 10)),
        (("max",), HostMemory(16000 << 10, 2000 << 10)),
        (("9223372036854771712",), HostMemory(16000 << 10, 2000 << 10)),
        (("1048576",), HostMemory(1 << 20)),
        (("max", "2097152"), HostMemory(2 << 20)),
    ],
)
def test_a_machine_and_its_control_group(
    limits: tuple[str, ...], expected: HostMemory, tmp_path: Path
) -> None:
    assert _host(tmp_path, MEMINFO, *limits) == expected


@pytest.mark.parametrize("meminfo", [None, "", "MemFree: 1 kB\n"])
def test_a_machine_that_does_not_say(meminfo: str | None, tmp_path: Path) -> None:
    assert _host(tmp_path, meminfo) is None


def test_this_machine_says() -> None:
    found = host_memory()
    assert found is not None
    assert found.size > 1 << 28
