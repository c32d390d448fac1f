"""What the steps of a plan have to do, from recipe, lock and store; and what a whole plan says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from enginebuild.cli.output import size
from enginebuild.durations import Work
from enginebuild.errors import SourceError
from enginebuild.estimate import estimate
from enginebuild.events import Report
from enginebuild.lock import ModelLock
from enginebuild.models import ModelFacts, facts_of
from enginebuild.past import Time
from enginebuild.plan import PlannedStep
from enginebuild.recipe import Recipe, parse
from enginebuild.recipe.gpu import catalogue
from enginebuild.resolve import Unresolved, model_request
from enginebuild.step import Step, unresolved_step
from enginebuild.steps.fetch import fetch_step
from enginebuild.work import Sent, generated_tokens, works_of
from enginebuild_cache import Digest, File, Store, Tree
from parts.checkout import ROOT
from parts.published_models import config

B8 = 8_030_261_248
COMMIT = "c" * 40
H100 = catalogue()["H100-SXM-80GB"]


def recipe(lines: str = "", engine: str = "{type: vllm, version: 0.33.0}") -> Recipe:
    return parse(
        f"version: 1\nname: llama\nmodel: hf://org/llama@main\ngpu: H100-SXM-80GB\nengine: {engine}\n"
        f"image: {{base: registry.example.com/base:1}}\n{lines}".encode(),
        "llama.yaml",
    )


QUANTIZED = """\
quantization:
  method: w4a16_awq
  calibration: {dataset: file:./texts, num_samples: 512, max_seq_length: 2048}
builder: {image: registry.example.com/builder:1}
warm: true
verify: {smoke: {prompts: [{prompt: a, max_tokens: 50}]}}
"""


def locked(size: int = 2 * B8, commit: str | None = COMMIT) -> ModelLock:
    files = [
        File("model.safetensors", Digest.of(b"weights"), size),
        File("config.json", Digest.of(b"c"), 700),
    ]
    return ModelLock({}, commit, Tree.of(files))


def facts(model: ModelLock) -> ModelFacts:
    return facts_of(config("meta-llama/Llama-3.1-8B-Instruct"), tree=model.tree)


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to look at its work")


def missing(*names: str) -> list[PlannedStep]:
    return [PlannedStep(unresolved_step(name, 1, "the builder is not known"), "unresolved") for name in names]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


def works(asked: Recipe, store: Store, *names: str, model: ModelLock | None = None) -> Mapping[str, Work]:
    known = model or locked()
    return works_of(asked, known, facts(known), missing(*names), store)


def test_a_quantized_model_is_read_once_calibrated_and_served_small(store: Store) -> None:
    found = works(recipe(QUANTIZED), store, "quantize", "configure", "warm", "image", "verify")
    served = B8 // 2
    assert found == {
        "quantize": Work("quantize", 2 * B8, B8, 512 * 2048, "awq", H100, method="llm-compressor w4a16_awq"),
        "configure": Work("small"),
        "warm": Work("serve", served, gpu=H100, starts=2, compiling=1, method="gpu"),
        "image": Work("pack", served),
        "verify": Work("serve", served, gpu=H100, generated=200, method="gpu"),
    }


def test_a_builder_without_gpus_calibrates_on_the_cpu(store: Store) -> None:
    asked = recipe(QUANTIZED.replace("builder: {", "builder: {gpus: 0, "))
    assert works(asked, store, "quantize")["quantize"].gpu is None


def test_an_engine_is_compiled_rank_after_rank(store: Store) -> None:
    engine = "{type: tensorrt_llm, version: 1.2.1, mode: engine}"
    asked = recipe("tensor_parallel_size: 4\nbuilder: {gpus: 2}\n", engine)
    found = works(asked, store, "convert", "compile")
    assert found == {
        "convert": Work("convert", 2 * B8),
        "compile": Work("compile", 2 * B8, ranks=4, workers=2),
    }


def test_a_model_as_it_is_fetched(store: Store) -> None:
    found = works(recipe(), store, "image", "publish", "validate")
    assert found == {
        "image": Work("pack", 0),
        "publish": Work("upload", 2 * B8),
        "validate": Work("validate"),
    }
    compressed = replace(recipe(), image=replace(recipe().image, compression="gzip"))
    assert works(compressed, store, "image")["image"] == Work("pack", 2 * B8, compressed=True)


@pytest.mark.parametrize(
    ("place", "kind"),
    [("oci:dist/llama", "layout"), ("docker:llm/llama", "docker"), ("registry.example.com/llm", "upload")],
)
def test_what_is_sent_goes_its_way(store: Store, place: str, kind: str) -> None:
    found = works_of(recipe(), locked(), None, missing("publish"), store, Sent(place, 5))
    assert (found["publish"].kind, found["publish"].size) == (kind, 5)


def test_what_is_here_is_not_fetched(store: Store) -> None:
    content = b"here already"
    here = File("a.json", store.put_bytes(content), len(content))
    model = replace(locked(), tree=Tree.of([*locked().tree, here]))
    asked = recipe()
    step = PlannedStep(fetch_step(model_request(asked), model, None, 0, 1), "miss")
    found = works_of(asked, model, None, [step], store)["fetch"]
    assert found == Work("download", 2 * B8 + 700, method="download")
    folder = replace(model, commit=None)
    step = PlannedStep(fetch_step(model_request(asked), folder, None, 0, 1), "miss")
    assert works_of(asked, folder, None, [step], store)["fetch"].kind == "copy"


def test_what_a_remote_cache_has_is_downloaded(store: Store) -> None:
    taken = PlannedStep(Step("compile", 1, {}, never), "hit", output=locked().tree, remote=True)
    here = PlannedStep(Step("image", 1, {}, never), "hit", output=locked().tree)
    assert works_of(recipe(), locked(), None, [taken, here], store) == {
        "compile": Work("download", 2 * B8 + 700, method="remote cache")
    }


def test_without_a_configuration_weights_have_16_bits(store: Store) -> None:
    found = works_of(recipe(QUANTIZED), locked(), None, missing("quantize", "image"), store)
    assert (found["quantize"].parameters, found["image"].size) == (B8, B8 // 2)


def test_a_configuration_says_how_many_weights_there_are(store: Store) -> None:
    model = locked(B8)
    found = works_of(recipe(QUANTIZED), model, facts(model), missing("quantize"), store)
    # A byte for each weight: it is not taken for a model of half the size.
    assert found["quantize"].parameters == B8


def test_of_an_unknown_model_there_is_nothing_to_say(store: Store) -> None:
    nowhere = Unresolved(SourceError("no network"))
    assert works_of(recipe(), nowhere, None, missing("fetch", "image", "publish"), store) == {}


def test_tokens_that_a_verification_asks_for() -> None:
    lines = """\
quantization: w4a16
builder: {image: registry.example.com/builder:1}
verify:
  quality: {prompts: [a, b, c], max_tokens: 10, max_perplexity_increase: 0.1}
  performance: {concurrency: [1, 4], requests: 8, input_len: 16, output_len: 100}
"""
    wanted = recipe(lines).verification
    assert wanted is not None
    assert generated_tokens(wanted) == 100 + 2 * 3 * 10 + 800 + 200


@dataclass(frozen=True)
class Nothing:
    def times(self, step: str) -> tuple[Time, ...]:
        return ()


def test_what_a_plan_says_of_a_recipe_that_was_never_built(store: Store) -> None:
    asked = recipe(QUANTIZED)
    model = locked()
    steps = [
        PlannedStep(fetch_step(model_request(asked), model, None, 0, 1), "miss"),
        *missing("quantize", "configure", "warm", "image", "verify", "publish"),
    ]
    found = works_of(asked, model, facts(model), steps, store)
    told = estimate(steps, found, Nothing(), asked, 2 * B8, 2.5)
    assert told.lines("{:,} bytes".format) == SNAPSHOT.splitlines()
    assert all(step.source for step in told.steps)
    page = (ROOT / "docs" / "planning.md").read_text("utf-8").splitlines()
    lines = told.lines(size)
    assert page[page.index(lines[0]) :][: len(lines)] == lines


SNAPSHOT = """\
time       18 min, between 6 min and 57 min
  fetch      3 min                 model: 100 MB/s, an assumed line of 1 Gbit/s; ×4 either way
  quantize   10 min     on 1 GPU   model: llm-compressor's runtimes of an 8B model on an A100; ×3 either way
  configure  under 1 s             model: small files; ×5 either way
  warm       3 min      on 1 GPU   model: published starts of vLLM; ×3 either way
  image      4 s                   model: 1.2 GB/s digested, 15 MB/s compressed; ×3 either way
  verify     98 s       on 1 GPU   model: published starts of vLLM; ×3 either way
  publish    40 s                  model: 100 MB/s, an assumed line of 1 Gbit/s; ×4 either way
to fetch   16,060,522,496 bytes
cost       0.61 $ (0.20 to 1.83 $) for 14.6 GPU minutes at 2.5 $/h
"""
