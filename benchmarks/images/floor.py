"""The floor's plan: an image's layers as pieces of bytes and whole files, with digests taken beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enginebuild_cache import Digest, File, chunks_of
from enginebuild_images.blob import CONFIG, LAYER, MANIFEST
from enginebuild_images.layer import Layer, digest_of
from enginebuild_images.policy import LAYERS, group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.images.subject import Subject

Part = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Plan:
    """Blobs in the order in which they are sent, each with its digest, size and parts; and the manifest."""

    blobs: list[dict[str, object]]
    manifest: str

    @classmethod
    def of(cls, subject: Subject, kept: Path) -> Plan:
        """Reads every file twice, once for its own digest and once for its layer's; kept for later rounds."""
        known = kept / "plan.json"
        if known.exists():
            value = json.loads(known.read_text())
            return cls(value["blobs"], value["manifest"])
        files = {}
        for path in sorted(subject.folder.iterdir()):
            with path.open("rb", buffering=0) as opened:
                digest = Digest.of_chunks(chunks_of(opened))
            files[f"model/{path.name}"] = File(path.name, digest, path.stat().st_size)

        def read(file: File) -> Iterator[bytes]:
            with (subject.folder / file.path).open("rb", buffering=0) as opened:
                yield from chunks_of(opened)

        layers = group(files, budget=LAYERS)
        digests = [digest_of(layer, read) for layer in layers]
        blobs = [
            {"digest": str(digest), "size": layer.size, "parts": _parts(layer, subject)}
            for layer, digest in zip(layers, digests, strict=True)
        ]
        rootfs = {"type": "layers", "diff_ids": [str(digest) for digest in digests]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
        described = {"mediaType": CONFIG, "digest": str(Digest.of(config)), "size": len(config)}
        named = [{"mediaType": LAYER, "digest": blob["digest"], "size": blob["size"]} for blob in blobs]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": named}
        blobs.append({"digest": described["digest"], "size": len(config), "parts": [{"bytes": config.hex()}]})
        plan = cls(blobs, json.dumps(manifest))
        plan.write(known)
        return plan

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"blobs": self.blobs, "manifest": self.manifest}))


def _parts(layer: Layer, subject: Subject) -> list[Part]:
    parts: list[Part] = []
    for part in layer.parts():
        if isinstance(part, File):
            parts.append({"path": str(subject.folder / part.path), "size": part.size})
        else:
            parts.append({"bytes": part.hex()})
    return parts
