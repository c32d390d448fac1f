"""What decides the result differs, or only what does not: recipes' steps, locks, images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from enginebuild.difference import Difference, between_images, between_locks, between_recipes
from enginebuild.events import Report
from enginebuild.inspect import Inspection, LayerSummary
from enginebuild.lock import BaseLock, BuilderLock, Lock, ModelLock
from enginebuild.recipe import Recipe, parse
from enginebuild.step import Step, unresolved_step
from enginebuild_cache import Digest, File, Json, Store, Tree

A, B = Digest.of(b"a"), Digest.of(b"b")


def never(inputs: Mapping[str, Tree], store: Store, report: Report) -> Tree:
    raise AssertionError("nothing is run to compare it")


def recipe(name: str = "a", tags: str = "[x]") -> Recipe:
    text = (
        f"version: 1\nname: {name}\nmodel: hf://org/llama@main\nengine: {{type: vllm, version: 0.33.0}}\n"
        f"image: {{base: scratch, tags: {tags}}}\n"
    )
    return parse(text.encode(), f"{name}.yaml")


def step(name: str, fields: Mapping[str, Json], *inputs: str) -> Step:
    return Step(name, 1, fields, never, inputs)


def shown(found: Difference) -> str:
    return "\n".join([*(line for part in found.parts for line in part.lines()), found.verdict])


FETCH = step("fetch", {"commit": "c0ffee"})
CONFIGURE = step("configure", {"dtype": "float16", "fingerprint": "1"})
IMAGE = step("image", {"labels": {"enginebuild.key": "1"}}, "fetch", "configure")


def test_equal_recipes_say_what_else_is_another() -> None:
    steps = (FETCH, CONFIGURE, IMAGE)
    found = between_recipes((recipe(), steps), (recipe("b", "[z]"), steps))
    assert shown(found) == (
        "fetch      same\nconfigure  same\nimage      same\n"
        "equal in what decides the result, though not in image.tags, name"
    )
    assert found.equal is True
    assert between_recipes((recipe(), steps), (recipe(), steps)).verdict == "equal in what decides the result"


def test_what_is_written_differs_and_what_is_made_of_it_follows() -> None:
    other = step("configure", {"dtype": "float32", "fingerprint": "2"})
    packed = step("image", {"labels": {"enginebuild.key": "2"}}, "fetch", "configure")
    found = between_recipes((recipe(), (FETCH, CONFIGURE, IMAGE)), (recipe("b"), (FETCH, other, packed)))
    assert shown(found) == (
        "fetch      same\nconfigure  differs\n             dtype: float16 → float32\n"
        "image      follows\nthey differ"
    )
    assert found.to_json() == {
        "kind": "recipes",
        "equal": False,
        "parts": [
            {"name": "fetch", "status": "same", "reason": None, "causes": []},
            {
                "name": "configure",
                "status": "differs",
                "reason": None,
                "causes": [
                    {
                        "field": "fields.dtype",
                        "recipe": "dtype",
                        "follows": False,
                        "old": "float16",
                        "new": "float32",
                    }
                ],
            },
            {"name": "image", "status": "follows", "reason": None, "causes": []},
        ],
        "besides": [],
    }


def test_a_step_of_one_recipe_alone_stands_where_it_runs() -> None:
    calibrated = step("quantize", {"tool": "modelopt"}, "fetch", "calibration")
    plain = step("quantize", {"tool": "modelopt"}, "fetch")
    calibration = step("calibration", {"files": []})
    found = between_recipes(
        (recipe(), (FETCH, plain)), (recipe(), (FETCH, calibration, calibrated, step("triton", {})))
    )
    assert shown(found) == (
        "fetch      same\ncalibration only in b\nquantize   differs\n"
        "             quantization.calibration: (absent) → given\n"
        "triton     only in b\nthey differ"
    )
    back = between_recipes((recipe(), (FETCH, calibration)), (recipe(), (FETCH,)))
    assert [part.status for part in back.parts] == ["same", "only in a"]


def test_what_cannot_be_resolved_leaves_the_answer_open() -> None:
    unknown = unresolved_step("fetch", 1, "no network")
    both = (recipe(), (unknown, CONFIGURE, IMAGE))
    found = between_recipes(both, both)
    assert shown(found) == (
        "fetch      unknown: no network\nconfigure  same\n"
        "image      unknown: what it is made of is not known\nwhether they are equal cannot be told"
    )
    assert found.equal is None
    named = between_recipes(both, (recipe("b"), both[1]))
    assert named.verdict == "whether they are equal cannot be told; what is written differs in name"
    other = step("configure", {"dtype": "float32"})
    assert between_recipes(both, (recipe(), (unknown, other, IMAGE))).equal is False


def model(commit: str | None = "c0ffee", source: str = "hf://org/llama", content: bytes = b"a") -> ModelLock:
    asked: dict[str, Json] = {"source": source, "revision": "main", "allow_patterns": []}
    return ModelLock(asked, commit, Tree.of([File("config.json", Digest.of(content), 1)]), "mit")


LOCK = Lock(
    model(),
    BaseLock("docker.io/a:1", "linux/amd64", A),
    {"vllm": "0.33.0"},
    BuilderLock("registry.example.com/b:1", "linux/amd64", A),
)


def test_locks_that_were_asked_for_otherwise_are_equal() -> None:
    moved = replace(
        LOCK,
        model=replace(model(), asked={**model().asked, "revision": "v1"}),
        base=BaseLock("docker.io/a:latest", "linux/amd64", A),
        builder=BuilderLock("registry.example.com/b:latest", "linux/amd64", A),
    )
    found = between_locks(LOCK, moved)
    assert shown(found) == (
        "fetch      same\nbuilder    same\nconfigure  same\nimage      same\n"
        "equal in what decides the result, though not in base.reference, builder.reference, model.revision"
    )


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            {"model": model("beef")},
            ["fetch      differs", "             commit: c0ffee → beef"],
        ),
        (
            {"model": model(source="hf://org/other")},
            ["fetch      differs", "             source: hf://org/llama → hf://org/other"],
        ),
        (
            {"model": model(content=b"b")},
            ["fetch      differs", f"             files[config.json].sha256: {A.hex} → {B.hex}"],
        ),
        ({"model": replace(model(), licence=None)}, [
            "image      differs", "             licence: mit → null"
        ]),
        ({"base": BaseLock("docker.io/a:1", "linux/amd64", B)}, [
            "image      differs", f"             base: {A} → {B}"
        ]),
        ({"tools": {"vllm": "0.32.0"}}, ["configure  differs", "             vllm: 0.33.0 → 0.32.0"]),
        ({"builder": BuilderLock("/opt/a", "linux/amd64", None, {"torch": "2"})}, [
            "builder    differs",
            f"             image: {A} → (absent)",
            "             platform: linux/amd64 → (absent)",
            "             torch: (absent) → 2",
        ]),
        ({"builder": None}, ["builder    only in a"]),
        ({"calibration": model()}, ["calibration only in b"]),
    ],
)  # fmt: skip
def test_locks_differ(change: dict[str, Any], lines: list[str]) -> None:
    found = between_locks(LOCK, replace(LOCK, **change))
    said = [line for part in found.parts if part.status != "same" for line in part.lines()]
    assert said == lines
    assert found.equal is False


def test_where_a_folder_lies_decides_nothing() -> None:
    here, there = (replace(LOCK, model=model(None, f"file:./{name}")) for name in "ab")
    found = between_locks(here, there)
    assert (found.equal, found.besides) == (True, ("model.source",))


def test_a_base_without_a_digest_counts_by_its_name() -> None:
    scratch, layout = (
        replace(LOCK, base=BaseLock(name, "linux/amd64", None)) for name in ("scratch", "oci:x")
    )
    assert between_locks(scratch, layout).equal is False


LABELS = {
    "enginebuild.key": "1",
    "enginebuild.model": "hf://org/llama",
    "enginebuild.dtype": "float16",
    "team": "ml",
}


def image(
    labels: Mapping[str, str] = LABELS, contents: tuple[str, ...] = ("c1", "c2"), **more: Any
) -> Inspection:
    layers = more.pop("layers", tuple(LayerSummary(f"d{at}", 1, "tar", f"/{at}") for at in (1, 2)))
    config: dict[str, Json] = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": dict(labels), "Entrypoint": ["serve"], **more},
        "rootfs": {"diff_ids": list(contents)},
    }
    return Inspection("oci:a", "sha256:1", config, layers)


def test_images_with_other_labels_and_words() -> None:
    other = image({**LABELS, "enginebuild.key": "2", "enginebuild.dtype": "float32"}, Cmd=["--port", "1"])
    assert shown(between_images(image(), other)) == (
        "fetch      same\nconfigure  differs\n             enginebuild.dtype: float16 → float32\n"
        'image      differs\n             Cmd: (absent) → ["--port","1"]\nlayers     same\nthey differ'
    )


def test_layers_are_compared_by_their_content() -> None:
    packed = tuple(LayerSummary(f"z{at}", 1, "tar+gzip", f"/{at}") for at in (1, 2))
    found = between_images(image(), replace(image(layers=packed), digest="sha256:2"))
    assert found.verdict == "equal in what decides the result, though not in digest"
    changed = between_images(image(), image(contents=("c1", "c3")))
    assert shown(changed).splitlines()[-3:] == [
        "layers     differs",
        "             /2: c2 → c3",
        "they differ",
    ]


def test_layers_that_do_not_say_what_they_hold_are_compared_by_place() -> None:
    loaded = image(
        layers=(LayerSummary("c1", 0, "", ""), LayerSummary("c3", 0, "", "")), contents=("c1", "c3")
    )
    found = between_images(image(), loaded)
    assert found.parts[-1].lines() == ["layers     differs", "             layer 2: c2 → c3"]


def test_layers_of_one_name_are_told_apart_and_digests_stand_in_for_contents() -> None:
    twice = tuple(LayerSummary(f"d{at}", 1, "tar", "RUN x") for at in (1, 2))
    other = (twice[0], LayerSummary("d3", 1, "tar", "RUN x"))
    found = between_images(image(layers=twice, contents=()), image(layers=other, contents=()))
    assert found.parts[-1].lines() == ["layers     differs", "             RUN x (2): d2 → d3"]


def test_a_modelpack_artifact_and_an_image() -> None:
    packed = replace(image(), is_model=True, annotations=LABELS)
    found = between_images(image(), packed)
    assert shown(found).splitlines()[2:5] == [
        "image      differs",
        '             Entrypoint: ["serve"] → (absent)',
        "             platform: linux/amd64 → ModelPack",
    ]
