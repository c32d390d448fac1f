"""Images from a base, layers and settings: one digest everywhere, merged as a Dockerfile would merge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from enginebuild_cache import Digest, Json
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base, scratch
from enginebuild_images.blob import LAYER_GZIP, BytesBlob, Descriptor
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import StreamedBlob
from enginebuild_images.manifest import LINUX_AMD64
from enginebuild_images.settings import Healthcheck, ImageSettings
from parts.image_files import Contents, small_image

BASE_LAYER = BytesBlob(LAYER_GZIP, b"gzip")
DIFF_ID = str(Digest.of(b"tar"))


def _base(**changes: Json) -> Base:
    config: dict[str, Json] = {
        "os": "linux",
        "architecture": "amd64",
        "author": "somebody",
        "container_config": {"Hostname": "4a1"},
        "docker_version": "20.10",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Entrypoint": ["/nv.sh"],
            "Cmd": ["serve"],
            "Env": ["PATH=/bin", "B=base", "Z=1"],
            "Labels": {"base": "yes", "both": "base"},
            "ExposedPorts": {"80/tcp": {}},
            "WorkingDir": "/base",
            "User": "1000",
            "StopSignal": "SIGINT",
        },
        "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
        "history": [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}],
    }
    return Base(config | changes, (BASE_LAYER,), LINUX_AMD64)


def _layers() -> list[StreamedBlob]:
    contents = Contents()
    return [contents.blob({"model/a": b"a"}), contents.blob({"model/b": b"b", "model/c": b"c"})]


def _read(blob: BytesBlob | object) -> dict[str, Any]:
    assert isinstance(blob, BytesBlob)
    document = json.loads(blob.content)
    assert isinstance(document, dict)
    return document


def _run_config(settings: ImageSettings, base: Base | None = None) -> dict[str, Any]:
    config = _read(assemble(base or _base(), [], settings).config)["config"]
    assert isinstance(config, dict)
    return config


def _with_everything(layers: Sequence[StreamedBlob]) -> Image:
    return assemble(
        _base().named("docker.io/a/b:c", Digest.of(b"base")),
        layers,
        ImageSettings(
            entrypoint=("vllm", "serve"),
            cmd=("--config", "/model/vllm.yaml"),
            env={"HF_HUB_OFFLINE": "1", "B": "ours"},
            labels={"both": "ours", "engine": "vllm"},
            exposed_ports=(8000,),
            working_dir="/model",
            user="0",
            healthcheck=Healthcheck(
                ("curl", "localhost"), interval=5, timeout=2.5, start_period=600, retries=2
            ),
            created=1_700_000_000,
            annotations={"k": "v"},
        ),
    )


def test_the_digest_of_a_known_image_never_changes() -> None:
    assert (
        str(_with_everything(_layers()).digest)
        == "sha256:9c3e9258ace1421a13fc69880c6b2025f25ddc62209aa542593a1b2c283d522a"
    )
    assert (
        str(small_image().digest) == "sha256:7ed00a2144b6dc97dc66319d52d9a6b0afaad546bd97e01726fd1ed4367d709b"
    )


def test_a_config_is_whole() -> None:
    layers = _layers()
    assert _read(_with_everything(layers).config) == {
        "architecture": "amd64",
        "os": "linux",
        "author": "somebody",
        "created": "2023-11-14T22:13:20Z",
        "config": {
            "Entrypoint": ["vllm", "serve"],
            "Cmd": ["--config", "/model/vllm.yaml"],
            "Env": ["PATH=/bin", "B=ours", "Z=1", "HF_HUB_OFFLINE=1"],
            "Labels": {"base": "yes", "both": "ours", "engine": "vllm"},
            "ExposedPorts": {"80/tcp": {}, "8000/tcp": {}},
            "WorkingDir": "/model",
            "User": "0",
            "StopSignal": "SIGINT",
            "Healthcheck": {
                "Test": ["CMD", "curl", "localhost"],
                "Interval": 5_000_000_000,
                "Timeout": 2_500_000_000,
                "StartPeriod": 600_000_000_000,
                "Retries": 2,
            },
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [DIFF_ID, *(str(layer.descriptor.digest) for layer in layers)],
        },
        "history": [
            {"created_by": "ADD"},
            {"created_by": "ENV", "empty_layer": True},
            {"created": "2023-11-14T22:13:20Z", "created_by": "enginebuild: /model/a"},
            {"created": "2023-11-14T22:13:20Z", "created_by": "enginebuild: 2 files in /model"},
        ],
    }


def test_a_manifest_is_whole() -> None:
    layers = _layers()
    image = _with_everything(layers)
    assert _read(image.manifest) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": image.config.descriptor.to_json(),
        "layers": [blob.descriptor.to_json() for blob in image.layers],
        "annotations": {
            "k": "v",
            "org.opencontainers.image.base.name": "docker.io/a/b:c",
            "org.opencontainers.image.base.digest": str(Digest.of(b"base")),
        },
    }
    assert image.layers == (BASE_LAYER, *layers)


def test_nothing_said_leaves_the_base_as_it_is() -> None:
    assert _run_config(ImageSettings()) == _base().config["config"]


def test_scratch_without_settings_has_no_annotations_and_the_first_second() -> None:
    image = assemble(scratch(), [], ImageSettings())
    assert "annotations" not in _read(image.manifest)
    assert _read(image.config) == {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [],
    }


@pytest.mark.parametrize(
    ("settings", "entrypoint", "cmd"),
    [
        (ImageSettings(), ["/nv.sh"], ["serve"]),
        (ImageSettings(entrypoint=("x",)), ["x"], None),
        (ImageSettings(entrypoint=()), None, None),
        (ImageSettings(cmd=("y",)), ["/nv.sh"], ["y"]),
        (ImageSettings(entrypoint=("x",), cmd=("y",)), ["x"], ["y"]),
    ],
)
def test_an_entrypoint_takes_the_bases_cmd_away(
    settings: ImageSettings, entrypoint: list[str] | None, cmd: list[str] | None
) -> None:
    config = _run_config(settings)
    assert (config.get("Entrypoint"), config.get("Cmd")) == (entrypoint, cmd)


def test_order_of_names_does_not_matter() -> None:
    one = ImageSettings(env={"A": "1", "C": "2"}, labels={"a": "1", "b": "2"})
    other = ImageSettings(env={"C": "2", "A": "1"}, labels={"b": "2", "a": "1"})
    assert assemble(_base(), [], one).digest == assemble(_base(), [], other).digest


def test_a_base_without_history_gets_one_entry_a_layer() -> None:
    history = _read(assemble(_base(history=None), _layers()[:1], ImageSettings()).config)["history"]
    assert history == [
        {"created_by": "a layer of the base image"},
        {"created": "1970-01-01T00:00:00Z", "created_by": "enginebuild: /model/a"},
    ]


def test_the_base_itself_is_left_alone() -> None:
    base = _base()
    before = json.dumps(base.config)
    assemble(
        base, _layers(), ImageSettings(env={"A": "1"}, labels={"x": "y"}, exposed_ports=(1,), cmd=("z",))
    )
    assert json.dumps(base.config) == before


def test_too_many_layers_are_refused() -> None:
    layer = _layers()[0]
    assert len(assemble(_base(), [layer] * 119, ImageSettings()).layers) == 120
    with pytest.raises(ImageError) as caught:
        assemble(_base(), [layer] * 120, ImageSettings())
    assert caught.value.message == "the image would have 121 layers, and an image cannot have more than 120"
    assert caught.value.hint == "group the files into fewer layers"


def test_a_time_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        assemble(_base(), [], ImageSettings(created=-1))
    assert caught.value.message == "-1 cannot be the time of files in an image"


def test_a_layer_that_is_not_a_plain_tar_is_refused() -> None:
    layer = _layers()[0]
    gzip = StreamedBlob(Descriptor(LAYER_GZIP, layer.descriptor.digest, 1), layer.layer, layer.source)
    with pytest.raises(ImageError) as caught:
        assemble(_base(), [gzip], ImageSettings())
    assert caught.value.message == f"a layer of type {LAYER_GZIP} is not an uncompressed tar"
