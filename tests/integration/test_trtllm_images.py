"""The images of stand-ins: a real Docker Engine pulls them by digest, runs their programs and servers."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parts import services
from parts.oci_image import push
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.trtllm_images import release_image, triton_image
from parts.trtllm_templates import template_files

VERSION = "1.2.1"


@pytest.fixture(scope="module")
def release(registry: str, docker_engine: DockerEngine) -> str:
    """The release image's name by digest, pulled."""
    made = release_image(VERSION, services.program("busybox"))
    name = push(made, registry, "tensorrt-llm/release", VERSION)
    docker_engine.docker("pull", "--quiet", name)
    return name


@pytest.fixture(scope="module")
def triton(registry: str, docker_engine: DockerEngine) -> str:
    made = triton_image(VERSION, services.program("busybox"))
    name = push(made, registry, "tritonserver", "26.07-trtllm-python-py3")
    docker_engine.docker("pull", "--quiet", name)
    return name


@pytest.fixture
def serving(docker_engine: DockerEngine) -> Iterator[Callable[..., int]]:
    """Starts containers that listen on the machine's loopback at {port}, and ends them."""
    started = []

    def start(*words: str) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        told = [word.replace("{port}", str(port)) for word in words]
        started.append(docker_engine.docker("run", "--detach", "--network=host", *told).strip())
        deadline = time.monotonic() + 30
        while not answers(port):
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        return port

    yield start
    for container in started:
        docker_engine.docker("rm", "--force", container)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def completion(port: int, prompt: str) -> str:
    body = json.dumps({"model": "m", "prompt": prompt}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(json.load(answer)["choices"][0]["text"])


def test_images_are_equal_on_every_run() -> None:
    busybox = services.program("busybox")
    assert release_image(VERSION, busybox).digest == release_image(VERSION, busybox).digest
    assert release_image("1.2.0", busybox).digest != release_image(VERSION, busybox).digest


def test_an_engine_is_built_and_served(
    release: str, docker_engine: DockerEngine, tmp_path: Path, serving: Callable[..., int]
) -> None:
    write_tiny_llama(tmp_path / "model")
    mount = f"--volume={tmp_path}:/work"
    convert = "/app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py"
    run = ("run", "--rm", "--network=none", mount)
    docker_engine.docker(
        *(*run, release, "python3", convert, "--model_dir=/work/model", "--output_dir=/work/ckpt")
    )
    build = ("trtllm-build", "--checkpoint_dir=/work/ckpt", "--output_dir=/work/engine")
    with pytest.raises(AssertionError, match="No CUDA GPUs are available"):
        docker_engine.docker(*run, release, *build)
    docker_engine.docker(*run, "--gpus=1", "--workdir=/tmp", release, *build)
    assert sorted(path.name for path in (tmp_path / "engine").iterdir()) == ["config.json", "rank0.engine"]

    serve = ("trtllm-serve", "serve", "/work/engine", "--backend=tensorrt", "--tokenizer=/work/model")
    port = serving("--gpus=1", mount, release, *serve, "--host=127.0.0.1", "--port={port}")
    assert completion(port, "one two three") == "three two one"


def test_a_checkpoint_is_served_as_its_yaml_says(
    release: str, docker_engine: DockerEngine, tmp_path: Path, serving: Callable[..., int]
) -> None:
    write_tiny_llama(tmp_path / "model")
    (tmp_path / "serve.yaml").write_text("kv_cache_config:\n  dtype: fp8\nmax_batch_size: 8\n")
    mount = f"--volume={tmp_path}:/work:ro"
    serve = ("trtllm-serve", "/work/model", "--host=127.0.0.1", "--port={port}", "--config=/work/serve.yaml")
    port = serving("--gpus=1", mount, release, *serve)
    assert completion(port, "a b") == "b a"
    for text, message in (
        ("kv_cache_config:\n  dtyp: fp8\n", "kv_cache_config.dtyp: Extra inputs are not permitted"),
        ("quant_config: {}\n", "quant_config: not of this backend"),
        ("tensor_parallel_size: 2\n", "world size 2 needs 2 GPUs, found 1"),
    ):
        (tmp_path / "serve.yaml").write_text(text)
        with pytest.raises(AssertionError) as raised:
            docker_engine.docker("run", "--rm", "--gpus=1", mount, release, *serve[:3], *serve[4:])
        assert message in str(raised.value)


def test_triton_wants_every_placeholder_filled(
    triton: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    seen = docker_engine.docker("run", "--rm", triton, "find", "/app/all_models", "-name", "config.pbtxt")
    assert set(seen.split()) == {
        f"/app/all_models/{path}" for path in template_files(VERSION) if "pbtxt" in path
    }
    ports = ("--grpc-port=8001", "--http-port=8000", "--metrics-port=8002")
    server = ("tritonserver", "--model-repository=/app/all_models/inflight_batcher_llm", *ports)
    run = ("run", "--rm", "--gpus=1", triton, "mpirun", "--allow-run-as-root", "-n", "1", *server)
    with pytest.raises(AssertionError) as raised:
        docker_engine.docker(*run)
    assert "failed to read text proto from" in str(raised.value)
    assert "${triton_max_batch_size}" in str(raised.value)


def test_a_fault_reaches_a_program_while_everything_else_stays_the_same(
    release: str, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    write_tiny_llama(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"standin_fault": "@images"}))
    convert = "/app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py"
    words = ("python3", convert, "--model_dir=/work/model", "--output_dir=/tmp/out")
    run = ("run", "--rm", "--gpus=1", f"--volume={tmp_path}:/work", release, *words)
    fault = docker_engine.faults / "images"
    fault.write_text("convert:fail")
    try:
        with pytest.raises(AssertionError, match="RuntimeError: convert was told to fail"):
            docker_engine.docker(*run)
    finally:
        fault.unlink()
    docker_engine.docker(*run)
