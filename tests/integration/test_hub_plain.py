"""Odd hosts: weights in plain git (no sha256 listed), copies that cannot be read, TLS that is not trusted."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from enginebuild.errors import SourceError
from enginebuild.events import Event, Note, silent
from enginebuild.sources import ModelRequest, resolve
from enginebuild.sources.download import Downloader
from enginebuild.sources.hub import Hub
from enginebuild.sources.origin import Body, RemoteFile
from enginebuild.sources.progress import Meter
from enginebuild_cache import Digest, Store
from parts.hub_fetch import QUICK
from parts.hub_models import write_model
from parts.hub_server import Fault, HubServer
from parts.services import program

REQUEST = ModelRequest("hf://org/name", None, Path())
SIZE = 2_000_000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    write_model(tmp_path / "root/org/name", shard_size=SIZE)
    with HubServer(tmp_path / "root", lfs=False) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault("cut", "*/model.safetensors", after=700_000)],
        [
            Fault("cut", "*/model.safetensors", after=700_000),
            Fault("ignore_range", "*/model.safetensors"),
        ],
    ],
    ids=["whole", "resumed", "skipped"],
)
def test_weights_in_plain_git_are_checked_by_gits_digest(
    hub: HubServer, store: Store, faults: list[Fault]
) -> None:
    hub.faults += faults
    tree = resolve(REQUEST, store, silent, patience=QUICK).tree
    assert not hub.faults
    for file in tree:
        assert file.digest == Digest.of_file(hub.root / "org/name" / file.path)
        assert store.has(file.digest)


def test_a_body_that_is_too_long(hub: HubServer, store: Store) -> None:
    whole = (hub.root / "org/name/config.json").read_bytes()
    hub.faults += [Fault("body", "*/config.json", body=whole + b" ")]
    with pytest.raises(SourceError) as caught:
        resolve(REQUEST, store, silent, patience=QUICK)
    assert caught.value.message == (
        f"hf://org/name: config.json should have {len(whole)} bytes, the server sends {len(whole) + 1}"
    )


@dataclass
class VanishingCopyStandin:
    """A Hub whose local copy disappears between the look and the read."""

    hub: Hub
    copy: Path

    @property
    def name(self) -> str:
        return self.hub.name

    @property
    def place(self) -> str:
        return self.hub.place

    def open(self, path: str, offset: int, end: int | None = None) -> AbstractContextManager[Body]:
        return self.hub.open(path, offset)

    def cached(self, file: RemoteFile) -> str | None:
        return str(self.copy)


def test_a_copy_that_cannot_be_read_is_fetched(hub: HubServer, store: Store, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    origin = VanishingCopyStandin(Hub(REQUEST, "org/name", hub.commit("org/name")), gone)
    listed = hub.snapshot("org/name", "main").files["config.json"]
    wanted = RemoteFile("config.json", listed.size, listed.oid, None)
    events: list[Event] = []
    (file,) = Downloader(origin, store, Meter(events.append, "model", listed.size), QUICK).fetch_unlisted(
        [wanted]
    )
    assert file.digest.hex == listed.sha256
    assert events[0] == Note(
        f"{gone} cannot be read (No such file or directory): "
        "config.json of hf://org/name is fetched again instead",
        "warning",
    )


def test_a_certificate_that_nobody_trusts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "server.pem"
    subprocess.run(
        [
            *(
                program("openssl"),
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                str(pem),
                "-out",
                str(tmp_path / "cert.pem"),
            ),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", pem)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] # quiet
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            endpoint = f"https://127.0.0.1:{server.server_port}"
            monkeypatch.setenv("HF_ENDPOINT", endpoint)
            with pytest.raises(SourceError) as caught:
                resolve(REQUEST, store, silent, patience=QUICK)
        finally:
            server.shutdown()
            thread.join()
    assert (caught.value.message, caught.value.hint) == (
        f"{endpoint} cannot be reached: its TLS certificate is not trusted",
        "add your company's certificate to the system's trust store, or name it in SSL_CERT_FILE",
    )
