"""An action that runs commands: inputs out of the store, the output into it, and the log beside it."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from enginebuild.errors import StepError
from enginebuild.events import LogLine, Report
from enginebuild.execution import CommandFailed, Execution, Folders, Runner
from enginebuild.step import Result
from enginebuild.terminable import terminable
from enginebuild_cache import File, Json, Store, Tree
from enginebuild_cache.errors import failing_as

#: The name of the records that hold logs, and of the file in them.
LOG = "log"
LOG_FILE = "log.txt"
#: So many of a failed step's last lines are shown.
LAST_LINES = 20

#: Looks at the output, with the inputs at hand: what is worth recording of it. Raises StepError.
Check = Callable[[Folders], Mapping[str, Json] | None]


@dataclass(frozen=True, slots=True)
class Ran:
    """What there is to say of an execution that ended well; `facts` are the runner's, `log` is a file."""

    facts: Mapping[str, Json]
    inputs: Mapping[str, Tree]
    log: Path


Finish = Callable[[Path, Ran], None]


@dataclass(frozen=True)
class RunCommands:
    """Run an execution in a workspace that is gone afterwards, whatever happens.

    `scripts` are the files of execution.SCRIPTS. `check` raises StepError when the output is not what the
    step promises. `finish` may add files to it. `side` names files of the output that are no part of the
    tree and are kept beside it, if they are there: name → path (a timing cache: no two runs make the same
    one). `runner` is None in a plan, which runs nothing.
    """

    execution: Execution
    runner: Runner | None
    check: Check
    scripts: Mapping[str, bytes] = field(default_factory=dict)
    side: Mapping[str, str] = field(default_factory=dict)
    finish: Finish | None = None

    def lacking(self) -> tuple[str, ...]:
        """What this machine lacks to run it, each as one sentence."""
        return self._runner.missing(self.execution)

    @property
    def _runner(self) -> Runner:
        if self.runner is None:
            raise ValueError(f"the step {self.execution.step} was planned without a runner")
        return self.runner

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Result:
        with store.workspace() as folder, terminable(), failing_as("write to", folder):
            folders = self._folders(folder, inputs, store)
            stamps = _stamps(folders)
            with _StepLog(folder / LOG_FILE, self.execution.step, report) as log:
                try:
                    facts = self._runner.run(self.execution, folders, log)
                    seen = self.check(folders)
                except StepError as error:
                    raise self._explained(error, log, folders, inputs, store) from error
                finally:
                    _require_untouched(self.execution.step, folders, stamps, inputs, store)
            if self.finish is not None:
                self.finish(folders.output, Ran(facts, inputs, log.path))
            return self._kept(folders, log.path, {**facts, **(seen or {})}, store)

    def _folders(self, folder: Path, inputs: Mapping[str, Tree], store: Store) -> Folders:
        found = Folders(
            {name: folder / "input" / name for name in inputs}, folder / "scripts", folder / "output"
        )
        for path in (*found.inputs.values(), found.scripts, found.output):
            path.mkdir(parents=True)
        for name, tree in inputs.items():
            store.checkout(tree, found.inputs[name])
        _write(self.scripts, found.scripts)
        return found

    def _kept(self, folders: Folders, log: Path, facts: Mapping[str, Json], store: Store) -> Result:
        beside = {}
        for name, path in self.side.items():
            side = folders.output / path
            if side.is_file():
                beside[name] = _moved(side, store)
        tree = store.collect(folders.output)
        beside[LOG] = _moved(log, store)
        commands: list[Json] = [list(command) for command in self.execution.commands]
        digest = str(beside[LOG].file(LOG_FILE).digest)
        return Result(tree, {"execution": {**facts, "commands": commands, "log": digest}}, beside)

    def _explained(
        self, error: StepError, log: _StepLog, folders: Folders, inputs: Mapping[str, Tree], store: Store
    ) -> StepError:
        """The error with the end of the log, and where and how to look further."""
        kept = self._keep_log(log, store)
        lines = [error.message]
        if log.last:
            lines += ["the last lines of its log:", *(f"  {line}" for line in log.last)]
        hints = [error.hint, f"its whole log is {kept / LOG_FILE}"]
        if isinstance(error, CommandFailed):
            hints.append(
                self._repeat(error.command, replace(folders, scripts=kept / "scripts"), inputs, store)
            )
        return StepError("\n".join(lines), "\n".join(filter(None, hints)))

    def _keep_log(self, log: _StepLog, store: Store) -> Path:
        when = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        kept = store.logs / f"{self.execution.step}-{when}"
        (kept / "scripts").mkdir(parents=True)
        log.close()
        shutil.copyfile(log.path, kept / LOG_FILE)
        _write(self.scripts, kept / "scripts")
        return kept

    def _repeat(
        self, command: tuple[str, ...], folders: Folders, inputs: Mapping[str, Tree], store: Store
    ) -> str:
        """Commands for a shell in an empty folder: the workspace is gone when they are read."""
        keys = {record.tree.digest: record.key for record in store.records()}
        lines = ["repeat it by hand in an empty folder:"]
        for name, tree in sorted(inputs.items()):
            if tree.digest in keys:
                key = keys[tree.digest].short
                lines.append(f"  enginebuild cache export --cache-dir {store.root} {key} {name}")
        here = replace(folders, inputs={name: Path(name) for name in inputs}, output=Path("output"))
        lines += ["  mkdir output", f"  {self._runner.by_hand(self.execution, command, here)}"]
        return "\n".join(lines)


class _StepLog:
    """Writes each line to a file and reports it; knows the last ones."""

    def __init__(self, path: Path, step: str, report: Report) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._step, self._report = step, report
        self._file = path.open("w", encoding="utf-8", errors="replace")

    def __call__(self, line: str) -> None:
        self._file.write(f"{line}\n")
        self._file.flush()  # who looks at a step of hours wants to see where it is
        self.last.append(line)
        self._report(LogLine(self._step, line))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> _StepLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)


def _moved(path: Path, store: Store) -> Tree:
    """The tree of one file, which is taken away from where it was."""
    digest, size = store.put_file(path, mode="move")
    return Tree.of([File(path.name, digest, size)])


def _stamps(folders: Folders) -> dict[Path, tuple[int, int]]:
    """Size and time of change of every input file."""
    files = [path for folder in folders.inputs.values() for path in folder.rglob("*") if path.is_file()]
    return {path: _stamp(path) for path in files}


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _require_untouched(
    step: str,
    folders: Folders,
    stamps: Mapping[Path, tuple[int, int]],
    inputs: Mapping[str, Tree],
    store: Store,
) -> None:
    """An input may be a hard link of the store's own file, and root may write to what is read-only.

    Raises StepError; what was changed in the store is removed from it.
    """
    now = _stamps(folders)
    changed = sorted(path for path, stamp in stamps.items() if now.get(path, stamp) != stamp)
    for path in changed:
        for name, folder in folders.inputs.items():
            if path.is_relative_to(folder):
                file = inputs[name].file(path.relative_to(folder).as_posix())
                if path.stat().st_nlink > 1:
                    store.delete(file.digest)
    if changed:
        names = ", ".join(path.name for path in changed)
        raise StepError(
            f"the step {step} wrote to its input: {names}",
            "an input is only read; the next run brings it again",
        )
