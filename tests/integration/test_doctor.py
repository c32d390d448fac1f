"""`enginebuild doctor` and `inspect` on engines and images, beside a stand-in for nvidia-smi."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.tensorrt_llm.manifest import labels
from enginebuild.events import silent
from enginebuild.publish.docker import DockerPublisher
from enginebuild.runners.engine import NO_GPU_SUPPORT
from enginebuild_cache import Digest, Record, Store
from enginebuild_images.assemble import assemble
from enginebuild_images.base import scratch
from enginebuild_images.index import Variant, assemble_index
from enginebuild_images.layout import write_layout, write_layout_index
from enginebuild_images.settings import ImageSettings
from parts import cli
from parts.busybox_base import BusyboxBase
from parts.services import NVIDIA_STANDIN, DockerEngine
from parts.trtllm_engines import CHECKPOINT, COMMIT, H100, IMAGE, KEY, manifest_for, write_engine

PATH = f"{NVIDIA_STANDIN}:{os.environ['PATH']}"
ONE = f"{H100}, 9.0, 81559, 81004"
NO_DOCKER = "unix:///nowhere/docker.sock"
BUILT = f"{H100} (compute capability 9.0), CUDA 13.1.0, TensorRT-LLM 1.2.1, TensorRT 10.14.1.48"
GIVE_MORE = "give it more (docker run --gpus, CUDA_VISIBLE_DEVICES), or build it with smaller parallel sizes"
LOAD_IT = "load it in an image with that version, or name its Python environment: --environment FOLDER"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A Python environment with TensorRT-LLM 1.2.1 and TensorRT as metadata alone."""
    folder = tmp_path / "trtllm"
    site = folder / "site"
    for name, version in (("tensorrt_llm", "1.2.1"), ("tensorrt", "10.14.1.48")):
        path = site / f"{name}-{version}.dist-info"
        path.mkdir(parents=True)
        (path / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


def doctor(*words: str | Path, gpus: str = ONE, env: Mapping[str, str] | None = None) -> cli.Ended:
    settings = {"PATH": PATH, "DOCKER_HOST": NO_DOCKER, "NVIDIA_SMI_STANDIN_GPUS": gpus, **(env or {})}
    return cli.enginebuild("doctor", *words, env=settings)


def test_an_engine_that_loads(tmp_path: Path, environment: Path) -> None:
    folder = write_engine(tmp_path / "engine", 2)
    done = doctor(folder, "--environment", environment, gpus=f"{ONE};{ONE}").ok()
    assert done.stdout == (
        f"{folder}\n  needs  2 × {BUILT}\n  here   2 × {H100} (9.0), driver 590.44.01\n  it will load here\n"
    )


def test_an_engine_that_does_not_load(tmp_path: Path, environment: Path) -> None:
    folder = write_engine(tmp_path / "engine", 2)
    (folder / "rank1.engine").unlink()
    done = doctor(folder, "--environment", environment, gpus="NVIDIA L40S, 8.9, 46068, 45000")
    assert done.code == 5
    assert done.stdout.splitlines()[2:] == [
        "  here   1 × NVIDIA L40S (8.9), driver 590.44.01",
        "  error: the engine lacks rank1.engine: 1 of 2 ranks are there",
        "  hint: copy the whole folder, or build it again",
        f"  error: the engine loads only on compute capability 9.0 ({H100}), and here is NVIDIA L40S (8.9)",
        "  hint: build it again for this machine's GPU, or run it on the one that it was built for",
        "  error: the engine needs 2 GPUs (tensor × pipeline parallel size), and 1 is visible here",
        f"  hint: {GIVE_MORE}",
        "  it will not load here",
    ]


def test_an_engine_without_its_library(tmp_path: Path, environment: Path) -> None:
    folder = write_engine(tmp_path / "engine")
    done = doctor(folder, env={"VIRTUAL_ENV": "", "CONDA_PREFIX": "", "PATH": PATH}).ok()
    python = next(p for f in PATH.split(":") if (p := Path(f, "python3")).exists())
    assert done.stdout.splitlines()[3:] == [
        f"  not checked: TensorRT-LLM 1.2.1 is needed to load it, and {python} has no TensorRT-LLM",
        f"  hint: {LOAD_IT}",
        "  it will load here, as far as it could be compared",
    ]
    # The one that is active is looked at without a word, and one that was named must have it.
    assert "not checked" not in doctor(folder, env={"VIRTUAL_ENV": str(environment)}).ok().stdout
    (tmp_path / "empty").mkdir()
    done = doctor(folder, "--environment", tmp_path / "empty")
    assert done.code == 5
    assert done.stdout.splitlines()[3] == (
        f"  error: TensorRT-LLM 1.2.1 is needed to load it, and {tmp_path}/empty (without bin/python) has no "
        "TensorRT-LLM"
    )


def test_an_old_engine(tmp_path: Path, environment: Path) -> None:
    folder = write_engine(tmp_path / "engine", manifest=False)
    done = doctor(folder, "--environment", environment).ok()
    assert done.stdout.splitlines()[1:] == [
        "  needs  1 × a GPU, TensorRT-LLM 1.2.1",
        f"  here   1 × {H100} (9.0), driver 590.44.01",
        "  not checked: the engine does not say which GPU built it, so compute capability was not compared",
        "  hint: TensorRT says so when it loads the engine, and so would an engine that enginebuild built",
        "  it will load here, as far as it could be compared",
    ]


def test_no_gpu(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine")
    done = doctor(folder, gpus="none")
    assert done.code == 5
    none = "no NVIDIA GPU: nvidia-smi lists none"
    wanted = f"1 × {H100} (compute capability 9.0)"
    assert done.stdout.splitlines()[2:5] == [
        f"  here   {none}",
        f"  error: the engine needs {wanted}, and no GPU is visible here ({none})",
        "  hint: on a machine with NVIDIA's driver: docker run --gpus all",
    ]


def test_json(tmp_path: Path, environment: Path) -> None:
    folder = write_engine(tmp_path / "engine")
    done = doctor(
        folder, "--environment", environment, "--json", gpus="NVIDIA H200, 9.0, 143771, 143000"
    ).ok()
    (compared,) = done.document["compared"]
    assert done.document["fits"] is compared["fits"] is True
    assert (compared["name"], compared["kind"]) == (str(folder), "engine")
    assert compared["needs"] == manifest_for(1).needs.to_json()
    assert compared["machine"] == {
        "gpus": [{"name": "0", "product": "NVIDIA H200", "compute_capability": "9.0"}],
        "driver": "590.44.01",
        "cuda": None,
        "versions": {"tensorrt_llm": "1.2.1", "tensorrt": "10.14.1.48"},
        "reason": "",
    }
    assert [finding["level"] for finding in compared["findings"]] == ["warning"]


def engine_record(store: Store, folder: Path, step: str = "compile") -> Record:
    fields = {"step": step}
    return store.put_record(Record(Digest.of_json(fields), step, fields, store.collect(folder), {}))


def test_an_engine_in_the_cache(tmp_path: Path) -> None:
    write_engine(tmp_path / "made" / "engine")
    store = Store.open(tmp_path / "cache")
    record = engine_record(store, tmp_path / "made")
    name = f"cache:{record.key.short}"
    done = doctor(name, "--cache-dir", tmp_path / "cache").ok()
    assert done.stdout.startswith(f"{name}\n  needs  1 × {H100}")
    shown = cli.enginebuild("inspect", name, "--cache-dir", tmp_path / "cache").ok()
    assert shown.stdout.startswith(f"{name}\n  engine      TensorRT-LLM 1.2.1, LlamaForCausalLM\n")


def test_what_is_no_engine_in_the_cache(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "cache")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "config.json").write_text("{}")
    record = engine_record(store, tmp_path / "files", "fetch")
    cases = {
        f"cache:{record.key.hex}": (
            f"error: cache:{record.key.hex} is a record of the step fetch, and holds no engine\n"
            "hint: `enginebuild cache list` shows the step of each record\n"
        ),
        "cache:ffff": (
            "error: the cache has no record whose key begins with 'ffff'\n"
            "hint: `enginebuild cache list` shows all\n"
        ),
    }
    for name, text in cases.items():
        done = doctor(name, "--cache-dir", tmp_path / "cache")
        assert (done.code, done.stderr) == (3, text)


@pytest.mark.parametrize("command", ["doctor", "inspect"])
def test_folders_that_cannot_be_read(tmp_path: Path, command: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    broken = write_engine(tmp_path / "broken")
    (broken / "config.json").write_text("{}")
    bare = write_engine(tmp_path / "bare")
    (bare / "config.json").unlink()
    strange = write_engine(tmp_path / "strange")
    (strange / "enginebuild.json").write_text("{}")
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "oci-layout").write_text("{}")
    read = "engines of TensorRT-LLM 0.12 and later have a config.json with version and pretrained_config"
    expected = {
        model: f"error: {model} holds no engine\nhint: an engine's folder has config.json and rank0.engine\n",
        broken: f"error: {broken} is no engine that can be read: it has no version or no pretrained_config\n"
        f"hint: {read}\n",
        bare: f"error: {bare} is no engine: {bare}/config.json: No such file or directory\n",
        strange: f"error: {strange} is no engine that can be read: this is no manifest of an engine: "
        f"KeyError('needs')\nhint: {read}\n",
        layout: f"error: {layout} is an OCI layout\nhint: write oci:{layout}\n",
        tmp_path / "none": f"error: {tmp_path}/none is no folder\n"
        "hint: an engine's folder has config.json and rank0.engine\n",
    }
    for folder, text in expected.items():
        done = cli.enginebuild(command, folder)
        assert (done.code, done.stderr) == (3, text)


LABELS = {"enginebuild.engine": "tensorrt_llm", **labels(manifest_for(1))}
VLLM = {"enginebuild.engine": "vllm", "enginebuild.engine.version": "0.33.0", "enginebuild.gpu": "L4"}


def layout_with(folder: Path, said: Mapping[str, str], **env: str) -> str:
    """An image of no layers."""
    image = assemble(scratch(), [], ImageSettings(labels=said, env=env))
    write_layout(image, folder, ("v1",))
    return f"oci:{folder}:v1"


def test_an_image_on_a_machine_without_docker(tmp_path: Path) -> None:
    no_engine = f"no Docker Engine at {NO_DOCKER}: No such file or directory"
    name = layout_with(tmp_path / "image", LABELS)
    done = doctor(name).ok()
    assert done.stdout.splitlines()[1:] == [
        f"  needs  1 × {BUILT}",
        f"  here   1 × {H100} (9.0), driver 590.44.01",
        f"  not checked: whether containers get GPUs: {no_engine}",
        "  hint: is it running, may you use its socket, and is DOCKER_HOST right?",
        "  it will load here, as far as it could be compared",
    ]


def test_an_image_and_its_driver(tmp_path: Path) -> None:
    name = layout_with(tmp_path / "image", VLLM, CUDA_VERSION="13.0.2")
    gpus = "NVIDIA L4, 8.9, 23034, 22563"
    done = doctor(name, gpus=gpus, env={"NVIDIA_SMI_STANDIN_DRIVER": "550.54.15"})
    assert done.code == 5
    assert done.stdout.splitlines()[1:5] == [
        "  needs  1 × NVIDIA L4 (compute capability 8.9), CUDA 13.0.2, vLLM 0.33.0",
        "  here   1 × NVIDIA L4 (8.9), driver 550.54.15",
        "  error: CUDA 13.0.2 needs driver 580 or newer, here is 550.54.15",
        "  hint: update the driver; on data centre GPUs the image's own cuda-compat may do instead",
    ]


def test_an_index_fits_if_one_of_its_images_does(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    images = [assemble(scratch(), [], ImageSettings(labels=said)) for said in (LABELS, VLLM)]
    for image in images:
        write_layout(image, folder)
    index = assemble_index([Variant(image, said) for image, said in zip(images, (LABELS, VLLM), strict=True)])
    write_layout_index(index, folder, "v1")
    done = doctor(f"oci:{folder}:v1", "--json").ok()
    assert [(each["fits"], each["needs"]["gpu"]) for each in done.document["compared"]] == [
        (True, H100),
        (True, "NVIDIA L4"),
    ]
    done = doctor(f"oci:{folder}:v1", "--json", gpus="NVIDIA L4, 8.9, 23034, 22563").ok()
    assert [each["fits"] for each in done.document["compared"]] == [False, True]
    assert doctor(f"oci:{folder}:v1", gpus="none").code == 5


def test_an_image_that_says_nothing(tmp_path: Path, base_layout: BusyboxBase) -> None:
    done = doctor(f"oci:{base_layout.layout}")
    assert done.code == 3
    assert done.stderr == (
        f"error: oci:{base_layout.layout} does not say what it needs: it has no label enginebuild.engine\n"
        "hint: images that enginebuild made with a server have it; models without a server need nothing\n"
    )


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    assert doctor(f"oci:{tmp_path}/none").code == 3
    done = doctor("docker:none")
    assert (done.code, done.stderr.splitlines()[0][:40]) == (3, "error: the Docker Engine at unix:///nowh")


def test_an_environment_is_not_an_images(tmp_path: Path) -> None:
    done = doctor(layout_with(tmp_path / "image", LABELS), "--environment", tmp_path)
    assert done.code == 2
    assert done.stderr.endswith("Error: --environment is for engines; an image brings its own\n")


def test_inspect_an_engine(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine", 2)
    done = cli.enginebuild("inspect", folder).ok()
    assert done.stdout == (
        f"{folder}\n"
        "  engine      TensorRT-LLM 1.2.1, LlamaForCausalLM\n"
        "  ranks       2 of 2, 12.0 kB\n"
        "  dtype       bfloat16\n"
        "  quantized   FP8, KV cache FP8\n"
        f"  needs       2 × {BUILT}\n"
        f"  model       hf://org/tiny@{COMMIT}\n"
        f"  checkpoint  {CHECKPOINT}\n"
        f"  key         {KEY}\n"
        f"  built with  {IMAGE}, driver 590.44.01, torch 2.9.0\n"
        "  built in    75 s, the engine alone 61 s\n"
        "  changed by the library\n"
        "    max_batch_size: 64 became 32\n"
        "  build\n"
        "    max_batch_size = 32\n"
        "    reduce_fusion = false\n"
    )


def test_inspect_an_old_engine(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine", manifest=False)
    done = cli.enginebuild("inspect", folder).ok()
    assert done.stdout == (
        f"{folder}\n"
        "  engine      TensorRT-LLM 1.2.1, LlamaForCausalLM\n"
        "  ranks       1 of 1, 6.0 kB\n"
        "  dtype       bfloat16\n"
        "  quantized   FP8, KV cache FP8\n"
        "  needs       1 × a GPU, TensorRT-LLM 1.2.1\n"
        "  manifest    none: its GPU, TensorRT, CUDA and model are not known\n"
        "  build\n"
        "    max_batch_size = 32\n"
        "    reduce_fusion = false\n"
    )


def test_inspect_as_json(tmp_path: Path) -> None:
    folder = write_engine(tmp_path / "engine")
    document: dict[str, Any] = cli.enginebuild("inspect", folder, "--json").ok().document
    assert document == {
        "name": str(folder),
        "engine": "tensorrt_llm",
        "version": "1.2.1",
        "size": 6000,
        "ranks": [{"rank": 0, "size": 6000}],
        "manifest": json.loads((folder / "enginebuild.json").read_text()),
        "pretrained_config": json.loads((folder / "config.json").read_text())["pretrained_config"],
        "build": {"max_batch_size": 32, "reduce_fusion": False},
    }
    (folder / "enginebuild.json").unlink()
    assert cli.enginebuild("inspect", folder, "--json").ok().document["manifest"] is None


@pytest.mark.docker
def test_an_image_in_a_docker_engine(
    tmp_path: Path, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    image = assemble(scratch(), [], ImageSettings(labels=LABELS, entrypoint=("/server",)))
    DockerPublisher(["doctor:v1"]).publish(image, silent)
    host = {"DOCKER_HOST": docker_engine.host}
    done = doctor("docker:doctor:v1", env=host).ok()
    assert done.stdout.splitlines()[2:] == [
        f"  here   1 × {H100} (9.0), driver 590.44.01",
        "  it will load here",
    ]
    if shutil.which("nvidia-container-runtime-hook"):
        return  # this machine has NVIDIA's toolkit, and nothing to refuse
    # nvidia-smi without NVIDIA's container toolkit: a driver alone gives containers no GPU
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").symlink_to(NVIDIA_STANDIN / "nvidia-smi")
    alone = {**host, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    refused = doctor("docker:doctor:v1", env=alone)
    assert refused.code == 5
    assert refused.stdout.splitlines()[3:] == [
        f"  error: {NO_GPU_SUPPORT.format(host=docker_engine.host)}",
        "  it will not load here",
    ]
    # Kubernetes may run what lies elsewhere: there it is a warning.
    elsewhere = doctor(layout_with(tmp_path / "image", LABELS), env=alone).ok()
    assert elsewhere.stdout.splitlines()[3].startswith("  warning: no NVIDIA container runtime: ")


@pytest.mark.registry
def test_an_index_in_a_registry(tmp_path: Path, registry: str) -> None:
    """Its entries repeat the labels, so that no image of it is read."""
    name = f"{registry}/llm/doctor:v1"
    images = [
        layout_with(tmp_path / "engine", LABELS),
        layout_with(tmp_path / "plain", VLLM),
    ]
    made = cli.enginebuild("index", name, *images).ok()
    assert H100 in cli.enginebuild("inspect", name).ok().stdout, made.stdout
    done = doctor(name, "--json", gpus="NVIDIA L4, 8.9, 23034, 22563").ok()
    assert [each["fits"] for each in done.document["compared"]] == [False, True]
    (engine,) = [each for each in done.document["compared"] if each["needs"]["tied"]]
    assert engine["needs"] == manifest_for(1).needs.to_json()
    one = doctor(engine["name"], gpus="NVIDIA L4, 8.9, 23034, 22563")
    assert one.code == 5
    assert one.stdout.splitlines()[0] == engine["name"]
