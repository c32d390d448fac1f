"""Images of the model alone and ModelPack artifacts: the layers of the server's image, in real engines."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parts import cli
from parts.busybox_base import BusyboxBase
from parts.checkpoints import write_checkpoint
from parts.podman import podman
from parts.services import DockerEngine

MB = 1 << 20
NAME = "enginebuild-test/model-images"
SERVER = ("image.layout=server", "image.base=oci:./base:latest")
MODEL = ("image.layout=model",)
MODELPACK = ("image.layout=modelpack",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, base_layout: BusyboxBase) -> Path:
    """A recipe of two shards that have layers of their own, with a cache beside it."""
    folder = tmp_path_factory.mktemp("model-images")
    write_checkpoint(folder / "model", shards=2, shard_size=65 * MB)
    (folder / "model/README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    shutil.copytree(base_layout.layout, folder / "base")
    (folder / "tiny.yaml").write_text(
        "version: 1\nname: tiny\nmodel: file:./model\nengine: {type: vllm, version: 0.33.0}\n"
        f"image: {{layout: model, repository: docker.io/{NAME}, tags: [v1]}}\n"
    )
    return folder


def run(folder: Path, *words: str, settings: tuple[str, ...] = MODEL) -> cli.Ended:
    chosen = [word for setting in settings for word in ("--set", setting)]
    cache = ("--cache-dir", str(folder / "cache"), "--json")
    return cli.enginebuild("run", folder / "tiny.yaml", *cache, *words, *chosen, cwd=folder)


def written(folder: Path, name: str, settings: tuple[str, ...]) -> tuple[str, Any, Any]:
    """The digest, the manifest and the config of an image as they lie in a layout."""
    digest = run(folder, "--output", f"dist/{name}", settings=settings).ok().digest
    manifest = blob(folder / "dist" / name, digest)
    return digest, manifest, blob(folder / "dist" / name, manifest["config"]["digest"])


def blob(layout: Path, digest: str) -> Any:
    return json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())


def digests_of(files: Path) -> dict[str, str]:
    """Of all that a server reads; a model's README is for people, and stays behind."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files.iterdir()
        if path.name != "README.md"
    }


def layers_of(manifest: Any) -> list[str]:
    return [layer["digest"] for layer in manifest["layers"]]


def test_the_model_has_the_same_layers_everywhere(folder: Path) -> None:
    _, server, _ = written(folder, "server", SERVER)
    _, model, _ = written(folder, "model", MODEL)
    _, modelpack, _ = written(folder, "modelpack", MODELPACK)
    assert len(layers_of(model)) == 3
    assert layers_of(modelpack) == layers_of(model)
    assert layers_of(server)[2:-1] == layers_of(model)  # between the base's two and the configuration


def test_a_model_image_has_nothing_of_a_server(folder: Path) -> None:
    _, manifest, config = written(folder, "model", MODEL)
    assert "annotations" not in manifest
    labels = config["config"].pop("Labels")
    assert config["config"] == {}
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert set(labels) == {
        "enginebuild.key",
        "enginebuild.layout",
        "enginebuild.model.digest",
        "org.opencontainers.image.licenses",
    }
    assert labels["enginebuild.layout"] == "model"
    assert labels["org.opencontainers.image.licenses"] == "apache-2.0"


def test_a_modelpack_is_described_by_what_its_checkpoint_says(folder: Path) -> None:
    _, manifest, config = written(folder, "modelpack", MODELPACK)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        "application/vnd.cncf.model.weight.v1.tar",
        "application/vnd.cncf.model.weight.v1.tar",
        "application/vnd.cncf.model.weight.config.v1.tar",
    ]
    assert [layer["annotations"]["org.cncf.model.filepath"] for layer in manifest["layers"]] == [
        "model/model-00001-of-00002.safetensors",
        "model/model-00002-of-00002.safetensors",
        "model",
    ]
    assert manifest["annotations"]["org.opencontainers.image.licenses"] == "apache-2.0"
    assert config["descriptor"] == {"family": "llama", "licenses": ["apache-2.0"]}
    assert config["config"] == {"format": "safetensors", "precision": "float16"}
    assert config["modelfs"]["diffIds"] == layers_of(manifest)


@pytest.mark.parametrize("layout", [MODEL, MODELPACK])
def test_the_engine_decides_nothing(folder: Path, layout: tuple[str, ...]) -> None:
    first = run(folder, "--output", "dist/once", settings=layout).ok()
    other = (
        "engine.version=0.32.0",
        "dtype=float32",
        "gpu=L4",
        "engine.args.max_model_len=128",
        "name=other",
    )
    second = run(folder, "--output", "dist/once", settings=(*layout, *other)).ok()
    assert second.statuses == {"fetch": "hit", "image": "hit", "publish": "hit"}
    assert second.result["image"] == first.result["image"]


def test_a_platform_decides_an_image_and_no_artifact(folder: Path) -> None:
    arm = "image.platform=linux/arm64"
    for layout, same in ((MODEL, False), (MODELPACK, True)):
        here = run(folder, "--output", "dist/arm", settings=layout).ok().result["image"]
        there = run(folder, "--output", "dist/arm", settings=(*layout, arm)).ok().result["image"]
        assert (here["digest"] == there["digest"], here["key"] == there["key"]) == (same, same)
    manifest = blob(folder / "dist/arm", run(folder, "--output", "dist/arm", settings=(*MODEL, arm)).digest)
    assert layers_of(manifest) == layers_of(written(folder, "model", MODEL)[1])


@pytest.fixture
def loaded(folder: Path, docker_engine: DockerEngine) -> Iterator[str]:
    yield f"docker.io/{NAME}:v1"
    docker_engine.docker("image", "rm", "--force", f"{NAME}:v1", check=False)


def test_docker_gives_the_files_back(
    folder: Path, docker_engine: DockerEngine, loaded: str, tmp_path: Path
) -> None:
    words = ("run", folder / "tiny.yaml", "--cache-dir", folder / "cache", "--load")
    ended = cli.enginebuild(*words, cwd=folder, env={"DOCKER_HOST": docker_engine.host}).ok()
    assert ended.stderr.splitlines()[-2:] == [
        f"mount it:  {loaded} as a volume in Kubernetes; see docs/model-images.md",
        f"take it out:  docker cp $(docker create {loaded} -):/model .",
    ]
    container = docker_engine.docker("create", "--network=none", f"{NAME}:v1", "-").strip()
    try:
        docker_engine.docker("cp", f"{container}:/model", tmp_path)
    finally:
        docker_engine.docker("rm", container)
    assert digests_of(tmp_path / "model") == digests_of(folder / "model")


def test_docker_loads_no_artifact(folder: Path) -> None:
    words = ("run", folder / "tiny.yaml", "--cache-dir", folder / "cache", "--load")
    ended = cli.enginebuild(*words, "--set", "image.layout=modelpack", cwd=folder)
    assert ended.code == 2
    assert ended.stderr == (
        "error: --set image.layout=…: --load needs an image, and a ModelPack artifact is none\n"
        "  image.layout=modelpack\n               ^\n  hint: use --push or --output, or write layout: model\n"
    )


def pushed(folder: Path, registry: str, name: str, settings: tuple[str, ...]) -> tuple[str, set[str]]:
    """The image by digest, and the labels of what travelled."""
    repository = f"image.repository={registry}/model-images/{name}"
    ended = run(folder, "--push", settings=(*settings, repository)).ok()
    travelled = {event["label"] for event in ended.events if event.get("label", "").startswith("blob ")}
    return ended.result["image"]["names"][0], travelled


def test_a_registry_that_has_the_server_is_sent_no_layer_of_the_model(folder: Path, registry: str) -> None:
    pushed(folder, registry, "llama", SERVER)
    for settings in (MODEL, MODELPACK):
        _, manifest, _ = written(folder, "-".join(settings), settings)
        reference, travelled = pushed(folder, registry, "llama", settings)
        assert reference.endswith(run(folder, "--output", "dist/x", settings=settings).digest)
        assert travelled == {f"blob {manifest['config']['digest'][7:19]}"}


def test_podman_mounts_the_files(folder: Path, registry: str) -> None:
    reference, _ = pushed(folder, registry, "podman", MODEL)
    with podman() as engine:
        engine("pull", "--quiet", "--tls-verify=false", reference)
        mounted = Path(engine("image", "mount", reference).strip())
        try:
            assert [path.name for path in mounted.iterdir()] == ["model"]
            assert digests_of(mounted / "model") == digests_of(folder / "model")
            assert {path.stat().st_mode & 0o777 for path in (mounted / "model").iterdir()} == {0o644}
        finally:
            engine("image", "unmount", reference)


def test_skopeo_copies_an_artifact_without_a_change(
    folder: Path, registry: str, skopeo: Path, tmp_path: Path
) -> None:
    reference, _ = pushed(folder, registry, "skopeo", MODELPACK)
    words = ("--src-tls-verify=false", "--dest-oci-accept-uncompressed-layers", f"docker://{reference}")
    subprocess.run([skopeo, "copy", "--quiet", *words, f"oci:{tmp_path}/copy:v1"], check=True)
    shown = cli.enginebuild("inspect", f"oci:{tmp_path}/copy:v1", "--json").ok().document
    assert shown["digest"] == reference.rpartition("@")[2]


def test_inspect_shows_an_artifact(folder: Path, registry: str) -> None:
    reference, _ = pushed(folder, registry, "inspected", MODELPACK)
    shown = cli.enginebuild("inspect", reference, "--json").ok().document
    assert shown["artifact"] == "modelpack"
    assert shown["annotations"]["enginebuild.layout"] == "modelpack"
    assert shown["model"]["config"] == {"format": "safetensors", "precision": "float16"}
    lines = cli.enginebuild("inspect", reference).ok().stdout.splitlines()
    assert lines[:4] == [
        reference,
        f"  digest    {reference.rpartition('@')[2]}",
        "  artifact  ModelPack",
        "  annotations",
    ]
    assert lines[-1].endswith("  /model")


def test_an_artifact_is_no_base(folder: Path) -> None:
    run(folder, "--output", "dist/as-base", settings=MODELPACK).ok()
    ended = run(
        folder, "--output", "dist/x", settings=("image.layout=server", "image.base=oci:dist/as-base:v1")
    )
    assert ended.code == 3
    assert ended.result["message"] == (
        "base image oci:dist/as-base:v1: oci:dist/as-base:v1 is a ModelPack artifact, not an image"
    )
