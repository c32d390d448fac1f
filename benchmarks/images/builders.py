"""The tools that people use today: docker, buildah, and olot with skopeo; each at its best for this work."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.images.contender import CASES, Contender, Opened, Round
from benchmarks.images.meter import Command
from benchmarks.images.services import docker_engine, program, unmount_below
from benchmarks.images.subject import Subject

#: olot is a Python tool with dependencies of its own; its environment is made once, outside the checkout.
OLOT = "olot==1.2.1"


def _containerfile(subject: Subject, path: Path) -> Path:
    """A layer per shard, so that a shard that is not changed need not be sent again; then the small files."""
    ignored = path.with_name(f"{path.name}.dockerignore")
    ignored.write_text(".*\n")
    lines = ["FROM scratch", *(f"COPY {name} /model/" for name in subject.shards)]
    lines.append("COPY *.json /model/" if subject.shards else "COPY . /model/")
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def docker(one: Round, *, buildkit: bool) -> Iterator[Opened]:
    """`docker build` and `docker push`, with a daemon of its own whose storage is empty."""
    client = program("docker", "docker.io")
    written = _containerfile(one.subject, one.folder / "Dockerfile")
    settings = one.folder / "docker-config"
    settings.mkdir()
    with docker_engine(one.folder / "dockerd") as engine:
        environment = {
            "DOCKER_HOST": engine.address,
            "DOCKER_CONFIG": str(settings),
            "DOCKER_BUILDKIT": str(int(buildkit)),
        }

        def commands() -> Sequence[Command]:
            folder = str(one.subject.folder)
            return [
                Command((client, "build", "-q", "-f", str(written), "-t", one.image, folder), environment),
                Command((client, "push", "-q", one.image), environment),
            ]

        yield Opened(commands, (engine.pid,))


@contextmanager
def _buildah(one: Round) -> Iterator[tuple[str, ...]]:
    policy = one.folder / "policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    root = one.folder / "storage"
    try:
        yield (
            program("buildah", "buildah"),
            *("--root", str(root), "--runroot", str(one.folder / "run"), "--storage-driver", "overlay"),
        )
    finally:
        unmount_below(one.folder)
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def buildah_bud(one: Round) -> Iterator[Opened]:
    """`buildah bud --layers --timestamp 0`, then `push -D`: uncompressed, and its cache can hit."""
    written = _containerfile(one.subject, one.folder / "Containerfile")
    policy = ("--signature-policy", str(one.folder / "policy.json"))
    with _buildah(one) as buildah:

        def commands() -> Sequence[Command]:
            build = ("bud", *policy, "-q", "--layers", "--timestamp", "0", "-f", str(written))
            push = ("push", *policy, "-q", "-D", "--tls-verify=false", "model", f"docker://{one.image}")
            return [
                Command((*buildah, *build, "-t", "model", str(one.subject.folder))),
                Command((*buildah, *push)),
            ]

        yield Opened(commands)


@contextmanager
def buildah_commit(one: Round) -> Iterator[Opened]:
    """`buildah from`, `copy`, and `commit -D` straight into the registry: one layer, no image kept."""
    policy = ("--signature-policy", str(one.folder / "policy.json"))
    numbers = itertools.count()
    with _buildah(one) as buildah:

        def commands() -> Sequence[Command]:
            name = f"work-{next(numbers)}"
            commit = ("commit", *policy, "-q", "-D", "--rm", "--timestamp", "0", "--tls-verify=false")
            return [
                Command((*buildah, "from", *policy, "--name", name, "scratch")),
                Command((*buildah, "copy", "-q", name, str(one.subject.folder), "/model")),
                Command((*buildah, *commit, name, f"docker://{one.image}")),
            ]

        yield Opened(commands)


@contextmanager
def olot(one: Round) -> Iterator[Opened]:
    """KServe's own tool: files as uncompressed layers of an OCI layout, which skopeo then copies."""
    tool, skopeo = _olot_program(), program("skopeo", "skopeo")
    layout = one.folder / "layout"

    def commands() -> Sequence[Command]:
        shutil.rmtree(layout, ignore_errors=True)
        _write_base(layout)
        folder, subject = one.subject.folder, one.subject
        # A layer per file is its way; for thousands of small files only the folder as one layer can run.
        files = [str(folder / name) for name in (*subject.shards, *subject.others)]
        wanted = files if subject.shards else [str(folder)]
        # Without --preserve-digests skopeo would compress.
        copy = ("--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false")
        return [
            Command((tool, str(layout), *wanted)),
            Command((skopeo, *copy, f"oci:{layout}:latest", f"docker://{one.image}")),
        ]

    yield Opened(commands)


def _olot_program() -> str:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(caches) / "enginebuild-benchmarks" / OLOT.replace("==", "-")
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", "-qq", OLOT]
        subprocess.run(pip, check=True)
        (folder / "ready").touch()
    return str(folder / "bin/olot")


def _write_base(layout: Path) -> None:
    """An OCI layout of one tiny layer, which olot needs to begin with."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("base"), io.BytesIO())
    layer = blob(out.getvalue(), "layer.v1.tar")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created_by": "base"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [layer],
    }
    named = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    named["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


BUILDERS = (
    Contender("docker", "`docker build` + push", CASES, partial(docker, buildkit=False)),
    Contender("buildkit", "the same with its BuildKit", CASES, partial(docker, buildkit=True)),
    Contender("buildah-bud", "`buildah bud --layers`, `push -D`", CASES, buildah_bud),
    Contender("buildah-commit", "`buildah copy`, `commit -D` to the registry", CASES, buildah_commit),
    Contender("olot", "olot, `skopeo copy`", CASES, olot),
)
