"""Resolving models of a Hub over real HTTP: what is pinned, what is asked for, and how each refusal reads."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.events import silent
from enginebuild.sources import ModelRequest, ResolvedModel, fetch, resolve
from enginebuild_cache import Digest, Store
from parts.hub_fetch import QUICK
from parts.hub_models import write_model
from parts.hub_server import Fault, HubServer

SOURCE = "hf://org/name"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    write_model(tmp_path / "root/org/name", shards=2)
    with HubServer(tmp_path / "root", cdn=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def ask(
    store: Store, source: str = SOURCE, revision: str | None = None, token: str = "HF_TOKEN"
) -> ResolvedModel:
    return resolve(
        ModelRequest(source, revision, Path(), token_variable=token), store, silent, patience=QUICK
    )


def refusal(store: Store, source: str = SOURCE, revision: str | None = None, token: str = "HF_TOKEN") -> str:
    with pytest.raises(SourceError) as caught:
        ask(store, source, revision, token)
    return f"{caught.value.message}\n{caught.value.hint}"


def test_a_repository_is_pinned(hub: HubServer, store: Store) -> None:
    hub.card["org/name"] = {"license": "apache-2.0"}
    resolved = ask(store)
    folder = hub.root / "org/name"
    assert resolved.source == SOURCE
    assert resolved.revision == "main"
    assert resolved.commit == hub.commit("org/name")
    assert resolved.licence == "apache-2.0"
    assert {file.path: (file.digest, file.size) for file in resolved.tree} == {
        path.name: (Digest.of_file(path), path.stat().st_size)
        for path in folder.iterdir()
        if path.name != "README.md"
    }


def test_a_dataset_is_pinned_and_fetched_like_a_model(hub: HubServer, store: Store) -> None:
    folder = hub.root / "datasets/org/texts"
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.jsonl").write_text('{"text": "one"}\n')
    (folder / "README.md").write_text("about it")
    (folder / "loader.py").write_text("print('never run')")
    request = ModelRequest("hf://datasets/org/texts", None, Path(), repo_type="dataset")
    resolved = resolve(request, store, silent, patience=QUICK)
    assert resolved.commit == hub.commit("datasets/org/texts")
    assert [file.path for file in resolved.tree] == ["data/train.jsonl"]
    fetch(request, resolved, store, silent, patience=QUICK)
    assert store.read_bytes(resolved.tree.files[0]) == b'{"text": "one"}\n'


def test_a_dataset_without_data(hub: HubServer, store: Store) -> None:
    folder = hub.root / "datasets/org/empty"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("about it")
    request = ModelRequest("hf://datasets/org/empty", None, Path(), repo_type="dataset")
    with pytest.raises(SourceError) as caught:
        resolve(request, store, silent, patience=QUICK)
    assert caught.value.message == "hf://datasets/org/empty has no calibration data"
    assert caught.value.hint == "a dataset is one or more *.jsonl, *.json, *.parquet or *.txt files"


def test_a_dataset_that_is_not_there(hub: HubServer, store: Store) -> None:
    request = ModelRequest("hf://datasets/org/absent", None, Path(), repo_type="dataset")
    with pytest.raises(SourceError) as caught:
        resolve(request, store, silent, patience=QUICK)
    assert caught.value.message == f"hf://datasets/org/absent was not found at {hub.endpoint}"


def test_only_small_files_are_fetched(hub: HubServer, store: Store) -> None:
    resolved = ask(store)
    for file in resolved.tree:
        assert store.has(file.digest) == (not file.path.endswith(".safetensors")), file.path
    assert not [request for request in hub.requests if request.path.endswith((".safetensors", "README.md"))]


def test_a_mirror_that_tells_no_sizes_is_asked_for_its_tree_page_by_page(
    hub: HubServer, store: Store
) -> None:
    expected = ask(store)
    hub.sizes_in_info = False
    hub.page_size = 3
    assert ask(store) == expected
    assert len([request for request in hub.requests if "/tree/" in request.path]) == 4


def test_a_branch_a_commit_and_a_branch_with_a_slash(hub: HubServer, store: Store, tmp_path: Path) -> None:
    commit = hub.branch("org/name", "refs/pr/1", write_model(tmp_path / "other", seed=5))
    assert commit != hub.commit("org/name")
    assert ask(store, revision="refs/pr/1").commit == commit
    assert ask(store, revision=commit).commit == commit


def test_a_branch_that_moves_does_not_move_the_model(hub: HubServer, store: Store, tmp_path: Path) -> None:
    resolved = ask(store)
    hub.branch("org/name", "main", write_model(tmp_path / "other", shards=2, seed=5))
    assert ask(Store.open(tmp_path / "second")).commit != resolved.commit
    fetch(ModelRequest(SOURCE, None, Path()), resolved, store, silent, patience=QUICK)
    assert all(store.has(file.digest) for file in resolved.tree)


def test_the_licence_of_a_card_that_says_other(hub: HubServer, store: Store) -> None:
    hub.card["org/name"] = {"license": "other", "license_name": "llama3.1"}
    assert ask(store).licence == "llama3.1"


def test_the_token_opens_and_stays_with_the_hub(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private.add("org/name")
    hub.tokens = {"hf_good": frozenset({"org/name"})}
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    resolved = ask(store)
    fetch(ModelRequest(SOURCE, None, Path()), resolved, store, silent, patience=QUICK)
    with_token = {
        (request.server, request.headers.get("authorization"))
        for request in hub.requests
        if request.method == "GET"
    }
    assert with_token == {("hub", "Bearer hf_good"), ("cdn", None)}


def test_a_token_in_a_variable_of_ones_own(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.private.add("org/name")
    hub.tokens = {"hf_good": frozenset({"org/name"})}
    monkeypatch.setenv("TEAM_TOKEN", "hf_good\n")
    assert ask(store, token="TEAM_TOKEN").commit


def test_gated_without_a_token(hub: HubServer, store: Store) -> None:
    hub.gated.add("org/name")
    assert refusal(store) == (
        "hf://org/name is gated: only accounts that were granted access may read its files\n"
        f"accept its terms or ask for access at {hub.endpoint}/org/name, then set HF_TOKEN to a token "
        f"of that account ({hub.endpoint}/settings/tokens)"
    )


def test_gated_with_the_token_of_another_account(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated.add("org/name")
    hub.tokens = {"hf_other": frozenset()}
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert refusal(store) == (
        "hf://org/name is gated, and the account of the token in HF_TOKEN has no access to it\n"
        f"accept its terms or ask for access at {hub.endpoint}/org/name with that account, "
        "or use another one's token"
    )


@pytest.mark.parametrize("private", [False, True])
def test_not_found_or_private_without_a_token(hub: HubServer, store: Store, private: bool) -> None:
    if private:
        hub.private.add("org/name")
    source = SOURCE if private else "hf://org/nmae"
    assert refusal(store, source) == (
        f"{source} was not found at {hub.endpoint}\n"
        "check the spelling; a private repository looks like this too: to read one, set HF_TOKEN to a token "
        f"that may ({hub.endpoint}/settings/tokens)"
    )


def test_not_found_with_a_token(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.private.add("org/name")
    hub.tokens = {"hf_other": frozenset()}
    monkeypatch.setenv("TEAM_TOKEN", "hf_other")
    assert refusal(store, token="TEAM_TOKEN") == (
        f"hf://org/name was not found at {hub.endpoint}\n"
        "check the spelling; a private repository looks like this too, if the token in TEAM_TOKEN may not "
        "read it"
    )


def test_a_wrong_token(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.tokens = {"hf_good": frozenset({"org/name"})}
    monkeypatch.setenv("HF_TOKEN", "hf_revoked")
    message = refusal(store)
    assert message == (
        f"{hub.endpoint} does not accept the token in HF_TOKEN\n"
        f"it may be mistyped, expired or revoked: make a new one at {hub.endpoint}/settings/tokens "
        "and set HF_TOKEN to it"
    )
    assert "hf_revoked" not in message


@pytest.mark.parametrize("value", ["hf_a hf_b", "hf_a\nhf_b", "Bearer hf_a", "hf_ä"])
def test_what_cannot_be_a_token(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    assert refusal(store) == (
        "HF_TOKEN does not hold a token: it has spaces or characters that no token has\n"
        "set HF_TOKEN to the token alone, without quotes or line breaks"
    )
    assert not hub.requests


def test_a_forbidden_repository(hub: HubServer, store: Store) -> None:
    hub.faults.append(Fault("status", "/api/*", status=403, headers={"X-Error-Message": "Blocked here"}))
    assert refusal(store) == (
        f"{hub.endpoint} forbids to read hf://org/name without a token: Blocked here\n"
        f"give the token the right to read this repository ({hub.endpoint}/settings/tokens), "
        "or set HF_TOKEN to another one"
    )


def test_a_mistyped_branch(hub: HubServer, store: Store) -> None:
    assert refusal(store, revision="mian") == "hf://org/name has no revision 'mian'\ndid you mean 'main'?"


def test_an_unknown_revision(hub: HubServer, store: Store, tmp_path: Path) -> None:
    hub.branch("org/name", "fp8", write_model(tmp_path / "other"))
    assert refusal(store, revision="v2.0-rc1") == (
        "hf://org/name has no revision 'v2.0-rc1'\nit has main, fp8; a commit is named by all its 40 digits"
    )


def test_an_unknown_revision_where_branches_are_not_listed(hub: HubServer, store: Store) -> None:
    hub.faults.append(Fault("status", "*/refs", times=None))
    assert refusal(store, revision="v2") == (
        "hf://org/name has no revision 'v2'\nname a branch, a tag or a commit by all its 40 digits"
    )


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b'{"id": "x", "siblings": [{}]}', b"null"])
def test_something_else_than_a_hub(hub: HubServer, store: Store, body: bytes) -> None:
    hub.faults.append(Fault("body", "/api/*", times=None, body=body))
    assert refusal(store) == (
        f"{hub.endpoint} does not answer as a Hugging Face Hub does: "
        "its answer is not the JSON of that request\n"
        "check HF_ENDPOINT, and whether a proxy wants you to log in"
    )


COMMIT = "0" * 40
GOOD = {"rfilename": "config.json", "size": 1, "blobId": "x"}


@pytest.mark.parametrize(
    ("commit", "files", "reason"),
    [
        (
            COMMIT,
            [{**GOOD, "rfilename": "../../etc/passwd"}],
            "not a plain relative path: '../../etc/passwd'",
        ),
        (COMMIT, [{**GOOD, "rfilename": "/etc/passwd"}], "not a plain relative path: '/etc/passwd'"),
        (
            COMMIT,
            [{**GOOD, "lfs": {"sha256": "A" * 64, "size": 1, "pointerSize": 1}}],
            f"not a sha256 in lower-case hex: {'A' * 64!r}",
        ),
        (COMMIT, [GOOD, GOOD], "a tree names these paths twice: config.json"),
        ("main", [GOOD], "'main' is no commit"),
    ],
)
def test_a_listing_that_no_hub_makes(
    hub: HubServer, store: Store, commit: str, files: list[object], reason: str
) -> None:
    body = json.dumps({"id": "org/name", "sha": commit, "siblings": files}).encode()
    hub.faults.append(Fault("body", "/api/*", times=None, body=body))
    assert refusal(store) == (
        f"{hub.endpoint} does not answer as a Hugging Face Hub does: {reason}\n"
        "check HF_ENDPOINT, and whether a proxy wants you to log in"
    )


def test_a_hub_that_names_no_commit(hub: HubServer, store: Store) -> None:
    hub.faults.append(Fault("body", "/api/*", times=None, body=b'{"id": "org/name", "siblings": []}'))
    assert refusal(store) == (
        f"{hub.endpoint} does not answer as a Hugging Face Hub does: it names no commit\n"
        "check HF_ENDPOINT, and whether a proxy wants you to log in"
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "/api/*", times=2, status=503),
        Fault("status", "/api/*", times=1, status=429, headers={"Retry-After": "0"}),
        Fault("status", "*/config.json", times=2, status=500),
        Fault("cut", "*/config.json", times=2, after=10),
        Fault("stall", "*/config.json", times=1, after=10, seconds=3),
    ],
    ids=["503", "429", "500 for a file", "cut", "stall"],
)
def test_what_passes_when_asked_again(
    hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    hub.faults.append(fault)
    assert store.has(ask(store).tree.file("config.json").digest)
    assert not hub.faults


def test_an_error_that_stays(hub: HubServer, store: Store) -> None:
    hub.faults.append(
        Fault("status", "/api/*", times=None, status=502, headers={"X-Error-Message": "We are down"})
    )
    assert refusal(store) == f"{hub.endpoint} answers 502 for hf://org/name (We are down)\ntry again later"
    assert len(hub.requests) == QUICK.attempts


def test_a_file_that_cannot_be_had(hub: HubServer, store: Store) -> None:
    hub.faults.append(Fault("status", "*/config.json", times=None, status=503))
    size = (hub.root / "org/name/config.json").stat().st_size
    assert refusal(store) == (
        f"hf://org/name: config.json could not be fetched: {hub.endpoint} answers 503 "
        f"(3 attempts without progress, 0 of {size} bytes are here)\n"
        "run again to go on from there"
    )


def test_wrong_bytes_of_a_small_file(hub: HubServer, store: Store) -> None:
    good = hub.snapshot("org/name", "main").files["config.json"]
    hub.faults.append(Fault("flip", "*/config.json", after=3))
    message = refusal(store)
    assert message.startswith(
        "hf://org/name: config.json has the right length but not the right bytes: the source sent git blob "
    )
    assert message.endswith(
        f" instead of {good.oid}\n"
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT"
    )
    assert not store.has(Digest(good.sha256))


def test_nobody_listens(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}/")
    assert refusal(store) == (
        f"http://127.0.0.1:{port} cannot be reached: connection refused\n"
        "check the network and HF_ENDPOINT; behind a proxy, set HTTPS_PROXY"
    )


def test_a_name_that_does_not_exist(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert refusal(store) == (
        "http://hub.invalid cannot be reached: the name hub.invalid cannot be resolved\n"
        "check the network and HF_ENDPOINT; behind a proxy, set HTTPS_PROXY"
    )


def test_no_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert refusal(store) == (
            f"{endpoint} cannot be reached: no answer within 1 s\n"
            "check the network and HF_ENDPOINT; behind a proxy, set HTTPS_PROXY"
        )


@pytest.mark.parametrize("endpoint", ["ftp://127.0.0.1", "127.0.0.1:80"])
def test_an_endpoint_that_is_no_http_url(
    store: Store, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert refusal(store).startswith(f"{endpoint} cannot be reached: ")


def test_offline(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refusal(store) == (
        "hf://org/name cannot be resolved: HF_HUB_OFFLINE forbids to ask the Hub\n"
        "unset HF_HUB_OFFLINE, or use a recipe with its lock whose files are in the cache"
    )
    assert not hub.requests


def test_what_cannot_be_served_is_refused_before_its_weights_move(hub: HubServer, store: Store) -> None:
    (hub.root / "org/name/model-00002-of-00002.safetensors").unlink()
    (hub.root / "org/name/config.json").write_text("<html>not here</html>")
    assert refusal(store) == (
        "hf://org/name is not a checkpoint that can be served:\n"
        "  config.json is an HTML page, not the file itself\n"
        "  model-00002-of-00002.safetensors is missing: model.safetensors.index.json names it\n"
        "fetch the named files again from their origin; "
        "with git, `git lfs pull` replaces pointers by the files"
    )
    assert not [request for request in hub.requests if request.path.endswith(".safetensors")]


def test_pickles_only(hub: HubServer, store: Store) -> None:
    folder = hub.root / "org/name"
    for path in folder.glob("model*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert refusal(store) == (
        "hf://org/name is not a checkpoint that can be served:\n"
        "  its only weights are pickles: pytorch_model.bin\n"
        "pickled weights run code when they are loaded: convert them to safetensors, "
        "or set model.allow_pickle: true if you trust their author"
    )
    allowed = resolve(ModelRequest(SOURCE, None, Path(), allow_pickle=True), store, silent)
    assert "pytorch_model.bin" in {file.path for file in allowed.tree}


def test_an_id_that_the_hub_does_not_allow(hub: HubServer, store: Store) -> None:
    assert refusal(store, "hf://org/a--b") == (
        "not a Hugging Face repository: 'hf://org/a--b'\nwrite hf://organisation/name, as in the model's URL"
    )
