"""Asking a server that was just started: until it is ready, then everything, then under load."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import PurePosixPath
from typing import cast

from enginebuild.events import Note
from enginebuild.events import Report as Tell
from enginebuild.recipe.verification import Performance, Quality, Verification
from enginebuild.runners.words import duration
from enginebuild.verify.answers import Answer, read_answer
from enginebuild.verify.performance import bench_command, measurement, performance_problems
from enginebuild.verify.quality import (
    Measured,
    compared,
    measured,
    quality_problems,
    quality_requests,
)
from enginebuild.verify.report import Check, Report, Start
from enginebuild.verify.requests import COMPLETIONS, Able, Request, first_body, smoke
from enginebuild.verify.server import FOLDER, Server, Subject
from enginebuild.verify.tasks import Bodies, Evaluator
from enginebuild_cache import Json

#: Seconds that a server whose /health says 200 may fail completions before it is taken for dead.
PATIENCE = 10.0
_FOLDERS = ("/model", "/tokenizer", "/engine")
_CONFIGURATIONS = ("/etc/enginebuild/vllm.yaml",)
_PROBE = "probe.py"
_RESULT = "bench.json"
_LAST = 5  # lines of a benchmark that failed
#: Tokens of a request and its answer where the server does not say how many it takes: lm-eval's own default.
_LENGTH = 2048
#: What transformers reads for a tokenizer; all of it small but the first.
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja"),
    "config.json",
)


class FailedError(Exception):
    """The server failed, not an answer: it died, never became ready, or could not be asked."""


@dataclass(frozen=True)
class Session:
    """One server, from its start on. `begun` and `until` are monotonic seconds."""

    server: Server
    subject: Subject
    verification: Verification
    begun: float
    until: float
    tell: Tell
    evaluator: Evaluator | None = None
    model: list[str] = field(default_factory=list)
    length: list[int] = field(default_factory=list)

    def report(self, gpus: Sequence[str], source: Measured | None) -> Report:
        """Everything that the recipe asks for; `source` is the unquantized model's. Raises FailedError."""
        start, able = self._start()
        checks, quality, problems = self._answers(able, source)
        rows: list[dict[str, Json]] | None = None
        performance = self.verification.performance
        peak = cast("int | None", self._look()["memory_peak"])
        # Whoever cannot answer right need not be measured.
        if performance is not None and all(check.passed for check in checks):
            rows = [self._load(performance, number) for number in performance.concurrency]
            problems = (*problems, *performance_problems(performance, rows))
        return Report(
            self.subject.digest,
            self.model[0],
            tuple(gpus),
            Start(start, peak),
            checks,
            quality,
            rows,
            problems,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def source(self) -> Measured:
        """What an unquantized model says, which must answer everything. Raises FailedError."""
        self._start()
        assert self.verification.quality is not None
        found, wrong = self._measured(self.verification.quality)
        if found is None:
            raise FailedError("\n".join(f"{check.name}: {check.problem}" for check in wrong))
        return found

    def ready(self) -> float:
        """Seconds from its start to its first completion, which is waited for. Raises FailedError."""
        return self._start()[0]

    def _start(self) -> tuple[float, Able]:
        self.tell(Note(f"{self.subject.name} is started; waiting for its first completion"))
        self.server.put({_PROBE: (files("enginebuild.verify") / "scripts" / _PROBE).read_bytes()})
        said = self._probe(
            "wait",
            {
                "path": COMPLETIONS,
                "body": first_body(),
                "health": "/health",
                "seconds": self._left(),
                "patience": PATIENCE,
            },
        )
        if not said:
            raise FailedError(self._death("before it answered a completion"))
        seconds = time.monotonic() - self.begun
        self._require_completion(said[0])
        self.model[:] = [str(said[0]["model"])]
        longest = said[0].get("max_model_len")
        self.length[:] = [longest if isinstance(longest, int) else _LENGTH]
        found = self._look()
        keys = {*map(str, cast("list[str]", found["keys"])), *self.subject.options}
        chat = bool(found["chat_template"]) or "chat_template" in keys
        tools = {"tool_call_parser", "tool_parser"} & keys
        return seconds, Able(chat, bool(tools), "reasoning_parser" in keys)

    def _require_completion(self, said: Mapping[str, Json]) -> None:
        """/health says nothing of the engine behind it (vLLM issues 36960, 43122)."""
        answer = read_answer(said)
        if not answer.error:
            return
        if self.server.ended() is not None:
            raise FailedError(self._death("before it answered a completion"))
        limit = f" within {duration(self.verification.timeout)}" if said.get("late") else ""
        problem = f"it does not answer a completion{limit}: {answer.error}"
        status = said.get("status")
        if said.get("health") == 200 and not (isinstance(status, int) and 400 <= status < 500):
            problem += "; its /health says 200 all the same"
        raise FailedError(problem)

    def _answers(
        self, able: Able, source: Measured | None
    ) -> tuple[tuple[Check, ...], dict[str, Json] | None, tuple[str, ...]]:
        quality = self.verification.quality
        requests = smoke(able, self.verification.prompts)
        checks, _ = self._asked(requests)
        if quality is None or source is None:
            return checks, None, ()
        found, wrong = self._measured(quality)
        if found is None:
            return (*checks, *wrong), None, ()
        numbers = compared(quality, source, found)
        return checks, numbers, quality_problems(quality, numbers)

    def _measured(self, quality: Quality) -> tuple[Measured | None, tuple[Check, ...]]:
        """What it says to the texts and tasks; None if it did not answer, and what was not answered."""
        checks, answers = self._asked(self._of_quality(quality))
        results, unanswered = self._evaluated()
        wrong = tuple(check for check in (*checks, *unanswered) if not check.passed)
        return (None if wrong else replace(measured(quality, answers), tasks=results)), wrong

    def _evaluated(self) -> tuple[tuple[Mapping[str, Json], ...], tuple[Check, ...]]:
        """lm-eval's results, and its first request of all that failed."""
        if self.evaluator is None:
            return (), ()
        tokenizer, length = self._tokenizer_files(), self.length[0]
        asked = self.evaluator.requests(tokenizer, length)
        total = sum(map(len, asked))
        self.tell(Note(f"asking {self.subject.name} the {total} requests of lm-eval's tasks"))
        said = self._said([body for bodies in asked for body in bodies], self.evaluator.num_concurrent)
        for document in said:
            if error := read_answer(document).error:
                return (), (Check("quality, tasks", error),)
        bodies = iter(said)
        answers: Bodies = [
            [cast("dict[str, Json]", next(bodies)["body"]) for _ in requests] for requests in asked
        ]
        return self.evaluator.results(tokenizer, length, asked, answers), ()

    def _said(self, bodies: Sequence[Mapping[str, Json]], concurrent: int) -> list[Mapping[str, Json]]:
        """What the server says to completions. Raises FailedError if it did not live to answer them all."""
        listed: list[Json] = [
            {"path": COMPLETIONS, "body": {**body, "model": self.model[0]}} for body in bodies
        ]
        plan: dict[str, Json] = {"requests": listed, "seconds": self._left(), "concurrent": concurrent}
        said = self._probe("ask", plan)
        if self.server.ended() is not None:
            raise FailedError(self._death("while it was asked lm-eval's tasks"))
        if len(said) != len(bodies):
            raise FailedError("our program in its container ended before all was asked")
        return said

    def _tokenizer_files(self) -> dict[str, bytes]:
        folder = PurePosixPath(self._tokenizer())
        found = {name: self.server.read(folder / name) for name in _TOKENIZER_FILES}
        return {name: content for name, content in found.items() if content is not None}

    def _of_quality(self, quality: Quality) -> tuple[Request, ...]:
        return quality_requests(quality, probabilities=self.subject.engine == "vllm")

    def _asked(self, requests: Sequence[Request]) -> tuple[tuple[Check, ...], tuple[Answer, ...]]:
        """One after another: what is in a batch beside a request changes its numbers."""
        if not requests:
            return (), ()
        listed: list[Json] = [
            {"path": each.path, "body": {**each.body, "model": self.model[0]}} for each in requests
        ]
        lines = self._probe("ask", {"requests": listed, "seconds": self._left()})
        answers = tuple(map(read_answer, lines))
        if self.server.ended() is not None:
            # Our program may have lived long enough to see the connection break.
            sound = next((number for number, answer in enumerate(answers) if answer.error), len(answers))
            last = requests[min(sound, len(requests) - 1)].name
            raise FailedError(self._death(f"while it was asked: {last}"))
        if len(answers) != len(requests):
            raise FailedError("our program in its container ended before all was asked")
        checks = tuple(
            Check(
                each.name, answer.error or each.judge(answer), answer.text or answer.reasoning, answer.seconds
            )
            for each, answer in zip(requests, answers, strict=True)
        )
        return checks, answers

    def _look(self) -> Mapping[str, Json]:
        said = self._probe("look", {"folders": list(_FOLDERS), "configurations": list(_CONFIGURATIONS)})
        if not said:
            raise FailedError(self._death("while it was asked"))
        return said[0]

    def _load(self, performance: Performance, concurrency: int) -> dict[str, Json]:
        self.tell(Note(f"measuring {self.subject.name} with {concurrency} requests at a time"))
        result = FOLDER / f"{concurrency}-{_RESULT}"
        words = bench_command(
            self.subject.engine,
            performance,
            concurrency,
            self.model[0],
            self._tokenizer(),
            self.subject.port,
            result,
        )
        ran = self.server.run(words)
        if self.server.ended() is not None:
            raise FailedError(self._death(f"under load, {concurrency} at a time"))
        document = self.server.read(result)
        if ran.code or document is None:
            said = (ran.err or ran.out).decode("utf-8", "replace").strip().splitlines()[-_LAST:]
            lines = "".join(f"\n  {line}" for line in said)
            raise FailedError(f"{' '.join(words[:3])} ends with exit code {ran.code}:{lines}")
        return measurement(performance, concurrency, document)

    def _tokenizer(self) -> str:
        return str(self._look().get("tokenizer") or _FOLDERS[0])

    def _probe(self, what: str, plan: Mapping[str, Json]) -> list[Mapping[str, Json]]:
        """What our program says, line by line; nothing if the server's container ended meanwhile."""
        self.server.put({f"{what}.json": json.dumps({**plan, "port": self.subject.port}).encode()})
        ran = self.server.run(("python3", "-I", str(FOLDER / _PROBE), what, str(FOLDER / f"{what}.json")))
        if self.server.ended() is None and ran.code:
            said = (ran.err or ran.out).decode("utf-8", "replace").strip().splitlines()
            why = "the image has no python3" if ran.code in (126, 127) else (said or ["it says nothing"])[-1]
            raise FailedError(f"it cannot be asked from inside its container: {why}")
        return _documents(ran.out)

    def _left(self) -> float:
        return max(self.until - time.monotonic(), 1.0)

    def _death(self, when: str) -> str:
        ended = self.server.ended()
        if ended is None:
            return f"our program in its container said nothing {when}"
        if ended.over:
            return f"it took longer than {duration(self.verification.timeout)} (verify.timeout)"
        if ended.out_of_memory:
            limit = self.verification.memory
            allowed = (
                f" than the {limit / 1e9:.1f} GB that verify.memory allows" if limit else " than there is"
            )
            return f"its server needed more memory{allowed}, {when}"
        return f"its server ended with exit code {ended.code} {when}"


def _documents(out: bytes) -> list[Mapping[str, Json]]:
    """The JSON objects, one per line; a container that dies leaves half a line, or words of its runtime."""
    found: list[Mapping[str, Json]] = []
    for line in out.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            found.append(document)
    return found
