"""The document of a record that travels: bytes, tags, layers equal to an image's, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from enginebuild.engines import vllm
from enginebuild.remote.packed import BUDGET, ROOTS, Packed, digits_of, is_record_tag, tag_of
from enginebuild.steps.layers import placed
from enginebuild_cache import Digest, File, Record, Tree
from enginebuild_images.errors import ImageError
from enginebuild_images.policy import LARGE, group, layer_budget
from parts.cache_samples import record as sample


def file(path: str, size: int = 3) -> File:
    return File(path, Digest.of(path.encode()), size)


TREE = Tree.of(
    [file("config.json"), file("a/b.txt", 0), file("one.safetensors", LARGE), file("two", LARGE + 1)]
)
RECORD = sample(TREE)


def test_round_trip() -> None:
    packed = Packed.of(RECORD)
    assert Packed.from_bytes(packed.to_bytes()) == packed
    assert Packed.from_bytes(packed.to_bytes()).record == RECORD


def test_bytes() -> None:
    record = sample(Tree.of([file("a"), file("b")]), step="configure")
    assert json.loads(Packed.of(record).to_bytes()) == {
        "layers": {"files": [["a", "b"]], "format": 1, "root": "etc/enginebuild"},
        "record": record.to_json(),
        "version": 1,
    }


def test_an_empty_tree_has_no_layers() -> None:
    packed = Packed.of(sample(Tree.of([])))
    assert packed.layers == ()
    assert Packed.from_bytes(packed.to_bytes()) == packed


def test_layers_are_those_of_an_image() -> None:
    """Else a registry could not mount them: the image step groups in the same way, at the same paths."""
    image = group(
        placed(vllm.MODEL_PATH, TREE),
        budget=90,
        volatile=placed("/etc/enginebuild", Tree.of([file("vllm.yaml")])),
    )
    assert Packed.of(RECORD).layers == image[:-1]
    assert Packed.of(sample(Tree.of([file("vllm.yaml")]), step="configure")).layers == image[-1:]
    assert f"/{ROOTS['configure']}/vllm.yaml" == vllm.CONFIG_PATH


@pytest.mark.parametrize("base_layers", [25, 30, 31])
def test_many_shards_are_grouped_as_in_an_image(base_layers: int) -> None:
    shards = Tree.of([file("config.json"), *(file(f"{number:05}", 5 << 30) for number in range(163))])
    configuration = placed("/etc/enginebuild", Tree.of([file("vllm.yaml")]))
    budget = layer_budget(base_layers)
    image = group(placed(vllm.MODEL_PATH, shards), budget=budget, volatile=configuration)
    assert Packed.of(sample(shards)).layers == image[:-1]
    assert Packed.of(sample(shards)).layers == group(placed(vllm.MODEL_PATH, shards), budget=BUDGET)


def test_tags() -> None:
    key = Digest.of(b"key")
    tag = tag_of("fetch", key)
    assert tag == "fetch-2c70e12b7a0646f92279f427c7b38e7334d8e538"
    assert is_record_tag(tag)
    assert digits_of(tag) == key.hex[:40]
    for other in ("latest", tag[:-1], f"{tag}0", tag.upper(), f"-{key.hex[:40]}", f"{tag}\n"):
        assert not is_record_tag(other), other
    with pytest.raises(ValueError) as caught:
        tag_of("two words", key)
    assert str(caught.value) == "the step 'two words' cannot be in a tag"


def change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            document = document[parent]
        document[last] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (change("version", 2), "it is of version 2; this version reads 1"),
        (change("version", None), "it is of version None; this version reads 1"),
        (change("layers", []), "it is not a record of this version (not an object)"),
        (change("layers.format", 2), "its layers have format 2; this version reads 1"),
        (change("layers.files", {}), "it is not a record of this version (its layers are not a list)"),
        (change("layers.files", []), "its layers lack a"),
        (change("layers.files", [["a"]]), "its layers lack b"),
        (
            change("layers.files", [["a", "b"], ["a"]]),
            "its layers hold what its tree does not name, or a file twice",
        ),
        (change("layers.files", [["a", "a", "b"]]), "its layers hold a file twice"),
        (
            change("layers.files", [["a", "b", "c"]]),
            "its layers hold what its tree does not name, or a file twice",
        ),
        (change("layers.files", ["ab"]), "its layers hold what its tree does not name, or a file twice"),
        (
            change("layers.files", [[["a"], "b"]]),
            "its layers hold what its tree does not name, or a file twice",
        ),
        (change("record", {}), "it is not a record of this version ('fields')"),
        (
            change("record.fields", {"other": 1}),
            "the fields of this fetch record do not make the key KEY",
        ),
        (
            change("record.tree", [{"path": "../a", "sha256": "0" * 64, "size": 1}]),
            "not a plain relative path: '../a'",
        ),
        (
            change("record.tree", [{"path": "/a", "sha256": "0" * 64, "size": 1}]),
            "not a plain relative path: '/a'",
        ),
    ],
)
def test_what_is_refused(spoil: Callable[[dict[str, Any]], None], why: str) -> None:
    record = sample(Tree.of([file("a"), file("b")]))
    document = json.loads(Packed.of(record).to_bytes())
    spoil(document)
    with pytest.raises(ValueError) as caught:
        Packed.from_bytes(json.dumps(document).encode())
    assert str(caught.value) == why.replace("KEY", str(record.key))


@pytest.mark.parametrize("root", ["/model", "a/../b", "", "a//b", "a\0"])
def test_a_root_that_no_archive_can_have(root: str) -> None:
    document = json.loads(Packed.of(sample(Tree.of([file("a")]))).to_bytes())
    document["layers"]["root"] = root
    with pytest.raises(ImageError):
        Packed.from_bytes(json.dumps(document).encode())


def test_the_record_is_read_as_the_store_reads_it() -> None:
    read = Packed.from_bytes(Packed.of(RECORD).to_bytes()).record
    assert read.to_bytes() == RECORD.to_bytes()
    assert isinstance(read, Record)
