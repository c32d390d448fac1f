"""The step `warm`: a stand-in server that compiles, in a real Docker Engine; hit, miss and refusal."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enginebuild.engines.vllm.scripts.start_warm import this_cpu
from enginebuild.events import silent
from enginebuild.execution import GpuNeed
from enginebuild.runners.gpu_locks import gpu_locks
from enginebuild.runners.machine import this_machine
from enginebuild.runners.reservation import reserved
from enginebuild_images.layout import read_layout
from parts import cli, services
from parts.services import DockerEngine
from parts.tiny_llama import write_tiny_llama
from parts.vllm_standin_recipe import write_standin_recipe
from parts.vllm_warm_standin import write_warm_base

H100 = "H100-SXM-80GB"
SEED = "/etc/enginebuild/cache"
ROOT = "/tmp/enginebuild/vllm"
WITHOUT = "it did not come up without its cache"
FROM = "it did not come up from its cache"
CANNOT = "this machine cannot make what is to be built"
ELSEWHERE = (
    "the Docker Engine that DOCKER_HOST names is on another machine, "
    "and a cache is made for one machine's hardware"
)


@dataclass(frozen=True)
class Shop:
    """Where recipes are run; `path` is the PATH of the programs that run them."""

    folder: Path
    engine: DockerEngine
    path: str = os.environ.get("PATH", os.defpath)

    def write(self, fault: str = "", warm: Any = True, **more: Any) -> Path:
        return write_standin_recipe(self.folder, fault, warm=warm, **more)

    def run(self, fault: str = "", **more: Any) -> cli.Ended:
        recipe = self.write(fault, **more)
        words = ("--cache-dir", self.folder / "cache", "--json", "--output", self.folder / "dist")
        return cli.enginebuild("run", recipe, *words, env=self.env)

    def plan(self, **more: Any) -> dict[str, dict[str, Any]]:
        """The planned steps by name."""
        words = ("plan", self.write(**more), "--cache-dir", self.folder / "cache", "--json")
        steps = cli.enginebuild(*words, env=self.env).ok().document["steps"]
        return {step["name"]: step for step in steps}

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.engine.host, "PATH": self.path}

    @property
    def kept(self) -> Path:
        """The log of the only start that was refused."""
        (found,) = (self.folder / "cache").rglob("logs/warm-*")
        return found / "log.txt"

    def image(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(
            b"".join(read_layout(f"{self.folder}/dist:latest").config.chunks())
        )
        return config

    def load(self) -> str:
        """The image in the engine, by its name there."""
        words = ("run", self.folder / "tiny.yaml", "--cache-dir", self.folder / "cache", "--json", "--load")
        (name,) = cli.enginebuild(*words, env=self.env).ok().result["image"]["names"]
        return str(name).removeprefix("docker:").partition("@")[0]

    def left(self) -> list[str]:
        """What a run must not leave in the engine."""
        names = self.engine.docker("ps", "--all", "--format", "{{.Names}}").splitlines()
        names += self.engine.docker("images", "--format", "{{.Repository}}").splitlines()
        return [name for name in names if name.startswith("enginebuild-warm")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_tiny_llama(folder / "model")
    write_warm_base(folder / "base", services.program("busybox"))
    write_warm_base(folder / "cuda", services.program("busybox"), cuda=True)
    return folder


def _shop(made: Path, folder: Path, engine: DockerEngine, path: str) -> Shop:
    shutil.copytree(made / "model", folder / "model")
    for name in ("base", "cuda"):
        (folder / name).symlink_to(made / name)
    return Shop(folder, engine, path)


@pytest.fixture
def shop(made: Path, tmp_path: Path, docker_engine: DockerEngine) -> Iterator[Shop]:
    shop = _shop(made, tmp_path, docker_engine, os.environ.get("PATH", os.defpath))
    yield shop
    assert shop.left() == []


@pytest.fixture(scope="module")
def gpu_engine() -> DockerEngine:
    """Not the one in which other tests look for what a verification left."""
    return services.own_engine("docker-warm")


@pytest.fixture
def gpu_shop(made: Path, tmp_path: Path, gpu_engine: DockerEngine) -> Iterator[Shop]:
    shop = _shop(made, tmp_path, gpu_engine, services.nvidia_path())
    yield shop
    assert shop.left() == []


def test_a_cache_that_hits_is_shipped_and_kept(shop: Shop) -> None:
    planned = shop.plan()
    assert (planned["warm"]["status"], planned["warm"]["reason"]) == ("miss", "never built here")
    assert planned["warm"]["inputs"] == ["model_config"]
    assert planned["image"]["status"] == "unresolved"
    first = shop.run().ok()
    built = ("fetch", "configure", "model_config", "warm", "image", "publish")
    assert first.statuses == dict.fromkeys(built, "built")
    config = shop.image()
    labels = config["config"]["Labels"]
    assert {name: labels[name] for name in labels if name.startswith("enginebuild.warm")} == {
        "enginebuild.warm": "inductor",
        "enginebuild.warm.entries": "1",
        "enginebuild.warm.bytes": str(len(b"// code") + len(b"\x7fELF code") + len(b"artifact") + len(b"{}")),
    }
    assert config["config"]["Entrypoint"] == [
        *("python3", "-I", "/etc/enginebuild/start_warm.py"),
        *("vllm", "serve", "--config", "/etc/enginebuild/vllm.yaml"),
    ]
    assert f"VLLM_CACHE_ROOT={ROOT}" in config["config"]["Env"]
    assert config["history"][-1]["created_by"] == "enginebuild: 5 files in /etc/enginebuild/cache"
    again = shop.run().ok()
    assert again.statuses == dict.fromkeys(first.statuses, "hit") | {"model_config": "unneeded"}
    assert again.digest == first.digest
    assert shop.plan()["warm"]["status"] == "hit"


def test_served_names_and_ports_do_not_compile_again_and_arguments_do(shop: Shop) -> None:
    shop.run().ok()
    named = shop.run(args={"served_model_name": "other", "port": 9000}).ok()
    assert named.statuses["warm"] == "hit"
    assert named.statuses["image"] == "built"
    longer = shop.plan(args={"max_model_len": 128})
    assert (longer["warm"]["status"], longer["warm"]["reason"]) == (
        "miss",
        "fields.arguments.max_model_len: (absent) → 128",
    )


def test_the_record_says_what_was_proven_and_the_log_is_kept(shop: Shop) -> None:
    key = next(step["key"] for step in shop.run().ok().result["steps"] if step["name"] == "warm")
    words = ("cache", "show", "--cache-dir", shop.folder / "cache", key)
    shown = cli.enginebuild(*words).ok().document
    proven = shown["provenance"]["warm"]
    assert (proven["proven"], proven["entries"]) == ("inductor", 1)
    assert proven["hardware"] == {"driver": "", "kind": "cpu", "name": this_cpu()}
    assert set(proven["seconds"]) == {"cold", "warm"}
    assert sorted(file["path"].split("/")[-1] for file in shown["tree"]) == [
        *("c24.main.cpp", "c24.main.so", "llama.json", "model", "warm.json"),
    ]


REFUSED = {
    "warm-none": ("the server left no compile cache", []),
    "warm-elsewhere": (r"the compile cache does not hit: it compiled under another key: [0-9a-z_/]+", []),
    "warm-recompiles": (
        r"the compile cache does not hit: it compiled what the cache should have: \S+/c24new.main.so",
        [],
    ),
    "warm-dies": (
        f"{FROM}: its server ended with exit code 1 before it answered a completion",
        [
            "the last lines of its log:",
            f"  enginebuild: the compile cache of this image is in {ROOT}: 4 files",
            "  RuntimeError: CUDA error: no kernel image is available for execution on the device",
        ],
    ),
    "dies": (
        f"{WITHOUT}: its server ended with exit code 3 before it answered a completion",
        [
            "the last lines of its log:",
            r"  INFO: saved AOT compiled function to \S+",
            "  INFO: vLLM's stand-in begins",
            r"  ValueError: No supported CPU kernel for this quantization",
        ],
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_cache_that_does_not_hit_is_refused(fault: str, shop: Shop) -> None:
    ended = shop.run(fault)
    assert ended.code == 6, ended.stderr
    said, lines = REFUSED[fault]
    first, *more = ended.result["message"].splitlines()
    assert re.fullmatch(f"the step warm failed: {said}", first), first
    assert len(more) == len(lines)
    assert all(
        re.fullmatch(re.escape(want) if "\\S" not in want else want, line)
        for want, line in zip(lines, more, strict=True)
    ), more
    assert ended.result["hint"].splitlines() == [
        "an unproven cache is not shipped; warm: false builds without one",
        f"the server's whole log is {shop.kept}",
    ]
    assert not (shop.folder / "dist").exists()


def test_a_start_that_takes_too_long_is_ended(shop: Shop) -> None:
    ended = shop.run("never", warm={"timeout": "6s"})
    assert ended.code == 6
    assert ended.result["message"].splitlines()[0] == (
        f"the step warm failed: {WITHOUT}: it does not answer a completion within 6 s: "
        "nothing listens at the server's port"
    )


def test_a_server_that_needs_more_than_its_memory_is_said_to(shop: Shop) -> None:
    ended = shop.run("oom", warm={"memory": "100MB"})
    assert ended.code == 6
    assert ended.result["message"].splitlines()[0] == (
        f"the step warm failed: {WITHOUT}: its server needed more memory than the 0.1 GB that warm.memory "
        "allows, before it answered a completion"
    )


def test_the_image_starts_from_its_seed_for_any_user(shop: Shop) -> None:
    shop.run().ok()
    name = shop.load()
    try:
        for user in ("0:0", "2000:0", "1000720000:0"):
            said = started(shop, name, "--user", user)
            assert said[:2] == [
                f"enginebuild: the compile cache of this image is in {ROOT}: 4 files",
                "WARNING: Compiling model again due to a load failure from",
            ], user
        off = started(shop, name, "--env", "ENGINEBUILD_WARM=off")
        assert off[0] == "INFO: saved AOT compiled function to"
        # A volume of somebody's own, which a second start finds filled.
        for count in (": 4 files", " already"):
            words = ("--env", "VLLM_CACHE_ROOT=/cache", "--volume", f"{name.partition(':')[0]}:/cache")
            assert started(shop, name, *words)[0] == (
                f"enginebuild: the compile cache of this image is in /cache{count}"
            )
    finally:
        shop.engine.docker("rmi", "--force", name)
        shop.engine.docker("volume", "rm", name.partition(":")[0], check=False)


def started(shop: Shop, image: str, *words: str) -> list[str]:
    """The first lines of a server's log, without the paths at their ends."""
    container = shop.engine.docker("run", "--detach", "--network", "none", *words, image).strip()
    try:
        for _ in range(100):
            lines = shop.engine.docker("logs", container).splitlines()
            if any("stand-in begins" in line for line in lines):
                return [re.sub(r" /\S*torch_compile_cache.*", "", line) for line in lines]
        raise AssertionError(lines)
    finally:
        shop.engine.docker("rm", "--force", container)


def test_on_a_gpu_the_artifact_itself_must_be_loaded(gpu_shop: Shop) -> None:
    first = gpu_shop.run(base="cuda", gpu=H100).ok()
    assert first.statuses["warm"] == "built"
    assert gpu_shop.image()["config"]["Labels"]["enginebuild.warm"] == "aot"
    about = gpu_shop.plan(base="cuda", gpu=H100)
    assert about["warm"]["status"] == "hit"
    ended = gpu_shop.run("warm-elsewhere", base="cuda", gpu=H100)
    assert ended.code == 6
    first_line, *lines = ended.result["message"].splitlines()
    assert first_line == (
        f"the step warm failed: {FROM}: its server ended with exit code 1 before it answered a completion"
    )
    assert lines[-1].startswith("  FileNotFoundError: [Errno 2] No such file or directory: '")


def test_another_driver_is_another_cache_and_another_gpu_is_none(
    gpu_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_shop.run(base="cuda", gpu=H100).ok()
    env = gpu_shop.env | {"NVIDIA_SMI_STANDIN_DRIVER": "600.10"}
    recipe = gpu_shop.folder / "tiny.yaml"
    words = ("plan", recipe, "--cache-dir", gpu_shop.folder / "cache", "--json")
    steps = {step["name"]: step for step in cli.enginebuild(*words, env=env).ok().document["steps"]}
    assert steps["warm"]["reason"] == "fields.hardware.driver: 590 → 600"
    env = gpu_shop.env | {"NVIDIA_SMI_STANDIN_GPUS": "NVIDIA A10, 8.6, 23028, 22500"}
    ended = cli.enginebuild("run", recipe, "--cache-dir", gpu_shop.folder / "cache", "--json", env=env)
    assert ended.code == 5
    assert (ended.result["message"], ended.result["hint"]) == (
        (
            f"{CANNOT}: wrong compute capability: the step warm needs 9.0 on 1 GPU, "
            "and this machine has 0 (NVIDIA A10, 8.6)"
        ),
        "run it where that is there, or leave the step out: warm: false",
    )


def test_a_base_for_gpus_needs_one(shop: Shop) -> None:
    ended = shop.run(base="cuda")
    assert (ended.code, ended.result["message"], ended.result["hint"]) == (
        6,
        "warm starts the image on its GPU, and the recipe names none",
        "add gpu, such as gpu: H100-SXM-80GB, or take a base for CPUs",
    )


def test_without_an_engine_it_is_refused_before_anything_is_built(shop: Shop) -> None:
    socket = shop.folder / "no.sock"
    words = ("run", shop.write(), "--cache-dir", shop.folder / "cache", "--json")
    ended = cli.enginebuild(*words, env={"DOCKER_HOST": f"unix://{socket}"})
    assert (ended.code, ended.result["message"].splitlines()) == (
        5,
        [
            "this machine cannot run what is to be built:",
            f"  no Docker Engine at unix://{socket}: No such file or directory",
        ],
    )
    ended = cli.enginebuild(*words, env={"DOCKER_HOST": "ssh://builder.example.com"})
    assert (ended.code, ended.result["message"]) == (
        5,
        f"{CANNOT}: {ELSEWHERE}",
    )
    assert not list((shop.folder / "cache").rglob("records/image/*"))


def test_the_gate_starts_the_warm_image(gpu_shop: Shop) -> None:
    ended = gpu_shop.run(verify={}).ok()
    assert (ended.statuses["warm"], ended.statuses["verify"]) == ("built", "built")
    assert gpu_shop.run(verify={}).ok().statuses["verify"] == "hit"


@pytest.mark.parametrize(("step", "more"), [("warm", {}), ("verify", {"warm": None, "verify": {}})])
def test_a_server_waits_for_a_gpu_that_another_run_has_and_has_it_alone(
    gpu_shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str, more: dict[str, Any]
) -> None:
    monkeypatch.setenv("PATH", gpu_shop.path)
    recipe = gpu_shop.write(base="cuda", gpu=H100, **more)
    words = ("run", recipe, "--cache-dir", gpu_shop.folder / "cache", "--json")
    here = f" on {os.uname().nodename} since "
    with reserved(GpuNeed(1), "of another run", this_machine, silent) as (gpu,):
        process = cli.start(*words, "--output", gpu_shop.folder / "dist", env=gpu_shop.env)
        assert process.stdout is not None
        waiting = next(event for event in map(json.loads, process.stdout) if event["event"] == "waiting")
        owners = gpu_shop.engine.docker("ps", "--all", "--format", '{{.Label "enginebuild.run"}}')
        assert f" {process.pid} " not in owners
    who, _, rest = waiting["holder"].partition(here)
    assert (waiting["what"], who) == ("GPU 0", f"process {os.getpid()}")
    assert rest.endswith(", step of another run")
    held: dict[str, None] = {}
    while process.poll() is None:
        held |= dict.fromkeys(gpu_locks().holders([gpu.uuid]).values())
    ended = cli.end(process).ok()
    assert ended.statuses[step] == "built"
    assert [event["what"] for event in ended.events if event["event"] == "waited"] == ["GPU 0"]
    assert f"process {process.pid}" in [text.partition(here)[0] for text in held if text.endswith(step)]
