"""Reading from a registry that plays quirks and faults; and registries that are not there at all."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild_cache import Digest
from enginebuild_images.blob import (
    CONFIG,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    MANIFEST,
    Descriptor,
)
from enginebuild_images.credentials import Anonymous, DockerCredentials
from enginebuild_images.errors import ImageError, RegistryError
from enginebuild_images.pace import Retry
from enginebuild_images.reference import Reference
from enginebuild_images.registry import Registry
from parts.registry_images import SyntheticBlob, client, image_of
from parts.registry_quirks import QuirkRegistry, quirk_registry

CONTENT = b"".join(SyntheticBlob.of(3_300_000).chunks())
IMAGE = image_of(CONTENT, b"small")
LAYER_BLOB = IMAGE.layers[0].descriptor
LOG = "see the log of the registry, and of the proxies before it"


@pytest.fixture
def quirks() -> Iterator[QuirkRegistry]:
    with quirk_registry() as registry:
        with client() as writer:
            writer.push(IMAGE, Reference.parse(f"{registry.host}/team/app:v1"))
        registry.seen.clear()
        yield registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with client() as registry:
        yield registry


def name(quirks: QuirkRegistry, text: str = "team/app:v1") -> Reference:
    return Reference.parse(f"{quirks.host}/{text}")


def put(quirks: QuirkRegistry, tag: str, document: object, media_type: str) -> Digest:
    content = json.dumps(document).encode()
    digest = Digest.of(content)
    for key in (tag, str(digest)):
        quirks.manifests["team/app", key] = (media_type, content)
    return digest


def entry(digest: Digest, architecture: str, **more: object) -> dict[str, object]:
    size = len(IMAGE.manifest.content)
    platform = {"os": "linux", "architecture": architecture}
    return {"mediaType": MANIFEST, "digest": str(digest), "size": size, "platform": platform, **more}


# Names


def test_a_tag_is_resolved_by_one_head(quirks: QuirkRegistry, registry: Registry) -> None:
    assert registry.resolve(name(quirks)) == IMAGE.manifest.descriptor
    assert quirks.lines() == ["GET /v2/", "HEAD /v2/team/app/manifests/v1"]


def test_without_the_digest_header_the_manifest_is_read(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.digest_header = False
    assert registry.resolve(name(quirks)) == IMAGE.manifest.descriptor
    assert quirks.lines()[1:] == ["HEAD /v2/team/app/manifests/v1", "GET /v2/team/app/manifests/v1"]


def test_a_registry_that_refuses_head_by_404_is_asked_by_get(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    quirks.fault("HEAD", "/manifests/", status=404)
    assert registry.resolve(name(quirks)) == IMAGE.manifest.descriptor


def test_an_index_leads_to_the_platform_s_image(quirks: QuirkRegistry, registry: Registry) -> None:
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    manifests = [
        entry(Digest.of(b"arm"), "arm64"),
        entry(Digest.of(b"sbom"), "amd64", annotations=attestation),
        entry(IMAGE.digest, "amd64"),
    ]
    index = put(quirks, "multi", {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    reference = name(quirks, "team/app:multi")
    assert registry.resolve(reference).digest == IMAGE.digest
    base = registry.base(reference)
    assert base.digest == index
    assert base.reference == str(reference)
    assert [layer.descriptor for layer in base.layers] == [layer.descriptor for layer in IMAGE.layers]


def test_an_index_without_the_platform_says_what_it_has(quirks: QuirkRegistry, registry: Registry) -> None:
    manifests = [entry(Digest.of(b"arm"), "arm64")]
    put(quirks, "multi", {"schemaVersion": 2, "manifests": manifests}, INDEX)
    with pytest.raises(ImageError) as caught:
        registry.resolve(name(quirks, "team/app:multi"))
    assert caught.value.message == f"{quirks.host}/team/app:multi has no image for linux/amd64"
    assert caught.value.hint == "it has linux/arm64"


def test_an_index_that_leads_to_itself_ends(quirks: QuirkRegistry, registry: Registry) -> None:
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX}
    inner = IMAGE.digest
    for _ in range(6):
        document = {**document, "manifests": [{**entry(inner, "amd64"), "mediaType": INDEX}]}
        inner = put(quirks, "deep", document, INDEX)
    with pytest.raises(ImageError) as caught:
        registry.resolve(name(quirks, "team/app:deep"))
    assert caught.value.message == f"{quirks.host}/team/app:deep is an index of indexes of indexes"
    assert caught.value.hint == "name one by its digest"


def test_a_manifest_that_is_called_text_is_known_by_its_words(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    _, content = quirks.manifests["team/app", "v1"]
    quirks.manifests["team/app", "v1"] = ("text/plain; charset=utf-8", content)
    assert registry.manifest(name(quirks)) == (IMAGE.manifest.descriptor, content)
    assert registry.resolve(name(quirks)) == IMAGE.manifest.descriptor


def test_docker_s_manifests_keep_their_type(quirks: QuirkRegistry, registry: Registry) -> None:
    document = {**json.loads(IMAGE.manifest.content), "mediaType": DOCKER_MANIFEST}
    digest = put(quirks, "docker", document, DOCKER_MANIFEST)
    assert registry.resolve(name(quirks, "team/app:docker")) == Descriptor(
        DOCKER_MANIFEST, digest, len(json.dumps(document))
    )


def test_has_wants_the_manifest_and_the_tag_on_it(quirks: QuirkRegistry, registry: Registry) -> None:
    put(quirks, "other", {"schemaVersion": 2, "layers": []}, MANIFEST)
    assert registry.has(name(quirks), IMAGE.digest)
    assert registry.has(name(quirks, f"team/app@{IMAGE.digest}"), IMAGE.digest)
    assert not registry.has(name(quirks, "team/app:other"), IMAGE.digest)
    assert not registry.has(name(quirks, "team/app:none"), IMAGE.digest)
    assert not registry.has(name(quirks), Digest.of(b"another"))
    assert not registry.has(name(quirks, "not/there:v1"), IMAGE.digest)


def test_has_does_without_the_digest_header(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.digest_header = False
    put(quirks, "other", {"schemaVersion": 2, "layers": []}, MANIFEST)
    assert registry.has(name(quirks), IMAGE.digest)
    assert not registry.has(name(quirks, "team/app:other"), IMAGE.digest)
    assert not registry.has(name(quirks), Digest.of(b"another"))


@pytest.mark.parametrize("trouble", [{"status": 500}, {"drop": True}, {"status": 429}])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_two_failures_are_overcome(
    quirks: QuirkRegistry, registry: Registry, method: str, trouble: dict[str, object]
) -> None:
    quirks.fault(method, "/(manifests|blobs)/", times=2, **trouble)
    assert registry.base(name(quirks)).digest == IMAGE.digest


def failed(registry: Registry, reference: Reference) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        registry.manifest(reference)
    return caught.value


def test_a_name_that_is_not_there_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    reference = name(quirks, "team/app:v9")
    with pytest.raises(RegistryError) as caught:
        registry.resolve(reference)
    assert caught.value.message == (
        f"{quirks.host}: cannot read the manifest of team/app:v9: "
        "404 Not Found: MANIFEST_UNKNOWN: manifest unknown"
    )
    assert caught.value.hint == f"check the name {quirks.host}/team/app and what follows it"


def test_a_manifest_of_other_bytes_is_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    other = b'{"other": 1}'
    quirks.manifests["team/app", str(IMAGE.digest)] = (MANIFEST, other)
    quirks.digest_header = False
    error = failed(registry, name(quirks, f"team/app@{IMAGE.digest}"))
    assert error.message == (
        f"{quirks.host}: cannot read the manifest of team/app@{IMAGE.digest}: the registry gave other bytes: "
        f"their digest is {Digest.of(other)}, expected was {IMAGE.digest}"
    )
    assert error.hint == "the registry's copy is damaged, or a proxy before it changes what it passes on"


def test_a_digest_header_that_lies_is_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    other = Digest.of(b"another")
    quirks.fault("GET", "/manifests/", headers={"Docker-Content-Digest": str(other)})
    error = failed(registry, name(quirks))
    assert error.message == (
        f"{quirks.host}: cannot read the manifest of team/app:v1: the registry gave other bytes: "
        f"their digest is {IMAGE.digest}, expected was {other}"
    )


def test_an_endless_manifest_is_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.manifests["team/app", "v1"] = (MANIFEST, b"x" * (9 << 20))
    error = failed(registry, name(quirks))
    assert error.message == (
        f"{quirks.host}: cannot read the manifest of team/app:v1: the answer has more than 8 MiB"
    )


def test_a_web_page_is_no_manifest(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.manifests["team/app", "v1"] = ("text/html", b"<html>login</html>")
    quirks.digest_header = False
    with pytest.raises(ImageError) as caught:
        registry.resolve(name(quirks))
    assert caught.value.message == (
        f"the manifest of {quirks.host}/team/app:v1 is not JSON: it starts with b'<html>login</html>'"
    )


# Blobs


def read(registry: Registry, quirks: QuirkRegistry, descriptor: Descriptor = LAYER_BLOB) -> bytes:
    return b"".join(registry.blob(name(quirks), descriptor).chunks())


def unreadable(quirks: QuirkRegistry) -> str:
    return f"{quirks.host}: cannot read {LAYER_BLOB.digest} of team/app: "


def test_a_blob_comes_in_pieces_of_one_mebibyte(quirks: QuirkRegistry, registry: Registry) -> None:
    pieces = list(registry.blob(name(quirks), LAYER_BLOB).chunks())
    assert b"".join(pieces) == CONTENT
    assert [len(piece) for piece in pieces[:-1]] == [1 << 20] * 3


def test_an_empty_blob_is_read(quirks: QuirkRegistry, registry: Registry) -> None:
    empty = Descriptor(LAYER, Digest.of(b""), 0)
    quirks.blobs["team/app", str(empty.digest)] = b""
    assert read(registry, quirks, empty) == b""


def test_an_empty_blob_that_is_not_there_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    with pytest.raises(RegistryError):
        read(registry, quirks, Descriptor(LAYER, Digest.of(b""), 0))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("location", ["absolute", "storage"])
def test_a_broken_connection_is_resumed(
    quirks: QuirkRegistry, registry: Registry, ranges: bool, location: str
) -> None:
    quirks.ranges, quirks.location = ranges, location  # type: ignore[assignment] # any str
    path = "/storage/blobs/" if location == "storage" else "/v2/team/app/blobs/"
    quirks.fault("GET", path, send=1_500_000)
    quirks.fault("GET", path, send=1_600_000)
    assert read(registry, quirks) == CONTENT
    asked = [seen.headers.get("range") for seen in quirks.seen if seen.path.startswith(path)]
    assert asked[0] is None
    assert all(one is not None and int(one.removeprefix("bytes=")[:-1]) > 0 for one in asked[1:])
    assert len(asked) >= 3


def test_a_connection_that_breaks_ten_times_is_resumed_while_it_moves(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    quirks.fault("GET", "/blobs/", send=300_000, times=10)
    assert read(registry, quirks) == CONTENT


def test_a_connection_that_does_not_move_is_given_up(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("GET", "/blobs/", send=1_500_000)
    quirks.fault("GET", "/blobs/", drop=True, times=99)
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message in {
        f"{unreadable(quirks)}the connection was dropped{why} (3 tries)"
        for why in ("", " (Connection reset by peer)")
    }
    assert caught.value.hint == LOG


def test_a_range_of_another_place_is_not_believed(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("GET", "/blobs/", send=1_500_000)
    quirks.fault("GET", "/blobs/", headers={"Content-Range": "bytes 3000000-3299999/3300000"})
    assert read(registry, quirks) == CONTENT


def test_other_bytes_are_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    quirks.blobs["team/app", str(LAYER_BLOB.digest)] = wrong
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message == (f"{unreadable(quirks)}the bytes have the digest {Digest.of(wrong)}")
    assert caught.value.hint == (
        "the registry's copy is damaged: push the image there anew, or use another registry"
    )


def test_more_bytes_are_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.blobs["team/app", str(LAYER_BLOB.digest)] = CONTENT + b"x"
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message == (f"{unreadable(quirks)}the registry sends more than 3300000 bytes")


def test_fewer_bytes_are_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.blobs["team/app", str(LAYER_BLOB.digest)] = CONTENT[:-1]
    quirks.ranges = False
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message == (
        unreadable(quirks) + "the registry ended after 3299999 of 3300000 bytes (3 tries)"
    )
    assert caught.value.hint == (
        "the registry's copy may be damaged: see its log, or push the image there anew"
    )


def test_a_damaged_base_layer_stops_a_push_before_its_manifest(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    quirks.blobs["team/app", str(LAYER_BLOB.digest)] = CONTENT[:-1] + b"\0"
    image = image_of(*registry.base(name(quirks)).layers)
    with quirk_registry() as target, pytest.raises(RegistryError) as caught:
        registry.push(image, name(target))
    assert caught.value.message.startswith(f"{quirks.host}: cannot read {LAYER_BLOB.digest} of team/app: ")
    assert not target.manifests


def test_the_storage_s_own_refusal_names_it(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.location = "storage"
    quirks.fault("GET", "/storage/", status=403, body=b"<Error>expired</Error>")
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message == (unreadable(quirks) + f"http://{quirks.storage} answered 403 Forbidden")


def test_redirects_end(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("GET", "/blobs/", status=307, headers={"Location": "?again"}, times=99)
    with pytest.raises(RegistryError) as caught:
        read(registry, quirks)
    assert caught.value.message == (unreadable(quirks) + "the registry redirected more than 5 times")


def test_a_config_is_read_into_memory_and_a_layer_is_not(quirks: QuirkRegistry, registry: Registry) -> None:
    content = b"".join(IMAGE.config.chunks())
    assert registry.blob_bytes(name(quirks), IMAGE.config.descriptor) == content
    huge = Descriptor(CONFIG, Digest.of(b"huge"), 17 << 20)
    with pytest.raises(RegistryError) as caught:
        registry.blob_bytes(name(quirks), huge)
    assert caught.value.message == (
        f"{quirks.host}: cannot read {huge.digest} of team/app: "
        "it is said to have 17.8 MB, too much for a config or a manifest"
    )
    assert caught.value.hint == "check that this is an image"


# Registries that are not there


def unreachable(host: str, *, timeout: float = 20.0) -> RegistryError:
    with client(timeout=timeout) as registry:
        return failed(registry, Reference.parse(f"{host}/team/app:v1"))


def told(host: str, what: str) -> str:
    return f"{host}: cannot read the manifest of team/app:v1: {what}"


@contextmanager
def listening(serve: bytes | None = None, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that says `serve` to everybody and hangs up, or with None says nothing."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def accept() -> None:
            held: list[socket.socket] = []
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                held.append(connection)
                if serve is not None:
                    connection.settimeout(5)
                    connection.recv(65536)
                    connection.sendall(serve)
                    connection.close()
            for connection in held:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def test_a_refused_connection_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    error = unreachable(host)
    assert error.message == told(host, "connection refused (3 tries)")
    assert error.hint == "check host and port, and that the registry runs"


def test_an_unknown_host_is_told() -> None:
    error = unreachable("registry.invalid")
    assert error.message == told("registry.invalid", "the host name is unknown (Name or service not known)")
    assert error.hint == "check the registry's name, and this machine's DNS"


def test_a_server_that_says_nothing_is_told() -> None:
    with listening() as host:
        error = unreachable(host, timeout=0.1)
    assert error.message == told(host, "no answer within 0.1 s (3 tries)")
    assert error.hint == LOG


def test_something_that_is_no_web_server_is_told() -> None:
    with listening(b"SSH-2.0-OpenSSH_9.2\r\n") as host:
        error = unreachable(host)
    # What does not answer HTTP is asked over TLS.
    assert error.message == told(host, "TLS failed (wrong version number)")
    assert error.hint == ("if this registry speaks plain HTTP, name it in ENGINEBUILD_INSECURE_REGISTRIES")


def test_a_web_server_that_is_no_registry_is_told() -> None:
    page = b"<html>It works!</html>"
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 22\r\n"
    with listening(head + b"Connection: close\r\n\r\n" + page) as host:
        error = unreachable(host)
    assert error.message == told(host, "404 Not Found")
    assert error.hint == f"check the name {host}/team/app and what follows it"


def test_a_missing_file_of_authorities_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    error = unreachable("registry.invalid")
    assert error.message == told(
        "registry.invalid", "the authorities for TLS cannot be read: No such file or directory"
    )
    assert error.hint == "correct SSL_CERT_FILE or SSL_CERT_DIR"


def test_a_broken_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:1")
    error = unreachable("registry.invalid")
    assert error.message == told(
        "registry.invalid",
        "a proxy's URL cannot be used: gopher://127.0.0.1:1 is not http://host:port",
    )
    assert error.hint == "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY"


def test_a_proxy_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        error = unreachable("registry.invalid")
    assert error.message == told(
        "registry.invalid", "the proxy refused: 407 Proxy Authentication Required (3 tries)"
    )
    assert error.hint == "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"


def test_this_machine_is_never_asked_through_a_proxy(
    quirks: QuirkRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://proxy.invalid:3128")
    with client() as registry:
        assert registry.resolve(name(quirks)).digest == IMAGE.digest


def test_an_insecure_registry_is_asked_over_http_and_by_the_proxy(
    quirks: QuirkRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{quirks.host}")
    quirks.location = "relative"
    reference = Reference.parse("registry.invalid/team/other:v1")
    monkeypatch.setenv("ENGINEBUILD_INSECURE_REGISTRIES", "other.invalid:5000, registry.invalid,")
    with Registry(Anonymous()) as registry:
        registry.push(IMAGE, reference)
        assert registry.base(reference).digest == IMAGE.digest
    assert {seen.headers["host"] for seen in quirks.seen} == {"registry.invalid"}


def test_an_insecure_registry_that_leads_to_https_is_asked_so(
    quirks: QuirkRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{quirks.host}")
    quirks.fault("GET", "/v2/", status=301, headers={"Location": "https://registry.invalid/v2/"})
    with Registry(Anonymous(), insecure=["registry.invalid"]) as registry:
        error = failed(registry, Reference.parse("registry.invalid/team/app:v1"))
    assert error.message == told("registry.invalid", "the host name is unknown (Name or service not known)")


def test_a_name_without_tag_and_digest_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    with pytest.raises(ImageError) as caught:
        registry.resolve(name(quirks, "team/app"))
    assert caught.value.message == f"{quirks.host}/team/app has neither a tag nor a digest"
    assert caught.value.hint == f"name one: {quirks.host}/team/app:latest"


def test_credentials_of_a_broken_file_are_told(quirks: QuirkRegistry, tmp_path: Path) -> None:
    quirks.auth = "basic"
    file = tmp_path / "config.json"
    file.write_text("{")
    with Registry(DockerCredentials((file,)), retry=Retry(base=0.0)) as registry:
        error = failed(registry, name(quirks))
    assert error.message == f"the registry credentials in {file} cannot be read: it is not JSON (line 1)"


def test_where_credentials_were_looked_for_is_told(quirks: QuirkRegistry, tmp_path: Path) -> None:
    quirks.auth = "basic"
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"credsStore": "desktop"}))
    with Registry(DockerCredentials((tmp_path / "none.json", file)), retry=Retry(base=0.0)) as registry:
        error = failed(registry, name(quirks))
    assert error.message == told(quirks.host, "401 Unauthorized: UNAUTHORIZED: authentication required")
    assert error.hint == (
        f"no credentials for {quirks.host} were found (looked in {tmp_path}/none.json (no such file); "
        f"docker-credential-desktop, named in {file} (not installed)): "
        f"log in with `docker login {quirks.host}`"
    )


def test_a_base_is_made_of_what_the_registry_has(quirks: QuirkRegistry, registry: Registry) -> None:
    base = registry.base(name(quirks))
    assert base.digest == IMAGE.digest
    assert [b"".join(layer.chunks()) for layer in base.layers] == [CONTENT, b"small"]
    assert replace(base, layers=()).config["architecture"] == "amd64"
    with Registry(Anonymous()) as other:
        assert other.base(name(quirks, f"team/app@{IMAGE.digest}")).digest == IMAGE.digest
