"""What the records of a store tell of a recipe's model: a real store, reports as verify writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from enginebuild.advise.measured import compile_minutes, measured
from enginebuild.recipe import parse
from enginebuild.verify.report import Check, Report, Start
from enginebuild_cache import Digest, File, Json, Record, Store, Tree, canonical_json
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.description import ImageDescription
from enginebuild_images.manifest import Platform
from enginebuild_images.settings import ImageSettings

RECIPE = parse(
    b"version: 1\nname: llama\nmodel: hf://org/llama@main\n"
    b"engine: {type: vllm, version: 0.33.0}\nimage: {base: scratch}\n",
    "llama.yaml",
)
MODEL = Digest.of(b"model")
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


def put(store: Store, step: str, files: Mapping[str, bytes], subject: str, seconds: float = 1.0) -> Record:
    tree = Tree.of(File(name, store.put_bytes(content), len(content)) for name, content in files.items())
    fields: dict[str, Json] = {"step": step, "made": str(tree.digest)}
    provenance: dict[str, Json] = {"subject": subject, "seconds": seconds, "finished": "2026-11-26"}
    return store.put_record(Record(Digest.of_json(fields), step, fields, tree, provenance))


def image(store: Store, subject: str, **labels: str) -> str:
    """The digest of an image whose record is there."""
    own = {"enginebuild.engine": "vllm", "enginebuild.model.digest": str(MODEL)}
    named = {f"enginebuild.{name}": text for name, text in labels.items()}
    made = assemble(scratch(Platform()), [], ImageSettings(labels=own | named))
    put(store, "image", {"image.json": canonical_json(ImageDescription.of(made).to_json())}, subject)
    return str(made.digest)


def verified(
    store: Store,
    digest: str,
    rates: Sequence[float],
    gpus: Sequence[str] = (H100,),
    subject: str = "llama",
    finished: str = "2026-11-26T08:00:00+00:00",
) -> None:
    rows: list[Mapping[str, Json]] = [
        {"concurrency": 4**number, "output_throughput": rate} for number, rate in enumerate(rates)
    ]
    checks = (Check("starts"),)
    report = Report(digest, "llama", tuple(gpus), Start(1.0), checks, None, rows, finished=finished)
    put(store, "verify", {"report.json": json.dumps(report.to_json()).encode()}, subject)


def test_the_best_rate_of_each_engine_and_quantization(store: Store) -> None:
    verified(store, image(store, "llama"), [100.0, 185.25])
    fp8 = image(store, "other", quantization="fp8")
    verified(store, fp8, [600.0], [H100, H100], "other")
    verified(store, image(store, "llama", mode="pytorch", engine="tensorrt_llm"), [1.0])
    found = {each.name: each.throughput for each in measured(store, RECIPE, MODEL)}
    assert {name: figure and (figure.value, figure.origin) for name, figure in found.items()} == {
        "vllm": (666900, "measured"),
        "vllm:fp8x2": (1080000, "measured"),
        "tensorrt_llm-pytorch": (3600, "measured"),
    }
    assert found["vllm"] is not None
    assert found["vllm"].source == (
        "verify of llama, 2026-11-26T08:00:00+00:00: 4 at a time on NVIDIA H100 80GB HBM3"
    )


def test_others_models_count_only_for_them(store: Store) -> None:
    verified(store, image(store, "other"), [100.0], subject="other")
    assert [each.name for each in measured(store, RECIPE, MODEL)] == ["vllm"]
    assert measured(store, RECIPE, Digest.of(b"another")) == ()
    assert measured(store, RECIPE, None) == ()


def test_the_latest_measurement_counts(store: Store) -> None:
    digest = image(store, "llama")
    for rate, day in ((100.0, 25), (50.0, 27), (75.0, 26)):
        verified(store, digest, [rate], finished=f"2026-11-{day}T08:00:00+00:00")
    (found,) = measured(store, RECIPE, MODEL)
    assert found.throughput is not None
    assert found.throughput.value == 180000


def test_what_tells_nothing(store: Store) -> None:
    digest = image(store, "llama")
    verified(store, digest, [])
    verified(store, digest, [100.0], gpus=[])
    verified(store, digest, [0.0])
    verified(store, str(Digest.of(b"no image of ours")), [100.0])
    assert measured(store, RECIPE, MODEL) == ()


def test_a_report_that_somebody_removed(store: Store) -> None:
    verified(store, image(store, "llama"), [100.0])
    (record,) = (each for each in store.records() if each.step == "verify")
    store.delete(record.tree.files[0].digest)
    assert measured(store, RECIPE, MODEL) == ()


def test_how_long_the_engine_took(store: Store) -> None:
    assert compile_minutes(store, RECIPE) is None
    put(store, "compile", {"config.json": b"{}"}, "other", 60.0)
    assert compile_minutes(store, RECIPE) is None
    record = put(store, "compile", {"config.json": b"{ }"}, "llama", 2460.0)
    found = compile_minutes(store, RECIPE)
    assert found is not None
    assert (found.value, found.origin) == (41.0, "measured")
    assert found.source == f"the record {record.key.short} of 2026-11-26"
