"""Commands in containers of a real Docker Engine: what they may do, how they end, and what they leave."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from enginebuild.errors import SourceError, StepError
from enginebuild.events import Event, Note, Progress, Waited, Waiting, silent
from enginebuild.execution import CommandFailed, ContainerEnvironment, Execution, Folders, GpuNeed, Limits
from enginebuild.runners import Pullable, make
from enginebuild.runners.containers import sweep
from enginebuild.runners.engine import engine
from enginebuild.runners.gpu_locks import gpu_locks
from enginebuild.runners.machine import this_machine
from enginebuild.runners.reservation import reserved
from enginebuild.runners.served import gpus_for, reserved_gpus
from enginebuild.verify.gate import Gpus
from enginebuild_cache import Digest
from parts import services
from parts.busybox_base import BusyboxBase
from parts.registry_login import htpasswd
from parts.registry_quirks import PASSWORD, USER
from parts.registry_real import docker_registry
from parts.services import DockerEngine

SECRET = "very-secret-value"
MB = 1 << 20
GPU = "NVIDIA H100 80GB HBM3"


@pytest.fixture(scope="module")
def docker_engine() -> DockerEngine:
    """An engine of this worker's own: what is left on it was left by these tests."""
    return services.own_engine(f"docker-runner-{os.getpid()}")


@pytest.fixture(scope="module")
def image(
    docker_engine: DockerEngine, base_layout: BusyboxBase, registry: str, skopeo: Path
) -> ContainerEnvironment:
    """A small image in a registry on loopback."""
    reference = f"{registry}/builders/busybox:latest"
    _push(skopeo, base_layout, reference)
    return ContainerEnvironment(reference, Digest.parse(base_layout.digest))


def _push(skopeo: Path, base: BusyboxBase, reference: str, *more: str) -> None:
    words = ("--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false", *more)
    places = (f"oci:{base.layout}:latest", f"docker://{reference}")
    subprocess.run([skopeo, *words, *places], check=True, capture_output=True)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders({"fetch": tmp_path / "in"}, tmp_path / "scripts", tmp_path / "output")
    for folder in (*made.inputs.values(), made.scripts, made.output):
        folder.mkdir(parents=True)
    (tmp_path / "in" / "model").write_bytes(b"weights\n")
    (tmp_path / "scripts" / "run.sh").write_text("#!/bin/sh\necho script $1\n")
    (tmp_path / "scripts" / "run.sh").chmod(0o755)
    return made


@pytest.fixture(autouse=True)
def _engine(
    docker_engine: DockerEngine, image: ContainerEnvironment, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    monkeypatch.setenv("PATH", services.nvidia_path())
    yield
    assert ours(docker_engine) == [], "containers or volumes are left"


@pytest.fixture(params=["mounted", "copied"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which folders come into a container."""
    if request.param == "copied":
        monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")


def ours(engine: DockerEngine) -> list[str]:
    """Containers and volumes that a run has left."""
    label = ("--quiet", "--filter", "label=enginebuild.run")
    return [*engine.docker("ps", "--all", *label).split(), *engine.docker("volume", "ls", *label).split()]


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


def execution(image: ContainerEnvironment, *texts: str) -> Execution:
    return Execution("convert", image, tuple(shell(text) for text in texts))


def said(wanted: Execution, folders: Folders) -> list[str]:
    lines: list[str] = []
    make("docker", silent).run(wanted, folders, lines.append)
    return [line for line in lines if not line.startswith("$ ")]


def failure(wanted: Execution, folders: Folders, log: list[str] | None = None) -> CommandFailed:
    with pytest.raises(CommandFailed) as error:
        make("docker", silent).run(wanted, folders, (log if log is not None else []).append)
    return error.value


def test_an_image_is_pulled_by_digest_when_it_is_not_there(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"
    docker_engine.docker("image", "rm", "--force", name, check=False)
    events: list[Event] = []
    runner = make("docker", events.append)
    facts = runner.run(execution(image, "true"), folders, lambda _line: None)
    assert events[0] == Note(f"pulling {name}")
    assert facts["image"] == name
    assert facts["runner"] == "docker"
    events.clear()
    runner.run(execution(image, "true"), folders, lambda _line: None)
    assert not [event for event in events if isinstance(event, Note) and event.text.startswith("pulling")]


def test_an_image_that_cannot_be_pulled(image: ContainerEnvironment, folders: Folders) -> None:
    name = f"{image.reference.removesuffix(':latest')}@sha256:{'0' * 64}"
    wanted = execution(replace(image, digest=Digest("0" * 64)), "true")
    with pytest.raises(StepError) as error:
        make("docker", silent).run(wanted, folders, lambda _line: None)
    assert error.value.message == (
        f"the Docker Engine cannot pull {name}: manifest for {name} not found: "
        "manifest unknown: manifest unknown"
    )
    assert error.value.hint == f"does `docker pull {name}` work? `docker login` may be needed"


def test_docker_s_credentials_are_used(
    image: ContainerEnvironment, folders: Folders, base_layout: BusyboxBase, skopeo: Path, tmp_path: Path
) -> None:
    with docker_registry(tmp_path / "registry", htpasswd=htpasswd(tmp_path)) as host:
        private = replace(image, reference=f"{host}/private/busybox:1")
        _push(skopeo, base_layout, private.reference, f"--dest-creds={USER}:{PASSWORD}")
        name = f"{host}/private/busybox@{image.digest}"
        with pytest.raises(StepError) as error:
            make("docker", silent).run(execution(private, "true"), folders, lambda _line: None)
        assert re.fullmatch(
            f"the Docker Engine cannot pull {re.escape(name)}: .*: no basic auth credentials",
            error.value.message,
        )
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        configuration = Path(os.environ["DOCKER_CONFIG"]) / "config.json"
        configuration.parent.mkdir(parents=True)
        configuration.write_text(json.dumps({"auths": {host: {"auth": known}}}))
        facts = make("docker", silent).run(execution(private, "true"), folders, lambda _line: None)
    assert facts["image"] == name


@pytest.mark.usefixtures("_way")
def test_inputs_go_in_and_the_output_comes_back(image: ContainerEnvironment, folders: Folders) -> None:
    (folders.inputs["fetch"] / "deep").mkdir()
    large = os.urandom(3 * MB + 17)
    (folders.inputs["fetch"] / "deep" / "large").write_bytes(large)
    wanted = execution(
        image,
        "cd /enginebuild/output && mkdir sub && cp -r /enginebuild/input/fetch/deep sub && id -u > uid",
        "/enginebuild/scripts/run.sh $WORD; cat /enginebuild/output/uid; ls /tmp | wc -l",
    )
    lines: list[str] = []
    facts = make("docker", silent).run(replace(wanted, variables={"WORD": "a b"}), folders, lines.append)
    assert [line for line in lines if not line.startswith("$ ")] == ["script a", "0", "0"]
    assert (folders.output / "sub/deep/large").read_bytes() == large
    assert facts["gpus"] == []
    assert all(path.stat().st_uid == os.geteuid() for path in folders.output.rglob("*"))


@pytest.mark.usefixtures("_way")
def test_inputs_and_scripts_are_only_read(image: ContainerEnvironment, folders: Folders) -> None:
    for place in ("input/fetch/model", "input/fetch/new", "scripts/run.sh"):
        log: list[str] = []
        error = failure(execution(image, f"echo bad > /enginebuild/{place}"), folders, log)
        assert error.message.endswith(f"'echo bad > /enginebuild/{place}' ended with exit code 1")
        assert log[-1] == f"sh: can't create /enginebuild/{place}: Read-only file system"
    assert (folders.inputs["fetch"] / "model").read_bytes() == b"weights\n"


def test_there_is_no_network(image: ContainerEnvironment, folders: Folders, registry: str) -> None:
    text = f"ls /sys/class/net; wget -q -O - http://{registry}/v2/ 2>&1; true"
    assert said(execution(image, text), folders) == [
        "lo",
        f"wget: can't connect to remote host ({registry.partition(':')[0]}): Connection refused",
    ]


def test_a_step_with_network_has_the_engine_s(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    seen: list[str] = []

    def log(line: str) -> None:
        if line == "ready":
            (name,) = ours(docker_engine)
            seen.append(docker_engine.docker("inspect", "-f", "{{.HostConfig.NetworkMode}}", name).strip())

    for network in (True, False):
        wanted = replace(execution(image, "echo ready; sleep 1"), network=network)
        make("docker", silent).run(wanted, folders, log)
    assert seen == ["default", "none"]


def test_limits_and_privileges(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    found: list[dict[str, object]] = []
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if line == "ready":
            (name,) = ours(docker_engine)
            found.extend(json.loads(docker_engine.docker("inspect", name)))

    text = "cat /proc/self/limits; grep NoNewPrivs /proc/self/status; stat -f -c %b:%S /dev/shm"
    wanted = replace(
        execution(image, f"{text}; echo ready; sleep 1"),
        limits=Limits(memory=64 * MB, shared_memory=8 * MB),
    )
    make("docker", silent).run(wanted, folders, log)
    (container,) = found
    host = container["HostConfig"]
    assert isinstance(host, dict)
    assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (64 * MB, 64 * MB, 8 * MB)
    config = container["Config"]
    assert isinstance(config, dict)
    assert config["Labels"]["enginebuild.step"] == "convert"
    assert re.match(r"/enginebuild-convert-[0-9a-f]{12}$", str(container["Name"]))
    shown = "\n".join(lines)
    if not _may_not_raise_limits(docker_engine, image):
        assert re.search(r"^Max locked memory +unlimited +unlimited", shown, re.MULTILINE)
        assert re.search(r"^Max stack size +67108864 +67108864", shown, re.MULTILINE)
    assert "NoNewPrivs:\t1" in shown
    blocks, size = next(line for line in lines if re.match(r"\d+:\d+$", line)).split(":")
    assert int(blocks) * int(size) == 8 * MB


def _may_not_raise_limits(engine: DockerEngine, image: ContainerEnvironment) -> bool:
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"
    words = ("run", "--rm", "--network=none", "--ulimit=memlock=-1", "--ulimit=stack=67108864", name)
    return not engine.docker(*words, "echo", "done", check=False)


def test_an_engine_that_may_not_raise_limits(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    """One in a container, or a rootless one; it is said once."""
    events: list[Event] = []
    make("docker", events.append).run(execution(image, "true", "true"), folders, lambda _line: None)
    warning = Note(
        "the Docker Engine may not raise limits: memlock and stack stay as they are there "
        "(by hand, leave out --ulimit)",
        "warning",
    )
    assert events == ([warning] if _may_not_raise_limits(docker_engine, image) else [])


def test_too_little_memory(image: ContainerEnvironment, folders: Folders) -> None:
    text = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"
    error = failure(replace(execution(image, text), limits=Limits(memory=32 * MB)), folders)
    assert error.message == (
        f"the step convert failed: sh -c '{text}' needed more than the 0.0 GB of memory that it may have"
    )
    assert error.hint == "raise builder.memory"


@pytest.mark.usefixtures("_way")
def test_an_exit_code(image: ContainerEnvironment, folders: Folders) -> None:
    log: list[str] = []
    error = failure(execution(image, "echo why >&2; exit 3", "echo never"), folders, log)
    assert error.message == "the step convert failed: sh -c 'echo why >&2; exit 3' ended with exit code 3"
    assert (error.hint, error.command) == ("", shell("echo why >&2; exit 3"))
    assert log == ["$ sh -c 'echo why >&2; exit 3'", "why"]


def test_a_program_that_the_image_lacks(image: ContainerEnvironment, folders: Folders) -> None:
    error = failure(Execution("compile", image, (("trtllm-build", "--help"),)), folders)
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"
    assert error.message == f"the step compile failed: the image {name} has no program trtllm-build"
    assert error.hint == "builder.image must be one that has it"


def test_a_timeout(image: ContainerEnvironment, folders: Folders) -> None:
    wanted = replace(execution(image, "echo begun; sleep 60"), limits=Limits(timeout=2))
    started = time.monotonic()
    log: list[str] = []
    error = failure(wanted, folders, log)
    assert time.monotonic() - started < 15
    assert error.message == (
        "the step convert took longer than 2 s and was stopped at sh -c 'echo begun; sleep 60'"
    )
    assert error.hint == "builder.timeout sets the limit"
    assert log[-1] == "begun"


def test_the_time_is_that_of_all_commands(image: ContainerEnvironment, folders: Folders) -> None:
    wanted = replace(execution(image, "sleep 2", "sleep 60"), limits=Limits(timeout=6))
    assert failure(wanted, folders).command == shell("sleep 60")


def test_lines_come_while_it_runs(image: ContainerEnvironment, folders: Folders) -> None:
    times: dict[str, float] = {}

    def log(line: str) -> None:
        times[line] = time.monotonic()

    make("docker", silent).run(execution(image, "echo a; sleep 3; echo b"), folders, log)
    assert times["b"] - times["a"] > 1  # however busy the machine is


@pytest.mark.usefixtures("_way")
def test_secrets_are_passed_and_not_shown(
    image: ContainerEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    wanted = execution(image, "echo it is $TOKEN; env; echo $TOKEN | sha256sum; exit 3")
    wanted = replace(wanted, secrets=("TOKEN", "UNSET"))
    log: list[str] = []
    error = failure(wanted, folders, log)
    assert "it is ***" in log
    assert "TOKEN=***" in log
    digest = hashlib.sha256(f"{SECRET}\n".encode()).hexdigest()
    assert f"{digest}  -" in log
    assert SECRET not in f"{error.message}{error.hint}{log}"


def test_by_hand_the_same_comes_out(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    text = "cat $1/model; echo $WORD $TOKEN $NVIDIA_VISIBLE_DEVICES > $2/said; stat -f -c %b:%S /dev/shm"
    command = ("sh", "-c", text, "it's", "/enginebuild/input/fetch", "/enginebuild/output")
    wanted = replace(
        execution(image),
        commands=(command,),
        gpus=GpuNeed(ids=("0",)),
        limits=Limits(memory=64 * MB, shared_memory=4 * MB),
        variables={"WORD": "a  b"},
        secrets=("TOKEN",),
    )
    here = Folders({"fetch": Path("in")}, folders.scripts, Path("output"))
    line = make("docker", silent).by_hand(wanted, command, here)
    if _may_not_raise_limits(docker_engine, image):
        line = line.replace("--ulimit memlock=-1 --ulimit stack=67108864 ", "")
    env = {**os.environ, "PATH": f"{docker_engine.command.parent}:{os.environ['PATH']}", "TOKEN": SECRET}
    ended = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    blocks, size = ended.stdout.splitlines()[1].split(":")
    assert int(blocks) * int(size) == 4 * MB
    assert ended.stdout.startswith("weights\n")
    assert (folders.output / "said").read_text() == f"a b {SECRET} 0\n"


def test_what_another_user_s_program_leaves_is_ours(image: ContainerEnvironment, folders: Folders) -> None:
    text = "cd /enginebuild/output && mkdir a && echo x > a/b && chown -R 1234:1234 a"
    make("docker", silent).run(execution(image, text), folders, lambda _line: None)
    assert (folders.output / "a/b").stat().st_uid == os.geteuid()


def test_a_failed_step_s_output_is_ours_too(image: ContainerEnvironment, folders: Folders) -> None:
    failure(execution(image, "cd /enginebuild/output && echo x > b && chown 1234 b && exit 1"), folders)
    assert (folders.output / "b").stat().st_uid == os.geteuid()


@pytest.mark.usefixtures("_way")
def test_gpus_by_device_request(image: ContainerEnvironment, folders: Folders) -> None:
    wanted = execution(image, "env | grep NVIDIA; /usr/bin/nvidia-smi --query-gpu=name --format=csv,noheader")
    wanted = replace(wanted, gpus=GpuNeed(1, compute_capability="9.0", product=GPU, free_bytes=10**9))
    assert make("docker", silent).missing(wanted) == ()
    lines: list[str] = []
    facts = make("docker", silent).run(wanted, folders, lines.append)
    assert lines[1:] == ["NVIDIA_VISIBLE_DEVICES=0", GPU]
    assert facts["gpus"] == [
        {
            "index": "0",
            "name": GPU,
            "compute_capability": "9.0",
            "memory": 81559 * MB,
            "driver": "590.44.01",
        }
    ]


@pytest.mark.usefixtures("_way")
def test_a_gpu_of_another_run_is_waited_for_outside_the_time_limit(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    heard: list[Event] = []
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"

    def told(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Waiting):
            # As if the other run were killed now: nobody but us will take its container away.
            label = f"enginebuild.run={os.uname().nodename} {2**22 + 1} 1"
            docker_engine.docker("create", "--label", label, name, "true")
            threading.Timer(4.5, held.close).start()

    wanted = replace(execution(image, "env | grep NVIDIA"), gpus=GpuNeed(1), limits=Limits(timeout=4))
    lines: list[str] = []
    with ExitStack() as held:
        held.enter_context(reserved(GpuNeed(1), "quantize", this_machine, silent))
        assert make("docker", silent).missing(wanted) == ()
        make("docker", told).run(wanted, folders, lines.append)
    assert lines[1:] == ["NVIDIA_VISIBLE_DEVICES=0"]
    waiting, waited = (event for event in heard if isinstance(event, Waiting | Waited))
    assert isinstance(waiting, Waiting)
    assert (waiting.what, waiting.holder.rpartition(", ")[2]) == ("GPU 0", "step quantize")
    assert isinstance(waited, Waited)
    assert waited.seconds > 4


def test_runs_that_sweep_at_the_same_time_do_not_hinder_each_other(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    make("docker", silent).run(execution(image, "true"), folders, lambda _line: None)  # pulls
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"
    label = ("--label", f"enginebuild.run={os.uname().nodename} {2**22 + 1} 1")
    for _ in range(4):
        docker_engine.docker("create", *label, name, "true")
        docker_engine.docker("volume", "create", *label)

    def swept() -> None:
        with engine() as client:
            barrier.wait(30)
            sweep(client)

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor() as pool:
        for sweeping in [pool.submit(swept) for _ in range(4)]:
            sweeping.result()


H100S = f"{GPU}, 9.0, 81559, 81004"
L4 = "NVIDIA L4, 8.9, 23034, 22563"


@pytest.mark.parametrize(
    ("listed", "need", "ids"),
    [
        (f"{H100S}; {H100S}; {L4}", GpuNeed(1), ()),
        (f"{H100S}; {H100S}; {L4}", GpuNeed(ids=("1",)), ("1",)),
        (f"{H100S}; {L4}", GpuNeed(2), ("0", "1")),
    ],
)
def test_names_of_a_server_s_gpus_are_known_before_their_ids(
    monkeypatch: pytest.MonkeyPatch, listed: str, need: GpuNeed, ids: tuple[str, ...]
) -> None:
    """Names are in a key, and another run may have the emptiest GPU when the server starts."""
    monkeypatch.setenv("NVIDIA_SMI_STANDIN_GPUS", listed)
    known, missing = gpus_for(need)
    assert (known.ids, missing) == (ids, ())
    with reserved_gpus(known, "unused", "verify", silent) as first:
        assert first == replace(known, ids=first.ids)
        assert first.ids == (ids or ("0",))
        if not ids:
            with reserved_gpus(known, "unused", "verify", silent) as second:
                assert (second.ids, second.names) == (("1",), (GPU,))


def test_a_server_s_gpus_that_are_there_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    known, _ = gpus_for(GpuNeed(1))
    monkeypatch.setenv("NVIDIA_SMI_STANDIN_GPUS", f"{L4}; {L4}")
    with pytest.raises(StepError) as error, reserved_gpus(known, "unused", "verify", silent):
        pass
    assert error.value.message == (
        f"the step verify cannot start: wrong GPU: the step verify needs {GPU} as 1 GPU, "
        "and this machine has 0 (NVIDIA L4, 8.9), 1 (NVIDIA L4, 8.9)"
    )


def test_a_server_s_gpus_of_an_engine_elsewhere(
    image: ContainerEnvironment, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")
    known, _ = gpus_for(GpuNeed(1))
    assert known == Gpus(1, (f"of {docker_engine.host}",))
    name = f"{image.reference.removesuffix(':latest')}@{image.digest}"
    with reserved_gpus(known, name, "verify", silent) as found:
        assert found == replace(known, ids=("0",))
        assert len(gpu_locks().holders(gpu.uuid for gpu in this_machine().gpus)) == 1
    heard: list[Event] = []
    with reserved_gpus(known, "none.invalid/none:1", "verify", heard.append) as found:
        assert found == known
    where = f"the Docker Engine at {docker_engine.host}"
    assert heard == [
        Note(
            f"GPUs of {docker_engine.host} are not reserved: {where} gives no GPU: "
            "No such image: none.invalid/none:1",
            "warning",
        )
    ]


@pytest.mark.usefixtures("_way")
def test_gpus_that_are_not_there(image: ContainerEnvironment, folders: Folders) -> None:
    wanted = replace(execution(image, "true"), gpus=GpuNeed(ids=("0", "3")))
    sentence = f"no GPU 3: this machine has 0 ({GPU}, 9.0)"
    assert make("docker", silent).missing(wanted) == (sentence,)
    with pytest.raises(StepError) as error:
        make("docker", silent).run(wanted, folders, lambda _line: None)
    assert error.value.message == f"the step convert cannot start: {sentence}"


def test_an_engine_without_nvidia_s_runtime(
    image: ContainerEnvironment,
    folders: Folders,
    docker_engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvidia-smi").symlink_to(services.NVIDIA_STANDIN / "nvidia-smi")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    wanted = replace(execution(image, "true"), gpus=GpuNeed(1))
    sentence = (
        f"no NVIDIA container runtime: the Docker Engine at {docker_engine.host} does not give GPUs to "
        "containers (install nvidia-container-toolkit, and run "
        "`nvidia-ctk runtime configure --runtime=docker`)"
    )
    assert make("docker", silent).missing(wanted) == (sentence,)
    with pytest.raises(StepError) as error:
        make("docker", silent).run(wanted, folders, lambda _line: None)
    assert error.value.message == f"the step convert cannot start: {sentence}"
    assert make("docker", silent).missing(execution(image, "true")) == ()


def test_no_engine(image: ContainerEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, why in (
        (f"unix://{tmp_path}/none.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", host)
            assert make("docker", silent).missing(execution(image, "true")) == (
                f"no Docker Engine at {host}: {why}",
            )


def _refuse(_environment: ContainerEnvironment) -> int:
    raise SourceError("the registry wants a login")


def _huge(_environment: ContainerEnvironment) -> int:
    return 10**18


@pytest.mark.parametrize(
    ("pullable", "sentence"),
    [
        (None, ""),
        (lambda _environment: 1000, ""),
        (_refuse, r"the image {name} cannot be pulled: the registry wants a login"),
        (
            _huge,
            (
                r"too little disk: the image {name} is 1000000000\.0 GB before it is unpacked, "
                r"and Docker's folder /.*/root has \d+\.\d GB free"
            ),
        ),
    ],
)
def test_an_image_is_asked_for_before_it_is_pulled(
    image: ContainerEnvironment, pullable: Pullable | None, sentence: str
) -> None:
    unknown = replace(image, digest=Digest("0" * 64))
    name = re.escape(f"{image.reference.removesuffix(':latest')}@sha256:{'0' * 64}")
    missing = make("docker", silent, pullable).missing(execution(unknown, "true"))
    assert len(missing) == bool(sentence)
    assert re.fullmatch(sentence.format(name=name), "".join(missing))


def test_an_engine_that_does_not_see_our_disk(image: ContainerEnvironment, folders: Folders) -> None:
    elsewhere = replace(folders, inputs={"fetch": Path("/of/another/machine")})
    with pytest.raises(StepError) as error:
        make("docker", silent).run(execution(image, "true"), elsewhere, lambda _line: None)
    assert error.value.message == (
        'the step convert cannot start: the Docker Engine says: invalid mount config for type "bind": '
        "bind source path does not exist: /of/another/machine"
    )
    assert error.value.hint == (
        "if the engine does not see this machine's disk, set ENGINEBUILD_DOCKER_COPY=1: "
        "folders are copied then"
    )


def test_copies_are_shown_and_bounded_in_memory(
    image: ContainerEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")
    with (folders.inputs["fetch"] / "large").open("wb") as file:
        file.truncate(64 * MB)
    events: list[Event] = []
    wanted = execution(image, "cp /enginebuild/input/fetch/large /enginebuild/output")
    make("docker", events.append).run(wanted, folders, lambda _line: None)
    sent = [event for event in events if isinstance(event, Progress)]
    assert {event.label for event in sent} == {"send inputs to the engine"}
    assert sent[-1].done == sent[-1].total > 64 * MB
    assert len(sent) >= 64
    assert (folders.output / "large").stat().st_size == 64 * MB


def test_a_link_in_the_output_does_not_come_back(
    image: ContainerEnvironment, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")
    text = "cp -s /etc/passwd /enginebuild/output/link"
    with pytest.raises(StepError) as error:
        make("docker", silent).run(execution(image, text), folders, lambda _line: None)
    assert error.value.message == "cannot store link: it is a symbolic link"


_RUN = """
import os, sys
from pathlib import Path
from enginebuild.events import silent
from enginebuild.execution import ContainerEnvironment, Execution, Folders
from enginebuild.runners import make
from enginebuild_cache import Digest
reference, digest, top, text = sys.argv[1:]
top = Path(top)
folders = Folders({"fetch": top / "in"}, top / "scripts", top / "output")
execution = Execution("convert", ContainerEnvironment(reference, Digest(digest)), (("sh", "-c", text),))
make("docker", silent).run(execution, folders, lambda line: print(line, flush=True))
"""


def start(image: ContainerEnvironment, folders: Folders, text: str) -> subprocess.Popen[str]:
    """A run in a process of its own, whose command has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, image.reference, image.digest.hex, folders.output.parent, text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "begun\n":
        assert line.startswith("$ ")
    return process


@pytest.mark.usefixtures("_way")
def test_ctrl_c_removes_the_container(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine
) -> None:
    process = start(image, folders, "echo begun; sleep 60")
    assert ours(docker_engine) != []
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    assert ours(docker_engine) == []


def test_what_a_killed_run_left_is_removed_by_the_next(
    image: ContainerEnvironment,
    folders: Folders,
    docker_engine: DockerEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")
    process = start(image, folders, "echo begun; sleep 60")
    process.kill()
    process.communicate()
    assert len(ours(docker_engine)) == 5  # two containers, three volumes
    make("docker", silent).run(execution(image, "true"), folders, lambda _line: None)
    assert ours(docker_engine) == []


def test_a_living_run_s_is_left_alone(
    image: ContainerEnvironment, folders: Folders, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    process = start(image, folders, "echo begun; sleep 3; echo done")
    make("docker", silent).run(execution(image, "true"), folders, lambda _line: None)
    out, complaint = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n"), complaint
    assert ours(docker_engine) == []


def test_as_another_user_the_output_is_handed_back(
    image: ContainerEnvironment, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    """Root in the container is root here: what it wrote is given to whoever runs us."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    service = Path(docker_engine.host.removeprefix("unix://"))
    top = tmp_path / "theirs"
    for name in ("in", "scripts", "output"):
        (top / name).mkdir(parents=True)
    for path in (top, *top.iterdir()):
        os.chown(path, 12345, 12345)
    for parent in (*top.parents, *service.parents):
        parent.chmod(parent.stat().st_mode | 0o011)
    folders = Folders({"fetch": top / "in"}, top / "scripts", top / "output")
    text = "umask 077; mkdir /enginebuild/output/a; echo x > /enginebuild/output/a/b"
    runner = make("docker", silent)  # imports all, which the other user may not
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(service.stat().st_gid)
            os.setuid(12345)
            runner.run(execution(image, text), folders, lambda _line: None)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (top / "output/a/b").stat().st_uid == 12345


def test_the_engine_tells_the_memory_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux itself says it, and not what our own control group leaves; elsewhere swap is not known."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    found = make("docker", silent).memory()
    assert found is not None
    assert (found.size, found.name) == (pages * page, "the Docker Engine's machine")
    monkeypatch.setenv("ENGINEBUILD_DOCKER_COPY", "1")
    assert make("docker", silent).memory() == replace(found, swap=found.size)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert make("docker", silent).memory() is None


@pytest.fixture
def ssh(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An engine behind ssh; the file that the words of each ssh are written to."""
    standin = Path(services.__file__).with_name("ssh_standin")
    folder = docker_engine.command.parent
    monkeypatch.setenv("PATH", f"{standin}:{services.nvidia_path()}:{folder}")
    monkeypatch.setenv("SSH_STANDIN_ENGINE", docker_engine.host)
    monkeypatch.setenv("SSH_STANDIN_LOG", str(tmp_path / "ssh.log"))
    monkeypatch.setenv("DOCKER_HOST", "ssh://builder@Gpu-Box:2222")
    return tmp_path / "ssh.log"


def test_an_engine_behind_ssh(image: ContainerEnvironment, folders: Folders, ssh: Path) -> None:
    text = "cat /enginebuild/input/fetch/model; cp /enginebuild/input/fetch/model /enginebuild/output"
    wanted = replace(execution(image, text), gpus=GpuNeed(1))
    assert make("docker", silent).missing(wanted) == ()
    lines: list[str] = []
    facts = make("docker", silent).run(wanted, folders, lines.append)
    assert lines[1:] == ["weights"]
    assert (folders.output / "model").read_bytes() == b"weights\n"
    assert isinstance(facts["gpus"], list)
    assert len(facts["gpus"]) == 1
    options = "-T -o ConnectTimeout=30 -o BatchMode=yes -l builder -p 2222 -- Gpu-Box docker"
    assert set(ssh.read_text().splitlines()) == {
        f"{options} version --format {{{{.Server.Version}}}}",
        f"{options} system dial-stdio",
    }


def test_a_host_that_ssh_does_not_reach(
    image: ContainerEnvironment, ssh: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://unknown.example")
    sentence = (
        "no Docker Engine at ssh://unknown.example: "
        "ssh: Could not resolve hostname unknown.example: Name or service not known"
    )
    assert make("docker", silent).missing(execution(image, "true")) == (sentence,)
    with pytest.raises(StepError) as error:
        make("docker", silent).run(execution(image, "true"), folders, lambda _line: None)
    assert error.value.message == sentence
    assert error.value.hint == "`ssh HOST docker version` must work without a question"


def test_a_machine_without_ssh(
    image: ContainerEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://box")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make("docker", silent).missing(execution(image, "true")) == (
        "no Docker Engine at ssh://box: there is no program ssh",
    )
