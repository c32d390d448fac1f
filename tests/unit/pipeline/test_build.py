"""Steps run on demand: what nobody asks for is not made again, and what is asked for has its files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from enginebuild.build import build
from enginebuild.events import Event, Report, StepFinished, Waited, silent
from enginebuild.step import Step
from enginebuild_cache import Digest, File, Record, Store, Tree


@dataclass(frozen=True)
class Write:
    """Makes one file of a text, and notes that it did."""

    text: bytes
    ran: list[bytes]

    def __call__(self, inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        for tree in inputs.values():
            for file in tree:
                store.read_bytes(file)
        self.ran.append(self.text)
        return Tree.of([File("out", store.put_bytes(self.text), len(self.text))])


@dataclass
class OtherMachine:
    """Has records of another store, and may lose their files."""

    other: Store
    broken: bool = False
    found: list[str] = field(default_factory=list)

    def find(self, step: Step, key: Digest, report: Report) -> Record | None:
        self.found.append(step.name)
        return self.other.record(key)

    def pull(self, step: Step, key: Digest, store: Store, report: Report) -> Record | None:
        record = self.other.record(key)
        if record is None or self.broken:
            return None
        for file in record.tree:
            store.put_bytes(self.other.read_bytes(file))
        return store.put_record(record)

    def push(self, record: Record, store: Store, report: Report) -> None:
        pass


def chain(ran: list[bytes]) -> tuple[Step, ...]:
    """fetch → convert → compile → image, and configure → image; of fetch alone the output is known."""
    fetched = Tree.of([File("out", Digest.of(b"fetch"), 5)])
    return (
        Step("fetch", 1, {}, Write(b"fetch", ran), output=fetched),
        Step("convert", 1, {}, Write(b"convert", ran), ("fetch",)),
        Step("compile", 1, {}, Write(b"compile", ran), ("convert",)),
        Step("configure", 1, {}, Write(b"configure", ran)),
        Step("image", 1, {}, Write(b"image", ran), ("compile", "configure")),
    )


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def test_everything_once_in_order(store: Store) -> None:
    ran: list[bytes] = []
    outcomes = build(chain(ran), "it", store, silent)
    assert ran == [b"fetch", b"convert", b"compile", b"configure", b"image"]
    assert [outcome.status for outcome in outcomes.values()] == ["built"] * 5
    again = build(chain(ran), "it", store, silent)
    assert len(ran) == 5
    assert {name: outcome.status for name, outcome in again.items()} == {
        "fetch": "unneeded",
        "convert": "unneeded",
        "compile": "hit",
        "configure": "hit",
        "image": "hit",
    }
    assert {name: outcome.key for name, outcome in again.items()} == {
        name: outcome.key for name, outcome in outcomes.items()
    }


def test_another_machine_s_engine_needs_no_model(store: Store, tmp_path: Path) -> None:
    other, ran = Store.open(tmp_path / "other"), []  # type: tuple[Store, list[bytes]]
    build(chain(ran), "it", other, silent)
    ran.clear()
    events: list[Event] = []
    machine = OtherMachine(other)
    build(chain(ran), "it", store, events.append, machine)
    assert ran == []
    assert machine.found == ["convert"]
    finished = {event.step: event.status for event in events if isinstance(event, StepFinished)}
    assert finished == {
        "fetch": "unneeded",
        "convert": "unneeded",
        "compile": "hit",
        "configure": "hit",
        "image": "hit",
    }
    assert not store.has(Digest.of(b"fetch"))


def test_what_another_machine_only_seems_to_have_is_made(store: Store, tmp_path: Path) -> None:
    other, ran = Store.open(tmp_path / "other"), []  # type: tuple[Store, list[bytes]]
    build(chain(ran), "it", other, silent)
    ran.clear()
    outcomes = build(chain(ran), "it", store, silent, OtherMachine(other, broken=True))
    assert ran == [b"fetch", b"convert", b"compile", b"configure", b"image"]
    assert {outcome.status for outcome in outcomes.values()} == {"built"}


def test_a_lost_file_is_made_again_and_nothing_else(store: Store) -> None:
    ran: list[bytes] = []
    outcomes = build(chain(ran), "it", store, silent)
    store.delete(outcomes["compile"].tree.files[0].digest)
    ran.clear()
    build(chain(ran), "it", store, silent)
    assert ran == [b"compile"]


def gated(ran: list[bytes]) -> tuple[Step, ...]:
    """The chain with a gate that reads the configuration."""
    *earlier, image = chain(ran)
    return (*earlier, Step("validate", 1, {}, Write(b"validate", ran), ("configure",), gate=True), image)


def test_a_gate_comes_first_and_is_made_even_if_the_rest_is_here(store: Store) -> None:
    ran: list[bytes] = []
    build(gated(ran), "it", store, silent)
    assert ran == [b"configure", b"validate", b"fetch", b"convert", b"compile", b"image"]
    ran.clear()
    assert {outcome.status for outcome in build(gated(ran), "it", store, silent).values()} == {
        "hit",
        "unneeded",
    }
    other = Store.open(store.root.parent / "other")
    build(chain(ran), "it", other, silent)
    ran.clear()
    build(gated(ran), "it", other, silent)
    assert ran == [b"validate"]


def test_an_unresolved_step_cannot_be_built(store: Store) -> None:
    step = Step("image", 1, {}, Write(b"", []), unresolved="no network")
    with pytest.raises(ValueError, match=r"step image is unresolved: no network"):
        build([step], "it", store, silent)


def test_a_wait_for_gpus_is_no_time_that_a_step_took(tmp_path: Path) -> None:
    def waits(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
        time.sleep(0.5)
        report(Waited("GPU 0", 0.2))
        report(Waited("GPU 1", 0.2))
        return Tree.of([])

    heard: list[Event] = []
    cache = Store.open(tmp_path / "cache")
    made = build((Step("compile", 1, {}, waits),), "tiny", cache, heard.append)["compile"]
    record = cache.record(made.key)
    assert record is not None
    assert isinstance(record.provenance["seconds"], float)
    assert 0.1 <= record.provenance["seconds"] < 0.5 <= made.seconds
    assert sum(isinstance(event, Waited) for event in heard) == 2
