"""ModelPack artifacts: the manifest and config of the spec, over the very layers of an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from enginebuild_cache import Digest
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base, scratch
from enginebuild_images.blob import MANIFEST, Blob, Descriptor
from enginebuild_images.compressed import CompressedBlob, LayerBlob
from enginebuild_images.compression import Method
from enginebuild_images.description import ImageDescription
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.index import layout_manifest
from enginebuild_images.layout import read_layout, write_layout
from enginebuild_images.manifest import Manifest, read_manifest
from enginebuild_images.modelpack import ModelCard, assemble_modelpack
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents, noise

CONTENTS = Contents()
SHARD = CONTENTS.blob({"model/model-00001-of-00002.safetensors": noise(5000)})
SMALL = CONTENTS.blob({"model/config.json": b"{}", "model/tokenizer/merges.txt": b"a b"})
CARD = ModelCard(
    name="SmolLM2-135M",
    source_url="https://huggingface.co/org/SmolLM2-135M",
    revision="c" * 40,
    licences=("apache-2.0",),
    family="llama",
    precision="bfloat16",
    quantization="awq",
)
NOTES = {"enginebuild.key": "sha256:0"}


def documents(image: Image) -> tuple[Any, Any]:
    """Manifest and config."""
    return json.loads(image.manifest.content), json.loads(b"".join(image.config.chunks()))


def test_the_whole_manifest_and_config() -> None:
    image = assemble_modelpack([SHARD, SMALL], CARD, NOTES)
    manifest, config = documents(image)
    assert manifest == {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.model.config.v1+json",
            "digest": str(image.config.descriptor.digest),
            "size": image.config.descriptor.size,
        },
        "layers": [
            {
                "mediaType": "application/vnd.cncf.model.weight.v1.tar",
                "digest": str(SHARD.descriptor.digest),
                "size": SHARD.descriptor.size,
                "annotations": {"org.cncf.model.filepath": "model/model-00001-of-00002.safetensors"},
            },
            {
                "mediaType": "application/vnd.cncf.model.weight.config.v1.tar",
                "digest": str(SMALL.descriptor.digest),
                "size": SMALL.descriptor.size,
                "annotations": {"org.cncf.model.filepath": "model"},
            },
        ],
        "annotations": NOTES,
    }
    assert config == {
        "descriptor": {
            "name": "SmolLM2-135M",
            "sourceURL": "https://huggingface.co/org/SmolLM2-135M",
            "revision": "c" * 40,
            "family": "llama",
            "licenses": ["apache-2.0"],
        },
        "config": {"format": "safetensors", "precision": "bfloat16", "quantization": "awq"},
        "modelfs": {
            "type": "layers",
            "diffIds": [str(SHARD.descriptor.digest), str(SMALL.descriptor.digest)],
        },
    }


def test_what_is_not_known_is_not_said() -> None:
    manifest, config = documents(assemble_modelpack([SMALL], ModelCard(), {}))
    assert "annotations" not in manifest
    assert (config["descriptor"], config["config"]) == ({}, {})


def test_its_layers_are_those_of_an_image() -> None:
    image = assemble(scratch(), [SHARD, SMALL], ImageSettings())
    artifact = assemble_modelpack([SHARD, SMALL], CARD, {})
    digests = [layer.descriptor.digest for layer in image.layers]
    assert [layer.descriptor.digest for layer in artifact.layers] == digests
    assert [Digest.of_chunks(layer.chunks()) for layer in artifact.layers] == digests


def test_a_compressed_layer_keeps_its_bytes_and_says_what_they_are() -> None:
    blob = CompressedBlob.of(SHARD.layer, CONTENTS, Method.of("gzip"))
    artifact = assemble_modelpack([blob], CARD, {})
    manifest, config = documents(artifact)
    assert manifest["layers"][0]["mediaType"] == "application/vnd.cncf.model.weight.v1.tar+gzip"
    assert manifest["layers"][0]["digest"] == str(blob.descriptor.digest)
    assert config["modelfs"]["diffIds"] == [str(SHARD.descriptor.digest)]
    assert Digest.of_chunks(artifact.layers[0].chunks()) == blob.descriptor.digest


@pytest.mark.parametrize(
    ("paths", "kind", "filepath"),
    [
        (["model/a.safetensors"], "weight", "model/a.safetensors"),
        (["model/a.gguf", "model/config.json"], "weight", "model"),
        (["model/config.json", "model/README.md"], "weight.config", "model"),
        (["model/modeling.py", "model/LICENSE"], "code", "model"),
        (["model/README.md"], "doc", "model/README.md"),
        (["model/docs/a.pdf", "model/docs/b/LICENSE.txt"], "doc", "model/docs"),
        (["model/chat_template.jinja"], "weight.config", "model/chat_template.jinja"),
        (["a.json", "b/c.json"], "weight.config", "."),
    ],
)
def test_what_a_layer_is_called(paths: list[str], kind: str, filepath: str) -> None:
    blob: LayerBlob = Contents().blob({path: path.encode() for path in paths})
    layer = documents(assemble_modelpack([blob], CARD, {}))[0]["layers"][0]
    assert layer["mediaType"] == f"application/vnd.cncf.model.{kind}.v1.tar"
    assert layer["annotations"] == {"org.cncf.model.filepath": filepath}


def test_formats_are_all_named() -> None:
    names = ("b.gguf", "a.safetensors", "c.bin", "d.pt")
    blobs = [Contents().blob({f"model/{name}": b"x"}) for name in names]
    assert documents(assemble_modelpack(blobs, CARD, {}))[1]["config"]["format"] == "gguf,pt,safetensors"


def test_a_model_without_files() -> None:
    with pytest.raises(ImageError) as caught:
        assemble_modelpack([], CARD, {})
    assert caught.value.message == "a model without files cannot be packed"
    assert caught.value.hint == "see what the recipe's patterns leave"


def test_it_is_made_again_from_its_description() -> None:
    image = assemble_modelpack([SHARD, SMALL], CARD, NOTES)
    document = json.loads(json.dumps(ImageDescription.of(image).to_json()))

    def no_base(descriptor: Descriptor) -> Blob:
        raise AssertionError(f"{descriptor} is not a base's")

    again = ImageDescription.from_json(document).image(CONTENTS, no_base)
    assert (again.manifest, again.config) == (image.manifest, image.config)
    assert [layer.descriptor for layer in again.layers] == [layer.descriptor for layer in image.layers]


def test_it_is_read_as_what_it_is() -> None:
    image = assemble_modelpack([SHARD], CARD, NOTES)
    manifest = read_manifest(image.manifest.content, "x")
    assert isinstance(manifest, Manifest)
    assert manifest.is_model
    assert manifest.annotations == NOTES
    assert manifest.layers == (image.layers[0].descriptor,)


def test_it_is_no_base() -> None:
    image = assemble_modelpack([SHARD], CARD, {})
    with pytest.raises(ImageError) as caught:
        Base.of_image(image, "registry.example.com/a:v1")
    assert caught.value.message == "registry.example.com/a:v1 is a ModelPack artifact, not an image"
    assert caught.value.hint == "name an image that can be run"


def test_it_lies_in_a_layout_like_an_image(tmp_path: Path) -> None:
    image = assemble_modelpack([SHARD, SMALL], CARD, NOTES)
    folder = tmp_path / "layout"
    write_layout(image, folder, ["v1"])
    again = read_layout(f"{folder}:v1")
    assert (again.digest, again.config) == (image.digest, image.config)
    found = layout_manifest(f"{folder}:v1")
    assert found is not None
    assert found[0].digest == image.digest
    listed = json.loads((folder / "index.json").read_text())["manifests"][0]
    assert "platform" not in listed
    assert listed["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
