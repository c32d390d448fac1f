"""Planning is pure: records in, keys and reasons out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from enginebuild.events import Report
from enginebuild.plan import plan
from enginebuild.step import Step, unresolved_step
from enginebuild_cache import Digest, File, Record, Store, Tree

MODEL = Tree.of([File("config.json", Digest.of(b"{}"), 2)])
CONFIG = Tree.of([File("vllm.yaml", Digest.of(b"a: 1"), 4)])


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("planning must not run a step")


def fetch(commit: str = "c0ffee") -> Step:
    return Step("fetch", 1, {"commit": commit}, never, output=MODEL)


def pack(output: Tree | None = None) -> Step:
    return Step("pack", 3, {"level": 9}, never, ("fetch",), output=output)


def record(step: Step, inputs: Mapping[str, Tree], tree: Tree) -> Record:
    return Record(step.key(inputs), step.name, step.key_document(inputs), tree, {})


def nothing(step: Step, key: Digest) -> Record | None:
    return None


def only(made: Record) -> Callable[[Step, Digest], Record | None]:
    return lambda _step, key: made if key == made.key else None


def no_last(step: str) -> Record | None:
    return None


def test_a_key_is_the_digest_of_what_decides_the_result() -> None:
    assert pack().key_document({"fetch": MODEL}) == {
        "step": "pack",
        "version": 3,
        "environment": "local",
        "inputs": {"fetch": str(MODEL.digest)},
        "fields": {"level": 9},
    }


def test_hit_and_miss_and_why() -> None:
    made = record(fetch(), {}, MODEL)
    last = record(fetch("0ld"), {}, MODEL)
    hit, miss = plan([fetch(), pack()], only(made), no_last)
    assert (hit.status, hit.output, hit.reason) == ("hit", MODEL, "")
    assert (miss.status, miss.key, miss.reason) == ("miss", pack().key({"fetch": MODEL}), "never built here")

    moved, _ = plan([fetch(), pack()], nothing, lambda name: last if name == "fetch" else None)
    assert moved.status == "miss"
    assert moved.reason == "fields.commit: 0ld → c0ffee"

    gone, _ = plan([fetch(), pack()], nothing, lambda name: record(fetch(), {}, MODEL))
    assert gone.reason == "its files are no longer in the cache"


def test_a_miss_whose_output_is_known_lets_the_rest_be_planned() -> None:
    first, second = plan([fetch(), pack()], nothing, no_last)
    assert (first.status, second.status) == ("miss", "miss")
    assert second.key == pack().key({"fetch": MODEL})


def test_a_miss_whose_output_is_unknown_leaves_its_users_without_a_key() -> None:
    serve = Step("serve", 1, {}, never, ("pack",))
    *_, last = plan([fetch(), pack(), serve], nothing, no_last)
    assert (last.status, last.key, last.reason) == ("unresolved", None, "its key needs the output of pack")


def test_early_cutoff_two_ways_to_the_same_bytes_share_the_work() -> None:
    assert pack().key({"fetch": MODEL}) == pack().key({"fetch": Tree.of(MODEL.files)})
    assert fetch("a").key({}) != fetch("b").key({})


def test_an_unresolved_step_says_why_and_the_others_are_planned() -> None:
    missing = unresolved_step("image", 1, "no network", ("fetch",), {"a.txt": b"text"})
    first, second = plan([fetch(), missing], nothing, no_last)
    assert first.status == "miss"
    assert second.to_json() == {
        "name": "image",
        "key": None,
        "status": "unresolved",
        "remote": False,
        "reason": "no network",
        "changed": None,
        "inputs": ["fetch"],
        "environment": "local",
        "commands": [],
        "files": {"a.txt": "text"},
    }


def test_json_of_a_miss_names_the_change() -> None:
    (planned,) = plan([fetch()], nothing, lambda name: record(fetch("0ld"), {}, CONFIG))
    assert planned.to_json()["changed"] == [{"field": "fields.commit", "old": "0ld", "new": "c0ffee"}]


def test_step_names_are_unique() -> None:
    with pytest.raises(ValueError) as caught:
        plan([fetch(), fetch()], nothing, no_last)
    assert str(caught.value) == "two steps are called fetch"


def chain() -> tuple[Step, Step, Step]:
    """fetch → convert → pack; only the output of fetch is known beforehand."""
    return (
        fetch(),
        Step("convert", 1, {}, never, ("fetch",)),
        Step("pack", 3, {}, never, ("convert",)),
    )


def test_what_is_not_here_is_not_needed_if_what_was_made_of_it_is() -> None:
    fetched, convert, packed = chain()
    made = record(convert, {"fetch": MODEL}, CONFIG)
    planned = plan((fetched, convert, packed), only(made), no_last)
    assert [(each.step.name, each.status, each.reason) for each in planned] == [
        ("fetch", "unneeded", "what was made of it is here"),
        ("convert", "hit", ""),
        ("pack", "miss", "never built here"),
    ]


def test_what_another_machine_has_is_a_hit_and_only_what_is_not_here_is_asked_for() -> None:
    fetched, convert, packed = chain()
    here, there = record(convert, {"fetch": MODEL}, CONFIG), record(packed, {"convert": CONFIG}, CONFIG)
    asked = []

    def elsewhere(step: Step, key: Digest) -> Record | None:
        asked.append(step.name)
        return there if key == there.key else None

    planned = plan((fetched, convert, packed), only(here), no_last, elsewhere)
    assert [(each.status, each.remote, each.reason) for each in planned] == [
        ("unneeded", False, "what was made of it is here"),
        ("hit", False, ""),
        ("hit", True, "in the remote cache"),
    ]
    assert asked == ["fetch", "pack"]


def test_what_another_machine_has_is_not_taken_if_nobody_needs_it() -> None:
    fetched, convert, packed = chain()
    there = {
        each.key: each for each in (record(fetched, {}, MODEL), record(convert, {"fetch": MODEL}, CONFIG))
    }
    planned = plan((fetched, convert, packed), nothing, no_last, lambda _step, key: there.get(key))
    assert [(each.status, each.remote) for each in planned] == [
        ("unneeded", False),
        ("hit", True),
        ("miss", False),
    ]
    assert planned[-1].key == packed.key({"convert": CONFIG})


def test_all_is_needed_where_nothing_is_here() -> None:
    planned = plan(chain(), nothing, no_last)
    assert [each.status for each in planned] == ["miss", "miss", "unresolved"]


def test_inputs_of_the_last_step_are_needed_even_if_it_is_here() -> None:
    packed = Step("pack", 3, {}, never, ("fetch",))
    made = record(packed, {"fetch": MODEL}, CONFIG)
    planned = plan((fetch(), packed), only(made), no_last)
    assert [each.status for each in planned] == ["miss", "hit"]


def test_a_gate_is_needed_although_nothing_is_made_of_it() -> None:
    packed = Step("pack", 3, {}, never)
    gate = Step("validate", 1, {}, never, ("fetch",), gate=True)
    planned = plan((fetch(), gate, packed), nothing, no_last)
    assert [each.status for each in planned] == ["miss", "miss", "miss"]
