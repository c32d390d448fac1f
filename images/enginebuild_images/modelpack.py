"""ModelPack artifacts (CNCF model-spec of June 2026): a model's layers under a manifest of their own.

The layers are byte for byte those of an image, so a registry that has one of both keeps a shard once. What
differs is the manifest, and a config that tells of a model instead of a program.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from enginebuild_cache import Json, canonical_json
from enginebuild_images.blob import LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, BytesBlob, Descriptor
from enginebuild_images.compressed import CompressedBlob, LayerBlob, diff_id
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Layer, StreamedBlob
from enginebuild_images.manifest import MODEL_CONFIG, MODEL_LAYERS

MODEL_MANIFEST = "application/vnd.cncf.model.manifest.v1+json"
#: A layer's annotation: the file that it holds, or the folder of its files, as named in the archive.
FILEPATH = "org.cncf.model.filepath"

_WEIGHTS = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".bin": "pt",
    ".pt": "pt",
    ".pth": "pt",
}
_DOCS = (".md", ".pdf", ".rst")
_DOC_NAMES = ("LICENSE", "LICENCE", "NOTICE", "README", "USE_POLICY")
_ARCHIVES = {LAYER: "tar", LAYER_GZIP: "tar+gzip", LAYER_ZSTD: "tar+zstd"}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the config tells of a model, in the spec's words; empty texts are left out.

    `precision`: "bfloat16", "float8_e4m3", …; `licences`: SPDX expressions where the model names them so.
    """

    name: str = ""
    source_url: str = ""
    revision: str = ""
    licences: tuple[str, ...] = ()
    family: str = ""
    precision: str = ""
    quantization: str = ""

    def descriptor(self) -> dict[str, Json]:
        texts = {
            "name": self.name,
            "sourceURL": self.source_url,
            "revision": self.revision,
            "family": self.family,
        }
        told: dict[str, Json] = {key: text for key, text in texts.items() if text}
        return told | ({"licenses": list(self.licences)} if self.licences else {})

    def technical(self, formats: Sequence[str]) -> dict[str, Json]:
        texts = {
            "format": ",".join(formats),
            "precision": self.precision,
            "quantization": self.quantization,
        }
        return {key: text for key, text in texts.items() if text}


def assemble_modelpack(layers: Sequence[LayerBlob], card: ModelCard, annotations: Mapping[str, str]) -> Image:
    """Layers of an image as a ModelPack artifact. Raises ImageError for a model without files."""
    if not layers:
        raise ImageError("a model without files cannot be packed", "see what the recipe's patterns leave")
    blobs = tuple(map(_as_model_layer, layers))
    document: dict[str, Json] = {
        "descriptor": card.descriptor(),
        "config": card.technical(_formats(layers)),
        "modelfs": {"type": "layers", "diffIds": [str(diff_id(layer)) for layer in layers]},
    }
    config = BytesBlob(MODEL_CONFIG, canonical_json(document))
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MODEL_MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [blob.descriptor.to_json() for blob in blobs],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    return Image(BytesBlob(MANIFEST, canonical_json(manifest)), config, blobs)


def _as_model_layer(blob: LayerBlob) -> LayerBlob:
    found = blob.descriptor
    kind = f"{MODEL_LAYERS}{_kind(blob.layer)}.v1.{_ARCHIVES[found.media_type]}"
    descriptor = Descriptor(kind, found.digest, found.size, {FILEPATH: _filepath(blob.layer)})
    if isinstance(blob, CompressedBlob):
        return replace(blob, descriptor=descriptor)
    assert isinstance(blob, StreamedBlob)
    return replace(blob, descriptor=descriptor)


def _kind(layer: Layer) -> str:
    """What is in it; a bundle is called by what matters most of it."""
    kinds = {_kind_of(entry.path) for entry in layer.entries}
    return next(kind for kind in ("weight", "weight.config", "code", "doc") if kind in kinds)


def _kind_of(path: str) -> str:
    name = PurePosixPath(path)
    if name.suffix in _WEIGHTS:
        return "weight"
    if name.suffix == ".py":
        return "code"
    if name.suffix.lower() in _DOCS or name.stem.upper() in _DOC_NAMES:
        return "doc"
    return "weight.config"


def _filepath(layer: Layer) -> str:
    if len(layer.entries) == 1:
        return layer.entries[0].path
    return posixpath.commonpath([posixpath.dirname(entry.path) for entry in layer.entries]) or "."


def _formats(layers: Sequence[LayerBlob]) -> list[str]:
    suffixes = {PurePosixPath(entry.path).suffix for layer in layers for entry in layer.layer.entries}
    return sorted({_WEIGHTS[suffix] for suffix in suffixes if suffix in _WEIGHTS})
