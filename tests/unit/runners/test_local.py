"""Commands as processes: real folders in their words, little of our environment, and no process left."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.errors import StepError
from enginebuild.events import Event, Waited, Waiting, silent
from enginebuild.execution import CommandFailed, Execution, Folders, GpuNeed, Limits, LocalEnvironment
from enginebuild.runners import make
from enginebuild.runners.gpu_locks import gpu_locks
from enginebuild.runners.local import LocalRunner
from enginebuild.runners.machine import this_machine
from enginebuild.runners.reservation import reserved
from parts.services import NVIDIA_STANDIN

SECRET = "very-secret-value"


@pytest.fixture
def environment(tmp_path: Path) -> LocalEnvironment:
    """A folder with one program in it, which shows its words."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    program = tmp_path / "env" / "bin" / "show"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    return LocalEnvironment(tmp_path / "env", {"torch": "2.9.0", "numpy": "2.3"})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders({"fetch": tmp_path / "in"}, tmp_path / "scripts", tmp_path / "work" / "output")
    for folder in (*made.inputs.values(), made.scripts, made.output):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{NVIDIA_STANDIN}:{os.environ['PATH']}")
    monkeypatch.setenv(
        "NVIDIA_SMI_STANDIN_GPUS", "NVIDIA L4, 8.9, 23034, 500; NVIDIA H100 80GB HBM3, 9.0, 81559, 81004"
    )


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


def said(execution: Execution, folders: Folders) -> list[str]:
    """The log, without the lines that say what was started."""
    lines: list[str] = []
    LocalRunner().run(execution, folders, lines.append)
    return [line for line in lines if not line.startswith("$ ")]


def variables(execution: Execution, folders: Folders) -> Mapping[str, str]:
    lines = said(execution, folders)
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_the_runner_is_made_by_its_name() -> None:
    assert make("local", lambda _event: None).name == "local"
    assert make("docker", lambda _event: None).name == "docker"


def test_words_with_real_folders(environment: LocalEnvironment, folders: Folders) -> None:
    words = (
        *("/enginebuild/input/fetch", "/enginebuild/input/fetch/config.json", "--out=/enginebuild/output/a"),
        *("/enginebuild/scripts/run.py", "/enginebuild/input/fetched", "x/enginebuild/output", "plain"),
    )
    source, output = folders.inputs["fetch"], folders.output
    assert said(Execution("convert", environment, (("show", *words),)), folders) == [
        *(str(source), f"{source}/config.json", f"--out={output}/a", f"{folders.scripts}/run.py"),
        *("/enginebuild/input/fetched", "x/enginebuild/output", "plain"),
    ]


def test_commands_run_in_order_and_each_is_named_in_the_log(
    environment: LocalEnvironment, folders: Folders
) -> None:
    lines: list[str] = []
    copy = ("cp", "/enginebuild/output/a", "/enginebuild/output/b")
    execution = Execution("convert", environment, (shell("echo 1 >a; cp a $OUT; echo a b"), copy))
    execution = replace(execution, variables={"OUT": "/enginebuild/output"})
    facts = LocalRunner().run(execution, folders, lines.append)
    assert lines == ["$ sh -c 'echo 1 >a; cp a $OUT; echo a b'", "a b", f"$ {' '.join(copy)}"]
    assert (folders.output / "b").read_text() == "1\n"
    assert facts["runner"] == "local"
    assert facts["environment"] == "numpy==2.3,torch==2.9.0"
    assert facts["gpus"] == []
    assert isinstance(facts["seconds"], float)


def test_the_environment_is_small(
    environment: LocalEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING", "of the shell")
    monkeypatch.setenv("LANG", "C.UTF-8")
    execution = Execution(
        "convert", environment, (("env",),), variables={"MODEL": "/enginebuild/input/fetch", "N": "1"}
    )
    seen = variables(execution, folders)
    assert "SOMETHING" not in seen
    assert seen["LANG"] == "C.UTF-8"
    assert seen["MODEL"] == str(folders.inputs["fetch"])
    assert seen["N"] == "1"
    assert seen["PATH"].startswith(f"{environment.folder}/bin:")
    assert seen["VIRTUAL_ENV"] == str(environment.folder)
    assert (seen["HF_HUB_OFFLINE"], seen["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    home = Path(seen["HOME"])
    assert home.parent == folders.output.parent
    assert not home.exists()
    assert seen["TMPDIR"] == seen["HOME"]


def test_a_step_with_network_is_not_told_to_stay_offline(
    environment: LocalEnvironment, folders: Folders
) -> None:
    seen = variables(Execution("fetch", environment, (("env",),), network=True), folders)
    assert "HF_HUB_OFFLINE" not in seen


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("need", "visible"),
    [(GpuNeed(1), "1"), (GpuNeed(1, compute_capability="8.9"), "0"), (GpuNeed(ids=("0", "1")), "0,1")],
)
def test_gpus_are_those_that_fit(
    environment: LocalEnvironment, folders: Folders, need: GpuNeed, visible: str
) -> None:
    seen = variables(Execution("compile", environment, (("env",),), gpus=need), folders)
    assert seen["CUDA_VISIBLE_DEVICES"] == visible
    assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.usefixtures("gpus")
def test_gpus_are_recorded_and_looked_at_again_before_the_start(
    environment: LocalEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = Execution("compile", environment, (("env",),), gpus=GpuNeed(1, free_bytes=10**9))
    facts = LocalRunner().run(execution, folders, lambda _line: None)
    assert facts["gpus"] == [
        {
            "index": "1",
            "name": "NVIDIA H100 80GB HBM3",
            "compute_capability": "9.0",
            "memory": 81559 << 20,
            "driver": "590.44.01",
        }
    ]
    monkeypatch.setenv("NVIDIA_SMI_STANDIN_GPUS", "NVIDIA L4, 8.9, 23034, 500")
    with pytest.raises(StepError) as error:
        LocalRunner().run(execution, folders, lambda _line: None)
    assert error.value.message == (
        "the step compile cannot start: too little GPU memory is free: the step compile needs 1.0 GB "
        "on 1 GPU, and GPU 0 has 0.5 GB"
    )


@pytest.mark.usefixtures("gpus")
def test_gpus_are_reserved_while_commands_run_and_waiting_is_not_in_their_time(
    environment: LocalEnvironment, folders: Folders
) -> None:
    heard: list[Event] = []
    lines: list[str] = []

    def holders() -> str:
        return "; ".join(gpu_locks().holders(gpu.uuid for gpu in this_machine().gpus).values())

    def told(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Waiting):
            threading.Timer(1.5, held.close).start()

    def log(line: str) -> None:
        lines.append(line)
        assert holders().endswith("UTC, step compile")

    need, limits = GpuNeed(ids=("1",)), Limits(timeout=1)
    execution = Execution("compile", environment, (("show", "x"),), gpus=need, limits=limits)
    with ExitStack() as held:
        held.enter_context(reserved(need, "quantize", this_machine, silent))
        facts = LocalRunner(told).run(execution, folders, log)
    assert lines == ["$ show x", "x"]
    waiting, waited = heard
    assert isinstance(waiting, Waiting)
    assert (waiting.what, waiting.holder.rpartition(", ")[2]) == ("GPU 1", "step quantize")
    assert isinstance(waited, Waited)
    assert isinstance(facts["seconds"], float)
    assert facts["seconds"] < 1 < waited.seconds
    assert holders() == ""


def test_what_is_missing(
    environment: LocalEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = LocalRunner()
    assert runner.missing(Execution("convert", environment, (("show",), ("/enginebuild/scripts/x",)))) == ()
    assert runner.missing(
        Execution("compile", environment, (("trtllm-build",), ("show",), ("trtllm-build", "again")))
    ) == (f"no program trtllm-build in {environment.folder}/bin, and none on PATH",)
    nowhere = LocalEnvironment(tmp_path / "none", {})
    assert runner.missing(Execution("compile", nowhere, (("show",),), gpus=GpuNeed(1))) == (
        f"no environment at {tmp_path}/none: it has no folder bin",
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runner.missing(Execution("compile", environment, (("show",),), gpus=GpuNeed(1))) == (
        "no NVIDIA driver: this machine has no program nvidia-smi, and the step compile needs 1 GPU",
    )


def test_an_exit_code(environment: LocalEnvironment, folders: Folders) -> None:
    command = shell("echo why >&2; exit 3")
    lines: list[str] = []
    with pytest.raises(CommandFailed) as error:
        LocalRunner().run(Execution("convert", environment, (command, ("show",))), folders, lines.append)
    assert error.value.message == (
        "the step convert failed: sh -c 'echo why >&2; exit 3' ended with exit code 3"
    )
    assert error.value.hint == ""
    assert error.value.command == command
    assert lines == ["$ sh -c 'echo why >&2; exit 3'", "why"]


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("kill -9 $$", "was killed by signal 9: out of memory?", "dmesg on the builder says who killed it"),
        ("exit 137", "was killed by signal 9: out of memory?", "dmesg on the builder says who killed it"),
        ("kill -15 $$", "was ended by signal 15", ""),
    ],
)
def test_a_signal(environment: LocalEnvironment, folders: Folders, text: str, said: str, hint: str) -> None:
    with pytest.raises(CommandFailed) as error:
        LocalRunner().run(Execution("convert", environment, (shell(text),)), folders, lambda _line: None)
    assert error.value.message == f"the step convert failed: sh -c '{text}' {said}"
    assert error.value.hint == hint


def test_a_program_that_is_not_there(environment: LocalEnvironment, folders: Folders) -> None:
    with pytest.raises(StepError) as error:
        LocalRunner().run(Execution("convert", environment, (("none",),)), folders, lambda _line: None)
    assert error.value.message == "the step convert cannot start none: No such file or directory"
    assert error.value.hint == f"is it in {environment.folder}/bin?"


def _await_gone(process: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{process}").exists():
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":  # nobody here is its parent
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("talks", [True, False])
def test_a_timeout_ends_the_whole_group(environment: LocalEnvironment, folders: Folders, talks: bool) -> None:
    text = (
        "sleep 60 & echo $!; while true; do sleep 0.05; echo on; done"
        if talks
        else ("sleep 60 & echo $!; exec >/dev/null 2>&1; sleep 60")
    )
    lines: list[str] = []
    started = time.monotonic()
    execution = Execution("compile", environment, (shell(text),), limits=Limits(timeout=1))
    with pytest.raises(CommandFailed) as error:
        LocalRunner().run(execution, folders, lines.append)
    assert time.monotonic() - started < 10
    assert error.value.message == (
        f"the step compile took longer than 1 s and was stopped at sh -c {shlex.quote(text)}"
    )
    assert error.value.hint == "builder.timeout sets the limit"
    _await_gone(int(lines[1]))


def test_what_a_command_leaves_running_is_ended(environment: LocalEnvironment, folders: Folders) -> None:
    lines: list[str] = []
    started = time.monotonic()
    execution = Execution("convert", environment, (shell("sleep 60 & echo $!"),))
    LocalRunner().run(execution, folders, lines.append)
    assert time.monotonic() - started < 10
    _await_gone(int(lines[1]))


def test_secrets_are_passed_and_not_shown(
    environment: LocalEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    command = shell('echo "the token is $TOKEN"; echo "$TOKEN" > $OUT/kept')
    execution = Execution(
        "convert",
        environment,
        (command,),
        secrets=("TOKEN", "UNSET"),
        variables={"OUT": "/enginebuild/output"},
    )
    lines: list[str] = []
    facts = LocalRunner().run(execution, folders, lines.append)
    assert lines[1:] == ["the token is ***"]
    assert (folders.output / "kept").read_text() == f"{SECRET}\n"
    assert SECRET not in repr(facts)


def test_lines_come_while_it_runs(environment: LocalEnvironment, folders: Folders) -> None:
    times: list[float] = []
    execution = Execution("convert", environment, (shell("echo a; sleep 2; echo b"),))
    LocalRunner().run(execution, folders, lambda _line: times.append(time.monotonic()))
    assert times[2] - times[1] > 1  # however busy the machine is


def test_by_hand_the_same_comes_out(environment: LocalEnvironment, folders: Folders, tmp_path: Path) -> None:
    command = ("show", "--model=/enginebuild/input/fetch", "it's", "/enginebuild/output")
    execution = Execution("convert", environment, (command,), variables={"A": "b c"}, secrets=("TOKEN",))
    here = Folders({"fetch": Path("fetch")}, Path("/kept/scripts"), Path("output"))
    line = LocalRunner().by_hand(execution, command, here)
    assert line == (
        f"PATH={environment.folder}/bin:\"$PATH\" A='b c' CUDA_VISIBLE_DEVICES='' HF_DATASETS_OFFLINE=1 "
        f"HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VIRTUAL_ENV={environment.folder} "
        "show --model=fetch 'it'\"'\"'s' output"
    )
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ended.stdout == "--model=fetch\nit's\noutput\n"


def test_by_hand_with_gpus(environment: LocalEnvironment) -> None:
    command = ("show",)
    execution = Execution("compile", environment, (command,), gpus=GpuNeed(ids=("1", "3")), network=True)
    here = Folders({}, Path("/kept/scripts"), Path("output"))
    assert LocalRunner().by_hand(execution, command, here) == (
        f'PATH={environment.folder}/bin:"$PATH" CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1,3 '
        f"VIRTUAL_ENV={environment.folder} show"
    )


_INTERRUPTED = """
import sys
from pathlib import Path
from enginebuild.execution import Execution, Folders, LocalEnvironment
from enginebuild.runners.local import LocalRunner
folders = Folders({}, Path(sys.argv[1]), Path(sys.argv[1], "output"))
words = ("sh", "-c", "sleep 60 & echo $! $$; sleep 60")
LocalRunner().run(Execution("x", LocalEnvironment(Path("/usr"), {}), (words,)), folders,
                  lambda line: print(line, flush=True))
"""


def test_ctrl_c_ends_the_group(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    numbers = [int(word) for word in process.stdout.readline().split()]
    process.send_signal(2)
    _, complaint = process.communicate(timeout=20)
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    for number in numbers:
        _await_gone(number)
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
