"""The times of records, with the work that they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from enginebuild.past import Past, Time, method_of, weights_of
from enginebuild.steps.fetch import FETCHED
from enginebuild_cache import Digest, File, Json, Record, Store, Tree

MODEL = Tree.of(
    [
        File("config.json", Digest.of(b"c"), 700),
        File("model.safetensors", Digest.of(b"w"), 16_000_000_000),
    ]
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache")


def put(
    store: Store,
    step: str,
    fields: dict[str, Json],
    seconds: Json,
    more: Mapping[str, Json] | None = None,
    tree: Tree | None = None,
    inputs: Json = None,
) -> Record:
    """A record; the files of its tree have their own paths for content."""
    document: dict[str, Json] = {"step": step, "fields": fields, "inputs": inputs or {}}
    finished = "2026-11-26T08:00:00+00:00"
    provenance = {"subject": "llama", "finished": finished, "seconds": seconds, **(more or {})}
    contents = {file.path: file.path.encode() for file in tree or ()}
    files = [File(path, store.put_bytes(content), len(content)) for path, content in contents.items()]
    return store.put_record(Record(Digest.of_json(document), step, document, Tree.of(files), provenance))


def alone(found: tuple[Time, ...]) -> Time:
    (time,) = found
    return time


def test_a_fetch_is_measured_by_the_bytes_that_were_not_here(store: Store) -> None:
    put(store, "fetch", {"source": "hf://org/llama"}, 160.0, {FETCHED: 16_000_000_000})
    found = alone(Past(store).times("fetch"))
    assert (found.seconds, found.method, found.size, found.since.subject) == (
        160.0,
        "download",
        16_000_000_000,
        "llama",
    )


@pytest.mark.parametrize("fetched", [None, 0, 1000])
def test_a_fetch_that_found_its_files_here_tells_nothing(store: Store, fetched: int | None) -> None:
    more: dict[str, Json] = {} if fetched is None else {FETCHED: fetched}
    put(store, "fetch", {"source": "hf://org/llama"}, 0.1, more)
    assert Past(store).times("fetch") == ()


def test_calibration_data_come_over_the_same_line(store: Store) -> None:
    put(store, "calibration", {"source": "hf://datasets/org/texts"}, 2, {FETCHED: 200_000_000})
    put(store, "timing_cache", {}, 1, {FETCHED: 400_000_000})
    assert [(time.method, time.size) for time in Past(store).times("fetch")] == [
        ("download", 200_000_000),
        ("copy", 400_000_000),
    ]


@pytest.mark.parametrize("seconds", [None, True, "12"])
def test_a_record_without_a_time_tells_none(store: Store, seconds: Json) -> None:
    put(store, "compile", {}, seconds)
    assert Past(store).times("compile") == ()


def test_the_size_of_a_model_is_that_of_its_fetch(store: Store) -> None:
    fetched = put(store, "fetch", {"source": "hf://org/llama"}, 160, tree=MODEL)
    weights = weights_of(fetched.tree)
    assert weights == len("model.safetensors")
    inputs: dict[str, Json] = {"fetch": str(fetched.tree.digest)}
    request: Json = {"method": "fp8", "calibration": {"num_samples": 512, "max_seq_length": 2048}}
    put(store, "quantize", {"tool": "modelopt", "request": request}, 600, inputs=inputs)
    found = alone(Past(store).times("quantize"))
    assert (found.method, found.size, found.tokens) == ("modelopt fp8", weights, 512 * 2048)
    # Of a step that reads none of it, the recipe that fetched it tells.
    put(store, "verify", {"gpus": ["NVIDIA H100"]}, 90)
    assert alone(Past(store).times("verify")).size == weights
    put(store, "warm", {"hardware": {"kind": "cpu"}}, 90, {"subject": "somebody"})
    unknown = alone(Past(store).times("warm"))
    assert (unknown.seconds, unknown.method, unknown.size, unknown.tokens) == (90.0, "cpu", None, None)


@pytest.mark.parametrize(
    ("step", "fields", "method"),
    [
        ("quantize", {"tool": "llm-compressor", "request": {"method": "w4a16"}}, "llm-compressor w4a16"),
        ("quantize", {"command": ["quantize.py", "--qformat", "int4_awq"]}, "quantize.py int4_awq"),
        ("quantize", {"command": ["python3", "quantize.py", "--qformat=fp8"]}, "quantize.py fp8"),
        ("warm", {"hardware": {"kind": "gpu"}}, "gpu"),
        ("verify", {"gpus": []}, "cpu"),
        ("fetch", {"files": []}, "copy"),
        ("compile", {"options": {}}, ""),
    ],
)
def test_what_two_steps_must_agree_in(step: str, fields: dict[str, Json], method: str) -> None:
    assert method_of(step, fields) == method


def test_each_step_is_read_once(store: Store) -> None:
    past = Past(store)
    assert past.times("compile") == ()
    put(store, "compile", {}, 2400)
    assert past.times("compile") == ()
    assert len(Past(store).times("compile")) == 1


def test_a_model_without_safetensors_is_all_its_files() -> None:
    assert weights_of(MODEL) == 16_000_000_000
    assert weights_of(Tree.of([File("model.gguf", Digest.of(b"g"), 5)])) == 5
