"""The headers of safetensors files over real HTTP: few bytes, whatever the server does, and only once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.events import silent
from enginebuild.models import facts_of
from enginebuild.sources import ModelRequest, ResolvedModel, fetch, resolve
from enginebuild.sources.checkpoint import HINT_BROKEN
from enginebuild.sources.headers import FIRST, Headers, UnavailableError, ask_headers, headers_at_hand
from enginebuild_cache import File, Json, Store, Tree
from parts.hub_fetch import QUICK
from parts.hub_models import safetensors_bytes, shard_names, with_header, write_index, write_model
from parts.hub_server import Fault, HubServer
from parts.published_tensors import LLAMA, TIED, named

REQUEST = ModelRequest("hf://org/name", None, Path())
WEIGHTS = "*.safetensors"
HUGE = 1 << 60


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "root/org/name")


@pytest.fixture
def hub(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer(tmp_path / "root", cdn=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def pinned(store: Store) -> ResolvedModel:
    return resolve(REQUEST, store, silent, patience=QUICK)


def ask(store: Store, resolved: ResolvedModel) -> Headers:
    found = ask_headers(REQUEST, resolved.commit, resolved.tree, store, QUICK)
    assert found is not None
    return found


def refusal(store: Store, resolved: ResolvedModel) -> str:
    with pytest.raises(SourceError) as caught:
        ask(store, resolved)
    return f"{caught.value.message}\n{caught.value.hint}"


def write_sparse(path: Path, header: dict[str, object], size: int) -> None:
    """A file whose weights take no room on this disk."""
    path.write_bytes(with_header(header))
    os.truncate(path, path.stat().st_size + size)


def write_published(folder: Path, model: str, shards: int) -> int:
    """A model's true names over several sparse files; the bytes of all headers. Tensors are cut short."""
    names, everything = shard_names(shards), list(named(model))
    places, headers = {}, [dict[str, object]() for _ in names]
    sizes = [0] * shards
    for number, (name, shape) in enumerate(everything):
        shard = number * shards // len(everything)
        cut = [min(side, 4) for side in shape]
        size = 2 * (cut[0] * cut[1] if len(cut) > 1 else cut[0])
        offsets = [sizes[shard], sizes[shard] + size]
        headers[shard][name] = {"dtype": "BF16", "shape": cut, "data_offsets": offsets}
        sizes[shard] += size
        places[name] = names[shard]
    (folder / "model.safetensors").unlink()
    for name, header, size in zip(names, headers, sizes, strict=True):
        write_sparse(folder / name, header, size)
    write_index(folder, places)
    return sum(8 + int.from_bytes((folder / name).read_bytes()[:8], "little") for name in names)


def test_a_sharded_model_takes_one_request_for_each_file_and_few_bytes(
    hub: HubServer, model: Path, store: Store
) -> None:
    header = write_published(model, LLAMA, 4)
    resolved = pinned(store)
    hub.requests.clear()
    found = ask(store, resolved)
    assert {tensor.name for tensor in found.tensors} == {name for name, _ in named(LLAMA)}
    assert (found.files, found.requests) == (4, 4)
    assert header <= found.fetched < 1.5 * header < 100_000
    assert hub.bytes_sent("*") == found.fetched
    assert {request.headers.get("range", "")[:8] for request in hub.requests} == {"bytes=0-"}


def test_a_file_of_which_nothing_is_known_is_asked_twice_at_most(
    hub: HubServer, model: Path, store: Store
) -> None:
    tensors = {f"model.layers.{number}.self_attn.q_proj.weight": 4 for number in range(1000)}
    (model / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    found = ask(store, pinned(store))
    assert len(found.tensors) == 1000
    assert found.requests == 2
    header = 8 + int.from_bytes((model / "model.safetensors").read_bytes()[:8], "little")
    assert found.fetched == header > FIRST
    ranges = [request.headers["range"] for request in hub.requests if request.path.startswith("/cdn/")]
    assert ranges == [f"bytes=0-{FIRST - 1}", f"bytes={FIRST}-{header - 1}"]


def test_they_are_asked_for_once(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    assert headers_at_hand(REQUEST, resolved.tree, store) is None
    first = ask(store, resolved)
    hub.requests.clear()
    again = ask(store, resolved)
    assert (again.tensors, again.fetched, again.requests) == (first.tensors, 0, 0)
    assert headers_at_hand(REQUEST, resolved.tree, store) == again
    assert hub.requests == []


def test_a_stored_file_needs_no_hub(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    fetch(REQUEST, resolved, store, silent, patience=QUICK)
    hub.requests.clear()
    found = ask(store, resolved)
    assert [tensor.name for tensor in found.tensors] == ["layer.0.weight"]
    assert (found.fetched, hub.requests) == (0, [])


def test_some_files_may_be_here(hub: HubServer, model: Path, store: Store) -> None:
    write_published(model, TIED, 3)
    resolved = pinned(store)
    store.put_file(model / shard_names(3)[1], mode="copy")
    assert ask(store, resolved).requests == 2
    for file in resolved.tree:
        if file.path.endswith("safetensors"):
            store.delete(file.digest)
    kept = headers_at_hand(REQUEST, resolved.tree, store)
    assert kept is not None
    assert len(kept.tensors) == len(list(named(TIED)))


def test_the_users_own_hub_cache_is_looked_at_first(
    hub: HubServer, model: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = pinned(store)
    weights = resolved.tree.file("model.safetensors")
    blob = tmp_path / "hub-cache/models--org--name/blobs" / weights.digest.hex
    blob.parent.mkdir(parents=True)
    blob.write_bytes((model / "model.safetensors").read_bytes())
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    hub.requests.clear()
    assert [tensor.name for tensor in ask(store, resolved).tensors] == ["layer.0.weight"]
    assert hub.requests == []


def test_only_files_that_the_index_names_count(hub: HubServer, model: Path, store: Store) -> None:
    write_published(model, TIED, 2)
    (model / "model.safetensors").write_bytes(safetensors_bytes({"copy.weight": 64}))
    found = ask(store, pinned(store))
    assert found.files == 2
    assert "copy.weight" not in {tensor.name for tensor in found.tensors}


def test_an_index_in_a_folder_is_no_index_of_the_model(hub: HubServer, model: Path, store: Store) -> None:
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling/part.safetensors").write_bytes(safetensors_bytes({"pooled": 8}))
    index = model / "1_Pooling/model.safetensors.index.json"
    index.write_text('{"weight_map": {"pooled": "part.safetensors"}}')
    resolved = pinned(store)
    assert "1_Pooling/model.safetensors.index.json" in {file.path for file in resolved.tree}
    assert [tensor.name for tensor in ask(store, resolved).tensors] == ["layer.0.weight"]


def test_a_server_without_ranges_is_read_no_further_than_the_header(
    hub: HubServer, model: Path, store: Store
) -> None:
    size = 256 << 20
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    write_sparse(model / "model.safetensors", {"a.weight": entry}, size)
    resolved = pinned(store)
    hub.faults.append(Fault("ignore_range", "/cdn/*", times=None))
    hub.requests.clear()
    found = ask(store, resolved)
    assert [tensor.name for tensor in found.tensors] == ["a.weight"]
    assert found.fetched < 1 << 20
    # What the kernels of both sides had in their buffers when the connection was closed.
    assert hub.bytes_sent("*") < 32 << 20


def test_without_ranges_a_long_header_is_read_from_the_beginning_again(
    hub: HubServer, model: Path, store: Store
) -> None:
    tensors = {f"layers.{number}.weight": 4 for number in range(2000)}
    (model / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    hub.faults.append(Fault("ignore_range", "/cdn/*", times=None))
    assert len(ask(store, pinned(store)).tensors) == 2000


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "/cdn/*", status=503, times=2),
        Fault("status", f"/org/name/resolve/*/{WEIGHTS}", status=429, headers={"Retry-After": "0"}),
        Fault("cut", "/cdn/*", after=100, times=3),
        Fault("cut", "/cdn/*", after=0, times=2),
    ],
)
def test_what_may_pass_is_tried_again(hub: HubServer, store: Store, fault: Fault) -> None:
    resolved = pinned(store)
    hub.faults.append(fault)
    assert len(ask(store, resolved).tensors) == 1


def test_patience_ends(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    hub.faults.append(Fault("status", "/cdn/*", status=503, times=None))
    with pytest.raises(UnavailableError) as caught:
        ask(store, resolved)
    assert caught.value.message == f"{hub.endpoint} answers 503 for hf://org/name"
    assert caught.value.hint == "try again later"


def test_a_server_that_sends_too_little(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    size = resolved.tree.file("model.safetensors").size
    hub.faults.append(Fault("length", "/cdn/*", after=10, times=None))
    assert refusal(store, resolved) == (
        f"hf://org/name: model.safetensors should have {size} bytes, the server sends {size - 10}\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )


def test_a_server_that_has_another_file(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    size = resolved.tree.file("model.safetensors").size
    hub.faults.append(Fault("total", "/cdn/*", after=7, times=None))
    assert refusal(store, resolved) == (
        f"hf://org/name: model.safetensors should have {size} bytes, the server sends {size + 7}\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )


def _broken(name: str, problem: str) -> str:
    return f"hf://org/name is not a checkpoint that can be served:\n  {name} {problem}\n{HINT_BROKEN}"


def _entry(*offsets: int, dtype: str = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [offsets[1] - offsets[0]], "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            HUGE.to_bytes(8, "little"),
            f"is no safetensors file: its header claims {HUGE} bytes (limit 100000000)",
        ),
        ((5000).to_bytes(8, "little") + b"{}", "is cut short: its header alone has 5008 bytes, the file 10"),
        ((2).to_bytes(8, "little") + b"[]", "has a broken safetensors header: it does not begin with '{'"),
        ((2).to_bytes(8, "little") + b"{x", "has a broken safetensors header: not JSON"),
        (
            with_header({"a": _entry(0, 4), "b": _entry(2, 6)}, bytes(6)),
            "has a broken safetensors header: 'b' begins at 2 instead of 4 and overlaps the tensor before it",
        ),
        (
            with_header({"a": _entry(0, 4), "b": _entry(6, 8)}, bytes(8)),
            "has a broken safetensors header: 'b' begins at 6 instead of 4 and leaves a hole before it",
        ),
        (
            with_header({"a": _entry(0, 40)}, bytes(8)),
            "is cut short: its header promises 112 bytes, the file has 80",
        ),
        (with_header({"a": _entry(0, 4, dtype="I7")}, bytes(4)), "has a tensor of unknown dtype 'I7': 'a'"),
    ],
)
def test_a_broken_header_is_refused_and_not_kept(
    hub: HubServer, model: Path, store: Store, content: bytes, problem: str
) -> None:
    (model / "model.safetensors").write_bytes(content)
    resolved = pinned(store)
    said = _broken("model.safetensors", problem)
    assert refusal(store, resolved) == refusal(store, resolved) == said
    assert headers_at_hand(REQUEST, resolved.tree, store) is None


def test_an_index_that_names_what_is_not_there(hub: HubServer, model: Path, store: Store) -> None:
    write_published(model, TIED, 2)
    names = shard_names(2)
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a.weight": names[0], "model.norm.weight": names[1]}}))
    resolved = pinned(store)
    assert "lacks the tensor 'a.weight', which model.safetensors.index.json says it holds" in refusal(
        store, resolved
    )


def test_a_gated_file_says_what_to_do(hub: HubServer, store: Store) -> None:
    resolved = pinned(store)
    hub.gated.add("org/name")
    assert "hf://org/name is gated" in refusal(store, resolved)


def test_without_a_network(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = pinned(store)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refusal(store, resolved) == (
        "model.safetensors of hf://org/name is not in the cache, and HF_HUB_OFFLINE forbids to fetch\n"
        "unset HF_HUB_OFFLINE, or fetch the model once on a machine with the same cache"
    )


def test_the_token_goes_to_the_hub_and_not_to_its_cdn(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_right"] = frozenset({"org/name"})
    hub.gated.add("org/name")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    resolved = pinned(store)
    hub.requests.clear()
    ask(store, resolved)
    sent = {request.server: request.headers.get("authorization") for request in hub.requests}
    assert sent == {"hub": "Bearer hf_right", "cdn": None}


def test_pickles_have_no_headers(store: Store) -> None:
    tree = Tree.of([File("pytorch_model.bin", store.put_bytes(b"x"), 1)])
    assert ask_headers(REQUEST, "0" * 40, tree, store, QUICK) is None


def test_a_quantized_model_is_known_to_the_byte(hub: HubServer, model: Path, store: Store) -> None:
    """A checkpoint with FP8 in two layers alone: no pattern of config.json would tell."""
    header: dict[str, object] = {}
    at = 0
    for layer in range(4):
        width = 1 if layer < 2 else 2
        dtype = "F8_E4M3" if layer < 2 else "BF16"
        shape = [64, 32]
        header[f"model.layers.{layer}.mlp.up_proj.weight"] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [at, at + 64 * 32 * width],
        }
        at += 64 * 32 * width
    (model / "model.safetensors").write_bytes(with_header(header, bytes(at)))
    config: dict[str, Json] = {"model_type": "x", "quantization_config": {"quant_method": "brandnew"}}
    facts = facts_of(config, tensors=ask(store, pinned(store)).tensors)
    assert facts.checkpoint_bytes == at == 2 * 64 * 32 * (1 + 2)
    assert facts.by_kind() == {"mlp": 4 * 64 * 32}
