"""What check, lock, plan and run ask of a model's source before anything is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from enginebuild.sources.headers import FIRST
from parts import cli, recipes
from parts.hub_models import with_header
from parts.hub_server import Fault, HubServer
from parts.tiny_llama import write_tiny_llama

WEIGHTS = "*.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "hub/org/tiny"
    write_tiny_llama(folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path, model: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub", cdn=True) as server:
        yield server


def _recipe(folder: Path, *lines: str, model: str = "hf://org/tiny") -> Path:
    path = recipes.write(folder, model)
    path.write_text(path.read_text().replace("engine:", "\n".join((*lines, "engine:")), 1))
    return path


def _ended(folder: Path, hub: HubServer, *words: str, **env: str) -> cli.Ended:
    return cli.enginebuild(
        *words, "--cache-dir", folder / "cache", cwd=folder, env={"HF_ENDPOINT": hub.endpoint, **env}
    )


def _config(model: Path, **changed: Any) -> None:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_check_online_tells_what_the_headers_tell_and_how_much_was_read(
    tmp_path: Path, hub: HubServer
) -> None:
    hub.card["org/tiny"] = {"license": "apache-2.0"}
    _recipe(tmp_path, "gpu: L4")
    words = ("check", "tiny.yaml", "--online", "--explain")
    first = _ended(tmp_path, hub, *words).ok()
    lines = first.stdout.splitlines()
    assert lines[:4] == [
        "model: LlamaForCausalLM, licence apache-2.0",
        "  0.15 M parameters; checkpoint 0.0 GiB",
        (
            "  embeddings 0.07 M (0.0 GiB), attention 0.03 M (0.0 GiB), mlp 0.05 M (0.0 GiB), "
            "norms 0.00 M (0.0 GiB)"
        ),
        "  in its files: 0.0 GiB of BF16",
    ]
    assert lines[-2] == "read 32.8 kB of headers of 1 file in 1 request"
    assert hub.bytes_sent(WEIGHTS) == FIRST
    again = _ended(tmp_path, hub, *words).ok()
    assert again.stdout.splitlines()[-2] == "the headers of 1 file were here"
    assert hub.bytes_sent(WEIGHTS) == FIRST
    # Without --online as well, once the recipe is locked.
    _ended(tmp_path, hub, "lock", "tiny.yaml").ok()
    known = len(hub.requests)
    offline = _ended(tmp_path, hub, "check", "tiny.yaml", "--explain").ok()
    assert "  in its files: 0.0 GiB of BF16" in offline.stdout
    assert len(hub.requests) == known


def test_a_run_asks_for_headers_where_config_json_leaves_doubt(
    tmp_path: Path, hub: HubServer, model: Path
) -> None:
    _config(model, architectures=["BrandNewForCausalLM"], model_type="brandnew")
    _recipe(tmp_path, "gpu: L4", "tensor_parallel_size: 3", "allow: [architecture]")
    ended = _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out")
    assert ended.code == 5
    assert "tensor_parallel_size 3 does not divide the 2 attention heads" in ended.stderr
    assert "not known of the model" not in ended.stderr
    assert hub.bytes_sent(WEIGHTS) == FIRST


def test_a_run_of_a_known_model_asks_for_one_byte(tmp_path: Path, hub: HubServer, model: Path) -> None:
    _recipe(tmp_path, "gpu: L4")
    _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out").ok()
    size = (model / "model.safetensors").stat().st_size
    assert hub.bytes_sent(WEIGHTS) == size + 1
    hub.requests.clear()
    _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out").ok()
    assert hub.requests == []


def _gated(hub: HubServer, name: str = "HF_TOKEN") -> str:
    return (
        "error: hf://org/tiny is gated: only accounts that were granted access may read its files\n"
        f"hint: accept its terms or ask for access at {hub.endpoint}/org/tiny, then set {name} to a token "
        f"of that account ({hub.endpoint}/settings/tokens)\n"
    )


def test_a_gated_model_says_what_to_do_before_anything_else_is_done(tmp_path: Path, hub: HubServer) -> None:
    """Its small files are here, its lock is: only the weights would show it, much later."""
    _recipe(tmp_path, "gpu: L4")
    _ended(tmp_path, hub, "lock", "tiny.yaml").ok()
    hub.gated.add("org/tiny")
    ended = _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out")
    assert (ended.code, ended.stdout, ended.stderr) == (3, "", _gated(hub))
    told = _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out", "--json")
    assert [event["event"] for event in told.events] == ["error"]  # no step was begun
    check = _ended(tmp_path, hub, "check", "tiny.yaml", "--online")
    assert (check.code, check.stderr) == (3, _gated(hub))


def test_the_variable_that_the_recipe_names_is_the_one_to_set(tmp_path: Path, hub: HubServer) -> None:
    hub.gated.add("org/tiny")
    hub.tokens["hf_mine"] = frozenset({"org/tiny"})
    _recipe(tmp_path, "gpu: L4", model="{source: hf://org/tiny, auth: MY_TOKEN}")
    ended = _ended(tmp_path, hub, "check", "tiny.yaml", "--online")
    assert (ended.code, ended.stderr) == (3, _gated(hub, "MY_TOKEN"))
    _ended(tmp_path, hub, "check", "tiny.yaml", "--online", MY_TOKEN="hf_mine").ok()


def test_a_repository_that_is_not_there(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "gpu: L4", model="hf://org/absent")
    ended = _ended(tmp_path, hub, "check", "tiny.yaml", "--online")
    assert ended.code == 3
    assert ended.stderr == (
        f"error: hf://org/absent was not found at {hub.endpoint}\n"
        "hint: check the spelling; a private repository looks like this too: to read one, set HF_TOKEN to a "
        f"token that may ({hub.endpoint}/settings/tokens)\n"
    )


def test_a_hub_that_does_not_answer_now_is_left_to_the_download(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "gpu: L4")
    _ended(tmp_path, hub, "lock", "tiny.yaml").ok()
    hub.faults.append(Fault("status", "/cdn/*", status=503, times=1))
    _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out").ok()


def test_a_broken_header_is_refused_before_the_download(tmp_path: Path, hub: HubServer, model: Path) -> None:
    size = 4 << 20
    entry = {"dtype": "U8", "shape": [2 * size], "data_offsets": [0, 2 * size]}
    (model / "model.safetensors").write_bytes(with_header({"a.weight": entry}, bytes(size)))
    _recipe(tmp_path, "gpu: L4")
    length = (model / "model.safetensors").stat().st_size
    for words in (("check", "tiny.yaml", "--online"), ("run", "tiny.yaml", "--output", "out")):
        ended = _ended(tmp_path, hub, *words)
        assert ended.code == 3, ended.stderr
        assert ended.stderr.splitlines()[-3:-1] == [
            "error: hf://org/tiny is not a checkpoint that can be served:",
            (
                "  model.safetensors is cut short: its header promises "
                f"{length + size} bytes, the file has {length}"
            ),
        ]
    assert hub.bytes_sent(WEIGHTS) == 2 * FIRST


def test_a_broken_file_in_a_folder_is_refused_by_check(tmp_path: Path, hub: HubServer, model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    _recipe(tmp_path, "gpu: L4", model="file:./hub/org/tiny")
    ended = _ended(tmp_path, hub, "check", "tiny.yaml")
    assert ended.code == 3
    assert "model.safetensors is cut short: its header promises" in ended.stderr


def test_a_plan_of_a_broken_folder_says_why_and_goes_on(tmp_path: Path, hub: HubServer, model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"x")
    _recipe(tmp_path, "gpu: L4", model="file:./hub/org/tiny")
    ended = _ended(tmp_path, hub, "plan", "tiny.yaml").ok()
    assert ended.stdout.startswith(
        "fetch      unresolved  ------------  file:./hub/org/tiny is not a checkpoint"
    )


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"license": "apache-2.0"}, None),
        ({}, None),
        ({"license": "cc-by-nc-4.0"}, "cc-by-nc-4.0, which by its name allows no commercial use"),
        ({"license": "llama3.1"}, "llama3.1, which has terms of its own"),
        (
            {"license": "other", "license_name": "acme-community"},
            "acme-community, which has terms of its own",
        ),
    ],
)
def test_a_licence_with_terms_of_its_own_is_said(
    tmp_path: Path, hub: HubServer, card: Mapping[str, str], said: str | None
) -> None:
    hub.card["org/tiny"] = dict(card)
    _recipe(tmp_path, "gpu: L4")
    ended = _ended(tmp_path, hub, "check", "tiny.yaml", "--online").ok()
    hint = "read its terms on the model's page before you serve it"
    assert ended.stderr == ("" if said is None else f"warning: the model's licence is {said}; {hint}\n")


def test_plan_refuses_what_run_would_and_asks_nothing_for_it(tmp_path: Path, hub: HubServer) -> None:
    _recipe(tmp_path, "gpu: L4")
    _ended(tmp_path, hub, "lock", "tiny.yaml").ok()
    known = len(hub.requests)
    changed = ("--set", "engine.args.max_model_len=4096")
    ended = _ended(tmp_path, hub, "plan", "tiny.yaml", *changed)
    assert ended.code == 5
    assert [line.split()[0] for line in ended.stdout.splitlines()[:4]] == [
        "fetch",
        "configure",
        "image",
        "publish",
    ]
    assert "max_model_len 4096 is more than the 2048 positions of the model" in ended.stderr
    run = _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out", *changed)
    assert (run.code, run.stderr) == (5, ended.stderr)
    document = _ended(tmp_path, hub, "plan", "tiny.yaml", "--json", *changed).document
    assert document["findings"] == [
        {
            "check": "length",
            "refused": True,
            "message": "max_model_len 4096 is more than the 2048 positions of the model",
            "advice": "write max_model_len: 2048",
        }
    ]
    assert not [request for request in hub.requests[known:] if "bytes=0-0" not in request.headers["range"]]


def test_a_plan_of_what_is_here_refuses_nothing(tmp_path: Path, hub: HubServer) -> None:
    """As a run does: what is built is not asked for its right to be."""
    _recipe(tmp_path, "gpu: L4", "allow: [length]")
    changed = ("--set", "engine.args.max_model_len=4096")
    _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out", *changed).ok()
    strict = ("--set", "allow=[memory]")
    plan = _ended(tmp_path, hub, "plan", "tiny.yaml", "--output", "out", *changed, *strict).ok()
    assert plan.stderr == ""
    _ended(tmp_path, hub, "run", "tiny.yaml", "--output", "out", *changed, *strict).ok()


def test_lock_check_refuses_what_no_lock_says(tmp_path: Path, hub: HubServer) -> None:
    path = _recipe(tmp_path, "gpu: L4")
    _ended(tmp_path, hub, "lock", "tiny.yaml").ok()
    _ended(tmp_path, hub, "lock", "tiny.yaml", "--check").ok()
    before = path.read_text()
    path.write_text(before.replace("max_model_len: 256", "max_model_len: 4096"))
    ended = _ended(tmp_path, hub, "lock", "tiny.yaml", "--check")
    assert (ended.code, ended.stdout) == (5, "")
    assert "max_model_len 4096 is more than the 2048 positions of the model" in ended.stderr
    # A lock that is stale is said first: it is what the command was asked.
    path.write_text(path.read_text().replace("version: 0.33.0", "version: 0.32.0"))
    assert _ended(tmp_path, hub, "lock", "tiny.yaml", "--check").code == 4


def test_what_cells_have_in_common_is_said_once(tmp_path: Path, hub: HubServer) -> None:
    hub.card["org/tiny"] = {"license": "llama3.1"}
    path = _recipe(tmp_path, "gpu: L4")
    path.write_text(path.read_text() + "matrix:\n  gpu: [L4, L40S]\n")
    for words in (("check", "tiny.yaml", "--online"), ("lock", "tiny.yaml"), ("plan", "tiny.yaml")):
        ended = _ended(tmp_path, hub, *words).ok()
        assert ended.stderr.count("the model's licence is llama3.1") == 1, words
