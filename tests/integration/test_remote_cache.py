"""A real registry as the shared cache: what a second machine takes from it, what publishing beside it sends,
and everything that can be wrong with it, each time with the right image in the end.
"""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from enginebuild.events import silent
from enginebuild.remote.cache import Found, RemoteCache
from enginebuild.remote.packed import KEY, RECORD_TYPE, tag_of
from enginebuild.remote.place import LayoutPlace, RegistryPlace
from enginebuild.remote.transfer import pull_records, push_records
from enginebuild_cache import Digest, Json, Record, Tree
from enginebuild_images.artifact import artifact
from enginebuild_images.blob import BytesBlob
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.reference import Reference
from parts import cli, recipes, services
from parts.hub_models import write_model
from parts.hub_server import HubServer
from parts.registry_images import GivenCredentials, client
from parts.registry_login import certificate, htpasswd, token_server
from parts.registry_quirks import PASSWORD, USER
from parts.registry_real import docker_registry
from parts.remote_machine import STEPS, Machine

pytestmark = pytest.mark.registry

REPOSITORY = "llm/cache"
BUILT = dict.fromkeys(STEPS, "built")
HIT = dict.fromkeys(STEPS, "hit")


@dataclass(frozen=True)
class Site:
    """A registry, the folder where its storage lies, and the cache in it."""

    host: str
    folder: Path
    place: RegistryPlace

    @property
    def name(self) -> str:
        return self.place.name

    def blob(self, digest: str | Digest) -> Path:
        """The file in which the registry keeps a blob."""
        digits = str(digest).removeprefix("sha256:")
        return self.storage / "blobs/sha256" / digits[:2] / digits / "data"

    @property
    def storage(self) -> Path:
        return self.folder / "storage/docker/registry/v2"

    def link(self, tag: str) -> Path:
        """The file that says which manifest a tag stands for."""
        return self.storage / "repositories" / REPOSITORY / "_manifests/tags" / tag / "current/link"

    def manifest(self, tag: str) -> dict[str, list[dict[str, str]]]:
        document: dict[str, list[dict[str, str]]] = json.loads(
            self.blob(self.link(tag).read_text()).read_bytes()
        )
        return document


@contextmanager
def site_at(folder: Path) -> Iterator[Site]:
    services.program("docker-registry")
    with docker_registry(folder, access_log=True) as host, client() as registry:
        place = RegistryPlace(Reference.parse(f"{host}/{REPOSITORY}"), lambda: registry)
        yield Site(host, folder, place)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_at(tmp_path / "registry") as site:
        yield site


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a registry that has the three records; its owner's digest beside it."""
    folder = tmp_path_factory.mktemp("filled")
    with site_at(folder / "registry") as site:
        built = Machine.at(folder / "owner").build(target=site.place)
    (folder / "digest").write_text(str(built.digest))
    return folder


@dataclass(frozen=True)
class Copied:
    """A copy of the filled registry, to be spoilt."""

    site: Site
    digest: str
    tags: dict[str, str]


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Iterator[Copied]:
    shutil.copytree(filled / "registry/storage", tmp_path / "registry/storage")
    with site_at(tmp_path / "registry") as site:
        tags = {tag.rpartition("-")[0]: tag for tag in site.place.tags()}
        assert set(tags) == set(STEPS)
        yield Copied(site, (filled / "digest").read_text(), tags)


def test_a_second_machine_takes_everything_and_says_so(site: Site, tmp_path: Path) -> None:
    first, second = Machine.at(tmp_path / "a"), Machine.at(tmp_path / "b")
    owner = first.build(source=site.place, target=site.place)
    assert first.statuses(owner) == BUILT
    assert [note.text for note in first.notes] == [f"{step}: kept in {site.name}" for step in STEPS]

    taker = second.build(source=site.place, target=site.place)
    assert second.statuses(taker) == HIT
    assert taker.digest == owner.digest
    sizes = ("340.1 kB", "469 B", "3.1 kB")
    assert [note.text for note in second.notes] == [
        f"{step}: {size} taken from {site.name}" for step, size in zip(STEPS, sizes, strict=True)
    ]
    assert not second.store.verify().findings
    again = second.build(source=site.place, target=site.place)
    assert (second.statuses(again), second.notes) == (HIT, [])


def test_from_the_cache_with_the_hub_gone(site: Site, tmp_path: Path) -> None:
    write_model(tmp_path / "hub/org/tiny", shards=2, shard_size=65 << 20)
    recipe = recipes.write(
        tmp_path,
        "hf://org/tiny@main",
        extra=f"  repository: {site.host}/llm/tiny\ncache:\n  remote: {site.name}\n",
    )
    out = ("--output", tmp_path / "out", "--json")
    with HubServer(tmp_path / "hub") as hub:
        env = {"HF_ENDPOINT": hub.endpoint}
        first = cli.enginebuild("run", recipe, "--cache-dir", tmp_path / "one", *out, env=env).ok()
    shutil.rmtree(tmp_path / "out")
    second = cli.enginebuild("run", recipe, "--cache-dir", tmp_path / "two", *out, "--locked", env=env).ok()
    assert {step: second.statuses[step] for step in STEPS} == HIT
    assert second.digest == first.digest
    assert cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "two").code == 0

    # Publishing to the same registry: the manifest, and no blob at all, whoever publishes.
    log = site.folder / "log"
    for machine in ("two", "one"):
        before = len(log.read_text())
        repository = f"image.repository={site.host}/llm/from-{machine}"
        words = ("--push", "--json", "--locked", "--set", repository)
        pushed = cli.enginebuild("run", recipe, "--cache-dir", tmp_path / machine, *words, env=env).ok()
        assert pushed.digest == first.digest
        requests = re.findall(r'"(PUT|PATCH|POST) (\S+) HTTP/1\.1" (\d+)', log.read_text()[before:])
        sent = [(method, path) for method, path, _ in requests if "/manifests/" not in path]
        digests = {str(layer["digest"]) for layer in _published(site, f"llm/from-{machine}", pushed.digest)}
        assert len(digests) == 5  # two shards, the small files, the configuration, the image's config
        prefix = f"/v2/llm/from-{machine}/blobs/uploads/?mount="
        assert sorted(sent) == sorted(("POST", f"{prefix}{digest}&from={REPOSITORY}") for digest in digests)
        assert {status for _, _, status in requests} == {"201"}
        puts = [path for method, path, _ in requests if method == "PUT"]
        assert puts == [
            f"/v2/llm/from-{machine}/manifests/{pushed.digest}",
            f"/v2/llm/from-{machine}/manifests/{pushed.result['image']['key'].removeprefix('sha256:')[:12]}",
        ]


@pytest.mark.parametrize("layout", ["model", "modelpack"])
def test_images_without_a_server_are_mounted_as_well(site: Site, tmp_path: Path, layout: str) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "version: 1\nname: tiny\nmodel: file:./model\nengine: {type: vllm, version: 0.33.0}\n"
        f"image: {{layout: {layout}, repository: {site.host}/llm/tiny}}\ncache: {{remote: {site.name}}}\n"
    )
    words = ("run", recipe, "--cache-dir", tmp_path / "cache")
    cli.enginebuild(*words, "--output", tmp_path / "out").ok()
    log = site.folder / "log"
    before = len(log.read_text())
    cli.enginebuild(*words, "--push").ok()
    sent = re.findall(r'"(?:PUT|PATCH|POST) (\S+/blobs/\S*) HTTP/1\.1" (\d+)', log.read_text()[before:])
    assert len(sent) == 2  # the files and the image's config
    assert all("?mount=sha256:" in path and status == "201" for path, status in sent)


def test_plan_asks_the_cache_for_records_and_for_no_layer(site: Site, tmp_path: Path) -> None:
    write_model(tmp_path / "hub/org/tiny", shards=1, shard_size=65 << 20)
    with HubServer(tmp_path / "hub") as hub:
        env = {"HF_ENDPOINT": hub.endpoint}
        recipe = recipes.write(tmp_path, "hf://org/tiny@main", extra=f"cache:\n  remote: {site.name}\n")

        def ask(command: str, machine: str, *words: str | Path) -> cli.Ended:
            cache = ("--cache-dir", tmp_path / machine, "--output", tmp_path / f"{machine}-out")
            return cli.enginebuild(command, recipe, *cache, *words, env=env).ok()

        ask("run", "one", "--cache-to", site.name)
        before = len((site.folder / "log").read_text())
        shown = ask("plan", "two")
        log = (site.folder / "log").read_text()[before:]
        asked = re.findall(r'"GET (\S+) HTTP/1\.1" (\d+)', log)
        document = ask("plan", "two", "--json").document
        alone = ask("plan", "two", "--json", "--cache-from", "none").document
        (tmp_path / "tiny.yaml").write_text(recipe.read_text().partition("cache:")[0])
        nowhere = ask("plan", "two", "--json").document
        option = ask("plan", "two", "--json", "--cache-from", site.name).document
        ran = ask("run", "two", "--cache-from", site.name, "--json")
        then = ask("plan", "two", "--json", "--cache-from", site.name).document

    assert [line.split()[:2] + line.split()[3:] for line in shown.stdout.splitlines()[:3]] == [
        [step, "hit", "in", "the", "remote", "cache"] for step in STEPS
    ]
    # The registry itself once, then a manifest and a document of each step.
    kinds = [(path.split("/")[-2], status) for path, status in asked]
    assert kinds == [("v2", "200"), *[("manifests", "200"), ("blobs", "200")] * len(STEPS)]
    blobs = [path.rpartition("/")[2] for path, _ in asked if "/blobs/" in path]
    sizes = [site.blob(digest).stat().st_size for digest in blobs]
    assert all(size < 10_000 for size in sizes), sizes

    def told(plan: dict[str, Any]) -> dict[str, tuple[Json, Json]]:
        return {step["name"]: (step["status"], step["remote"]) for step in plan["steps"]}

    assert (
        told(document)
        == told(option)
        == dict.fromkeys(STEPS, ("hit", True)) | {"publish": ("unresolved", False)}
    )
    assert told(alone) == told(nowhere)
    assert told(alone)["fetch"] == ("miss", False)
    assert {step: ran.statuses[step] for step in STEPS} == HIT
    assert told(then) == dict.fromkeys((*STEPS, "publish"), ("hit", False))
    taken = [document["bytes_to_take"], alone["bytes_to_take"], then["bytes_to_take"]]
    assert taken[0] > 65 << 20
    assert taken[1:] == [0, 0]
    assert document["estimate"]["bytes_to_fetch"] == 0
    assert alone["estimate"]["bytes_to_fetch"] >= 65 << 20


def test_a_plan_goes_on_without_a_cache_that_is_not_there(tmp_path: Path) -> None:
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    recipe = recipes.write(tmp_path, "file:./model")
    words = ("plan", recipe, "--cache-dir", tmp_path / "cache", "--cache-from", "127.0.0.1:1/llm/cache")
    shown = cli.enginebuild(*words).ok()
    assert [line.split()[:2] for line in shown.stdout.splitlines()[:3]] == [[step, "miss"] for step in STEPS]
    assert shown.stderr.count("warning: the cache 127.0.0.1:1/llm/cache cannot be used: ") == 1
    assert "connection refused (3 tries); going on without it\n" in shown.stderr


def test_why_asks_the_cache_as_a_plan_does(copied: Copied, tmp_path: Path) -> None:
    machine = Machine.at(tmp_path / "b")
    words = ("why", machine.folder / "tiny.yaml", "--cache-dir", tmp_path / "cache")
    shown = cli.enginebuild(*words, "--cache-from", copied.site.name).ok().stdout.splitlines()
    assert [line.split()[:2] for line in shown] == [[step, "hit"] for step in STEPS]
    assert all(
        re.search(r" since \S+ \S+ UTC \(record [0-9a-f]{12}\), in the remote cache$", line) for line in shown
    )
    alone = cli.enginebuild(*words).ok().stdout.splitlines()
    assert [line.split()[:2] for line in alone] == [[step, "miss"] for step in STEPS]


def test_the_plans_of_many_cells_ask_for_a_record_once(copied: Copied, tmp_path: Path) -> None:
    machine = Machine.at(tmp_path / "b")
    recipe = machine.folder / "tiny.yaml"
    recipe.write_text(f"{recipe.read_text()}matrix: {{dtype: [float16, float32, bfloat16]}}\n")
    words = ("plan", recipe, "--cache-dir", tmp_path / "cache", "--cache-from")
    shown = cli.enginebuild(*words, copied.site.name, "--json").ok().document
    fetches = [cell["steps"][0] for cell in shown["cells"]]
    assert [(step["name"], step["status"], step["remote"]) for step in fetches] == [
        ("fetch", "hit", True)
    ] * 3
    asked = re.findall(r'"GET \S+/manifests/(fetch-\S+) HTTP', (copied.site.folder / "log").read_text())
    assert asked == [copied.tags["fetch"]]
    gone = cli.enginebuild(*words, "127.0.0.1:1/llm/cache").ok()
    assert gone.stderr.count("warning: ") == 1


def test_a_plan_says_which_record_is_of_no_use(copied: Copied, tmp_path: Path) -> None:
    document = copied.site.manifest(copied.tags["configure"])["layers"][0]["digest"]
    _flip(copied.site.blob(document))
    machine = Machine.at(tmp_path / "b")
    words = ("plan", machine.folder / "tiny.yaml", "--cache-dir", tmp_path / "cache")
    shown = cli.enginebuild(*words, "--cache-from", copied.site.name).ok()
    assert [line.split()[:2] for line in shown.stdout.splitlines()[:3]] == [
        ["fetch", "hit"],
        ["configure", "miss"],
        ["image", "hit"],
    ]
    assert shown.stderr.startswith(f"warning: {copied.site.name}: the record of configure (sha256:")
    assert shown.stderr.endswith("; the step runs here\n")


def _published(site: Site, repository: str, digest: str) -> list[dict[str, Json]]:
    document = json.loads(site.blob(digest).read_bytes())
    return [*document["layers"], document["config"]]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700] if path.stat().st_size > 700 else b"")


def _delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [_flip, _truncate, _delete])
@pytest.mark.parametrize("blob", ["document", "layer", "manifest"])
@pytest.mark.parametrize("step", STEPS)
def test_spoilt_on_the_registrys_disk(
    copied: Copied, tmp_path: Path, step: str, blob: str, spoil: Callable[[Path], None]
) -> None:
    site, tag = copied.site, copied.tags[step]
    digest = site.link(tag).read_text()
    if blob != "manifest":
        digest = site.manifest(tag)["layers"][0 if blob == "document" else 1]["digest"]
    spoil(site.blob(digest))
    machine = Machine.at(tmp_path / "b")
    built = machine.build(source=site.place)
    assert str(built.digest) == copied.digest
    statuses = machine.statuses(built)
    assert statuses[step] == "built"
    # A manifest that is gone is a record that is not there, as the registry tells it.
    gone = (blob, spoil) == ("manifest", _delete)
    assert len(machine.warnings) == (0 if gone else 1), machine.warnings
    if blob != "manifest":  # that is answered with 500, as by a registry that is ill altogether
        assert statuses == HIT | {step: "built"}
        begin = f"{site.name}: the record of {step} (sha256:{tag.rpartition('-')[2][:12]}) is of no use: "
        assert machine.warnings[0].startswith(begin)
        assert machine.warnings[0].endswith("; the step runs here")
    assert not machine.store.verify().findings


def test_a_deleted_record_is_a_plain_miss_and_is_sent_again(copied: Copied, tmp_path: Path) -> None:
    shutil.rmtree(copied.site.link(copied.tags["fetch"]).parents[1])
    machine = Machine.at(tmp_path / "b")
    built = machine.build(source=copied.site.place, target=copied.site.place)
    assert machine.statuses(built) == HIT | {"fetch": "built"}
    assert machine.warnings == []
    assert copied.site.link(copied.tags["fetch"]).exists()


def test_what_was_of_no_use_is_sent_again(copied: Copied, tmp_path: Path) -> None:
    digest = copied.site.manifest(copied.tags["fetch"])["layers"][1]["digest"]
    # The registry forgets the blob, as a garbage collection that removed too much would have it.
    copied.site.blob(digest).unlink()
    links = copied.site.storage / "repositories" / REPOSITORY / "_layers/sha256" / digest[7:]
    shutil.rmtree(links)
    machine = Machine.at(tmp_path / "b")
    assert (
        machine.statuses(machine.build(source=copied.site.place, target=copied.site.place))["fetch"]
        == "built"
    )
    third = Machine.at(tmp_path / "c")
    assert third.statuses(third.build(source=copied.site.place)) == HIT


def _push_document(site: Site, tag: str, content: bytes, kind: str = RECORD_TYPE, more: bytes = b"") -> None:
    blobs = [BytesBlob(kind, content), BytesBlob("application/vnd.oci.image.layer.v1.tar", more or b"x")]
    site.place.write(artifact(kind, blobs, {KEY: "sha256:" + "0" * 64}), tag)


def _refusal(site: Site, tmp_path: Path, step: str = "fetch") -> str:
    """Why the machine that finds this does not take it; the image is right all the same."""
    machine = Machine.at(tmp_path / "b")
    reference = Machine.at(tmp_path / "alone")
    built = machine.build(source=site.place)
    assert machine.statuses(built)[step] == "built"
    assert built.digest == reference.build().digest
    (warning,) = machine.warnings
    match = re.fullmatch(
        rf"{re.escape(site.name)}: the record of {step} \(sha256:[0-9a-f]{{12}}\) is of no use: (.*); "
        "the step runs here",
        warning,
    )
    assert match is not None, warning
    return match[1]


def test_the_record_of_another_key(copied: Copied, tmp_path: Path) -> None:
    links = {step: copied.site.link(tag) for step, tag in copied.tags.items()}
    key = next(record.key for record in _records(copied.site) if record.step == "configure")
    links["fetch"].write_text(links["configure"].read_text())
    assert _refusal(copied.site, tmp_path) == f"it is the record of configure with the key {key}"


def _records(site: Site) -> list[Record]:
    cache = RemoteCache(site.place)
    found = [cache.lookup_tag(tag) for tag in site.place.tags()]
    return [each.record for each in found if each is not None]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            b"\xff",
            "its document is broken: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b"[]", "its document is broken: it is not a record of this version (not an object)"),
        (b"{}", "its document is broken: it is not a record of this version ('version')"),
        (b'{"version":2}', "its document is broken: it is of version 2; this version reads 1"),
        (b"[" * 100_000, "its document is broken: it is nested too deeply"),
    ],
)
def test_a_document_that_is_not_ours(copied: Copied, tmp_path: Path, content: bytes, why: str) -> None:
    _push_document(copied.site, copied.tags["fetch"], content)
    assert _refusal(copied.site, tmp_path) == why


def test_an_artifact_of_another_version(copied: Copied, tmp_path: Path) -> None:
    _push_document(copied.site, copied.tags["fetch"], b"{}", "application/vnd.enginebuild.record.v2+json")
    assert _refusal(copied.site, tmp_path) == (
        "it is of type application/vnd.enginebuild.record.v2+json; this version reads "
        "application/vnd.enginebuild.record.v1+json"
    )


def test_a_sound_record_with_other_files_than_the_lock_names(copied: Copied, tmp_path: Path) -> None:
    """Whoever can write to the cache cannot change what is known beforehand: models and configurations."""
    (record,) = (record for record in _records(copied.site) if record.step == "fetch")
    store = Machine.at(tmp_path / "forger").store
    forged = store.put_bytes(b"forged")
    first, *rest = record.tree
    tree = Tree.of([replace(first, digest=forged, size=6), *rest])
    RemoteCache(copied.site.place).pull(_found(copied.site, copied.tags["fetch"]), store, silent)
    RemoteCache(copied.site.place).push(replace(record, tree=tree), store, silent)
    assert _refusal(copied.site, tmp_path) == "its files are not those that the lock and the recipe demand"


def _found(site: Site, tag: str) -> Found:
    found = RemoteCache(site.place).lookup_tag(tag)
    assert found is not None
    return found


def test_layers_that_are_not_the_documents(copied: Copied, tmp_path: Path) -> None:
    packed = _found(copied.site, copied.tags["fetch"]).packed
    _push_document(copied.site, copied.tags["fetch"], packed.to_bytes(), more=b"short")
    assert _refusal(copied.site, tmp_path) == "its layers are not those that its document describes"


def test_a_layer_of_the_right_size_and_other_bytes(copied: Copied, tmp_path: Path) -> None:
    packed = _found(copied.site, copied.tags["fetch"]).packed
    layer = bytes(packed.layers[0].size)
    _push_document(copied.site, copied.tags["fetch"], packed.to_bytes(), more=layer)
    assert _refusal(copied.site, tmp_path) == (
        f"{Digest.of(layer)} is not the archive that its record describes"
    )


def test_a_registry_that_is_not_there_costs_one_warning(tmp_path: Path) -> None:
    with client() as registry:
        place = RegistryPlace(Reference.parse("127.0.0.1:1/llm/cache"), lambda: registry)
        machine = Machine.at(tmp_path / "b")
        built = machine.build(source=place, target=place)
    assert machine.statuses(built) == BUILT
    tag = tag_of("fetch", built.outcomes[0].key)
    (warning,) = machine.warnings
    assert warning == (
        f"the cache 127.0.0.1:1/llm/cache cannot be used: 127.0.0.1:1: cannot read the manifest of "
        f"llm/cache:{tag}: connection refused (3 tries); going on without it\n"
        "  check host and port, and that the registry runs"
    )


def test_a_registry_that_goes_away_between_two_steps(copied: Copied, tmp_path: Path) -> None:
    """It lets itself be read once, then no more: what came is used, the rest is built."""

    @dataclass(frozen=True)
    class FailingAfterOne(RegistryPlace):
        def manifest(self, tag: str) -> bytes | None:
            if not tag.startswith("fetch-"):
                gone = RegistryPlace(Reference.parse("127.0.0.1:1/llm/cache"), self.registry)
                return gone.manifest(tag)
            return super().manifest(tag)

    place = FailingAfterOne(copied.site.place.repository, copied.site.place.registry)
    machine = Machine.at(tmp_path / "b")
    built = machine.build(source=place, target=place)
    assert machine.statuses(built) == {"fetch": "hit", "configure": "built", "image": "built"}
    assert str(built.digest) == copied.digest
    assert len(machine.warnings) == 1


def test_a_cache_that_may_only_be_read(copied: Copied, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "closed", htpasswd=htpasswd(tmp_path)) as host, client() as registry:
        target = RegistryPlace(Reference.parse(f"{host}/llm/cache"), lambda: registry)
        machine = Machine.at(tmp_path / "b")
        built = machine.build(source=copied.site.place, target=target)
    assert machine.statuses(built) == HIT
    (warning,) = machine.warnings
    assert warning.startswith(
        f"nothing can be kept in {host}/llm/cache: {host}: cannot read the manifest of "
    )
    assert "401 Unauthorized" in warning
    assert f"docker login {host}" in warning


def test_a_build_that_may_read_and_not_write(filled: Path, tmp_path: Path) -> None:
    """As one of an untrusted change should be: here the registry's tokens let anybody read."""
    shutil.copytree(filled / "registry/storage", tmp_path / "registry/storage")
    configure = next((tmp_path / "registry/storage").rglob("configure-*"))
    shutil.rmtree(configure)
    with (
        token_server(certificate(tmp_path)) as (_, section),
        docker_registry(tmp_path / "registry", token=section) as host,
        client() as registry,
    ):
        place = RegistryPlace(Reference.parse(f"{host}/{REPOSITORY}"), lambda: registry)
        machine = Machine.at(tmp_path / "b")
        built = machine.build(source=place, target=place)
    assert machine.statuses(built) == HIT | {"configure": "built"}
    (warning,) = machine.warnings
    assert warning.startswith(f"nothing can be kept in {place.name}: {host}: cannot upload blob ")
    assert "401 Unauthorized" in warning
    assert not configure.exists()


def test_kills_while_records_come(tmp_path: Path, site: Site) -> None:
    """A killed pull leaves nothing wrong, and the next one goes on with the files that came whole."""
    write_model(tmp_path / "model", shards=4, shard_size=70 << 20)
    recipe = recipes.write(tmp_path, "file:./model")
    words = ("run", recipe, "--cache-dir", tmp_path / "owner", "--output", tmp_path / "out")
    cli.enginebuild(*words, "--cache-to", site.name).ok()
    pull = ("cache", "pull", site.name, "--cache-dir", tmp_path / "taker")
    begun = time.monotonic()
    cli.enginebuild("cache", "pull", site.name, "--cache-dir", tmp_path / "timed").ok()
    whole = time.monotonic() - begun
    moments = random.Random(7)
    killed = 0
    for _ in range(6):
        process = cli.start(*pull)
        time.sleep(moments.uniform(0.1, whole))
        process.kill()
        killed += cli.end(process).code == -signal.SIGKILL
        assert cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "taker").code == 0
    assert killed
    cli.enginebuild(*pull).ok()
    assert cli.enginebuild("cache", "verify", "--cache-dir", tmp_path / "taker").code == 0
    last = ("run", recipe, "--cache-dir", tmp_path / "taker", "--output", tmp_path / "out2", "--json")
    assert list(cli.enginebuild(*last).ok().statuses.values()) == ["hit", "hit", "hit", "built"]


def test_a_record_that_one_place_does_not_take(copied: Copied, tmp_path: Path) -> None:
    """A layer above a registry's limit, say: that record is not kept, the others are."""

    @dataclass(frozen=True)
    class RefusingModels(RegistryPlace):
        def write(self, image: Image, tag: str) -> None:
            if tag.startswith("fetch-"):
                raise ImageError("a layer of 60 GB is more than 10 GB", "use another registry")
            super().write(image, tag)

    place = RefusingModels(Reference.parse(f"{copied.site.host}/llm/small"), copied.site.place.registry)
    machine = Machine.at(tmp_path / "b")
    built = machine.build(target=place)
    assert str(built.digest) == copied.digest
    (warning,) = machine.warnings
    assert warning == (
        f"{place.name}: fetch (sha256:{built.outcomes[0].key.short}) cannot be kept there: "
        "a layer of 60 GB is more than 10 GB\n  use another registry"
    )
    assert {tag.rpartition("-")[0] for tag in place.tags()} == {"configure", "image"}


def test_a_registry_that_dies_between_reading_and_writing(copied: Copied, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Dying(RegistryPlace):
        def write(self, image: Image, tag: str) -> None:
            RegistryPlace(Reference.parse("127.0.0.1:1/llm/small"), self.registry).write(image, tag)

    machine = Machine.at(tmp_path / "b")
    place = Dying(Reference.parse(f"{copied.site.host}/llm/small"), copied.site.place.registry)
    built = machine.build(target=place)
    assert str(built.digest) == copied.digest
    (warning,) = machine.warnings
    assert warning.startswith(f"the cache {place.name} cannot be used: 127.0.0.1:1: cannot ask for blob ")
    assert "connection refused (3 tries); going on without it\n" in warning


def test_two_writers_at_once(site: Site, tmp_path: Path) -> None:
    machines = [Machine.at(tmp_path / name) for name in ("a", "b", "c")]
    digests: list[Digest] = []

    def build(machine: Machine) -> None:
        digests.append(machine.build(source=site.place, target=site.place).digest)

    threads = [threading.Thread(target=build, args=(machine,)) for machine in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 3
    assert len(set(digests)) == 1
    assert all(not machine.warnings for machine in machines)
    late = Machine.at(tmp_path / "late")
    assert late.statuses(late.build(source=site.place)) == HIT


def test_the_first_record_stays(copied: Copied, tmp_path: Path) -> None:
    before = copied.site.link(copied.tags["fetch"]).read_text()
    machine = Machine.at(tmp_path / "b")
    machine.build(target=copied.site.place)
    assert copied.site.link(copied.tags["fetch"]).read_text() == before
    assert [note.text for note in machine.notes] == []
    cache = RemoteCache(copied.site.place)
    carried = push_records(machine.store.records(), cache, machine.store, silent)
    assert {each.status for each in carried if each.step in STEPS} == {"present"}
    assert copied.site.link(copied.tags["fetch"]).read_text() == before


def test_a_folder_and_back(copied: Copied, tmp_path: Path) -> None:
    """For sites without a network: registry → store → folder → store → registry, byte for byte."""
    there, here = Machine.at(tmp_path / "there"), Machine.at(tmp_path / "here")
    folder = RemoteCache(LayoutPlace(tmp_path / "usb"))
    pulled, useless = pull_records(
        copied.site.place.tags(), RemoteCache(copied.site.place), there.store, silent
    )
    assert {each.status for each in pulled} == {"pulled"}
    push_records([r for r in there.store.records() if r.step != "layer"], folder, there.store, silent)
    carried, useless = pull_records(folder.place.tags(), folder, here.store, silent)
    assert ({each.step for each in carried}, useless) == (set(STEPS), [])
    assert here.statuses(here.build()) == HIT
    index = json.loads((tmp_path / "usb/index.json").read_bytes())
    digests = {
        entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"]
        for entry in index["manifests"]
    }
    assert digests == {tag: copied.site.link(tag).read_text() for tag in copied.tags.values()}


def test_skopeo_reads_and_copies_it(copied: Copied, tmp_path: Path, skopeo: Path) -> None:
    tag = copied.tags["fetch"]
    source = f"docker://{copied.site.name}:{tag}"
    plain = ("--tls-verify=false", "--raw", source)
    raw = subprocess.run([skopeo, "inspect", *plain], check=True, capture_output=True).stdout
    assert raw == copied.site.blob(copied.site.link(tag).read_text()).read_bytes()
    layout = tmp_path / "layout"
    copy = ("--src-tls-verify=false", source, f"oci:{layout}:{tag}")
    subprocess.run([skopeo, "copy", *copy], check=True, capture_output=True)
    machine = Machine.at(tmp_path / "b")
    cache = RemoteCache(LayoutPlace(layout))
    carried, useless = pull_records(cache.place.tags(), cache, machine.store, silent)
    assert ([each.step for each in carried], useless) == (["fetch"], [])
    assert machine.statuses(machine.build()) == BUILT | {"fetch": "hit"}


def test_credentials_are_in_no_record_artifact_or_line(tmp_path: Path, home: Path) -> None:
    hub_token = "hf_planted0123456789"
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    shutil.copytree(recipes.QUICKSTART_MODEL, tmp_path / "model")
    with docker_registry(tmp_path / "registry", htpasswd=htpasswd(tmp_path)) as host:
        (home / "docker").mkdir(exist_ok=True)
        (home / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
        recipe = recipes.write(tmp_path, "file:./model", extra=f"cache:\n  remote: {host}/llm/cache\n")
        words = ("run", recipe, "--output", tmp_path / "out", "--json")
        env = {"HF_TOKEN": hub_token}
        first = cli.enginebuild(*words, "--cache-dir", tmp_path / "one", env=env).ok()
        second = cli.enginebuild(*words, "--cache-dir", tmp_path / "two", env=env).ok()
        assert {step: second.statuses[step] for step in STEPS} == HIT
        with client(GivenCredentials(USER, PASSWORD)) as registry:
            assert len(registry.tags(Reference.parse(f"{host}/llm/cache"))) == 3
    shown = (first.stdout + first.stderr + second.stdout + second.stderr).encode()
    kept = [
        path
        for folder in ("registry/storage", "one", "two", "out")
        for path in (tmp_path / folder).rglob("*")
    ]
    files = [path.read_bytes() for path in kept if path.is_file()]
    assert len(files) > 30
    for secret in (hub_token, PASSWORD, login):
        assert not any(secret.encode() in content for content in (shown, *files)), secret
