"""Steps that run commands and go wrong: what is said, what is kept, and how a rerun goes on.

A fault is played by the stand-ins while all that decides their result stays the same (services.faults).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parts import cli, services
from parts.hub_server import HubServer
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_programs import write_environment
from parts.trtllm_recipes import VERSION, Workshop, changed, workshop, write

KILLS = 8
BUILD = {"max_batch_size": 4}
LAST_LINES = 20
#: The steps of an engine that are made by commands.
STEPS = ("convert", "compile")


@pytest.fixture(scope="module")
def shop(registry: str, docker_engine: DockerEngine) -> Workshop:
    made = workshop(registry, docker_engine)
    docker_engine.docker("pull", "--quiet", made.release)  # its time is not that of the first test
    return made


@contextmanager
def fault(shop: Workshop, name: str, kinds: str) -> Iterator[None]:
    """The fault of a model that is marked with `@name`."""
    path = shop.engine.faults / name
    path.write_text(kinds)
    try:
        yield
    finally:
        path.unlink()


def marked(shop: Workshop, folder: Path, name: str, **more: Any) -> Path:
    return write(folder, shop.recipe({"build": BUILD}, **more), fault=f"@{name}")


def finished(ended: cli.Ended) -> dict[str, str]:
    """Step → status, of the steps that ended before the run did."""
    return {event["step"]: event["status"] for event in ended.events if event["event"] == "step_finished"}


def containers(shop: Workshop) -> list[str]:
    """Those of this registry's images that are there, running or not."""
    listed = shop.engine.docker("ps", "--all", "--no-trunc", "--format", "{{.Image}} {{.ID}}")
    return [line for line in listed.splitlines() if shop.registry in line]


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_step_says_all_that_is_needed(shop: Workshop, tmp_path: Path, step: str) -> None:
    recipe = marked(shop, tmp_path, f"says-{step}")
    with fault(shop, f"says-{step}", f"{step}:fail"):
        ended = shop.run(recipe)
    assert ended.code == 6
    said = ended.stderr
    assert said.startswith(f"error: the step {step} failed: ")
    assert "ended with exit code 1\n" in said
    shown = re.findall(rf"{step}: line (\d+) before the fault\n", said)
    assert shown == [str(number) for number in range(int(shown[0]), 40)]
    assert len(shown) < LAST_LINES
    assert f"  RuntimeError: {step} was told to fail\n" in said
    assert "Traceback (most recent call last)" in said  # of the stand-in's, and no other
    assert said.count("Traceback") == 1
    (log,) = re.findall(r"its whole log is (\S+)", said)
    assert f"{step}: line 0 before the fault" in Path(log).read_text()
    assert containers(shop) == []


def test_the_command_that_is_shown_repeats_the_failure_and_after_it_the_step(
    shop: Workshop, tmp_path: Path
) -> None:
    recipe = marked(shop, tmp_path / "recipe", "repeat")
    with fault(shop, "repeat", "compile:fail"):
        ended = shop.run(recipe)
        (_, script) = ended.stderr.split("repeat it by hand in an empty folder:\n")
        script = script.split("\n\n")[0]
        if "the Docker Engine may not raise limits" in ended.stdout:
            script = script.replace("--ulimit memlock=-1", "")
        program = tmp_path / "bin" / "enginebuild"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {" ".join(cli.argv())} "$@"\n')
        program.chmod(0o755)
        env = {**os.environ, **shop.env, "PATH": f"{program.parent}:{shop.env['PATH']}"}

        def by_hand(name: str) -> subprocess.CompletedProcess[str]:
            (tmp_path / name).mkdir()
            return subprocess.run(
                ["sh", "-e"],
                input=script,
                env=env,
                cwd=tmp_path / name,
                capture_output=True,
                text=True,
                check=False,
            )

        failed = by_hand("first")
        assert failed.returncode == 1, failed.stderr
        assert "RuntimeError: compile was told to fail" in failed.stdout + failed.stderr
    done = by_hand("second")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "second/output/rank0.engine").stat().st_size > 0


@pytest.mark.parametrize("step", STEPS)
def test_half_an_output_is_never_taken_for_an_artifact(shop: Workshop, tmp_path: Path, step: str) -> None:
    recipe = marked(shop, tmp_path, f"half-{step}", tensor_parallel_size=2)
    cache = tmp_path / "cache"
    with fault(shop, f"half-{step}", f"{step}:half"):
        for _ in range(2):
            ended = shop.run(recipe)
            assert ended.code == 6
            assert "was killed by signal 9: out of memory?" in ended.stderr
            assert not (cache / "records" / step).exists()
            assert list((cache / "tmp").iterdir()) == []
            assert containers(shop) == []
    cli.enginebuild("cache", "verify", "--cache-dir", cache).ok()
    done = shop.run(recipe).ok()
    before = {"convert": {"fetch"}, "compile": {"fetch", "convert"}}[step]
    assert {name for name, status in done.statuses.items() if status != "built"} == before | (
        {"tokenizer"} & set(finished(ended))
    )
    assert done.statuses[step] == "built"


def test_a_step_that_hangs_is_stopped_at_its_limit(shop: Workshop, tmp_path: Path) -> None:
    recipe = marked(shop, tmp_path, "hangs", builder={"timeout": "3s"})
    with fault(shop, "hangs", "compile:hang"):
        begun = time.monotonic()
        ended = shop.run(recipe)
    assert time.monotonic() - begun < 60
    assert ended.code == 6
    assert ended.stderr.startswith(
        "error: the step compile took longer than 3 s and was stopped at trtllm-build "
    )
    assert "hint: builder.timeout sets the limit\n" in ended.stderr
    assert containers(shop) == []


def _await(shop: Workshop, since: float, count: int) -> None:
    """Wait until so many containers were started."""
    deadline = time.monotonic() + 60
    while len(shop.started(since)) < count:
        assert time.monotonic() < deadline, "the step never began"
        time.sleep(0.05)


def test_ctrl_c_ends_the_container_and_the_next_run_goes_on(shop: Workshop, tmp_path: Path) -> None:
    recipe = marked(shop, tmp_path, "ctrl-c")
    with fault(shop, "ctrl-c", "compile:hang"):
        begun = time.time()
        process = cli.start(*shop.words(recipe), env=shop.env)
        _await(shop, begun, 2)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended = cli.end(process)
    assert time.monotonic() - asked < 15
    assert ended.code == 130
    assert ended.stderr.endswith("interrupted; run the same command again to go on from here\n")
    assert containers(shop) == []
    done = shop.run(recipe).ok()
    assert (done.statuses["convert"], done.statuses["compile"]) == ("hit", "built")


@pytest.fixture(scope="module")
def duration(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of a build that nobody disturbs."""
    recipe = marked(shop, tmp_path_factory.mktemp("undisturbed"), "slow")
    with fault(shop, "slow", "convert:slow:0.5,compile:slow:0.5"):
        begun = time.monotonic()
        shop.run(recipe).ok()
    return time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_build_goes_on_without_repeating_finished_steps(
    shop: Workshop, tmp_path: Path, duration: float, seed: int
) -> None:
    recipe = marked(shop, tmp_path, f"kill-{seed}")
    moment = random.Random(seed).uniform(0.1, 0.95) * duration
    with fault(shop, f"kill-{seed}", "convert:slow:0.5,compile:slow:0.5"):
        process = cli.start(*shop.words(recipe), env=shop.env)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        killed = cli.end(process)
    before = finished(killed)
    again = shop.run(recipe).ok()
    repeated = {step for step in before if again.statuses[step] == "built"}
    assert repeated <= {"publish"}, killed.stdout
    verified = cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "cache").ok()
    assert verified.stderr.endswith(" 0 damaged\n")
    assert containers(shop) == []  # the killed run's, too: the next one sweeps
    third = shop.run(recipe).ok()
    assert third.digest == again.digest
    assert set(third.statuses.values()) <= {"hit", "unneeded"}


def refusal(*lines: str) -> str:
    said = "".join(f"  {line}\n" for line in lines)
    return (
        f"error: this machine cannot run what is to be built:\n{said}"
        "hint: run it where that is there, or name another builder: the recipe's builder section, --runner, "
        "DOCKER_HOST\n"
    )


@pytest.mark.parametrize(
    ("env", "lacking"),
    [
        (
            {"NVIDIA_SMI_STANDIN_GPUS": "none"},
            [f"no NVIDIA GPU: nvidia-smi lists none, and the step {step} needs 1 GPU" for step in STEPS],
        ),
        (
            {"NVIDIA_SMI_STANDIN_GPUS": "NVIDIA L4, 8.9, 23034, 22500"},
            [
                f"wrong compute capability: the step {step} needs 9.0 on 1 GPU, "
                "and this machine has 0 (NVIDIA L4, 8.9)"
                for step in STEPS[1:]
            ],
        ),
        (
            {"NVIDIA_SMI_STANDIN_DRIVER": "470.82.01"},
            [
                f"the NVIDIA driver is too old: the step {step} needs 580 or newer, "
                "and this machine has 470.82.01"
                for step in STEPS
            ],
        ),
        (
            {"NVIDIA_SMI_STANDIN_FAILS": "NVIDIA-SMI has failed"},
            [
                "the NVIDIA driver does not answer: nvidia-smi says: NVIDIA-SMI has failed, "
                f"and the step {step} needs 1 GPU"
                for step in STEPS
            ],
        ),
        (
            {"DOCKER_HOST": "unix:///nonexistent"},
            ["no Docker Engine at unix:///nonexistent: No such file or directory"],
        ),
    ],
    ids=["no GPU", "another GPU", "old driver", "broken driver", "no Docker"],
)
def test_a_machine_that_cannot_build_is_refused_before_the_model_is_fetched(
    shop: Workshop, tmp_path: Path, env: dict[str, str], lacking: list[str]
) -> None:
    write_tiny_llama(tmp_path / "hub" / "org" / "tiny")
    values = changed(shop.recipe({"build": BUILD}), "model", "hf://org/tiny@main")
    begun = time.time()
    with HubServer(tmp_path / "hub") as hub:
        ended = shop.run(write(tmp_path / "recipe", values), env={**env, "HF_ENDPOINT": hub.endpoint})
        assert hub.bytes_sent("*.safetensors") == 0
    assert (ended.code, ended.stderr) == (5, refusal(*lacking))
    assert shop.started(begun) == []


def test_a_machine_without_nvidia_s_programs_is_refused(shop: Workshop, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "docker").symlink_to(services.program("docker"))
    env = {"PATH": str(bare)}
    if shutil.which("nvidia-smi") is not None:
        pytest.skip("this machine has nvidia-smi")
    ended = shop.run(write(tmp_path / "recipe", shop.recipe({"build": BUILD})), env=env)
    assert ended.code == 5
    assert ended.stderr == refusal(
        f"no NVIDIA container runtime: the Docker Engine at {shop.engine.host} does not give GPUs to "
        "containers (install nvidia-container-toolkit, and run `nvidia-ctk runtime configure "
        "--runtime=docker`)",
        *(
            f"no NVIDIA driver: this machine has no program nvidia-smi, and the step {step} needs 1 GPU"
            for step in STEPS
        ),
    )


def test_a_builder_image_that_is_not_there_is_refused(shop: Workshop, tmp_path: Path) -> None:
    values = shop.recipe({"build": BUILD}, builder={"image": f"{shop.registry}/nobody/nothing:1"})
    ended = shop.run(write(tmp_path, values))
    assert ended.code == 3
    assert f"{shop.registry}/nobody/nothing:1" in ended.stderr
    assert not (tmp_path / "cache/records/fetch").exists()


def test_a_local_environment_without_nvidia_s_examples_is_refused(shop: Workshop, tmp_path: Path) -> None:
    write_environment(tmp_path / "environment", VERSION)
    values = shop.recipe({"build": BUILD})
    values["builder"] = {"runner": "local", "environment": str(tmp_path / "environment")}
    ended = shop.run(write(tmp_path / "recipe", values))
    script = "/app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py"
    lacking = f"no program {script}: NVIDIA's release image has it, and no package of TensorRT-LLM"
    assert (ended.code, ended.stderr) == (5, refusal(lacking))
    assert not (tmp_path / "recipe/cache/records/fetch").exists()
