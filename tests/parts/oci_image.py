"""Real images made of files in memory: written as an OCI layout, or put into a registry over plain HTTP.

Nothing is taken from the code under test: tarfile, gzip, json and http.client only. Equal files give an
equal digest.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

_OCI = "application/vnd.oci.image"
_FAST = 1  # gzip's level: an image is made in each session


@dataclass(frozen=True, slots=True)
class Program:
    """A file's bytes and mode; a link where `link` says to what."""

    content: bytes = b""
    mode: int = 0o644
    link: str | None = None


@dataclass(frozen=True, slots=True)
class OciImage:
    """Every blob by digest, and the manifest's digest."""

    blobs: Mapping[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        return _digest(self.manifest)


def layer(files: Mapping[str, Program]) -> bytes:
    """A tar of files by path without a leading slash, and of the folders above them."""
    out = io.BytesIO()
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folders | set(files)):
            entry = tarfile.TarInfo(path)
            if path in folders:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            program = files[path]
            entry.mode, entry.size = program.mode, len(program.content)
            if program.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, program.link
            tar.addfile(entry, io.BytesIO(program.content))
    return out.getvalue()


def image(layers: Sequence[bytes], settings: Mapping[str, Any]) -> OciImage:
    """An image of uncompressed layers; `settings` is the section `config` of its configuration."""
    blobs, entries = {}, []
    for content in layers:
        packed = _packed(content)
        blobs[_digest(packed)] = packed
        entries.append(_entry(packed, "layer.v1.tar+gzip"))
    config = _json(
        {
            "architecture": "amd64",
            "config": dict(settings),
            "created": "1970-01-01T00:00:00Z",
            "os": "linux",
            "rootfs": {"diff_ids": [_digest(content) for content in layers], "type": "layers"},
        }
    )
    blobs[_digest(config)] = config
    document = {
        "config": _entry(config, "config.v1+json"),
        "layers": entries,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "schemaVersion": 2,
    }
    return OciImage(blobs, _json(document))


@cache
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, _FAST, mtime=0)


def write_layout(made: OciImage, folder: Path, tag: str = "latest") -> None:
    """The image alone in an OCI layout; the folder must not exist yet."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, content in {**made.blobs, made.digest: made.manifest}.items():
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    entry = _entry(made.manifest, "manifest.v1+json")
    annotated = {**entry, "annotations": {"org.opencontainers.image.ref.name": tag}}
    index = {"manifests": [annotated], "mediaType": f"{_OCI}.index.v1+json", "schemaVersion": 2}
    (folder / "index.json").write_bytes(_json(index))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def push(made: OciImage, registry: str, repository: str, tag: str) -> str:
    """Put the image into a registry at `host:port`; its name by digest."""
    connection = http.client.HTTPConnection(registry, timeout=60)
    try:
        for digest, content in made.blobs.items():
            _put_blob(connection, repository, digest, content)
        kind = {"Content-Type": f"{_OCI}.manifest.v1+json"}
        _ask(connection, "PUT", f"/v2/{repository}/manifests/{tag}", made.manifest, kind, (201,))
    finally:
        connection.close()
    return f"{registry}/{repository}@{made.digest}"


def _put_blob(connection: http.client.HTTPConnection, repository: str, digest: str, content: bytes) -> None:
    found = _ask(connection, "HEAD", f"/v2/{repository}/blobs/{digest}", None, {}, (200, 404))
    if found.status == 200:
        return
    begun = _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", {}, (202,))
    place = str(begun.headers["Location"])
    joint = "&" if "?" in place else "?"
    kind = {"Content-Type": "application/octet-stream"}
    _ask(connection, "PUT", f"{place}{joint}digest={digest}", content, kind, (201,))


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    wanted: Sequence[int],
) -> http.client.HTTPResponse:
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status in wanted, f"{method} {path}: {answer.status} {said.decode()[:500]}"
    return answer


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _entry(content: bytes, kind: str) -> dict[str, Any]:
    return {"digest": _digest(content), "mediaType": f"{_OCI}.{kind}", "size": len(content)}
