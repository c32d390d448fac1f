"""Compressed layers: bytes that follow from layer and library alone, made again, chosen by a sample."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enginebuild_cache import CHUNK, Digest, File
from enginebuild_images import compression
from enginebuild_images.assemble import assemble
from enginebuild_images.base import Base, scratch
from enginebuild_images.blob import LAYER, LAYER_GZIP, LAYER_ZSTD, Blob, BytesBlob, Descriptor
from enginebuild_images.compressed import CompressedBlob, diff_id
from enginebuild_images.compression import (
    SAMPLE,
    SAVING,
    Format,
    Method,
    base_format,
    key_fields,
    method_for,
    saving,
)
from enginebuild_images.description import ImageDescription
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.layer import Entry, Layer, StreamedBlob
from enginebuild_images.manifest import LINUX_AMD64
from enginebuild_images.modelpack import ModelCard, assemble_modelpack
from enginebuild_images.settings import ImageSettings
from parts.image_files import Contents, noise

FORMATS: list[Format] = ["gzip", "zstd"]
TEXT = b'{"weight_map": {"model.layers.0": "model-00001-of-00002.safetensors"}}\n' * 40_000
FILES = {"model/index.json": TEXT, "model/weights": noise(1_500_000), "model/zeros": bytes(3 * CHUNK + 7)}


def _decompressed(name: Format, content: bytes) -> bytes:
    if name == "gzip":
        return gzip.decompress(content)
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.decompress(content)


def _blob(name: Format, piece: int = CHUNK) -> tuple[CompressedBlob, Contents]:
    contents = Contents(piece)
    return CompressedBlob.of(contents.layer(FILES), contents, Method.of(name)), contents


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_sent_is_what_was_described_and_unpacks_to_the_layer(name: Format) -> None:
    blob, contents = _blob(name)
    for sent in (b"".join(blob.chunks()), b"".join(blob.pieces())):
        assert (Digest.of(sent), len(sent)) == (blob.descriptor.digest, blob.descriptor.size)
    archive = contents.archive(blob.layer)
    assert _decompressed(name, sent) == archive
    assert blob.diff_id == diff_id(blob) == Digest.of(archive)
    assert blob.descriptor.media_type == {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}[name]


@pytest.mark.parametrize("name", FORMATS)
def test_compressible_layers_shrink(name: Format) -> None:
    blob, _ = _blob(name)
    assert blob.layer.size > 7_400_000
    assert blob.descriptor.size < 1_540_000  # the noise, and hardly more


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("piece", [1_000, 65_537, 2 * CHUNK])
def test_the_pieces_that_files_come_in_change_nothing(name: Format, piece: int) -> None:
    assert _blob(name, piece)[0].descriptor == _blob(name)[0].descriptor


class _CompressorStandin:
    """Passes on what it is fed, and keeps how."""

    def __init__(self) -> None:
        self.fed: list[int] = []

    def compress(self, content: bytes) -> bytes:
        self.fed.append(len(content))
        return content

    def flush(self) -> bytes:
        return b""


def test_a_compressor_is_always_fed_in_equal_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    standin = _CompressorStandin()  # zlib and libzstd do not care today, others (zlib-ng) may
    monkeypatch.setattr(zlib, "compressobj", lambda *_settings: standin)
    blob, _ = _blob("gzip", 70_001)
    whole, rest = divmod(blob.layer.size, CHUNK)
    assert standin.fed == [CHUNK] * whole + [rest]


@pytest.mark.parametrize("name", FORMATS)
def test_pieces_are_of_at_most_1_mib_and_not_small(name: Format) -> None:
    sizes = [len(piece) for piece in _blob(name)[0].pieces()]
    assert sizes[:-1] == [CHUNK] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= CHUNK


def test_gzip_says_neither_name_nor_time() -> None:
    header = next(_blob("gzip")[0].pieces())[:10]
    assert header == b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\x03"


class _Noise:
    """A file of any size, made while it is read."""

    def read(self, file: File) -> Iterator[bytes]:
        piece = noise(CHUNK)
        for _ in range(file.size // CHUNK):
            yield piece

    stream = read


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_layer(name: Format) -> None:
    file = File("weights", Digest.of(b""), 40 * CHUNK)
    tracemalloc.start()
    try:
        blob = CompressedBlob.of(Layer.of([Entry("model/weights", file)]), _Noise(), Method.of(name))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blob.layer.size > 40 * CHUNK > 2 * peak


def _image(blob: CompressedBlob, base: Base | None = None) -> Image:
    other = Contents().blob({"etc/vllm.yaml": b"port: 8000\n"})
    return assemble(base or scratch(), [blob, other], ImageSettings())


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_names_both_digests(name: Format) -> None:
    blob, _ = _blob(name)
    image = _image(blob)
    config = json.loads(b"".join(image.config.chunks()))
    plain = image.layers[1].descriptor.digest
    assert config["rootfs"]["diff_ids"] == [str(blob.diff_id), str(plain)]
    listed = json.loads(image.manifest.content)["layers"]
    assert listed[0] == blob.descriptor.to_json()
    assert listed[1]["mediaType"] == LAYER


class _Both:
    """The files of both layers of `_image`."""

    def __init__(self, contents: Contents) -> None:
        contents.add("etc/vllm.yaml", b"port: 8000\n")
        self.read = self.stream = contents.read


def _no_base(descriptor: Descriptor) -> Blob:
    raise AssertionError(descriptor)


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_image_is_made_again_from_its_description(name: Format) -> None:
    blob, contents = _blob(name)
    image = _image(blob)
    document = json.loads(json.dumps(ImageDescription.of(image).to_json()))
    assert document["layers"][0]["compression"] == {
        "name": name,
        "level": {"gzip": 6, "zstd": 3}[name],
        "library": Method.of(name).library,
        "diff_id": str(blob.diff_id),
    }
    assert "compression" not in document["layers"][1]
    description = ImageDescription.from_json(document)
    assert description == ImageDescription.of(image)
    again = description.image(_Both(contents), _no_base)
    assert again.digest == image.digest
    for made in again.layers:
        assert Digest.of_chunks(made.chunks()) == made.descriptor.digest


@pytest.mark.parametrize("name", FORMATS)
def test_a_modelpack_artifact_of_compressed_layers_is_made_again(name: Format) -> None:
    blob, contents = _blob(name)
    artifact = assemble_modelpack([blob], ModelCard(), {})
    assert (
        artifact.layers[0].descriptor.media_type == f"application/vnd.cncf.model.weight.config.v1.tar+{name}"
    )
    document = json.loads(json.dumps(ImageDescription.of(artifact).to_json()))
    again = ImageDescription.from_json(document).image(contents, _no_base)
    assert again.digest == artifact.digest
    assert Digest.of_chunks(again.layers[0].chunks()) == blob.descriptor.digest


def _other_method(compressed: dict[str, Any]) -> None:
    compressed["name"] = "zstd"


def _unknown_method(compressed: dict[str, Any]) -> None:
    compressed["name"] = "brotli"


def _no_level(compressed: dict[str, Any]) -> None:
    compressed["level"] = True


def _no_diff_id(compressed: dict[str, Any]) -> None:
    del compressed["diff_id"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_other_method, "its layers are not compressed as its manifest says"),
        (_unknown_method, "a layer is compressed by 'brotli'"),
        (_no_level, "not a level of compression: True"),
        (_no_diff_id, "it lacks 'diff_id'"),
    ],
)
def test_a_description_that_is_broken_is_refused(change: Any, why: str) -> None:
    document: Any = json.loads(json.dumps(ImageDescription.of(_image(_blob("gzip")[0])).to_json()))
    change(document["layers"][0]["compression"])
    with pytest.raises(ImageError) as caught:
        ImageDescription.from_json(document)
    assert caught.value.message == f"the description of an image is broken: {why}"
    assert caught.value.hint == "make the image again"


@pytest.mark.parametrize("name", FORMATS)
def test_a_library_that_makes_other_bytes_is_named(name: Format) -> None:
    blob, _ = _blob(name)
    # Another level stands in for another version: both give other bytes of the same files.
    old = Method(name, 1, "libold 0.1")
    changed = CompressedBlob(blob.descriptor, blob.layer, blob.source, old, blob.diff_id)
    with pytest.raises(ImageError) as caught:
        list(changed.chunks())
    assert caught.value.message == (
        f"the layer of 3 files in /model was compressed by libold 0.1, and {Method.of(name).library} here "
        "makes other bytes of the same files"
    )
    assert caught.value.hint == "make the image again, or use the same version as before"


def test_a_changed_file_is_not_blamed_on_the_library() -> None:
    blob, contents = _blob("gzip")
    contents.by_path["model/zeros"] = b"1" * (3 * CHUNK + 7)
    with pytest.raises(ImageError) as caught:
        list(blob.chunks())
    archive = contents.archive(blob.layer)
    assert caught.value.message == (
        f"the layer of 3 files in /model was to be {blob.diff_id} but is {Digest.of(archive)}"
    )


def test_a_layer_that_is_neither_is_refused() -> None:
    layer = Contents().blob({"a": b"a"})
    other = StreamedBlob(Descriptor("text/plain", layer.descriptor.digest, 1), layer.layer, layer.source)
    with pytest.raises(ImageError) as caught:
        diff_id(other)
    assert caught.value.message == "a layer of type text/plain is not an uncompressed tar"


def _without_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("compression.zstd", "backports.zstd", "backports"):
        monkeypatch.setitem(sys.modules, name, None)


def test_zstd_without_a_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blob, _ = _blob("zstd")
    _without_zstd(monkeypatch)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for attempt in (lambda: Method.of("zstd"), lambda: key_fields("zstd"), lambda: list(blob.chunks())):
        with pytest.raises(ImageError) as caught:
            attempt()
        assert caught.value.message == (
            f"layers cannot be compressed with zstd: Python {version} here has no module for it"
        )
        assert caught.value.hint == "pip install enginebuild[zstd], or set image.compression to gzip"


def test_what_a_key_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    zlib_method = {"name": "gzip", "level": 6, "library": f"zlib {zlib.ZLIB_RUNTIME_VERSION}"}
    zstd_method = Method.of("zstd").to_json()
    assert key_fields("none") == {}
    assert key_fields("gzip") == {"choice": "gzip", "methods": [zlib_method]}
    assert key_fields("zstd") == {"choice": "zstd", "methods": [zstd_method]}
    policy = {"choice": "auto", "saving": 0.2, "sample": 65536}
    assert key_fields("auto") == policy | {"methods": [zlib_method, zstd_method]}
    _without_zstd(monkeypatch)
    assert key_fields("auto") == policy | {"methods": [zlib_method]}


def _on_disk(folder: Path, *contents: bytes) -> Layer:
    entries = []
    for number, content in enumerate(contents):
        (folder / f"{number}").write_bytes(content)
        entries.append(Entry(f"model/{number}", File(f"{number}", Digest.of(content), len(content))))
    return Layer.of(entries)


def _path(folder: Path) -> Any:
    return lambda file: folder / file.path


def _bfloat16(count: int) -> bytes:
    """Like weights: the lower byte is noise, of the upper one few values are common."""
    upper = [0x3B, 0x3C, 0xBB, 0xBC, 0x3A, 0xBA, 0x39, 0xB9]
    return bytes(byte for low in noise(count, 3) for byte in (low, upper[(low * 7) % 8]))


def test_a_sample_tells_text_from_weights(tmp_path: Path) -> None:
    assert saving(_on_disk(tmp_path, noise(5 * SAMPLE)), _path(tmp_path)) == pytest.approx(0, abs=0.01)
    assert saving(_on_disk(tmp_path, TEXT), _path(tmp_path)) > 0.9
    assert SAVING < saving(_on_disk(tmp_path, _bfloat16(300_000)), _path(tmp_path)) < 0.6


def test_samples_are_from_all_over_the_files_in_their_order(tmp_path: Path) -> None:
    third = 4 * SAMPLE
    layer = _on_disk(tmp_path, noise(third), bytes(third), noise(third, 2))
    assert saving(layer, _path(tmp_path)) == pytest.approx(1 / 3, abs=0.01)


def test_a_small_layer_is_read_whole_or_not_worth_it(tmp_path: Path) -> None:
    whole = _on_disk(tmp_path, noise(SAMPLE), bytes(SAMPLE))
    assert saving(whole, _path(tmp_path)) == pytest.approx(0.5, abs=0.01)
    assert saving(_on_disk(tmp_path, bytes(SAMPLE - 1)), _path(tmp_path)) == 0.0
    assert saving(_on_disk(tmp_path, bytes(SAMPLE)), _path(tmp_path)) > 0.9
    assert saving(Layer.of([]), _path(tmp_path)) == 0.0


def test_a_sample_reads_no_more_than_its_places(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(40 << 30)  # sparse: reading all of it would take half a minute
    layer = Layer.of([Entry("model/huge", File("huge", Digest.of(b""), 40 << 30))])
    assert saving(layer, _path(tmp_path)) > 0.9


def _base(*media_types: str) -> Base:
    return Base({}, tuple(BytesBlob(media_type, b"x") for media_type in media_types), LINUX_AMD64)


@pytest.mark.parametrize(
    ("media_types", "name"),
    [
        ([], "gzip"),
        ([LAYER], "gzip"),
        ([LAYER_GZIP, LAYER], "gzip"),
        ([LAYER_GZIP, LAYER_ZSTD], "zstd"),
    ],
)
def test_auto_takes_the_format_of_the_base(tmp_path: Path, media_types: list[str], name: Format) -> None:
    base = _base(*media_types)
    assert base_format(base) == name
    assert method_for(_on_disk(tmp_path, TEXT), "auto", base, _path(tmp_path)) == Method.of(name)
    assert method_for(_on_disk(tmp_path, noise(SAMPLE)), "auto", base, _path(tmp_path)) is None


@pytest.mark.parametrize(("zeros", "method"), [(30_000, None), (40_000, Method.of("gzip"))])
def test_auto_compresses_from_a_fifth_on(tmp_path: Path, zeros: int, method: Method | None) -> None:
    layer = _on_disk(tmp_path, noise(180_000 - zeros), bytes(zeros))
    assert method_for(layer, "auto", scratch(), _path(tmp_path)) == method


def test_a_choice_is_taken_without_a_sample(tmp_path: Path) -> None:
    layer = _on_disk(tmp_path, noise(SAMPLE))
    (tmp_path / "0").unlink()
    assert method_for(layer, "none", scratch(), _path(tmp_path)) is None
    for name in FORMATS:
        assert method_for(layer, name, scratch(), _path(tmp_path)) == Method.of(name)


def test_a_sample_of_a_file_that_is_gone(tmp_path: Path) -> None:
    layer = _on_disk(tmp_path, noise(SAMPLE))
    (tmp_path / "0").unlink()
    with pytest.raises(ImageError) as caught:
        saving(layer, _path(tmp_path))
    assert caught.value.message == f"cannot read {tmp_path}/0: No such file or directory"


def test_the_warning_of_zstd() -> None:
    assert compression.ZSTD_WARNING == (
        "image.compression is zstd: Docker Engines before 23.0 cannot pull the image and stop with "
        "'invalid tar header' or 'unexpected EOF'; every engine reads gzip and none"
    )
