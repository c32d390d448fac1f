"""describe.py and start.py as images run them: processes of their own, beside a stand-in for nvidia-smi."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.engines.tensorrt_llm import programs
from enginebuild.engines.tensorrt_llm.scripts.fitness import Needs
from parts import services
from parts.services import NVIDIA_STANDIN

H100 = "NVIDIA H100 80GB HBM3"
NEEDS = Needs(True, 1, "9.0", H100, "13.1.0", "580", "590.44", {"tensorrt_llm": "1.2.1", "vllm": "0.33.0"})
ONE = f"{H100}, 9.0, 81559, 81004"
FIELDS = "tied, world_size, compute_capability, gpu, cuda, lowest_driver, own_driver, versions"
OFF = "enginebuild: not started; ENGINEBUILD_CHECK=off starts it all the same\n"


def ended(
    folder: Path, program: str, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    files = programs.starting() if program == "start.py" else programs.describing()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = f"{NVIDIA_STANDIN}:{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, folder / program, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": path, **(env or {})},
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages, as metadata alone: TensorRT-LLM 1.2.1, TensorRT, vLLM."""
    site = tmp_path / "site"
    for name, version in (
        ("tensorrt_llm", "1.2.1"),
        ("tensorrt_cu13", "10.14.1.48"),
        ("vllm", "0.33.0"),
        ("nvidia_modelopt", "0.37.0"),
    ):
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return site


def start(
    folder: Path, needs: Needs, env: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    path = folder / "needs.json"
    path.write_text(json.dumps(needs.to_json()))
    return ended(folder, "start.py", str(path), *(words or ("echo", "served")), env=env)


def test_a_machine_that_fits_gets_the_server(tmp_path: Path, site: Path) -> None:
    done = start(tmp_path, NEEDS, {"PYTHONPATH": str(site), "NVIDIA_SMI_STANDIN_GPUS": ONE}, "echo", "a b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a b\n", "")
    assert not (tmp_path / "__pycache__").exists()


def test_the_server_is_the_very_process(tmp_path: Path, site: Path) -> None:
    """Signals of `docker stop` must reach it, not a parent of it."""
    (tmp_path / "enginebuild.json").write_text(json.dumps({"needs": NEEDS.to_json(), "dtype": "bfloat16"}))
    for name, content in programs.starting().items():
        (tmp_path / name).write_bytes(content)
    path = f"{NVIDIA_STANDIN}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, tmp_path / "start.py", tmp_path / "enginebuild.json", "sh", "-c", "echo $$"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(site), "NVIDIA_SMI_STANDIN_GPUS": ONE},
    )
    assert process.communicate(timeout=60)[0] == f"{process.pid}\n"


def test_a_machine_that_does_not_fit_is_refused(tmp_path: Path, site: Path) -> None:
    gpus = "NVIDIA L40S, 8.9, 46068, 45000"
    needs = replace(NEEDS, versions={"tensorrt_llm": "1.2.0", "tensorrt": "10.14.1.48"})
    done = start(tmp_path, needs, {"PYTHONPATH": str(site), "NVIDIA_SMI_STANDIN_GPUS": gpus})
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        "enginebuild: error: the engine loads only on compute capability 9.0 "
        f"({H100}), and here is NVIDIA L40S "
        "(8.9)\n"
        "enginebuild: hint: build it again for this machine's GPU, or run it "
        "on the one that it was built for\n"
        "enginebuild: error: the engine was built with TensorRT-LLM 1.2.0, and here is 1.2.1\n"
        "enginebuild: hint: an engine loads only with what built it: use an "
        "image with TensorRT-LLM 1.2.0, or "
        f"build it again\n{OFF}"
    )


def test_the_check_can_be_switched_off(tmp_path: Path) -> None:
    env = {"NVIDIA_SMI_STANDIN_GPUS": "none", "ENGINEBUILD_CHECK": "off"}
    done = start(tmp_path, NEEDS, env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"NVIDIA_SMI_STANDIN_GPUS": "none"}, "nvidia-smi says: No devices were found"),
        (
            {"NVIDIA_SMI_STANDIN_FAILS": "NVIDIA-SMI has failed: no driver."},
            "nvidia-smi says: NVIDIA-SMI has failed: no driver.",
        ),
        ({"PATH": "/nowhere"}, "there is no nvidia-smi"),
        ({"CUDA_VISIBLE_DEVICES": "3"}, "CUDA_VISIBLE_DEVICES is '3'"),
    ],
)
def test_no_gpu_is_refused_with_the_reason(tmp_path: Path, env: Mapping[str, str], reason: str) -> None:
    done = start(tmp_path, replace(NEEDS, versions={}), env)
    assert done.returncode == 5
    assert done.stderr == (
        f"enginebuild: error: the engine needs 1 × {H100} (compute capability "
        "9.0), and no GPU is visible here "
        f"({reason})\n"
        f"enginebuild: hint: on a machine with NVIDIA's driver: docker run --gpus all\n{OFF}"
    )


def test_warnings_do_not_keep_it_from_starting(tmp_path: Path, site: Path) -> None:
    env = {
        "PYTHONPATH": str(site),
        "NVIDIA_SMI_STANDIN_GPUS": "NVIDIA H200, 9.0, 143771, 143000",
        "NVIDIA_SMI_STANDIN_DRIVER": "580.95.05",
    }
    done = start(tmp_path, replace(NEEDS, versions={"tensorrt": "10.14.1.48"}), env)
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert done.stderr == (
        f"enginebuild: warning: the engine was built on {H100}, and here is "
        "NVIDIA H200 (9.0): it loads, but was "
        "tuned for other speeds and another size of memory\n"
        "enginebuild: warning: CUDA 13.1.0 came with driver 590.44, here is 580.95.05: it runs, but what is "
        "compiled from PTX at run time may not\n"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}", f"it must have the fields {FIELDS}"),
        ("[]", f"it must have the fields {FIELDS}"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_needs_that_cannot_be_read_do_not_keep_it_from_starting(
    tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "needs.json").write_text(content)
    done = ended(tmp_path, "start.py", str(tmp_path / "needs.json"), "echo", "served")
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert done.stderr == f"enginebuild: not checked: what the image needs cannot be read: {reason}\n"


def test_a_server_that_is_not_there(tmp_path: Path, site: Path) -> None:
    done = start(tmp_path, NEEDS, {"PYTHONPATH": str(site), "NVIDIA_SMI_STANDIN_GPUS": ONE}, "trtllm-serve")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "enginebuild: error: trtllm-serve cannot be started: No such file or directory\n"


def test_start_without_words(tmp_path: Path) -> None:
    done = ended(tmp_path, "start.py")
    assert (done.returncode, done.stderr) == (
        2,
        "enginebuild: error: start.py needs a file and the words of a command\n",
    )


def test_description(tmp_path: Path, site: Path) -> None:
    env = {
        "PYTHONPATH": str(site),
        "CUDA_VERSION": "13.1.0.036",
        "NVIDIA_SMI_STANDIN_GPUS": f"{ONE}; NVIDIA L4, 8.9, 23034, 22563",
        "CUDA_VISIBLE_DEVICES": "0",
    }
    written = tmp_path / "made.json"
    ended(tmp_path, "describe.py", str(written), env=env).check_returncode()
    described = json.loads(written.read_text())
    torch = described.pop("torch")  # this Python's own, if it has one
    assert torch is None or isinstance(torch, str)
    assert described == {
        "tensorrt_llm": "1.2.1",
        "tensorrt": "10.14.1.48",
        "modelopt": "0.37.0",
        "cuda": "13.1.0",
        "driver": "590.44.01",
        "gpus": [
            {
                "index": 0,
                "uuid": "GPU-00000000-0000-4000-8000-000000000000",
                "product": H100,
                "compute_capability": "9.0",
                "memory_total": 81559 << 20,
                "memory_free": 81004 << 20,
            }
        ],
    }
    assert json.loads(ended(tmp_path, "describe.py", "-", env=env).stdout)["gpus"] == described["gpus"]


def test_a_machine_of_which_nothing_is_known_is_described(tmp_path: Path) -> None:
    done = ended(tmp_path, "describe.py", "-", env={"PATH": "/nowhere"})
    assert done.returncode == 0
    described = json.loads(done.stdout)
    assert described["gpus"] == []
    assert [described[name] for name in ("tensorrt_llm", "tensorrt", "driver")] == [None, None, None]


def test_describe_without_a_file(tmp_path: Path) -> None:
    done = ended(tmp_path, "describe.py")
    assert (done.returncode, done.stderr) == (2, "usage: describe.py FILE (- for standard output)\n")


def test_forward_compatibility_counts(tmp_path: Path) -> None:
    """The driver's library is asked what it serves: cuda-compat makes an old driver serve a newer CUDA."""
    if shutil.which("cc") is None:
        services.missing("no C compiler for a stand-in of libcuda.so.1")
    source = tmp_path / "libcuda_standin.c"
    source.write_text("int cuDriverGetVersion(int *version) { *version = SERVES; return 0; }\n")
    needs = replace(NEEDS, versions={})
    said = {}
    for serves in (13010, 12090):
        library = tmp_path / "libcuda.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", f"-DSERVES={serves}", "-o", library, source], check=True)
        env = {
            "LD_LIBRARY_PATH": str(tmp_path),
            "NVIDIA_SMI_STANDIN_GPUS": ONE,
            "NVIDIA_SMI_STANDIN_DRIVER": "550.54.15",
        }
        done = start(tmp_path, needs, env)
        said[serves] = (done.returncode, done.stderr)
    older = "this image has CUDA 13.1.0, and the driver here serves CUDA 12.9"
    assert said == {
        13010: (0, ""),
        12090: (
            5,
            f"enginebuild: error: {older}\nenginebuild: hint: update the driver\n{OFF}",
        ),
    }
