"""The client against the real docker-registry: push, pull, mount; htpasswd, tokens, TLS; memory; skopeo."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, File, Store
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.blob import CONFIG, LAYER, MANIFEST, BytesBlob
from enginebuild_images.errors import RegistryError
from enginebuild_images.image import Image
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from enginebuild_images.reference import Reference
from enginebuild_images.registry import PushResult, Registry
from enginebuild_images.repository import Way
from enginebuild_images.settings import ImageSettings
from parts import services
from parts.connect_proxy import connect_proxy
from parts.image_files import Contents, noise
from parts.registry_images import GivenCredentials, SyntheticBlob, client, image_of
from parts.registry_login import certificate, htpasswd, token_server
from parts.registry_quirks import PASSWORD, USER
from parts.registry_real import docker_registry

pytestmark = pytest.mark.registry

IMAGE = image_of(SyntheticBlob.of(5_500_000), b"a small layer")
BUILDER = GivenCredentials(USER, PASSWORD)


@pytest.fixture(autouse=True)
def _installed() -> None:
    services.program("docker-registry")


@pytest.fixture
def named(registry: str, request: pytest.FixtureRequest) -> Reference:
    """A name in the shared registry that is this test's own."""
    own = Digest.of(request.node.nodeid.encode()).short
    return Reference.parse(f"{registry}/test-{own}/app:v1")


@pytest.fixture
def reader() -> Iterator[Registry]:
    with client() as registry:
        yield registry


def assert_there(registry: Registry, reference: Reference, image: Image) -> None:
    descriptor, content = registry.manifest(reference)
    assert content == image.manifest.content
    assert registry.resolve(reference) == descriptor == image.manifest.descriptor
    for blob in image.blobs:
        pulled = registry.blob(reference, blob.descriptor)
        assert b"".join(pulled.chunks()) == b"".join(blob.chunks())


def test_an_image_is_pushed_and_pulled_back(reader: Registry, named: Reference) -> None:
    assert not reader.has(named, IMAGE.digest)
    size = sum(blob.descriptor.size for blob in IMAGE.blobs)
    result = reader.push(IMAGE, named, ["v2"])
    assert result == PushResult(IMAGE.digest, size, present=0, mounted=0, sent=3)
    assert reader.has(named, IMAGE.digest)
    assert reader.has(named.with_tag("v2"), IMAGE.digest)
    assert_there(reader, named, IMAGE)
    assert reader.push(IMAGE, named) == PushResult(IMAGE.digest, 0, present=3, mounted=0, sent=0)


@pytest.mark.parametrize("way", list(Way))
def test_every_way_of_sending_is_taken(named: Reference, way: Way) -> None:
    with client(chunk_size=2_000_000) as registry:
        registry._repository(named).host.worse(way)
        registry.push(IMAGE, named)
        assert_there(registry, named, IMAGE)


def test_the_layers_of_a_base_are_mounted(reader: Registry, named: Reference) -> None:
    base = Reference.parse(f"{named.registry}/{named.repository}/base:v1")
    reader.push(IMAGE, base)
    image = image_of(*reader.base(base).layers, b"ours")
    result = reader.push(image, named)
    assert (result.mounted, result.sent) == (2, 2)
    assert result.bytes_sent == len(b"ours") + image.config.descriptor.size
    assert_there(reader, named, image)


def test_the_layers_of_another_registry_are_piped(reader: Registry, named: Reference, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as other:
        base = Reference.parse(f"{other}/base/image:v1")
        reader.push(IMAGE, base)
        image = image_of(*reader.base(base).layers, b"ours")
        assert reader.push(image, named).mounted == 0
        assert_there(reader, named, image)


def test_wrong_bytes_are_refused_by_the_registry(reader: Registry, named: Reference) -> None:
    image = image_of(b"as described")
    digest = image.layers[0].descriptor.digest

    class Changed:
        """A stand-in for a file that changed after it was described."""

        descriptor = image.layers[0].descriptor

        def chunks(self) -> Iterator[bytes]:
            yield b"as is on disk"[:12]

        pieces = chunks

    with pytest.raises(RegistryError) as caught:
        reader.push(Image(image.manifest, image.config, (Changed(),)), named)
    assert caught.value.message == (
        f"{named.registry}: cannot upload blob {digest.short} (12 B) to {named.repository}: "
        "400 Bad Request: DIGEST_INVALID: provided digest did not match uploaded content (3 tries)"
    )
    assert not reader.has(named, image.digest)


def test_a_name_that_is_not_there_is_told(reader: Registry, named: Reference) -> None:
    with pytest.raises(RegistryError) as caught:
        reader.resolve(named)
    assert caught.value.message == (
        f"{named.registry}: cannot read the manifest of {named.repository}:v1: "
        "404 Not Found: MANIFEST_UNKNOWN: manifest unknown"
    )


def test_htpasswd_lets_in_who_is_known(tmp_path: Path) -> None:
    with docker_registry(tmp_path, htpasswd=htpasswd(tmp_path)) as host:
        reference = Reference.parse(f"{host}/team/app:v1")
        with client(BUILDER) as registry:
            registry.push(IMAGE, reference)
            assert_there(registry, reference, IMAGE)
        with client() as anonymous, pytest.raises(RegistryError) as caught:
            anonymous.resolve(reference)
        assert caught.value.message == f"{host}: cannot find team/app:v1: 401 Unauthorized"
        assert caught.value.hint == (
            f"no credentials for {host} were found: log in with `docker login {host}`"
        )
        with client(GivenCredentials(USER, "wrong")) as unknown, pytest.raises(RegistryError) as caught:
            unknown.manifest(reference)
        assert caught.value.message == (
            f"{host}: cannot read the manifest of team/app:v1: "
            "401 Unauthorized: UNAUTHORIZED: authentication required"
        )


def test_tokens_let_in_who_is_known_and_are_renewed(tmp_path: Path) -> None:
    with (
        token_server(certificate(tmp_path)) as (tokens, section),
        docker_registry(tmp_path, token=section) as host,
    ):
        reference = Reference.parse(f"{host}/team/app:v1")
        base = Reference.parse(f"{host}/team/base:v1")
        with client(BUILDER) as registry:
            registry.push(IMAGE, base)
            assert tokens.given == 1
            image = image_of(*registry.base(base).layers, b"ours")
            assert registry.push(image, reference).mounted == 2
            assert_there(registry, reference, image)
        with client() as anonymous:
            assert anonymous.resolve(reference).digest == image.digest
            with pytest.raises(RegistryError) as caught:
                anonymous.push(IMAGE, reference.with_tag("mine"))
        config = IMAGE.config.descriptor
        assert caught.value.message == (
            f"{host}: cannot upload blob {config.digest.short} ({config.size} B) to team/app: "
            "401 Unauthorized: UNAUTHORIZED: authentication required"
        )
        assert caught.value.hint == (
            f"no credentials for {host} were found: log in with `docker login {host}`"
        )
        # One after the 401, then one before each of three blobs and two manifests.
        tokens.lifetime, tokens.given = 60, 0
        with client(BUILDER, jobs=1) as registry:
            registry.push(image_of(b"x", b"y"), reference)
        assert tokens.given == 6


def test_a_token_that_ended_is_renewed_by_the_401_of_the_registry(tmp_path: Path) -> None:
    with (
        token_server(certificate(tmp_path), lifetime=1) as (tokens, section),
        docker_registry(tmp_path, token=section) as host,
    ):
        reference = Reference.parse(f"{host}/team/app:v1")

        class Slow:
            """A layer that takes longer to read than a token lasts."""

            descriptor = BytesBlob(LAYER, b"slow").descriptor

            def chunks(self) -> Iterator[bytes]:
                yield b"sl"
                time.sleep(1.2)
                yield b"ow"

            pieces = chunks

        with client(BUILDER) as registry:
            registry._repository(reference).host.worse(Way.STREAMED)
            registry.push(image_of(Slow()), reference)
            assert registry.has(reference, image_of(Slow()).digest)
        assert tokens.given > 3


def test_tls_is_noticed_and_its_certificate_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    with docker_registry(tmp_path, tls=(own.certificate, own.key)) as host:
        reference = Reference.parse(f"{host}/team/app:v1")
        with client() as registry, pytest.raises(RegistryError) as caught:
            registry.resolve(reference)
        assert caught.value.message == (
            f"{host}: cannot find team/app:v1: its TLS certificate is not trusted (self-signed certificate)"
        )
        assert caught.value.hint == (
            "if it comes from an authority of your own, name that authority's file in SSL_CERT_FILE"
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))
        with client() as registry:
            registry.push(IMAGE, reference)
            assert_there(registry, reference, IMAGE)


def test_tls_is_passed_on_by_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))
    with (
        docker_registry(tmp_path, tls=(own.certificate, own.key)) as host,
        connect_proxy(host) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:se%3Acret@{proxy.address}")
        reference = Reference.parse("registry.invalid/team/app:v1")
        with client() as registry:
            registry.push(IMAGE, reference)
            assert_there(registry, reference, IMAGE)
    assert len(proxy.heads) <= 4  # connections are used again
    first = proxy.heads[0].splitlines()
    assert first[0].startswith("CONNECT registry.invalid:443 ")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:se:cret').decode()}" in first


def test_skopeo_inspects_and_copies(
    reader: Registry, named: Reference, skopeo: Path, tmp_path: Path, home: Path
) -> None:
    image = _tar_image(tmp_path)
    reader.push(image, named)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))

    def run(*argv: str | Path) -> bytes:
        return subprocess.run(
            [skopeo, "--policy", policy, *argv], capture_output=True, check=True, timeout=120
        ).stdout

    seen = json.loads(run("inspect", "--tls-verify=false", f"docker://{named}"))
    assert seen["Digest"] == str(image.digest)
    assert seen["Layers"] == [str(layer.descriptor.digest) for layer in image.layers]
    copy = tmp_path / "copy"
    run("copy", "--src-tls-verify=false", "--preserve-digests", f"docker://{named}", f"dir:{copy}")
    for blob in image.blobs:
        assert (copy / blob.descriptor.digest.hex).read_bytes() == b"".join(blob.chunks())


def _tar_image(folder: Path) -> Image:
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo("model/weights.bin")
        entry.size = 2_000_000
        tar.addfile(entry, io.BytesIO(b"".join(SyntheticBlob.of(2_000_000).chunks())))
    layer = BytesBlob(LAYER, stream.getvalue())
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.descriptor.digest)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tests"}],
    }
    config = BytesBlob(CONFIG, json.dumps(settings).encode())
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [layer.descriptor.to_json()],
    }
    return Image(BytesBlob(MANIFEST, json.dumps(document).encode()), config, (layer,))


_MEASURE = """
import sys
from pathlib import Path
from enginebuild_images.reference import Reference
from parts.registry_images import SyntheticBlob, client, image_of

def peak():  # of this process alone: ru_maxrss would count the one that forked it
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

target, other = (Reference.parse(f"{host}/memory/{sys.argv[3]}:v1") for host in sys.argv[1:3])
with client(timeout=120) as registry:
    registry.push(image_of(SyntheticBlob.of(1000)), target.with_tag("warm"))
    before = peak()
    image = image_of(*(SyntheticBlob.of(150_000_000, bytes([n])) for n in range(2)))
    registry.push(image, target)
    registry.push(image_of(*registry.base(target).layers), other)
print(before, peak())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_layers(registry: str, tmp_path: Path) -> None:
    """300 MB are pushed, then piped from one registry to another, by a process of their own."""
    with docker_registry(tmp_path) as other:
        measured = subprocess.run(
            [sys.executable, "-c", _MEASURE, registry, other, tmp_path.name.replace("_", "-").lower()],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    before, after = map(int, measured.stdout.split())
    assert after - before < 24_000  # KiB, for two jobs at a time, each with a reader and a writer
    assert after < 80_000


def test_a_layer_is_sent_before_its_digest_is_known(reader: Registry, named: Reference) -> None:
    contents = Contents()
    layer = contents.layer({"model/weights.bin": noise(3_000_000)})
    descriptor = reader.send(layer, contents, named)
    assert descriptor == StreamedBlob.of(layer, contents).descriptor
    assert b"".join(reader.blob(named, descriptor).chunks()) == contents.archive(layer)
    image = assemble(scratch(), [StreamedBlob(descriptor, layer, contents)], ImageSettings())
    assert reader.push(image, named).sent == 1  # the config alone


@pytest.mark.parametrize("path", ["model/weights.bin", "model/config.json"])
def test_a_file_that_was_altered_in_the_cache_never_becomes_a_layer(
    reader: Registry, named: Reference, cache_dir: Path, path: str
) -> None:
    """Its digest is taken while it is sent, so that the registry could not tell."""
    store = Store.open(cache_dir)
    files = {}
    for name, content in {"model/weights.bin": noise(3_000_000), "model/config.json": b"{}"}.items():
        with store.writer() as writer:
            writer.write(content)
            digest, size = writer.commit()
        files[name] = File(name, digest, size)
    layer = Layer.of(Entry(name, file) for name, file in files.items())
    altered = store.path(files[path])
    altered.chmod(0o644)
    with altered.open("r+b") as file:
        file.write(b"#")
    with pytest.raises(CacheError) as caught:
        reader.send(layer, store, named)
    assert caught.value.message == (
        f"{path} is damaged in the cache: the bytes of {altered} are not those of its digest"
    )
    assert reader.tags(named) == []
