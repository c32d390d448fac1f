"""Why a step is a miss, in the recipe's words: whole texts, from records and plans made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from enginebuild.errors import RecipeError
from enginebuild.events import Report
from enginebuild.plan import PlannedStep, plan
from enginebuild.recipe import Recipe, parse
from enginebuild.step import Step, unresolved_step
from enginebuild.why import Explanation, fields_at_fault, why
from enginebuild.wording import causes
from enginebuild_cache import Digest, File, Json, Record, Store, Tree

MADE_BY: Mapping[str, Json] = {
    "finished": "2026-11-26T08:00:00+00:00",
    "subject": "llama",
    "tool": "enginebuild 0.1.0",
}


def since(key: Digest) -> str:
    return f"2026-11-26 08:00 UTC (record {key.short})"


MODEL = Tree.of([File("config.json", Digest.of(b"{}"), 2)])


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to explain it")


def recipe(**more: str) -> Recipe:
    lines = {
        "name": "llama",
        "model": "hf://org/llama@main",
        "engine": "{type: vllm, version: 0.33.0}",
        "image": "{base: scratch}",
        **more,
    }
    text = "version: 1\n" + "".join(f"{name}: {value}\n" for name, value in lines.items())
    return parse(text.encode(), "llama.yaml")


def step(name: str, fields: Mapping[str, Json], *inputs: str, **more: Any) -> Step:
    return Step(name, 1, fields, never, inputs, **more)


def record(made: Step, inputs: Mapping[str, Tree] | None = None, tree: Tree = MODEL) -> Record:
    given = inputs or {}
    return Record(made.key(given), made.name, made.key_document(given), tree, MADE_BY)


FETCH = step("fetch", {"source": "hf://org/llama", "commit": "c0ffee"}, output=MODEL)


def explained(
    steps: list[Step], records: list[Record], only: str | None = None, **more: str
) -> tuple[Explanation, ...]:
    by_key, by_name = ({getattr(each, of): each for each in records} for of in ("key", "step"))
    planned = plan(steps, lambda _, key: by_key.get(key), by_name.get)
    return why(planned, by_name, recipe(**more), only)


def shown(found: tuple[Explanation, ...]) -> str:
    return "\n".join(line for each in found for line in each.lines())


def test_a_hit_says_since_when_and_a_miss_what_differs() -> None:
    before = step("configure", {"args": {"max_model_len": 256}, "fingerprint": "a"}, "fetch")
    now = step("configure", {"args": {"max_model_len": 64}, "fingerprint": "b"}, "fetch")
    found = explained([FETCH, now], [record(FETCH), record(before, {"fetch": MODEL})])
    assert shown(found) == (
        f"fetch      hit         since {since(FETCH.key({}))}\n"
        f"configure  miss        since {since(before.key({'fetch': MODEL}))}:\n"
        "             engine.args.max_model_len: 256 → 64\n"
        "             the key of the whole build: a → b"
    )
    assert fields_at_fault(found) == ("engine.args.max_model_len",)


def test_json_names_both_fields_and_the_record() -> None:
    now = step("fetch", {"source": "hf://org/llama", "commit": "beef"}, output=MODEL)
    (found,) = explained([now], [record(FETCH)])
    assert found.to_json() == {
        "name": "fetch",
        "status": "miss",
        "key": str(now.key({})),
        "reason": "another key",
        "since": {
            "key": str(FETCH.key({})),
            "finished": "2026-11-26T08:00:00+00:00",
            "subject": "llama",
            "tool": "enginebuild 0.1.0",
        },
        "causes": [
            {
                "field": "fields.commit",
                "recipe": "model.revision",
                "follows": False,
                "old": "c0ffee",
                "new": "beef",
            }
        ],
        "whole": True,
    }


def test_a_step_whose_input_is_not_known_tells_what_is_known() -> None:
    convert = step("convert", {"command": ["python3", "convert.py", "--dtype", "float16"]}, "fetch")
    other = step("convert", {"command": ["python3", "convert.py", "--dtype", "bfloat16"]}, "fetch")
    built = step("compile", {"options": {"max_batch_size": 4}}, "convert")
    then = step("compile", {"options": {"max_batch_size": 8}}, "convert")
    records = [record(FETCH), record(convert, {"fetch": MODEL}), record(built, {"convert": MODEL})]
    found = explained([FETCH, other, then], records)
    assert shown(found[1:]) == (
        f"convert    miss        since {since(records[1].key)}:\n"
        "             dtype: float16 → bfloat16\n"
        "compile    unresolved  its key needs the output of convert; known so far, "
        f"since {since(records[2].key)}:\n"
        "             engine.build.max_batch_size: 4 → 8"
    )
    assert [each.whole for each in found] == [True, True, False]
    same = explained([FETCH, other, built], records)
    assert shown(same[2:]) == "compile    unresolved  its key needs the output of convert"


def test_a_record_of_another_recipe_or_version_says_whose_it_is() -> None:
    whose = {"finished": "2026-11-26T08:00:00+00:00", "subject": "other", "tool": "enginebuild 0.0.9"}
    (found,) = explained([FETCH], [replace(record(FETCH), provenance=whose)])
    whole = f"record {FETCH.key({}).short}, made for other, by enginebuild 0.0.9"
    assert found.lines() == [f"fetch      hit         since 2026-11-26 08:00 UTC ({whole})"]
    assert found.lines(12)[0].startswith("fetch        hit  ")


def test_a_label_and_a_size_repeat_nothing() -> None:
    said: dict[str, Json] = {"layout": "server", "labels": {"enginebuild.layout": "server"}}
    now: dict[str, Json] = {"layout": "model", "labels": {"enginebuild.layout": "model"}}
    found = causes("image", step("image", said).description(), step("image", now).description(), recipe())
    assert [str(cause) for cause in found] == ["image.layout: server → model"]
    alone = step("image", {"labels": now["labels"]})
    found = causes(
        "image", step("image", {"labels": said["labels"]}).description(), alone.description(), recipe()
    )
    assert [str(cause) for cause in found] == ["image.layout: server → model"]
    files: list[dict[str, Json]] = [
        {"files": [{"path": "a.json", "sha256": digest, "size": size}]}
        for digest, size in (("0", 1), ("1", 2))
    ]
    before, after = (step("fetch", fields).description() for fields in files)
    assert [str(cause) for cause in causes("fetch", before, after, recipe(model="file:./model"))] == [
        "model.source (a.json): 0 → 1"
    ]


def test_a_compressor_is_told_by_its_name_and_long_values_are_cut() -> None:
    gzip: dict[str, Json] = {
        "layout": "server",
        "compression": {"choice": "gzip", "methods": [{"library": "zlib 1.2.13"}]},
    }
    before = step("image", {"layout": "server"}).description()
    found = causes("image", before, step("image", gzip).description(), recipe())
    assert [str(cause) for cause in found] == ["image.compression: (absent) → gzip"]
    newer: dict[str, Json] = {
        "layout": "server",
        "compression": {"choice": "gzip", "methods": [{"library": "z" * 100}]},
    }
    (cause,) = causes(
        "image", step("image", gzip).description(), step("image", newer).description(), recipe()
    )
    assert str(cause) == (
        'image.compression (compression.methods): [{"library":"zlib 1.2.13"}] → [{"library":"'
        + "z" * 66
        + "…"
    )
    assert cause.new == '[{"library":"' + "z" * 100 + '"}]'


def test_what_an_earlier_step_made_anew_is_no_field_of_the_recipe() -> None:
    other = Tree.of([File("config.json", Digest.of(b"{ }"), 3)])
    fetched = step("fetch", {"source": "hf://org/llama", "commit": "beef"}, output=other)
    packed = step("image", {}, "fetch")
    records = [record(FETCH), record(packed, {"fetch": MODEL})]
    found = explained([fetched, packed], records)
    assert found[1].lines()[1:] == [f"             what fetch made: {MODEL.digest} → {other.digest}"]
    assert fields_at_fault(found) == ("model.revision",)


def test_what_was_never_made_names_what_the_step_is_there_for() -> None:
    assert shown(explained([FETCH], [])) == "fetch      miss        never built here"
    cache = step("timing_cache", {"files": []}, output=MODEL)
    assert shown(explained([cache], [])) == (
        "timing_cache miss        never built here (the step is there for builder.timing_cache)"
    )


def test_files_that_gc_removed() -> None:
    planned = PlannedStep(FETCH, "miss", FETCH.key({}), None, "its files are no longer in the cache", ())
    (found,) = why((planned,), {"fetch": record(FETCH)}, recipe())
    assert found.lines() == [
        f"fetch      miss        its files are no longer in the cache: {since(FETCH.key({}))}"
    ]


def test_what_cannot_be_resolved_says_so() -> None:
    found = explained([unresolved_step("fetch", 1, "no network")], [record(FETCH)])
    assert shown(found) == "fetch      unresolved  no network"


def test_what_nobody_needs() -> None:
    convert = step("convert", {}, "fetch")
    packed = step("image", {}, "convert")
    found = explained([FETCH, convert, packed], [record(convert, {"fetch": MODEL})], "fetch")
    assert shown(found) == "fetch      unneeded    what was made of it is here"


def test_only_one_step_and_one_that_is_not_there() -> None:
    found = explained([FETCH, step("image", {}, "fetch")], [record(FETCH)], "image")
    assert [each.step for each in found] == ["image"]
    with pytest.raises(RecipeError) as caught:
        explained([FETCH], [], "compile")
    assert caught.value.message == "llama has no step compile"
    assert caught.value.hint == "its steps are fetch"


def test_of_many_causes_people_see_twelve() -> None:
    before = step("configure", {"args": {f"a{number:02}": 1 for number in range(20)}})
    now = step("configure", {"args": {f"a{number:02}": 2 for number in range(20)}})
    lines = explained([now], [record(before)])[0].lines()
    assert lines[12:] == [
        "             engine.args.a11: 1 → 2",
        "             and 8 more, see --json",
    ]


CONVERT = ["python3", "convert.py", "--tp_size", "1", "--use_weight_only"]
HUB = {"source": "hf://org/llama", "commit": "c0ffee", "files": [{"path": "a", "sha256": "0", "size": 1}]}
FOLDER = {"files": [{"path": "a", "sha256": "0", "size": 1}]}


@pytest.mark.parametrize(
    ("name", "old", "new", "more", "expected"),
    [
        ("convert", {"command": CONVERT}, {"command": [*CONVERT[:3], "2"]}, {}, [
            "tensor_parallel_size (command.--tp_size): 1 → 2",
            "quantization.method (command.--use_weight_only): given → (absent)",
        ]),
        ("convert", {"command": ["a", "--x", "1"]}, {"command": ["b", "--x", "2"]}, {}, [
            "command.--x: 1 → 2",
            "engine.version (command.program): a → b",
        ]),
        ("fetch", HUB, {**HUB, "files": []}, {}, [
            "model.allow_patterns or model.ignore_patterns (files): (absent) → []",
            "model.allow_patterns or model.ignore_patterns (a): 0 → (absent)",
        ]),
        ("fetch", HUB, {**HUB, "commit": "beef", "files": [{"path": "a", "sha256": "1", "size": 1}]}, {}, [
            "model.revision (commit): c0ffee → beef",
            "model.revision (a): 0 → 1",
        ]),
        ("fetch", FOLDER, {"files": [{"path": "a", "sha256": "1", "size": 1}]}, {"model": "file:./m"}, [
            "model.source (a): 0 → 1",
        ]),
        ("quantize", {"request": {"group_size": 128}}, {"request": {"group_size": 64}}, {}, [
            "quantization.group_size: 128 → 64",
        ]),
        ("quantize", {"tool": "a", "scripts": {"a.py": "0"}}, {"tool": "b", "scripts": {"b.py": "0"}}, {}, [
            "quantization.tool (scripts.a.py): 0 → (absent)",
            "quantization.tool (scripts.b.py): (absent) → 0",
            "quantization.tool: a → b",
        ]),
        ("quantize", {"scripts": {"a.py": "0"}}, {"scripts": {"a.py": "1"}}, {}, [
            "enginebuild (scripts.a.py): 0 → 1",
        ]),
        ("image", {"labels": {"team": "a"}, "port": 1}, {"labels": {"team": "b"}, "port": 2}, {}, [
            "image.labels.team: a → b",
            "its server's port: 1 → 2",
        ]),
        ("image", {"environment": {"A": "1"}}, {"environment": {"A": "2"}}, {}, [
            "its server's variables (A): 1 → 2",
        ]),
        ("warm", {"arguments": {"dtype": "a", "seed": 1}}, {"arguments": {"dtype": "b", "seed": 2}}, {}, [
            "dtype: a → b",
            "engine.args.seed: 1 → 2",
        ]),
        ("warm", {"environment": {"A": "1"}, "hardware": {"name": "a"}}, {"hardware": {"name": "b"}}, {}, [
            "enginebuild (environment.A): 1 → (absent)",
            "the machine that warms it (hardware.name): a → b",
        ]),
        ("configure", {"a": 1}, {"a": 1, "warm": {"program": "0"}}, {}, [
            "warm (warm.program): (absent) → 0"
        ]),
        ("verify", {"verify": {"prompts": []}}, {"verify": {"prompts": ["a"]}}, {}, [
            'verify.smoke.prompts: [] → ["a"]',
        ]),
    ],
)  # fmt: skip
def test_each_step_has_its_words(
    name: str, old: dict[str, Json], new: dict[str, Json], more: dict[str, str], expected: list[str]
) -> None:
    found = causes(name, step(name, old).description(), step(name, new).description(), recipe(**more))
    assert [str(cause) for cause in found] == expected


@pytest.mark.parametrize(
    ("name", "builder", "expected"),
    [
        ("quantize", "", "engine.version (environment): a → b"),
        ("quantize", "{image: registry.example.com/a:1}", "builder.image (environment): a → b"),
        (
            "quantize",
            "{runner: local, environment: /opt/a}",
            "builder.environment: a → b",
        ),
        ("triton", "", "image.base (environment): a → b"),
        ("warm", "", "image.base (environment): a → b"),
    ],
)
def test_in_what_commands_run(name: str, builder: str, expected: str) -> None:
    before, after = (step(name, {}, environment=each).description() for each in "ab")
    more = {"builder": builder} if builder else {}
    assert [str(cause) for cause in causes(name, before, after, recipe(**more))] == [expected]


def test_another_version_of_a_step_is_ours() -> None:
    before, after = (Step("fetch", version, {}, never).description() for version in (1, 2))
    assert [str(each) for each in causes("fetch", before, after, recipe())] == [
        "enginebuild (version): 1 → 2"
    ]
