"""A real, tiny base image that a Docker Engine can run: Debian's static busybox with a shell and sha256sum.

Two layers, so that both kinds of a base are covered: the programs gzipped, the rest as a plain tar. Same
bytes on every machine that has the same busybox: no times, no owners, gzip without a name. Nothing is taken
from the code under test: tarfile, gzip and json only.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APPLETS = (
    *("sh", "cat", "chown", "cp", "echo", "env", "find", "grep", "id", "ls", "mkdir", "ps", "rm"),
    *("sha256sum", "sleep", "stat", "sync", "test", "touch", "true", "wc", "wget"),
)
NAME = "busybox-base"
TAG = "latest"

_OCI = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class BusyboxBase:
    """`layout`: an OCI layout folder; `archive`: the same for `docker load`; `digest`: its manifest's."""

    layout: Path
    archive: Path
    digest: str
    reference: str = f"{NAME}:{TAG}"


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _layer(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _programs(busybox: Path) -> bytes:
    entries = [
        (_entry("bin", tarfile.DIRTYPE, 0o755), b""),
        (_entry("bin/busybox", tarfile.REGTYPE, 0o755), busybox.read_bytes()),
    ]
    for applet in APPLETS:
        link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
        link.linkname = "busybox"
        entries.append((link, b""))
    return _layer(entries)


def _rest() -> bytes:
    return _layer(
        [
            (_entry("etc", tarfile.DIRTYPE, 0o755), b""),
            (_entry("etc/group", tarfile.REGTYPE, 0o644), b"root:x:0:\n"),
            (_entry("etc/passwd", tarfile.REGTYPE, 0o644), b"root:x:0:0:root:/root:/bin/sh\n"),
            (_entry("root", tarfile.DIRTYPE, 0o700), b""),
            (_entry("tmp", tarfile.DIRTYPE, 0o1777), b""),
        ]
    )


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _put(folder: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = _sha256(content)
    (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(content)
    return {"digest": digest, "mediaType": media_type, "size": len(content)}


def _config(diff_ids: list[str]) -> bytes:
    return _json(
        {
            "architecture": "amd64",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "Labels": {"base": NAME}},
            "created": "1970-01-01T00:00:00Z",
            "history": [
                {"created": "1970-01-01T00:00:00Z", "created_by": "busybox"},
                {"created": "1970-01-01T00:00:00Z", "created_by": "etc"},
            ],
            "os": "linux",
            "rootfs": {"diff_ids": diff_ids, "type": "layers"},
        }
    )


def make(folder: Path, busybox: Path) -> BusyboxBase:
    """Write the base image into the empty folder `folder`, from the static busybox at `busybox`."""
    layout = folder / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)
    programs, rest = _programs(busybox), _rest()
    layers = [
        _put(layout, gzip.compress(programs, 6, mtime=0), f"{_OCI}.layer.v1.tar+gzip"),
        _put(layout, rest, f"{_OCI}.layer.v1.tar"),
    ]
    config = _put(layout, _config([_sha256(programs), _sha256(rest)]), f"{_OCI}.config.v1+json")
    document = {
        "config": config,
        "layers": layers,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "schemaVersion": 2,
    }
    manifest = _put(layout, _json(document), f"{_OCI}.manifest.v1+json")
    index = {
        "manifests": [{**manifest, "annotations": {"org.opencontainers.image.ref.name": TAG}}],
        "mediaType": f"{_OCI}.index.v1+json",
        "schemaVersion": 2,
    }
    (layout / "index.json").write_bytes(_json(index))
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return BusyboxBase(layout, _archive(folder, layout, config, layers), manifest["digest"])


def _archive(folder: Path, layout: Path, config: dict[str, Any], layers: list[dict[str, Any]]) -> Path:
    def blob(descriptor: dict[str, Any]) -> str:
        return "blobs/sha256/" + str(descriptor["digest"]).removeprefix("sha256:")

    listing = [{"Config": blob(config), "Layers": list(map(blob, layers)), "RepoTags": [f"{NAME}:{TAG}"]}]
    path = folder / f"{NAME}.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(p for p in layout.rglob("*") if p.is_file()):
            entry = _entry(str(file.relative_to(layout)), tarfile.REGTYPE, 0o644)
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)
        entry = _entry("manifest.json", tarfile.REGTYPE, 0o644)
        entry.size = len(_json(listing))
        tar.addfile(entry, io.BytesIO(_json(listing)))
    return path
