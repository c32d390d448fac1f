"""The action that runs commands: what is kept of a run, what of a failed one, and that nothing else is."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.build import build
from enginebuild.errors import StepError
from enginebuild.events import Event, LogLine, silent
from enginebuild.execution import Execution, Folders, LocalEnvironment
from enginebuild.runners.local import LocalRunner
from enginebuild.step import Step, beside_document
from enginebuild.steps.commands import Ran, RunCommands
from enginebuild.steps.configure import WriteFiles
from enginebuild_cache import Digest, File, Json, Record, Store, Tree

HERE = LocalEnvironment(Path("/usr"), {})
MODEL = Step("fetch", 1, {}, WriteFiles({"config.json": b"{}", "deep/weights": b"w" * 1000}))


def fine(_folders: Folders) -> dict[str, Json]:
    """A check that finds nothing wrong, and says so in the record."""
    return {"looked_at": "fine"}


def action(*texts: str) -> RunCommands:
    """Shell commands in this machine's own environment."""
    words = tuple(
        ("sh", "-c", text, "sh", "/enginebuild/input/fetch", "/enginebuild/output", "/enginebuild/scripts")
        for text in texts
    )
    return RunCommands(Execution("convert", HERE, words), LocalRunner(), fine)


def step(made: RunCommands, **fields: Json) -> Step:
    return Step("convert", 1, fields, made, ("fetch",))


def run(store: Store, made: RunCommands, report: list[Event] | None = None) -> Record:
    """Build it behind the fetch; the record of its step."""
    said = report if report is not None else []
    outcome = build((MODEL, step(made)), "test", store, said.append)["convert"]
    record = store.record(outcome.key)
    assert record is not None
    return record


def beside(store: Store, record: Record, name: str) -> Record | None:
    return store.record(Digest.of_json(beside_document(name, record.key)))


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def text(store: Store, tree: Tree, path: str) -> str:
    return store.read_bytes(tree.file(path)).decode()


def nothing_left(store: Store) -> bool:
    return list((store.root / "work").iterdir()) == []


def test_the_output_is_kept_with_its_log_and_what_is_worth_knowing(store: Store) -> None:
    events: list[Event] = []
    made = action("echo hello; cp -r $1/deep $2", "sh $3/say.sh > $2/said")
    made = replace(made, scripts={"say.sh": b"echo from a script\n"})
    record = run(store, made, events)
    assert [file.path for file in record.tree] == ["deep/weights", "said"]
    assert text(store, record.tree, "said") == "from a script\n"
    assert nothing_left(store)

    words = " /enginebuild/input/fetch /enginebuild/output /enginebuild/scripts"
    log = [
        f"$ sh -c 'echo hello; cp -r $1/deep $2' sh{words}",
        "hello",
        f"$ sh -c 'sh $3/say.sh > $2/said' sh{words}",
    ]
    assert [event.text for event in events if isinstance(event, LogLine)] == log
    assert {event.step for event in events if isinstance(event, LogLine)} == {"convert"}
    kept = beside(store, record, "log")
    assert kept is not None
    assert kept.step == "log"
    assert text(store, kept.tree, "log.txt") == "".join(f"{line}\n" for line in log)
    assert kept.provenance["subject"] == "test"

    execution = record.provenance["execution"]
    assert isinstance(execution, dict)
    assert execution["runner"] == "local"
    assert execution["looked_at"] == "fine"
    assert execution["commands"] == [list(command) for command in made.execution.commands]
    assert execution["log"] == str(kept.tree.file("log.txt").digest)
    assert record.provenance["subject"] == "test"
    assert isinstance(record.provenance["seconds"], float)


def test_a_second_build_runs_nothing(store: Store) -> None:
    first = run(store, action("echo x > $2/x"))
    assert run(store, action("exit 1")) == first


def test_what_is_beside_the_output_is_no_part_of_it(store: Store) -> None:
    made = replace(
        action("echo x > $2/x; mkdir $2/t; echo $$ > $2/t/model.cache"),
        side={"timing_cache": "t/model.cache", "absent": "none"},
    )
    record = run(store, made)
    assert [file.path for file in record.tree] == ["x"]
    cache = beside(store, record, "timing_cache")
    assert cache is not None
    assert [file.path for file in cache.tree] == ["model.cache"]
    assert beside(store, record, "absent") is None


def test_finish_adds_to_what_was_checked(store: Store) -> None:
    seen: list[list[str]] = []

    def check(folders: Folders) -> None:
        places = (folders.inputs["fetch"] / "config.json", folders.output / "x")
        seen.append([path.name for path in places if path.is_file()])

    def finish(output: Path, ran: Ran) -> None:
        words = (str(ran.facts["runner"]), *ran.inputs, ran.log.read_text().splitlines()[-1])
        (output / "manifest").write_text(" ".join(words))

    record = run(store, replace(action("echo x > $2/x; echo last"), check=check, finish=finish))
    assert seen == [["config.json", "x"]]
    assert text(store, record.tree, "manifest") == "local fetch last"


def failure(store: Store, made: RunCommands) -> StepError:
    with pytest.raises(StepError) as error:
        run(store, made)
    assert nothing_left(store)
    assert [record.step for record in store.records()] == ["fetch"]
    return error.value


def kept_log(store: Store) -> Path:
    (folder,) = store.logs.iterdir()
    return folder


def test_a_failed_command_says_how_to_go_on(store: Store) -> None:
    command = "seq 1 100; echo half > $2/half; exit 3"
    error = failure(store, replace(action(command), scripts={"say.sh": b"echo\n"}))
    folder = kept_log(store)
    assert re.fullmatch(r"convert-[0-9]{8}-[0-9]{6}-[0-9]{6}", folder.name)
    places = "/enginebuild/input/fetch /enginebuild/output /enginebuild/scripts"
    last = "".join(f"\n  {number}" for number in range(81, 101))
    assert error.message == (
        f"the step convert failed: sh -c '{command}' sh {places} ended with exit code 3\n"
        f"the last lines of its log:{last}"
    )
    (fetched,) = (record for record in store.records() if record.step == "fetch")
    assert error.hint == (
        f"its whole log is {folder}/log.txt\n"
        "repeat it by hand in an empty folder:\n"
        f"  enginebuild cache export --cache-dir {store.root} {fetched.key.short} fetch\n"
        "  mkdir output\n"
        "  PATH=/usr/bin:\"$PATH\" CUDA_VISIBLE_DEVICES='' HF_DATASETS_OFFLINE=1 HF_HUB_OFFLINE=1 "
        "TRANSFORMERS_OFFLINE=1 VIRTUAL_ENV=/usr "
        f"sh -c '{command}' sh fetch output {folder}/scripts"
    )
    lines = (folder / "log.txt").read_text().splitlines()
    assert lines == [f"$ sh -c '{command}' sh {places}", *map(str, range(1, 101))]
    assert (folder / "scripts/say.sh").read_bytes() == b"echo\n"


def test_by_hand_it_fails_in_the_same_way(store: Store, tmp_path: Path) -> None:
    made = replace(action("cat $1/config.json $3/x; exit 3"), scripts={"x": b"of a script\n"})
    hint = failure(store, made).hint
    lines = [line.strip() for line in hint.split("folder:\n")[1].splitlines()]
    program = f"{sys.executable} -m enginebuild"
    script = "\n".join(line.replace("enginebuild cache", f"{program} cache", 1) for line in lines)
    (tmp_path / "empty").mkdir()
    ended = subprocess.run(["sh", "-c", script], cwd=tmp_path / "empty", capture_output=True, text=True)
    assert ended.returncode == 3
    assert ended.stdout.endswith("in fetch\n{}of a script\n")


def test_an_output_that_is_not_what_the_step_promises(store: Store) -> None:
    def check(folders: Folders) -> None:
        assert (folders.output / "x").exists()
        raise StepError("rank1.engine is missing", "look at the log")

    error = failure(store, replace(action("echo x > $2/x; echo told"), check=check))
    assert error.message.startswith("rank1.engine is missing\nthe last lines of its log:\n  $ sh -c ")
    assert error.message.endswith("\n  told")
    assert error.hint == f"look at the log\nits whole log is {kept_log(store)}/log.txt"


def test_it_says_what_is_lacking_and_a_plan_runs_nothing() -> None:
    lacks = replace(action("true"), execution=Execution("convert", HERE, (("no-such-program",),)))
    assert lacks.lacking() == ("no program no-such-program in /usr/bin, and none on PATH",)
    with pytest.raises(ValueError) as error:
        replace(lacks, runner=None).lacking()
    assert str(error.value) == "the step convert was planned without a runner"


def test_a_machine_that_lacks_something_leaves_no_log_to_read(store: Store) -> None:
    made = replace(action("true"), execution=Execution("convert", HERE, (("no-such-program",),)))
    error = failure(store, made)
    assert error.message == (
        "the step convert cannot start no-such-program: No such file or directory\n"
        "the last lines of its log:\n  $ no-such-program"
    )


def test_a_link_in_the_output_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="cannot store link: it is a symbolic link"):
        run(store, action("ln -s /etc/passwd $2/link"))
    assert nothing_left(store)


@pytest.mark.parametrize("ends", ["exit 0", "exit 1"])
def test_an_input_that_is_written_to_is_an_error_and_leaves_the_store(store: Store, ends: str) -> None:
    """Only root can, where the input is a hard link of the store's file."""
    error = failure(store, action(f"chmod u+w $1/config.json; echo no > $1/config.json; {ends}"))
    assert (error.message, error.hint) == (
        "the step convert wrote to its input: config.json",
        "an input is only read; the next run brings it again",
    )
    assert run(store, action("cp $1/config.json $2")).tree.file("config.json").size == 2
    assert store.verify().findings == ()


_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.pipeline.test_commands import run, action
from enginebuild_cache import Store
import enginebuild.events
class Shown(list):
    def append(self, event):
        print(event, flush=True)
run(Store.open(Path(sys.argv[1])), action("echo half > $2/half; echo begun; sleep 60"), Shown())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_artifact_and_the_next_one_goes_on(
    store: Store, how: signal.Signals
) -> None:
    words = [sys.executable, "-c", _RUN, str(store.root), str(Path(__file__).parents[2])]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while (line := process.stdout.readline()) and "text='begun'" not in line:
        pass
    process.send_signal(how)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode != 0
    if how != signal.SIGKILL:
        assert complaint.rstrip().endswith("KeyboardInterrupt")
        assert nothing_left(store)
    assert [record.step for record in store.records()] == ["fetch"]
    events: list[Event] = []
    record = run(store, action("echo whole > $2/whole"), events)
    assert [file.path for file in record.tree] == ["whole"]
    assert nothing_left(store)
    assert list(store.logs.iterdir()) == []


def test_the_record_of_a_run_that_was_killed_in_between_is_whole(store: Store) -> None:
    """A result without its log is one; it is not made again for it."""
    record = run(store, action("echo x > $2/x"))
    log = beside(store, record, "log")
    assert log is not None
    (store.root / "records/log" / f"{log.key.hex}.json").unlink()
    assert run(store, action("exit 1")) == record


def test_an_action_that_gives_a_tree_alone_is_recorded_as_ever(store: Store) -> None:
    build((MODEL,), "test", store, silent)
    (record,) = store.records()
    assert set(record.provenance) == {"subject", "tool", "finished", "seconds"}
    assert record.tree.file("config.json") == File("config.json", Digest.of(b"{}"), 2)


@pytest.mark.parametrize("ends", ["exit 0", "exit 1"])
def test_a_secret_is_nowhere_in_the_cache(store: Store, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "very-secret-value")
    made = action(f"echo it is $TOKEN; echo $TOKEN | sha256sum > $2/proof; {ends}")
    made = replace(made, execution=replace(made.execution, secrets=("TOKEN",)))
    events: list[Event] = []
    if ends == "exit 0":
        record = run(store, made, events)
        proof = hashlib.sha256(b"very-secret-value\n").hexdigest()
        assert text(store, record.tree, "proof").startswith(proof)
    else:
        assert "very-secret-value" not in repr(failure(store, made))
    kept = [path for path in store.root.rglob("*") if path.is_file()]
    assert any(b"it is ***" in path.read_bytes() for path in kept)
    assert [path for path in kept if b"very-secret-value" in path.read_bytes()] == []
    assert "very-secret-value" not in repr(events)
