"""`enginebuild cache push` and `cache pull` as processes: what they print, what they carry, how they fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from enginebuild_images import tag_list
from enginebuild_images.reference import Reference
from parts import cli, recipes
from parts.registry_images import client, image_of


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one build in it; not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(recipes.QUICKSTART_MODEL, folder / "model")
    recipe = recipes.write(folder, "file:./model")
    cli.enginebuild("run", recipe, "--cache-dir", folder / "cache", "--output", folder / "out").ok()
    return folder / "cache"


def keys_in(cache: Path) -> dict[str, str]:
    """Step → the key of its record, of those that travel."""
    shown = json.loads(cli.enginebuild("cache", "list", "--cache-dir", cache, "--json").ok().stdout)
    return {record["step"]: record["key"] for record in shown if record["step"] != "layer"}


def test_there_and_back_through_a_registry(built: Path, tmp_path: Path, registry: str) -> None:
    place = f"{registry}/transfer/cache"
    keys = {step: key.removeprefix("sha256:")[:12] for step, key in keys_in(built).items()}
    sizes = {"configure": "    469 B", "fetch": " 340.1 kB", "image": "   3.1 kB"}

    def expected(status: str) -> str:
        return "".join(f"{keys[step]}  {step:<10} {size}  {status}\n" for step, size in sizes.items())

    push = ("cache", "push", place, "--cache-dir", built)
    sent = cli.enginebuild(*push).ok()
    assert sent.stdout == expected("sent")
    assert sent.stderr == f"3 records (343.6 kB) moved; 3 are in {place}\n"
    again = cli.enginebuild(*push).ok()
    assert again.stdout == expected("present")
    assert again.stderr == f"0 records (0 B) moved; 3 are in {place}\n"

    pull = ("cache", "pull", place, "--cache-dir", tmp_path / "cache")
    one = cli.enginebuild(*pull, keys["fetch"], "--json").ok()
    assert one.document == {
        "records": [{"step": "fetch", "key": keys_in(built)["fetch"], "size": 340069, "status": "pulled"}]
    }
    rest = cli.enginebuild(*pull).ok()
    assert rest.stdout == expected("pulled").replace(" 340.1 kB  pulled", " 340.1 kB  present")
    assert rest.stderr == f"2 records (3.6 kB) moved; 3 are here from {place}\n"
    assert keys_in(tmp_path / "cache") == keys_in(built)
    assert cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "cache").code == 0


def test_some_records_only(built: Path, tmp_path: Path) -> None:
    place = f"oci:{tmp_path / 'usb'}"
    key = keys_in(built)["configure"]
    cli.enginebuild("cache", "push", place, key, "--cache-dir", built).ok()
    cli.enginebuild("cache", "pull", place, key, "--cache-dir", tmp_path / "cache").ok()
    assert keys_in(tmp_path / "cache") == {"configure": key}


def test_a_run_may_take_from_a_folder(built: Path, tmp_path: Path) -> None:
    place = f"oci:{tmp_path / 'usb'}"
    cli.enginebuild("cache", "push", place, "--cache-dir", built).ok()
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipe = recipes.write(tmp_path, "file:./model")
    words = ("run", recipe, "--cache-dir", tmp_path / "cache", "--output", tmp_path / "out", "--json")
    ended = cli.enginebuild(*words, "--cache-from", place).ok()
    assert list(ended.statuses.values()) == ["hit", "hit", "hit", "built"]
    notes = [event["text"] for event in ended.events if event["event"] == "note"]
    assert notes[1:] == [
        f"fetch: 340.1 kB taken from {place}",
        f"configure: 469 B taken from {place}",
        f"image: 3.1 kB taken from {place}",
    ]


def test_a_record_of_no_use_is_named_and_the_others_come(built: Path, tmp_path: Path) -> None:
    usb = tmp_path / "usb"
    cli.enginebuild("cache", "push", f"oci:{usb}", "--cache-dir", built).ok()
    index = json.loads((usb / "index.json").read_bytes())
    (entry,) = (
        e for e in index["manifests"] if "fetch-" in e["annotations"]["org.opencontainers.image.ref.name"]
    )
    manifest = json.loads((usb / "blobs/sha256" / entry["digest"][7:]).read_bytes())
    layer = usb / "blobs/sha256" / manifest["layers"][1]["digest"][7:]
    layer.write_bytes(layer.read_bytes()[:5000])
    ended = cli.enginebuild("cache", "pull", f"oci:{usb}", "--cache-dir", tmp_path / "cache")
    tag = entry["annotations"]["org.opencontainers.image.ref.name"]
    assert ended.code == 3
    assert ended.stderr.startswith(f"warning: oci:{usb}:{tag} is of no use: ")
    assert ended.stderr.endswith(f"2 records (3.6 kB) moved; 2 are here from oci:{usb}\n")
    assert set(keys_in(tmp_path / "cache")) == {"configure", "image"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "registry.example.com/llm/cache:v1",
            (
                "'registry.example.com/llm/cache:v1' has a tag or a digest, and a cache has its own tags "
                "(write registry.example.com/llm/cache)"
            ),
        ),
        ("oci:", "'oci:' names no folder (write for example oci:./cache)"),
        (
            "https://registry.example.com/cache",
            "'https://registry.example.com/cache' is not an image name: it starts like a URL (leave out https://)",
        ),
    ],
)
@pytest.mark.parametrize("command", ["push", "pull"])
def test_places_that_cannot_be(tmp_path: Path, command: str, place: str, message: str) -> None:
    ended = cli.enginebuild("cache", command, place, "--cache-dir", tmp_path / "cache")
    assert ended.code == 2
    assert ended.stderr.endswith(f"\n\nError: {message}\n")


@pytest.mark.parametrize("option", ["--cache-from", "--cache-to"])
def test_options_of_a_run_that_cannot_be(tmp_path: Path, option: str) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipe = recipes.write(tmp_path, "file:./model")
    ended = cli.enginebuild("run", recipe, option, "a/b:v1", cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr == (
        f"error: {option}: 'a/b:v1' has a tag or a digest, and a cache has its own tags\n"
        "hint: write docker.io/a/b\n"
    )


def test_none_switches_the_recipes_cache_off(tmp_path: Path) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipe = recipes.write(tmp_path, "file:./model", extra="cache: {remote: 127.0.0.1:1/llm/cache}\n")
    words = ("run", recipe, "--cache-dir", tmp_path / "cache", "--output", tmp_path / "out")
    off = cli.enginebuild(*words, "--cache-from", "none", "--cache-to", "none").ok()
    assert "127.0.0.1:1" not in off.stderr
    on = cli.enginebuild(*words).ok()
    assert on.stderr.count("warning: the cache 127.0.0.1:1/llm/cache cannot be used: ") == 1


def test_a_registry_that_is_not_there(built: Path, tmp_path: Path) -> None:
    place = "127.0.0.1:1/llm/cache"
    pushed = cli.enginebuild("cache", "push", place, "--cache-dir", built)
    key = keys_in(built)["configure"].removeprefix("sha256:")
    assert pushed.code == 8
    assert pushed.stderr == (
        f"error: configure (sha256:{key[:12]}): 127.0.0.1:1: cannot read the manifest of "
        f"llm/cache:configure-{key[:40]}: connection refused (3 tries)\n"
        "hint: check host and port, and that the registry runs\n"
    )
    pulled = cli.enginebuild("cache", "pull", place, "--cache-dir", tmp_path / "cache")
    assert pulled.code == 3
    assert pulled.stderr == (
        "error: 127.0.0.1:1: cannot list the tags of llm/cache: connection refused (3 tries)\n"
        "hint: check host and port, and that the registry runs\n"
    )


def test_keys_and_folders_that_are_not_there(built: Path, tmp_path: Path, registry: str) -> None:
    cache = ("--cache-dir", tmp_path / "cache")
    unknown = cli.enginebuild("cache", "push", f"oci:{tmp_path / 'usb'}", "ffff", "--cache-dir", built)
    assert unknown.code == 2
    assert unknown.stderr.endswith(
        "Error: no record's key begins with 'ffff'; `enginebuild cache list` shows all\n"
    )
    nothing = cli.enginebuild("cache", "pull", f"{registry}/transfer/nothing", "ffff", *cache)
    assert nothing.code == 2
    assert nothing.stderr.endswith(
        f"Error: {registry}/transfer/nothing has no record whose key begins with 'ffff'\n"
    )
    empty = cli.enginebuild("cache", "pull", f"{registry}/transfer/nothing", *cache).ok()
    assert empty.stderr == f"0 records (0 B) moved; 0 are here from {registry}/transfer/nothing\n"
    folder = tmp_path / "no-layout"
    absent = cli.enginebuild("cache", "pull", f"oci:{folder}", *cache)
    assert absent.code == 3
    assert absent.stderr == (f"error: {folder} is not a folder\nhint: name an OCI layout like ./folder:tag\n")


def test_tags_that_are_not_records_are_left_alone(built: Path, tmp_path: Path, registry: str) -> None:
    place = f"{registry}/transfer/mixed"
    with client() as push:
        push.push(image_of(b"an image"), Reference.parse(place), ["latest"])
    cli.enginebuild("cache", "push", place, "--cache-dir", built).ok()
    pulled = cli.enginebuild("cache", "pull", place, "--cache-dir", tmp_path / "cache").ok()
    assert pulled.stderr == f"3 records (343.6 kB) moved; 3 are here from {place}\n"


def test_tags_come_in_pages(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference.parse(f"{registry}/transfer/pages")
    tags = [f"v{number}" for number in range(7)]
    with client() as one:
        assert one.tags(reference) == []
        one.push(image_of(b"layer"), reference, tags)
        for page in (1, 3, 7, 100):
            monkeypatch.setattr(tag_list, "_PAGE", page)
            assert one.tags(reference) == tags
