"""The step's key, what an image tells of itself, the report for people, and what is attached to an image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enginebuild.events import Report as Tell
from enginebuild.execution import GpuNeed
from enginebuild.recipe.verification import Prompt, Quality, Verification
from enginebuild.verify.attach import REPORT_TYPE, attachment
from enginebuild.verify.gate import Gpus, Question, source_step, verify_step
from enginebuild.verify.report import PLOT_FILE, REPORT_FILE, Check, Report, Start, summary
from enginebuild.verify.reports import in_layout
from enginebuild.verify.server import Subject
from enginebuild_cache import Digest, File, Store, Tree
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.image import Image
from enginebuild_images.layout import read_layout, write_layout
from enginebuild_images.settings import ImageSettings

IMAGE = "sha256:" + "a" * 64


@contextmanager
def nowhere(_tell: Tell) -> Iterator[str]:
    raise AssertionError("nothing is started here")
    yield ""


QUESTION = Question(
    Subject("tiny", IMAGE, {}),
    nowhere,
    Verification((Prompt("Hello", expect=("Hi",)),), memory=8),
    Gpus(1, ("L4",)),
)


def test_the_key_is_made_of_the_image_the_section_and_the_gpus() -> None:
    step = verify_step(QUESTION)
    assert step.fields == {
        "image": IMAGE,
        "verify": {
            "prompts": [{"prompt": "Hello", "messages": [], "expect": ["Hi"], "max_tokens": 32, "stop": []}],
            "quality": None,
            "performance": None,
            "memory": 8,
            "shm_size": 16_000_000_000,
        },
        "gpus": ["L4"],
    }
    key = step.key({})
    for other in (
        replace(QUESTION, subject=Subject("tiny", "sha256:" + "b" * 64, {})),
        replace(QUESTION, verification=Verification(memory=8)),
        replace(QUESTION, gpus=Gpus(1, ("H100",))),
    ):
        assert verify_step(other).key({}) != key
    for same in (
        replace(QUESTION, subject=Subject("other", IMAGE, {})),
        replace(QUESTION, verification=replace(QUESTION.verification, timeout=9.0)),
        replace(QUESTION, gpus=Gpus(1, ("L4",), ("3",))),
    ):
        assert verify_step(same).key({}) == key
    source = Digest.of(b"the unquantized build")
    assert verify_step(QUESTION, source_key=source).fields["source"] == str(source)


def test_what_the_source_said_is_kept_for_every_quantization() -> None:
    quality = Quality(("a", "b"), 16, 0.1, None)
    asked = replace(QUESTION, verification=replace(QUESTION.verification, quality=quality))
    fields = {"image": IMAGE, "prompts": ["a", "b"], "max_tokens": 16, "gpus": ["L4"]}
    assert source_step(asked).fields == fields
    other = replace(asked.verification, quality=replace(quality, max_exact_match_drop=0.5), prompts=())
    assert source_step(replace(asked, verification=other)).fields == fields


LABELS = {"enginebuild.tensor_parallel_size": "2", "enginebuild.pipeline_parallel_size": "2"}


def subject(**config: Any) -> Subject:
    return Subject("x", IMAGE, config)


def test_what_an_image_tells() -> None:
    assert (subject().port, subject().engine, subject().ranks) == (8000, "vllm", 1)
    assert subject(ExposedPorts={"9000/tcp": {}, "8080/tcp": {}}).port == 8080
    assert subject(Labels=LABELS).ranks == 4
    words = subject(Entrypoint=["vllm", "serve", "--tool-call-parser=x"], Cmd=["--reasoning-parser", "y"])
    assert words.options == {"tool_call_parser", "reasoning_parser"}


@pytest.mark.parametrize(
    ("config", "gpu", "count"),
    [
        ({"Env": ["CUDA_VERSION=13.0.3", "PATH=/bin"], "Labels": LABELS}, "L4", 4),
        ({"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}, "L4", 1),
        ({"Env": ["CUDA_VERSION=13.0.3"]}, None, 0),
        ({"Env": ["PATH=/bin"], "Labels": LABELS}, "L4", 0),
        ({"Labels": {"enginebuild.engine": "tensorrt_llm"}}, "L4", 1),
    ],
)
def test_gpus_are_for_images_that_use_them(config: dict[str, Any], gpu: str | None, count: int) -> None:
    assert subject(**config).gpus(gpu) == GpuNeed(count=count)


ROW = {"concurrency": 8, "percentile": 95, "ttft_ms": 41.234, "tpot_ms": 9.5, "output_throughput": 812.3456}
REPORT = Report(
    IMAGE,
    "org/m",
    ("L4", "L4"),
    Start(33.04567, 5_400_000_000),
    (Check("completion", text=" Paris", seconds=0.1), Check("chat", "the answer is empty")),
    {"exact_match": 0.9375, "perplexity": 12.34567},
    [ROW],
    ("quality: bad",),
    "2026-11-27T00:00:00+00:00",
)


def test_a_report_for_people() -> None:
    assert REPORT.failures == ("chat: the answer is empty", "quality: bad")
    assert summary(REPORT.to_json()) == [
        "failed 2026-11-27T00:00:00+00:00, L4, L4",
        "smoke: 1 of 2 checks",
        "start: first completion after 33.05 s, 5.4 GB of memory",
        "quality: exact_match 0.9375, perplexity 12.35",
        "performance: 8 at a time, first token 41.23 ms, each further 9.5 ms (p95), 812.3 tokens/s",
    ]
    least = replace(REPORT, gpus=(), start=Start(1.0), checks=(), quality=None, performance=None, problems=())
    assert summary(least.to_json()) == [
        "passed 2026-11-27T00:00:00+00:00, no GPU",
        "smoke: 0 of 0 checks",
        "start: first completion after 1 s",
    ]


def test_a_document_that_lacks_everything_is_shown_all_the_same() -> None:
    assert summary({}) == ["failed None, no GPU", "smoke: 0 of 0 checks", "start: first completion after ? s"]


def made_image() -> Image:
    return assemble(scratch(), [], ImageSettings(entrypoint=("x",), labels={"a": "b"}))


def tree_of(store: Store, files: dict[str, bytes]) -> Tree:
    return Tree.of([File(name, store.put_bytes(content), len(content)) for name, content in files.items()])


def attach_report(store: Store, to: Image, folder: Path, **changed: Any) -> Image:
    document = {**REPORT.to_json(), "image": str(to.digest), **changed}
    files = {REPORT_FILE: json.dumps(document).encode(), PLOT_FILE: b"<svg/>"}
    artifact = attachment(to, tree_of(store, files), store)
    write_layout(artifact, folder)
    return artifact


def test_the_latest_report_of_an_image_in_a_layout(tmp_path: Path) -> None:
    store, image, folder = Store.open(tmp_path / "cache"), made_image(), tmp_path / "layout"
    write_layout(image, folder, ["v1"])
    assert in_layout(folder, image.digest) is None
    first = attach_report(store, image, folder, finished="2026-01-01")
    manifest = json.loads(first.manifest.content)
    assert (manifest["artifactType"], manifest["subject"]["digest"]) == (REPORT_TYPE, str(image.digest))
    assert [each["mediaType"] for each in manifest["layers"]] == [REPORT_TYPE, "image/svg+xml"]
    attach_report(store, image, folder, finished="2026-03-01")
    attach_report(store, image, folder, finished="2026-02-01")
    found = in_layout(folder, image.digest)
    assert found is not None
    assert found["finished"] == "2026-03-01"
    # What is attached is no image that a name without a tag could mean.
    assert read_layout(str(folder)).digest == image.digest


def test_a_report_about_another_image_proves_nothing(tmp_path: Path) -> None:
    store, image, folder = Store.open(tmp_path / "cache"), made_image(), tmp_path / "layout"
    write_layout(image, folder, ["v1"])
    attach_report(store, image, folder, image=IMAGE)
    assert in_layout(folder, image.digest) is None
