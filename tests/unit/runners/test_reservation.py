"""Two executions never have one GPU: real programs side by side, and what is said to those who wait."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.errors import StepError
from enginebuild.events import Event, Note, Waited, Waiting, silent
from enginebuild.execution import GpuNeed
from enginebuild.runners import reservation
from enginebuild.runners.gpu_locks import PLACE, gpu_locks
from enginebuild.runners.machine import Machine
from enginebuild.runners.reservation import lacking, reserved
from enginebuild_cache.lock import flock
from parts.gpu_holder import MIB, gpu, machine

TESTS = Path(__file__).parents[2]
ONE = machine(1)
TWO = machine(2)


def unexpected(event: Event) -> None:
    """A Report where nobody waits and nothing is worth a warning."""
    pytest.fail(str(event))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def start(count: int, seconds: str, log: Path, gpus: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "parts.gpu_holder", str(count), seconds, str(log), str(gpus)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )


@contextmanager
def holder(log: Path, count: int = 1, gpus: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A program that has so many of the machine's GPUs until its input is closed."""
    with start(count, "-", log, gpus) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("has ")
        try:
            yield program
        finally:
            program.kill()


def ended(*programs: subprocess.Popen[str]) -> list[str]:
    """What each said to the end."""
    said = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * len(programs)
    return said


def at_once(log: Path) -> int:
    """The most GPUs that were taken at a time. No GPU is taken by two, ever."""
    taken: dict[str, str] = {}
    most = 0
    for line in log.read_text().splitlines():
        what, who, indices = line.split()
        for index in indices.split(","):
            if what == "has":
                assert index not in taken, log.read_text()
                taken[index] = who
            else:
                assert taken.pop(index) == who
        most = max(most, len(taken))
    assert taken == {}
    return most


def test_four_programs_share_two_gpus(log: Path) -> None:
    programs = [start(1, "0.5", log, 2) for _ in range(4)]
    ended(*programs)
    assert len(log.read_text().splitlines()) == 8
    assert at_once(log) == 2


def test_who_wants_two_waits_for_both_and_nobody_forever(log: Path) -> None:
    ended(*(start(count, "0.3", log, 2) for count in (1, 2, 2)))
    has = [line.split()[2] for line in log.read_text().splitlines() if line.startswith("has")]
    assert sorted(map(len, has)) == [1, 3, 3]
    assert at_once(log) == 2


def test_a_killed_holder_s_gpu_is_free_and_the_holder_is_named_once(log: Path) -> None:
    heard: list[Event] = []
    with holder(log) as program:

        def told(event: Event) -> None:
            heard.append(event)
            if isinstance(event, Waiting):
                threading.Timer(2.5 * reservation._POLL, program.send_signal, (signal.SIGKILL,)).start()

        with reserved(GpuNeed(1), "warm", lambda: ONE, told) as found:
            assert [each.index for each in found] == ["0"]
        assert program.wait(10) == -signal.SIGKILL
    waiting, waited = heard
    assert isinstance(waiting, Waiting)
    assert waiting.what == "GPU 0"
    who = rf"process {program.pid} on {re.escape(os.uname().nodename)} since [-0-9]+ [:0-9]+ UTC, step of 1"
    assert re.fullmatch(who, waiting.holder)
    assert isinstance(waited, Waited)
    assert waited.what == "GPU 0"
    assert 2 <= waited.seconds < 30


def test_nobody_waits_for_a_gpu_that_is_given_back(log: Path) -> None:
    for _ in range(3):
        with reserved(GpuNeed(2), "compile", lambda: TWO, unexpected) as found:
            assert found == TWO.gpus
            assert set(gpu_locks().holders(each.uuid for each in found).values()) != set()
        assert gpu_locks().holders(each.uuid for each in TWO.gpus) == {}


def test_all_or_none() -> None:
    first, second = (each.uuid for each in TWO.gpus)
    locks = gpu_locks()
    with locks.taken([second], "step a") as taken, locks.taken([second, first], "step b") as both:
        assert (taken, both) == (True, False)
        assert list(locks.holders([first, second])) == [second]


def test_a_wait_is_told_once_however_long_the_queue() -> None:
    heard: list[Event] = []

    def told(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Waiting):
            threading.Timer(0.1, one.close).start()
            threading.Timer(reservation._POLL + 0.5, other.close).start()

    with ExitStack() as one, ExitStack() as other:
        one.enter_context(reserved(GpuNeed(ids=("0",)), "one", lambda: TWO, silent))
        other.enter_context(reserved(GpuNeed(ids=("1",)), "other", lambda: TWO, silent))
        with reserved(GpuNeed(2), "compile", lambda: TWO, told) as found:
            assert found == TWO.gpus
    waiting, waited = heard
    assert isinstance(waiting, Waiting)
    assert waiting.what == "GPU 0, 1"
    assert [text.rpartition(" ")[2] for text in waiting.holder.split("; ")] == ["one", "other"]
    assert isinstance(waited, Waited)
    assert waited.what == "GPU 0, 1"
    assert waited.seconds > reservation._POLL


def test_an_error_gives_them_back() -> None:
    with pytest.raises(KeyError), reserved(GpuNeed(1), "compile", lambda: ONE, silent):
        raise KeyError
    with reserved(GpuNeed(1), "compile", lambda: ONE, unexpected):
        pass


def test_the_other_gpu_is_taken_without_a_wait() -> None:
    emptier = Machine((gpu("0"), gpu("1", 5 * MIB)))
    with (
        reserved(GpuNeed(1), "compile", lambda: emptier, unexpected) as first,
        reserved(GpuNeed(1), "compile", lambda: emptier, unexpected) as second,
    ):
        assert [each.index for each in (*first, *second)] == ["0", "1"]


def test_one_that_lacks_nothing_but_what_another_has_is_not_refused() -> None:
    """Its memory is in use by whoever has it."""
    full = Machine((gpu("0", 100 * MIB),))
    need = GpuNeed(1, free_bytes=10**10)
    sentence = "too little GPU memory is free: the step compile needs {} GB on 1 GPU, and GPU 0 has 0.1 GB"
    with reserved(GpuNeed(1), "quantize", lambda: ONE, silent):
        assert lacking(need, "compile", lambda: full) == ()
        larger = replace(need, free_bytes=25 * 10**9)
        assert lacking(larger, "compile", lambda: full) == (sentence.format("25.0"),)
    assert lacking(need, "compile", lambda: full) == (sentence.format("10.0"),)
    assert lacking(GpuNeed(), "compile", lambda: Machine(trouble="none")) == ()


def test_memory_is_free_a_moment_after_its_user_is_gone() -> None:
    looks: list[int] = []

    def ask() -> Machine:
        looks.append(1)
        return Machine((gpu("0", 100 * MIB),)) if len(looks) < 2 else ONE

    need = GpuNeed(1, free_bytes=10**10)
    assert lacking(need, "compile", ask) == ()
    looks.clear()
    with reserved(need, "compile", ask, silent) as found:
        assert [each.index for each in found] == ["0"]


def test_what_does_not_fit_is_refused_whoever_has_it() -> None:
    with (
        reserved(GpuNeed(1), "quantize", lambda: ONE, silent),
        pytest.raises(StepError) as error,
        reserved(GpuNeed(1, compute_capability="9.0"), "compile", lambda: ONE, unexpected),
    ):
        pass
    assert error.value.message == (
        "the step compile cannot start: wrong compute capability: the step compile needs 9.0 on 1 GPU, "
        "and this machine has 0 (NVIDIA L4, 8.9)"
    )


def test_named_gpus_are_waited_for_though_others_are_free(log: Path) -> None:
    heard: list[Event] = []
    named = GpuNeed(ids=("0", "0", TWO.gpus[1].uuid))
    with holder(log, gpus=1) as program:

        def told(event: Event) -> None:
            heard.append(event)
            program.kill()

        with reserved(named, "compile", lambda: TWO, told) as found:
            assert {each.index for each in found} == {"0", "1"}
    assert isinstance(heard[0], Waiting)
    assert heard[0].what.startswith("GPU 0")


def test_a_wait_can_be_interrupted_and_leaves_nothing(log: Path) -> None:
    def interrupt(_event: Event) -> None:
        raise KeyboardInterrupt

    with (
        holder(log),
        pytest.raises(KeyboardInterrupt),
        reserved(GpuNeed(2), "compile", lambda: TWO, interrupt),
    ):
        pass
    assert gpu_locks().holders(each.uuid for each in TWO.gpus) == {}


def _as_a_file(place: Path) -> str:
    place.write_text("")
    return f"{place}: File exists"


def _as_a_link(place: Path) -> str:
    place.mkdir()
    path = gpu_locks().path(ONE.gpus[0].uuid)
    path.symlink_to(place / "secret")
    return f"{path}: Too many levels of symbolic links"


def _as_a_pipe(place: Path) -> str:
    place.mkdir()
    path = gpu_locks().path(ONE.gpus[0].uuid)
    os.mkfifo(path)
    return f"{path}: not a regular file"


@pytest.mark.parametrize("make", [_as_a_file, _as_a_link, _as_a_pipe])
def test_a_build_goes_on_without_locks(
    make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / "locks"))
    why = make(tmp_path / "locks")
    heard: list[Event] = []
    with reserved(GpuNeed(1), "compile", lambda: ONE, heard.append) as found:
        assert found == ONE.gpus
    assert heard == [Note(f"GPUs are not reserved, and another run may take the same: {why}", "warning")]
    assert not (tmp_path / "locks" / "secret").exists()


def test_a_file_of_ours_that_somebody_gave_this_name_is_not_written_to() -> None:
    path = gpu_locks().path(ONE.gpus[0].uuid)
    path.parent.mkdir()
    path.write_text("precious\n")
    with reserved(GpuNeed(1), "compile", lambda: ONE, unexpected):
        assert path.read_text() == "precious\n"
        assert gpu_locks().holders([ONE.gpus[0].uuid]) == {ONE.gpus[0].uuid: "precious"}
    assert path.read_text() == "precious\n"


def test_a_holder_s_words_cannot_steer_a_terminal() -> None:
    uuid = ONE.gpus[0].uuid
    with reserved(GpuNeed(1), "compile", lambda: ONE, unexpected):
        gpu_locks().path(uuid).write_text("process \x1b[2J1\n" + "x" * 300)
        (said,) = gpu_locks().holders([uuid]).values()
    assert said == "process [2J1".ljust(200, "x")


def test_a_removed_lock_file_is_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cleans /tmp may remove it between open and lock: nobody else would see that lock."""
    uuid = ONE.gpus[0].uuid
    locks = gpu_locks()
    with locks.taken([uuid], "once") as taken:
        assert taken

    def late(descriptor: int, operation: int) -> bool:
        with suppress(FileNotFoundError):
            locks.path(uuid).unlink()
        return flock(descriptor, operation)

    monkeypatch.setattr("enginebuild.runners.gpu_locks.flock", late)
    with locks.taken([uuid], "twice") as taken:
        assert not taken
    monkeypatch.undo()
    with locks.taken([uuid], "thrice") as taken:
        assert taken


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize("first", ["root", "other"])
def test_users_reserve_from_each_other(first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder as /tmp is, whatever their umask."""
    folder = tmp_path / "like tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.chdir(folder)
    monkeypatch.setenv(PLACE, ".")  # another user may not pass the folders above it
    if first == "root":
        with _umask(0o077), reserved(GpuNeed(1), "once", lambda: ONE, unexpected):
            pass
    before, after = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(12345)
            os.umask(0o077)
            with reserved(GpuNeed(1), "of another", lambda: ONE, unexpected):
                os.write(before[1], b".")
                os.read(after[0], 1)
            code = 0
        finally:
            os._exit(code)
    assert os.read(before[0], 1) == b"."
    (who,) = gpu_locks().holders(each.uuid for each in ONE.gpus).values()
    assert who.startswith(f"process {child} on ")
    heard: list[Event] = []

    def told(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Waiting):
            os.write(after[1], b".")

    with reserved(GpuNeed(1), "compile", lambda: ONE, told):
        (who,) = gpu_locks().holders(each.uuid for each in ONE.gpus).values()
        assert who.startswith(f"process {os.getpid()} on ")
    assert [type(event) for event in heard] == [Waiting, Waited]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for descriptor in (*before, *after):
        os.close(descriptor)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def test_the_place_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    assert gpu_locks().path("GPU-1/../[N/A]") == tmp_path / "enginebuild-gpu-GPU-1_____N_A_.lock"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(PLACE, "")
    assert gpu_locks().folder == Path("/tmp")
