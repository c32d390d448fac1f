"""Which files share a layer: large ones alone, small ones together, volatile ones last, never too many."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginebuild_cache import Digest, File
from enginebuild_images.errors import ImageError
from enginebuild_images.layer import Layer
from enginebuild_images.policy import BUNDLE, LARGE, MOST_LAYERS, group, layer_budget
from parts.image_files import described

MIB = 1 << 20


def _paths(layers: tuple[Layer, ...]) -> list[list[str]]:
    return [[entry.path for entry in layer.entries] for layer in layers]


def _files(**sizes: int) -> dict[str, File]:
    return {f"/model/{name}": described(name, size) for name, size in sizes.items()}


def test_large_files_alone_then_small_ones_then_volatile_ones() -> None:
    files = _files(b=LARGE, a=5000 * MIB, config=700, tokenizer=9 * MIB, just_small=LARGE - 1)
    layers = group(files, budget=100, volatile={"/model/vllm.yaml": described("vllm.yaml", 90)})
    assert _paths(layers) == [
        ["model/a"],
        ["model/b"],
        ["model/config", "model/just_small", "model/tokenizer"],
        ["model/vllm.yaml"],
    ]


def test_small_files_are_bundled_up_to_a_size() -> None:
    files = _files(**{f"f{number:02}": 60 * MIB for number in range(17)})
    sizes = [sum(entry.file.size for entry in layer.entries) for layer in group(files, budget=100)]
    assert sizes == [480 * MIB, 480 * MIB, 60 * MIB]
    assert max(sizes) <= BUNDLE


def _checkpoint(changed: str = "") -> dict[str, File]:
    """163 shards of 5 GB and small files; the one that changed has other bytes. Nothing is read of them."""
    names = [f"model-{number:05}-of-00163.safetensors" for number in range(1, 164)]
    files = {f"/model/{name}": described(name, 5 * 10**9) for name in names}
    files["/model/config.json"] = described("config.json", 2_000)
    files["/model/tokenizer.json"] = described("tokenizer.json", 8 * MIB)
    if changed:
        files[changed] = File("changed", Digest.of(b"changed"), files[changed].size)
    return files


def _of_checkpoint(base_layers: int, changed: str = "", setting: str = "vllm.yaml") -> tuple[Layer, ...]:
    budget = layer_budget(base_layers)
    return group(_checkpoint(changed), budget=budget, volatile={"/etc/vllm.yaml": described(setting, 90)})


def _sent_anew(before: tuple[Layer, ...], after: tuple[Layer, ...]) -> list[list[str]]:
    known = set(before)
    return [[entry.path for entry in layer.entries] for layer in after if layer not in known]


def test_a_checkpoint_of_163_shards_stays_under_100_layers() -> None:
    layers = _of_checkpoint(20)
    assert [len(layer.entries) for layer in layers] == [*[3] * 54, 1, 2, 1]
    assert 20 + len(layers) == 77
    shards = [path for paths in _paths(layers) for path in paths if "model-" in path]
    assert shards == [f"model/model-{number:05}-of-00163.safetensors" for number in range(1, 164)]
    assert _paths(layers)[-2:] == [["model/config.json", "model/tokenizer.json"], ["etc/vllm.yaml"]]


def test_a_changed_shard_sends_its_group_alone() -> None:
    changed = "/model/model-00100-of-00163.safetensors"
    anew = _sent_anew(_of_checkpoint(20), _of_checkpoint(20, changed))
    assert anew == [[f"model/model-{number:05}-of-00163.safetensors" for number in (100, 101, 102)]]


def test_changed_small_files_send_no_shard() -> None:
    before = _of_checkpoint(20)
    small = [["model/config.json", "model/tokenizer.json"]]
    assert _sent_anew(before, _of_checkpoint(20, "/model/config.json")) == small
    assert _sent_anew(before, _of_checkpoint(20, setting="other")) == [["etc/vllm.yaml"]]


@pytest.mark.parametrize("base_layers", [17, 19, 21, 30, 43])
def test_a_base_with_other_layers_sends_no_shard_anew(base_layers: int) -> None:
    assert _sent_anew(_of_checkpoint(20), _of_checkpoint(base_layers)) == []


@pytest.mark.parametrize("base_layers", [16, 44])
def test_the_range_of_such_bases_ends(base_layers: int) -> None:
    assert len(_sent_anew(_of_checkpoint(20), _of_checkpoint(base_layers))) > 30


def test_a_base_with_many_layers_makes_larger_groups() -> None:
    assert [len(layer.entries) for layer in _of_checkpoint(60)] == [*[5] * 32, 3, 2, 1]


def test_small_files_in_many_bundles_leave_room_for_large_ones() -> None:
    files = _files(**{f"a{number:03}": LARGE for number in range(10)})
    files |= _files(**{f"b{number:03}": 60 * MIB for number in range(80)})  # 10 bundles of 8
    assert [len(layer.entries) for layer in group(files, budget=6)] == [4, 4, 2, 32, 32, 16]


def test_one_layer_takes_all_when_no_other_is_left() -> None:
    layers = group(_files(a=LARGE, b=1), budget=1, volatile=_files(c=1))
    assert _paths(layers) == [["model/a", "model/b", "model/c"]]


def test_nothing_makes_no_layer() -> None:
    assert group({}, budget=3) == ()
    assert _paths(group({}, budget=3, volatile=_files(a=1))) == [["model/a"]]


def test_modes_and_time() -> None:
    (layer,) = group(_files(run=1, data=1), budget=3, executable=["/model/run"], mtime=7)
    assert [(entry.path, entry.mode) for entry in layer.entries] == [
        ("model/data", 0o644),
        ("model/run", 0o755),
    ]
    assert layer.mtime == 7


_SIZE = st.sampled_from([0, 1, 10 * MIB, LARGE - 1, LARGE, 5000 * MIB])


@settings(max_examples=100)
@given(
    st.dictionaries(st.from_regex(r"[a-c]/[a-z]{1,3}", fullmatch=True), _SIZE),
    st.integers(1, 12),
    st.randoms(),
)
def test_every_file_once_within_the_budget_in_any_order(
    sizes: dict[str, int], budget: int, chance: random.Random
) -> None:
    files = {path: described(path, size) for path, size in sizes.items()}
    volatile = {"/v/yaml": described("yaml", 1)}
    layers = group(files, budget=budget, volatile=volatile)
    assert len(layers) <= budget
    assert sorted(path for paths in _paths(layers) for path in paths) == sorted([*files, "v/yaml"])
    assert "v/yaml" in _paths(layers)[-1]
    shuffled = list(files.items())
    chance.shuffle(shuffled)
    assert group(dict(shuffled), budget=budget, volatile=volatile) == layers


@pytest.mark.parametrize(
    ("base", "budget"), [(0, 100), (1, 99), (30, 70), (92, 8), (100, 8), (112, 8), (115, 5), (119, 1)]
)
def test_what_a_base_leaves(base: int, budget: int) -> None:
    assert layer_budget(base) == budget
    assert base + budget <= MOST_LAYERS


def test_a_base_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        layer_budget(120)
    assert caught.value.message == "the base image has 120 layers, and an image cannot have more than 120"
    assert caught.value.hint == "squash the base image, or name another one"


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        group(_files(a=1), budget=0)
    assert caught.value.message == "no layer is left for the files of the image"
    assert caught.value.hint == "name a base image with fewer layers"


def test_a_volatile_file_over_another_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        group(_files(a=1), budget=9, volatile={"model/a": described("b", 1)})
    assert caught.value.message == "two files want to be /model/a in the image"
