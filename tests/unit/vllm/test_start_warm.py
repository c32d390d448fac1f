"""The entry point of a warm image, as a real process, for several users."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import enginebuild.engines.vllm.scripts.start_warm as program
from parts.services import NVIDIA_STANDIN

#: One that every user may run; that of a virtual environment may be in somebody's home.
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
EPYC = "model name\t: AMD EPYC 9554  64-Core\nflags\t\t: fpu avx2 avx512f rdtscp\n"
NOT_USED = "enginebuild: the compile cache of this image is not used"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

#: Instead of the server: says what it was given.
SERVER = "import os, sys; print('server', sys.argv[1:], os.environ.get('VLLM_CACHE_ROOT'))"


@dataclass(frozen=True)
class Image:
    """A folder in place of an image's root: the seed, and the program with its paths below that folder."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "tmp" / "enginebuild" / "vllm"

    @property
    def program(self) -> Path:
        return self.folder / "start_warm.py"

    def seed(self, key: str = "sha256:1", hardware: Mapping[str, str] | None = None) -> None:
        here = {"kind": "cpu", "name": program.this_cpu(), "driver": ""}
        files = self.folder / "seed" / "vllm" / "torch_compile_cache" / "a"
        files.mkdir(parents=True, exist_ok=True)
        (files / "model").write_text(f"artifact of {key}")
        (self.folder / "seed" / "warm.json").write_text(
            json.dumps({"key": key, "hardware": hardware or here})
        )

    def start(self, *words: str, **environment: str) -> list[str]:
        """What the start says; the last line is the server's."""
        return self.start_as(None, *words, **environment)

    def start_as(self, user: int | None, /, *words: str, **environment: str) -> list[str]:
        """The same, as a user of group 0."""
        ended = subprocess.run(
            [PYTHON, "-I", self.program, PYTHON, "-c", SERVER, *words],
            env={"PATH": "/usr/bin:/bin", **environment},
            cwd="/",
            user=user,
            group=None if user is None else 0,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    @property
    def copied(self) -> str:
        return (self.root / "torch_compile_cache" / "a" / "model").read_text()

    def done(self, root: Path | None = None) -> str:
        return f"enginebuild: the compile cache of this image is in {root or self.root}: 1 files"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    image = Image(tmp_path)
    text = Path(program.__file__).read_text()
    for name, path in (("/etc/enginebuild/cache", tmp_path / "seed"), ("/tmp/enginebuild/vllm", image.root)):
        assert text.count(f'"{name}"') == 1
        text = text.replace(f'"{name}"', f'"{path}"')
    image.program.write_text(text)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    above = Path(tempfile.gettempdir())
    # Other users must get there; under xdist there is a folder more.
    for folder in (tmp_path, *(each for each in tmp_path.parents if above in each.parents)):
        folder.chmod(folder.stat().st_mode | 0o055)
    image.seed()
    return image


def test_a_copy_is_made_once_and_the_server_takes_over(image: Image) -> None:
    assert image.start("--port", "1") == [image.done(), f"server ['--port', '1'] {image.root}"]
    assert image.copied == "artifact of sha256:1"
    assert image.start() == [
        f"enginebuild: the compile cache of this image is in {image.root} already",
        f"server [] {image.root}",
    ]


def test_another_key_is_copied_over_and_what_was_there_stays(image: Image) -> None:
    image.start()
    (image.root / "own").write_text("the server's own")
    image.seed("sha256:2")
    assert image.start()[0] == image.done()
    assert image.copied == "artifact of sha256:2"
    assert (image.root / "own").read_text() == "the server's own"
    assert sorted(path.name for path in image.root.rglob("*") if path.is_file()) == [
        *(".enginebuild-warm", "model", "own"),
    ]


@needs_root
@pytest.mark.parametrize("user", [0, 2000, 1000720000])
def test_the_copy_is_the_servers_own(image: Image, user: int) -> None:
    assert image.start_as(user) == [image.done(), f"server [] {image.root}"]
    paths = [image.root, *image.root.rglob("*")]
    assert {path.stat().st_uid for path in paths} == {user}
    assert image.root.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_folder_of_somebody_else_is_not_trusted(image: Image) -> None:
    image.root.mkdir(parents=True)
    os.chown(image.root, 3000, 0)
    image.root.chmod(0o777)
    said = image.start_as(2000, TMPDIR=str(image.folder / "tmp"))
    new = Path(said[1].rpartition(" ")[2])
    assert new != image.root
    assert said[0] == image.done(new)
    assert new.stat().st_uid == 2000


def test_a_volume_that_the_user_names_is_filled(image: Image) -> None:
    volume = image.folder / "volume"
    volume.mkdir()
    assert image.start(VLLM_CACHE_ROOT=str(volume)) == [image.done(volume), f"server [] {volume}"]


@pytest.mark.parametrize("word", ["off", "OFF", "0", "false", "no"])
def test_it_can_be_switched_off(image: Image, word: str) -> None:
    assert image.start(ENGINEBUILD_WARM=word) == ["server [] None"]
    assert not image.root.exists()


def test_the_cache_of_another_cpu_is_not_copied(image: Image) -> None:
    image.seed(hardware={"kind": "cpu", "name": "AMD EPYC 9554 (00000000)", "driver": ""})
    assert image.start() == [
        f"{NOT_USED}: it was made on AMD EPYC 9554 (00000000), and this is {program.this_cpu()}",
        f"server [] {image.root}",
    ]
    assert list(image.root.iterdir()) == []


def test_a_volume_that_another_machine_filled_is_not_used(image: Image) -> None:
    volume = image.folder / "volume"
    image.start(VLLM_CACHE_ROOT=str(volume))
    image.seed(hardware={"kind": "cpu", "name": "another", "driver": ""})
    said = image.start(VLLM_CACHE_ROOT=str(volume), TMPDIR=str(image.folder / "tmp"))
    assert said[0].startswith(f"{NOT_USED}: it was made on another")
    assert said[1].startswith(f"server [] {image.folder}/tmp/enginebuild-vllm-")


GPU = {"kind": "gpu", "name": "NVIDIA H100 80GB HBM3, 9.0", "driver": "590"}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, []),
        (
            {"NVIDIA_SMI_STANDIN_DRIVER": "600.1"},
            ["enginebuild: the compile cache was made with driver 590, and this is 600"],
        ),
        (
            {"NVIDIA_SMI_STANDIN_GPUS": "NVIDIA A10, 8.6, 1, 1; NVIDIA H100 80GB HBM3, 9.0, 1, 1"},
            [
                f"{NOT_USED}: it was made on NVIDIA H100 80GB HBM3, 9.0, and this is NVIDIA A10, 8.6",
            ],
        ),
        (
            {"NVIDIA_SMI_STANDIN_GPUS": "none"},
            [f"{NOT_USED}: nvidia-smi shows no GPU here"],
        ),
        (
            {"PATH": "/nowhere"},
            [f"{NOT_USED}: nvidia-smi shows no GPU here"],
        ),
    ],
)
def test_the_cache_of_a_gpu_is_for_that_gpu(
    image: Image, environment: dict[str, str], said: list[str]
) -> None:
    image.seed(hardware=GPU)
    *lines, _ = image.start(**{"PATH": f"/usr/bin:/bin:{NVIDIA_STANDIN}", **environment})
    used = not any("not used" in line for line in said)
    assert lines == [*said, *([image.done()] if used else [])]


@pytest.mark.parametrize("fault", ["none", "text", "field"])
def test_a_seed_that_cannot_be_read_stops_no_server(image: Image, fault: str) -> None:
    about = image.folder / "seed" / "warm.json"
    if fault == "none":
        shutil.rmtree(image.folder / "seed")
        why = f"[Errno 2] No such file or directory: '{about}'"
    else:
        about.write_text("{" if fault == "text" else "{}")
        text = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
        why = text if fault == "text" else "'hardware'"
    assert image.start(VLLM_CACHE_ROOT=str(image.root)) == [
        f"enginebuild: the compile cache of this image cannot be used: {why}",
        f"server [] {image.root}",
    ]


def test_a_cpu_is_its_name_and_what_it_can() -> None:
    name = program.cpu(EPYC)
    assert name.startswith("AMD EPYC 9554 64-Core (")
    assert program.cpu(EPYC.replace("rdtscp", "constant_tsc")) == name
    assert program.cpu(EPYC.replace("avx512f", "")) != name
    arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd40\nFeatures\t: fp asimd sve bf16\n"
    assert program.cpu(arm).startswith("0x41 0xd40 (")
