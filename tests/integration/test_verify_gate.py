"""The gate before publishing: a stand-in server in a real Docker Engine, and every way it may fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parts import cli, services
from parts.busybox_base import BusyboxBase
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.vllm_standin import write_base
from parts.vllm_standin_recipe import write_standin_recipe

PARIS: dict[str, Any] = {"smoke": {"prompts": [{"prompt": "The capital of France is", "expect": "Paris"}]}}


@dataclass(frozen=True)
class Shop:
    """Where recipes are run: a base, a model, a Docker Engine and a registry."""

    folder: Path
    engine: DockerEngine
    registry: str

    def run(self, verify: Mapping[str, Any] | None, *words: str, **more: Any) -> cli.Ended:
        recipe = self.write(verify, **more)
        return cli.enginebuild("run", recipe, *self.words(), "--json", *(words or ("--push",)), env=self.env)

    def words(self) -> tuple[str | Path, ...]:
        return ("--cache-dir", self.folder / "cache")

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.engine.host}

    def write(self, verify: Mapping[str, Any] | None, fault: str = "", **more: Any) -> Path:
        image = {"repository": f"{self.registry}/llm/tiny"}
        return write_standin_recipe(self.folder, fault, image=image, verify=verify, **more)

    def kept(self) -> Path:
        """The folder with what a failed verification left, which is the only one."""
        (found,) = (self.folder / "cache" / "logs").glob("verify-*")
        return found

    def containers(self) -> list[str]:
        said = self.engine.docker("ps", "--all", "--format", "{{.Names}}")
        return [line for line in said.splitlines() if line.startswith("enginebuild-verify")]

    def images(self) -> list[str]:
        said = self.engine.docker("images", "--format", "{{.Repository}}")
        return [line for line in said.splitlines() if line == "enginebuild-verify"]

    def wait_for_container(self) -> None:
        """Until a run that was started has one that runs."""
        deadline = time.monotonic() + 60
        while not self.engine.docker("ps", "--quiet", "--filter", "name=enginebuild-verify"):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def is_published(self) -> bool:
        return cli.enginebuild("inspect", f"{self.registry}/llm/tiny:latest").code == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_tiny_llama(folder / "model")
    write_base(folder / "base", services.program("busybox"))
    write_base(folder / "bare", services.program("busybox"), python=False)
    return folder


@pytest.fixture(scope="module")
def own_engine() -> DockerEngine:
    """Nobody else's, for what is left in it is looked at."""
    return services.own_engine(f"docker-gate-{os.getpid()}")


@pytest.fixture
def shop(made: Path, tmp_path: Path, own_engine: DockerEngine, registry: str) -> Iterator[Shop]:
    shutil.copytree(made / "model", tmp_path / "model")
    (tmp_path / "base").symlink_to(made / "base")
    shop = Shop(tmp_path, own_engine, f"{registry}/{tmp_path.name.replace('_', '-')}")
    yield shop
    assert shop.containers() == []
    assert shop.images() == []


def failure(ended: cli.Ended) -> list[str]:
    """The lines of the message of a failed gate, the first left out."""
    assert ended.code == 7, ended.stderr
    first, *lines = ended.result["message"].splitlines()
    assert first == "tiny failed verification:"
    return [str(line) for line in lines]


def test_an_image_that_answers_is_published_with_its_report(shop: Shop) -> None:
    first = shop.run(PARIS).ok()
    assert first.statuses == dict.fromkeys(("fetch", "configure", "image", "verify", "publish"), "built")
    seen = cli.enginebuild("inspect", f"{shop.registry}/llm/tiny:latest", "--json").ok().document
    report = seen["verification"]
    assert (report["image"], report["passed"], report["model"]) == (first.digest, True, "model")
    assert [check["name"] for check in report["smoke"]] == [
        *("completion", "completion, streamed", "length", "chat", "chat, streamed"),
        *("prompt 1", "prompt 1, streamed"),
    ]
    assert report["smoke"][-1]["text"] == " Paris. And that is that."
    assert (report["gpus"], report["quality"], report["performance"]) == ([], None, None)
    shown = cli.enginebuild("inspect", f"{shop.registry}/llm/tiny:latest").ok().stdout.splitlines()
    at = shown.index("  verification")
    assert shown[at + 1] == f"    passed {report['finished']}, no GPU"
    assert shown[at + 2] == "    smoke: 7 of 7 checks"
    assert shown[at + 3].startswith("    start: first completion after ")


def test_what_was_verified_is_not_verified_again_and_needs_no_engine(shop: Shop) -> None:
    first = shop.run(PARIS).ok()
    words = ("run", shop.folder / "tiny.yaml", *shop.words(), "--json", "--push")
    nowhere = {"DOCKER_HOST": f"unix://{shop.folder}/no.sock"}
    second = cli.enginebuild(*words, env=nowhere).ok()
    assert second.statuses == dict.fromkeys(("fetch", "configure", "image", "verify", "publish"), "hit")
    planned = cli.enginebuild("plan", shop.folder / "tiny.yaml", *shop.words(), "--push", env=nowhere).ok()
    assert [line.split()[:2] for line in planned.stdout.splitlines()[3:5]] == [
        ["verify", "hit"],
        ["publish", "hit"],
    ]
    # Another question is another verification of the same image.
    shop.write({})
    third = cli.enginebuild(*words, env=shop.env).ok()
    assert (third.digest, third.statuses["verify"]) == (first.digest, "built")


def test_a_plan_says_that_it_will_verify(shop: Shop) -> None:
    recipe = shop.write(PARIS)
    planned = cli.enginebuild("plan", recipe, *shop.words(), "--json", env=shop.env).ok().document
    (step,) = (step for step in planned["steps"] if step["name"] == "verify")
    assert (step["status"], step["reason"]) == ("unresolved", "the image is not built yet")


def test_without_an_engine_it_is_refused_before_anything_is_built(shop: Shop) -> None:
    recipe = shop.write(PARIS)
    socket = shop.folder / "no.sock"
    env = {"DOCKER_HOST": f"unix://{socket}"}
    ended = cli.enginebuild("run", recipe, *shop.words(), "--push", env=env)
    assert ended.code == 5
    assert ended.stderr.splitlines()[-3:] == [
        "error: this machine cannot verify what is to be built:",
        f"  no Docker Engine at unix://{socket}: No such file or directory",
        "hint: run it where that is there (DOCKER_HOST), or leave out verify",
    ]
    assert not list((shop.folder / "cache").rglob("records/image/*"))


LOADED = ["the last lines of its server's log:", "  INFO: vLLM's stand-in begins"]
SOUND = "; its /health says 200 all the same"
BROKEN = "EngineCore encountered an issue."
TOO_LONG = "max_model_len is 8, and the prompt has 9 tokens."
ALLOWED = "the 0.1 GB that verify.memory allows"

FATAL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dies": (
        {},
        [
            "  its server ended with exit code 3 before it answered a completion",
            *LOADED,
            "  ValueError: No supported CPU kernel for this quantization",
        ],
    ),
    "never": (
        {"timeout": "6s"},
        ["  it does not answer a completion within 6 s: nothing listens at the server's port", *LOADED],
    ),
    "hangs": (
        {"timeout": "8s"},
        [f"  it does not answer a completion within 8 s: the request was not answered in time{SOUND}"],
    ),
    "health": (
        {},
        [
            f"  it does not answer a completion: the server answers 500: '{BROKEN}'{SOUND}",
        ],
    ),
    "refuses": (
        {},
        [
            f"  it does not answer a completion: the server answers 400: '{TOO_LONG}'",
        ],
    ),
    "dies-later": ({}, ["  its server ended with exit code 1 while it was asked: completion, streamed"]),
    "oom": (
        {"memory": "100MB"},
        [
            f"  its server needed more memory than {ALLOWED}, before it answered a completion",
            *LOADED,
        ],
    ),
    "bench": (
        {"performance": {"requests": 2}},
        ["  vllm bench serve ends with exit code 1:", "    ValueError: Initial test run failed"],
    ),
}


@pytest.mark.parametrize("fault", FATAL)
def test_a_server_that_fails_is_not_published(shop: Shop, fault: str) -> None:
    verify, lines = FATAL[fault]
    ended = shop.run({**PARIS, **verify}, fault=fault)
    assert failure(ended)[: len(lines)] == lines
    kept = shop.kept()
    assert ended.result["hint"] == f"nothing was published; its server's whole log is {kept / 'server.log'}"
    assert (kept / "server.log").read_text().startswith("INFO: vLLM's stand-in begins\n")
    assert "step_started" in ended.stdout
    assert not any(event.get("step") == "publish" for event in ended.events)
    assert not shop.is_published()


ANSWER = "Paris. And that is that."
FITS = "does reasoning_parser fit the model?"
FIRST = "# ms to the first token (p95), max_time_to_first_token_ms allows 0.001"
FURTHER = "2 ms for each further token (p95), max_time_per_output_token_ms allows 1.5"
THROUGHPUT = "# tokens per second at the best concurrency, min_throughput_tokens_per_second asks for 1e+09"

WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "wrong": (
        PARIS,
        {},
        [
            "  prompt 1: the answer lacks 'Paris': ' London. And that is that.'",
            "  prompt 1, streamed: the answer lacks 'Paris': ' London. And that is that.'",
        ],
    ),
    "no-done": (
        {},
        {},
        [
            "  completion, streamed: the stream has no [DONE] at its end",
            "  chat, streamed: the stream has no [DONE] at its end",
        ],
    ),
    "length": ({}, {}, ["  length: 99 tokens were made of the 3 that max_tokens allows"]),
    "no-tool": (
        {},
        {"enable_auto_tool_choice": True, "tool_call_parser": "hermes"},
        ["  tool call: the answer has no tool call: '100 degrees.'; does tool_call_parser fit the model?"],
    ),
    "no-reasoning": (
        {},
        {"reasoning_parser": "qwen3"},
        [
            f"  reasoning: the answer has no reasoning apart: '{ANSWER}'; {FITS}",
        ],
    ),
    "bench-drops": (
        {
            "performance": {
                "concurrency": [1, 2],
                "requests": 3,
                "max_time_to_first_token_ms": 0.001,
                "max_time_per_output_token_ms": 1.5,
                "min_throughput_tokens_per_second": 1e9,
            }
        },
        {},
        [
            "  performance, 1 at a time: 2 of 3 requests were answered",
            f"  performance, 1 at a time: {FIRST}",
            f"  performance, 1 at a time: {FURTHER}",
            "  performance, 2 at a time: 2 of 3 requests were answered",
            f"  performance, 2 at a time: {FIRST}",
            f"  performance, 2 at a time: {FURTHER}",
            f"  performance: {THROUGHPUT}",
        ],
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer_is_not_published(shop: Shop, fault: str) -> None:
    verify, args, lines = WRONG[fault]
    ended = shop.run(verify, fault=fault, args=args)
    measured = r"[0-9][0-9.e+-]*(?= ms to| tokens per)"  # what depends on the machine
    assert [re.sub(measured, "#", line) for line in failure(ended)] == lines
    report = json.loads((shop.kept() / "report.json").read_text())
    assert report["passed"] is False
    assert not shop.is_published()


def test_what_is_configured_and_works_is_asked_for_and_measured(shop: Shop) -> None:
    args = {"enable_auto_tool_choice": True, "tool_call_parser": "hermes", "reasoning_parser": "qwen3"}
    bounds = {"concurrency": [1, 2], "requests": 3, "output_len": 4, "max_time_to_first_token_ms": 60000}
    messages = [{"content": "What is the capital of France?"}]
    prompts = [
        {"messages": messages, "expect": ["London", "Paris"]},
        {"prompt": "Water boils at", "stop": " deg"},
    ]
    verify = {"smoke": {"prompts": prompts}, "performance": bounds}
    shop.run(verify, "--output", str(shop.folder / "out"), args=args).ok()
    name = f"oci:{shop.folder / 'out'}"
    report = cli.enginebuild("inspect", name, "--json").ok().document["verification"]
    texts = {check["name"]: check["text"] for check in report["smoke"]}
    assert texts["tool call"] == "France has one capital."
    assert texts["reasoning"] == texts["prompt 1, streamed"] == "Paris. And that is that."
    assert texts["prompt 2"] == " 100"
    assert [row["concurrency"] for row in report["performance"]] == [1, 2]
    manifests = json.loads((shop.folder / "out" / "index.json").read_text())["manifests"]
    assert [entry.get("artifactType") for entry in manifests] == [
        None,
        "application/vnd.enginebuild.verification.v1+json",
    ]


def test_one_loading_serves_verification_and_the_engine(shop: Shop) -> None:
    ended = shop.run(PARIS, "--load").ok()
    loads = [event for event in ended.events if event.get("label") == "load into Docker"]
    assert sum(1 for event in loads if event["done"] == event["total"]) == 1
    (name,) = ended.result["image"]["names"]
    tag = name.removeprefix("docker:").partition("@")[0]
    again = cli.enginebuild("verify", f"docker:{tag}", *shop.words(), env=shop.env).ok()
    assert again.stdout.splitlines()[:1] == [f"docker:{tag}"]
    shop.engine.docker("image", "rm", tag)


def test_any_image_is_verified_by_its_name(shop: Shop) -> None:
    name = shop.run(None).ok().result["image"]["names"][0]
    asked = ("--prompt", "The capital of France is", "--expect")
    ended = cli.enginebuild("verify", name, *asked, "Paris", *shop.words(), "--json", env=shop.env).ok()
    assert ended.document["passed"] is True
    assert [check["name"] for check in ended.document["smoke"]][-2:] == ["prompt 1", "prompt 1, streamed"]
    shown = cli.enginebuild("verify", name, *asked, "Madrid", *shop.words(), env=shop.env)
    assert shown.code == 7
    text = " Paris. And that is that."
    assert shown.stderr.splitlines()[-4:] == [
        f"error: {name} failed verification:",
        f"  prompt 1: the answer lacks 'Madrid': {text!r}",
        f"  prompt 1, streamed: the answer lacks 'Madrid': {text!r}",
        f"hint: its server's whole log is {shop.kept() / 'server.log'}",
    ]
    shop.engine.docker("image", "rm", "--force", name)


def test_ctrl_c_leaves_no_container_and_no_image(shop: Shop) -> None:
    recipe = shop.write(PARIS, fault="never")
    process = cli.start("run", recipe, *shop.words(), "--push", env=shop.env)
    shop.wait_for_container()
    process.send_signal(signal.SIGTERM)
    assert cli.end(process).code == 130
    assert not shop.is_published()


def test_what_a_killed_run_left_serves_the_next_one_and_goes_with_it(shop: Shop) -> None:
    recipe = shop.write(PARIS, fault="never")
    process = cli.start("run", recipe, *shop.words(), "--push", env=shop.env)
    shop.wait_for_container()
    process.kill()
    cli.end(process)
    assert (len(shop.containers()), len(shop.images())) == (1, 1)
    # The fixture looks for what is left. The same image again: it is there, under the dead run's name alone.
    same = {**PARIS, "timeout": "4s"}
    ended = shop.run(same, fault="never")
    assert failure(ended)[0].startswith("  it does not answer a completion within 4 s: ")
    assert not [event for event in ended.events if event.get("label") == "load into Docker"]


def test_a_killed_runs_image_goes_with_a_run_of_another(shop: Shop) -> None:
    process = cli.start("run", shop.write(PARIS, fault="never"), *shop.words(), "--push", env=shop.env)
    shop.wait_for_container()
    process.kill()
    cli.end(process)
    shop.run(PARIS).ok()


def test_an_image_without_python_cannot_be_asked(shop: Shop, made: Path) -> None:
    (shop.folder / "bare").symlink_to(made / "bare")
    ended = shop.run(PARIS, base="bare")
    assert failure(ended)[:1] == [
        "  it cannot be asked from inside its container: the image has no python3",
    ]


def test_an_entry_point_that_is_not_there_cannot_be_started(shop: Shop, base_layout: BusyboxBase) -> None:
    shutil.copytree(base_layout.layout, shop.folder / "busybox")
    ended = shop.run(PARIS, base="busybox")
    assert ended.code == 7
    assert ended.result["message"].startswith(
        "tiny failed verification: its server cannot be started: the Docker Engine says: "
    )
    assert '"vllm": executable file not found in $PATH' in ended.result["message"]
