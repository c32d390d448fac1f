"""lm-eval for a recipe: what is in the keys, what a recipe says, and what a session puts to a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from enginebuild.errors import RefusedError
from enginebuild.events import Report as Tell
from enginebuild.events import silent
from enginebuild.execution import ContainerEnvironment, Limits, LocalEnvironment
from enginebuild.recipe import parse
from enginebuild.recipe.verification import LmEval, Quality, Task, Verification
from enginebuild.runners.local import LocalRunner
from enginebuild.sources import ModelRequest
from enginebuild.verify import evaluation
from enginebuild.verify.evaluation import Evaluation, PinnedTask
from enginebuild.verify.gate import Gpus, Question, source_step, verify_step
from enginebuild.verify.server import Ended, Ran, Subject
from enginebuild.verify.session import FailedError, Session
from enginebuild_cache import Digest, Json, Store

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGE = "sha256:" + "a" * 64
DIGEST = "sha256:" + "b" * 64
TASK = Task("arc_easy", "hf://datasets/allenai/ai2_arc", COMMIT, "acc", 0.02, 5, 100)
QUALITY = Quality((), 16, None, None, (TASK,), LmEval("/opt/lm-eval", None))

RECIPE = """version: 1
name: tiny
model: hf://org/tiny@main
quantization: fp8_per_channel_per_token
engine: {type: vllm, version: 0.33.0}
image: {base: docker.io/vllm/vllm-openai:v0.33.0}
verify:
  quality:
    lm_eval: %s
    tasks:
      - {task: arc_easy, dataset: %s, metric: acc, max_drop: 0.02, num_fewshot: 5, limit: 100}
      - {task: mine, dataset: "file:./mine", metric: "f1,none", max_drop: 0}
"""


def test_what_a_recipe_says() -> None:
    text = RECIPE % (
        f"{{image: r.example/lm-eval@{DIGEST}, num_concurrent: 4}}",
        f"hf://datasets/allenai/ai2_arc@{COMMIT}",
    )
    wanted = parse(text.encode(), "r.yaml").verification
    assert wanted is not None
    assert wanted.quality is not None
    assert wanted.quality.tasks == (TASK, Task("mine", "file:./mine", None, "f1,none", 0.0))
    assert wanted.quality.lm_eval == LmEval(None, f"r.example/lm-eval@{DIGEST}", 4)
    assert wanted.quality.prompts == ()


@contextmanager
def nowhere(_tell: Tell) -> Iterator[str]:
    raise AssertionError("nothing is started here")
    yield ""


def pinned(task: Task = TASK) -> PinnedTask:
    return PinnedTask(task, ModelRequest(task.dataset, task.revision, Path(), repo_type="dataset"), None)


def made(store: Store, **more: Any) -> Evaluation:
    environment = LocalEnvironment(Path("/opt/lm-eval"), {"lm_eval": "0.4.13"})
    values: dict[str, Any] = {"tasks": (pinned(),), "environment": environment, "num_concurrent": 1}
    return Evaluation(runner=LocalRunner(), limits=Limits(), store=store, tell=silent, **{**values, **more})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


def question(found: Evaluation, quality: Quality = QUALITY) -> Question:
    return Question(Subject("tiny", IMAGE, {}), nowhere, Verification(quality=quality), Gpus(), found)


def test_keys_have_what_decides_and_nothing_else(store: Store) -> None:
    asked = question(made(store))
    fields: Any = verify_step(asked).fields
    assert fields["verify"]["quality"]["tasks"] == [{"metric": "acc", "max_drop": 0.02}]
    assert "lm_eval" not in fields["verify"]["quality"]
    assert fields["lm_eval"] == source_step(asked).fields["lm_eval"]
    said = fields["lm_eval"]
    assert said["environment"] == "lm_eval==0.4.13"
    assert said["tasks"] == [
        {
            "task": "arc_easy",
            "dataset": f"hf://datasets/allenai/ai2_arc@{COMMIT}",
            "num_fewshot": 5,
            "limit": 100,
        }
    ]
    assert set(said) == {"environment", "script", "num_concurrent", "tasks"}

    ours, source = verify_step(asked).key({}), source_step(asked).key({})
    other = LocalEnvironment(Path("/opt/lm-eval"), {"lm_eval": "0.4.14"})
    elsewhere = LocalEnvironment(Path("/home/lm-eval"), {"lm_eval": "0.4.13"})
    for changes in (
        {"environment": other},
        {"num_concurrent": 2},
        {"tasks": (pinned(replace(TASK, revision=COMMIT[::-1])),)},
        {"tasks": (pinned(replace(TASK, num_fewshot=None)),)},
        {"tasks": (pinned(replace(TASK, limit=None)),)},
        {"tasks": (pinned(replace(TASK, task="arc_challenge")),)},
    ):
        changed = question(made(store, **changes))
        assert verify_step(changed).key({}) != ours
        assert source_step(changed).key({}) != source
    moved = question(
        made(store, environment=elsewhere), replace(QUALITY, lm_eval=LmEval("/home/lm-eval", None))
    )
    assert (verify_step(moved).key({}), source_step(moved).key({})) == (ours, source)
    # What the source reaches serves every metric and every bound.
    for task in (replace(TASK, metric="acc_norm"), replace(TASK, max_drop=0.5)):
        changed = question(made(store, tasks=(pinned(task),)), replace(QUALITY, tasks=(task,)))
        assert verify_step(changed).key({}) != ours
        assert source_step(changed).key({}) == source


def test_without_tasks_the_keys_are_what_they_were() -> None:
    quality = Quality(("a",), 16, 0.1, None)
    asked = Question(Subject("tiny", IMAGE, {}), nowhere, Verification(quality=quality))
    fields: Any = verify_step(asked).fields
    assert fields["verify"]["quality"] == {
        "prompts": ["a"],
        "max_tokens": 16,
        "max_exact_match_drop": 0.1,
        "max_perplexity_increase": None,
    }
    assert set(fields) == {"image", "verify", "gpus"}
    assert set(source_step(asked).fields) == {"image", "prompts", "max_tokens", "gpus"}


def test_a_folder_counts_by_its_files_wherever_it_lies(tmp_path: Path, store: Store) -> None:
    found = []
    for place, line in (("one", "{}"), ("two", "{}"), ("three", "[]")):
        folder = tmp_path / place
        (folder / "mine").mkdir(parents=True)
        (folder / "mine" / "t.yaml").write_text("task: mine\n")
        (folder / "mine" / "utils.py").write_text("x = 1\n")
        (folder / "mine" / "d.jsonl").write_text(line)
        text = RECIPE % (f"{{image: r.example/lm-eval@{DIGEST}}}", f"hf://datasets/allenai/ai2_arc@{COMMIT}")
        recipe = replace(parse(text.encode(), "r.yaml"), path=folder / "r.yaml")
        made_of = evaluation.evaluation_of(recipe, store, silent)
        assert made_of is not None
        assert made_of.environment == ContainerEnvironment("r.example/lm-eval", Digest.parse(DIGEST))
        assert made_of.tasks[1].files is not None
        assert {file.path for file in made_of.tasks[1].files.tree} == {"t.yaml", "utils.py", "d.jsonl"}
        found.append(made_of.key_fields())
    assert found[0] == found[1] != found[2]


def test_a_recipe_without_tasks_has_no_lm_eval(store: Store) -> None:
    text = "\n".join(RECIPE.splitlines()[:6]) + "\nverify: {}\n"
    assert evaluation.evaluation_of(parse(text.encode(), "r.yaml"), store, silent) is None


def test_an_environment_without_lm_eval(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "installed", lambda *_: {"python": "3.11.7"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "d.jsonl").write_text("{}")
    text = RECIPE % ("{environment: lm-eval}", "file:./mine")
    with pytest.raises(RefusedError) as caught:
        evaluation.evaluation_of(
            replace(parse(text.encode(), "r.yaml"), path=tmp_path / "r.yaml"), store, silent
        )
    assert caught.value.message == f"verify.quality.lm_eval.environment {tmp_path / 'lm-eval'} has no lm_eval"


@dataclass
class Server:
    """A server whose probe answers each completion with its number, or with an error."""

    error: str = ""
    plan: Any = None
    dies: bool = False

    def put(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            if name.endswith(".json"):
                self.plan = json.loads(content)

    def run(self, words: Sequence[str]) -> Ran:
        if words[3] == "look":
            said: list[Any] = [{"tokenizer": "/model", "keys": [], "chat_template": False}]
        elif words[3] == "wait":
            said = [{"status": 200, "body": {"choices": [{}]}, "model": "m", "max_model_len": 64}]
        else:
            bodies = [
                {"choices": [{"index": 0, "text": str(n)}]} for n, _ in enumerate(self.plan["requests"])
            ]
            said = [{"status": 200, "body": body} for body in bodies]
            if self.error:
                said[-1] = {"status": 400, "body": {"error": {"message": self.error}}}
        return Ran(0, b"".join(json.dumps(line).encode() + b"\n" for line in said), b"")

    def read(self, path: PurePosixPath) -> bytes | None:
        return b"{}" if path == PurePosixPath("/model/tokenizer.json") else None

    def ended(self) -> Ended | None:
        return Ended(1) if self.dies and "concurrent" in (self.plan or {}) else None

    def log(self) -> bytes:
        return b""


class Evaluator:
    """Two tasks of two requests and one."""

    num_concurrent = 3

    def key_fields(self) -> dict[str, Json]:
        return {}

    def requests(self, tokenizer: Mapping[str, bytes], max_length: int) -> Any:
        assert (tokenizer, max_length) == ({"tokenizer.json": b"{}"}, 64)
        return [[{"prompt": [[1]]}, {"prompt": [[2]]}], [{"prompt": [[3]]}]]

    def results(self, tokenizer: Any, max_length: int, asked: Any, answers: Any) -> Any:
        return tuple({"said": [answer["choices"][0]["text"] for answer in each]} for each in answers)


def session(server: Server) -> Session:
    verification = Verification(quality=QUALITY)
    subject = Subject("tiny", IMAGE, {})
    return Session(server, subject, verification, 0.0, 1e12, silent, Evaluator())


def test_a_session_puts_the_requests_and_gives_the_answers_back() -> None:
    server = Server()
    assert session(server).source().tasks == ({"said": ["0", "1"]}, {"said": ["2"]})
    assert server.plan["concurrent"] == 3
    assert server.plan["requests"][2] == {"path": "/v1/completions", "body": {"prompt": [[3]], "model": "m"}}


def test_a_request_that_is_refused_is_a_failed_check() -> None:
    with pytest.raises(FailedError) as caught:
        session(Server(error="no logprobs here")).source()
    assert str(caught.value) == "quality, tasks: the server answers 400: 'no logprobs here'"


def test_a_server_that_dies_meanwhile() -> None:
    with pytest.raises(FailedError) as caught:
        session(Server(dies=True)).source()
    assert str(caught.value) == "its server ended with exit code 1 while it was asked lm-eval's tasks"
