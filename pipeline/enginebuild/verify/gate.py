"""The step `verify`: the image that is about to be published is served and asked; it makes a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from enginebuild.errors import VerificationError
from enginebuild.events import Report as Tell
from enginebuild.recipe.verification import Verification
from enginebuild.step import Result, Step
from enginebuild.terminable import terminable
from enginebuild.verify.plot import plot
from enginebuild.verify.quality import Measured
from enginebuild.verify.report import PLOT_FILE, REPORT_FILE, Report
from enginebuild.verify.server import Server, Subject
from enginebuild.verify.session import FailedError, Session
from enginebuild.verify.tasks import Evaluator
from enginebuild_cache import Digest, File, Json, Store, Tree

VERIFY = "verify"
VERIFY_VERSION = 1
SOURCE = "verify_source"
SOURCE_VERSION = 1
MEASURED_FILE = "measured.json"
SERVER_LOG = "server.log"
_LAST_LINES = 20

T = TypeVar("T")

#: Puts an image into an engine and gives its name there, for as long as the block lasts.
Bring = Callable[[Tell], AbstractContextManager[str]]


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs that a server gets: names for the key and the report; ids of certain ones, if it must be those."""

    count: int = 0
    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """An image, how it gets into an engine, and what it must do there.

    `evaluator`: lm-eval, where the verification has tasks. `published`: whether it was to be published, which
    a failure prevents.
    """

    subject: Subject
    bring: Bring
    verification: Verification
    gpus: Gpus = Gpus()
    evaluator: Evaluator | None = None
    published: bool = True

    def report(self, source: Measured | None, store: Store, tell: Tell) -> Report:
        """Raises VerificationError, with the server's log kept, unless everything is as it must be."""

        def asked(session: Session) -> Report:
            report = session.report(self.gpus.names, source)
            if report.failures:
                raise self._failed(report.failures, session.server, store, report)
            return report

        return self._served(asked, store, tell)

    def source(self, store: Store, tell: Tell) -> Measured:
        """What an unquantized model says. Raises VerificationError."""
        return self._served(Session.source, store, tell)

    def _served(self, asked: Callable[[Session], T], store: Store, tell: Tell) -> T:
        """Start the server and ask it; nothing of it stays, whatever happens."""
        from enginebuild.runners.served import Room, reserved_gpus, served  # imports Docker's SDK: slow

        wanted = self.verification
        with (
            terminable(),
            self.bring(tell) as image,
            reserved_gpus(self.gpus, image, VERIFY, tell) as gpus,
        ):
            room = Room(wanted.timeout, wanted.shm_size, wanted.memory, gpus.count, gpus.ids)
            begun = time.monotonic()
            with served(image, self.subject, room) as server:
                until = begun + wanted.timeout
                session = Session(server, self.subject, wanted, begun, until, tell, self.evaluator)
                try:
                    return asked(session)
                except FailedError as error:
                    raise self._failed([str(error)], server, store, None) from error

    def _failed(
        self, failures: Sequence[str], server: Server, store: Store, report: Report | None
    ) -> VerificationError:
        lines = [f"{self.subject.name} failed verification:"]
        lines += [f"  {line}" for failure in failures for line in failure.splitlines()]
        log = server.log()
        if report is None and (last := log.decode("utf-8", "replace").splitlines()[-_LAST_LINES:]):
            lines += ["the last lines of its server's log:", *(f"  {line}" for line in last)]
        kept = _keep(store, log, report)
        nothing = "nothing was published; " if self.published else ""
        return VerificationError("\n".join(lines), f"{nothing}its server's whole log is {kept / SERVER_LOG}")


@dataclass(frozen=True)
class Ask:
    """The action of the step `verify`. `source` says what the unquantized model said; None: not compared."""

    question: Question
    source: Callable[[Store, Tell], Measured] | None = None

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Tell) -> Result:
        source = self.source(store, report) if self.source is not None else None
        found = self.question.report(source, store, report)
        files = {REPORT_FILE: _document(found.to_json())}
        if found.performance:
            files[PLOT_FILE] = plot(
                found.performance, f"{found.model} on {', '.join(found.gpus) or 'no GPU'}"
            )
        return Result(_tree(files, store))


@dataclass(frozen=True)
class AskSource:
    """The action of the step `verify_source`: what the unquantized model says to the same texts."""

    question: Question

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Tell) -> Tree:
        found = self.question.source(store, report)
        return _tree({MEASURED_FILE: _document(found.to_json())}, store)


def verify_step(
    question: Question,
    source: Callable[[Store, Tell], Measured] | None = None,
    source_key: Digest | None = None,
) -> Step:
    """Keyed by the image, what it must do, the GPUs, and the unquantized build that it is compared with."""
    fields = _fields(question) | ({"source": str(source_key)} if source_key is not None else {})
    return Step(VERIFY, VERIFY_VERSION, fields, Ask(question, source))


def source_step(question: Question) -> Step:
    """Keyed by the unquantized image, the texts, the tasks without their bounds, and the GPUs."""
    quality = question.verification.quality
    assert quality is not None
    fields: dict[str, Json] = {
        "image": question.subject.digest,
        "prompts": list(quality.prompts),
        "max_tokens": quality.max_tokens,
        "gpus": list(question.gpus.names),
        **_of_tasks(question),
    }
    return Step(SOURCE, SOURCE_VERSION, fields, AskSource(question))


def measured_in(tree: Tree, store: Store) -> Measured:
    """What the step `verify_source` left."""
    return Measured.from_json(json.loads(store.read_bytes(tree.file(MEASURED_FILE))))


def _fields(question: Question) -> dict[str, Json]:
    wanted = json.loads(json.dumps(asdict(question.verification)))
    del wanted["timeout"]  # how long one waits changes no answer
    if (quality := wanted["quality"]) is not None:
        # Where a task's files and lm-eval lie says nothing; what they are is said by the evaluator.
        del quality["lm_eval"]
        tasks = quality.pop("tasks")
        if tasks:
            quality["tasks"] = [{name: task[name] for name in ("metric", "max_drop")} for task in tasks]
    gpus: list[Json] = list(question.gpus.names)
    return {"image": question.subject.digest, "verify": wanted, "gpus": gpus, **_of_tasks(question)}


def _of_tasks(question: Question) -> dict[str, Json]:
    return {} if question.evaluator is None else {"lm_eval": question.evaluator.key_fields()}


def _tree(files: Mapping[str, bytes], store: Store) -> Tree:
    return Tree.of([File(name, store.put_bytes(content), len(content)) for name, content in files.items()])


def _keep(store: Store, log: bytes, report: Report | None) -> Path:
    when = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    kept = store.logs / f"{VERIFY}-{when}"
    kept.mkdir(parents=True)
    (kept / SERVER_LOG).write_bytes(log)
    if report is not None:
        (kept / REPORT_FILE).write_bytes(_document(report.to_json()))
    return kept


def _document(value: Mapping[str, Json]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
