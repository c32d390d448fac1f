"""Who to be at a registry: Docker's config.json, Podman's auth.json and the credential programs they name.

The files and their order follow containers-auth.json(5) and docker-login(1); a credential program is called
`docker-credential-NAME get`, gets the host on its standard input and answers with JSON
(docker-credential-helpers).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enginebuild_cache import Json
from enginebuild_images.errors import RegistryError
from enginebuild_images.reference import DOCKER_HUB, DOCKER_HUB_API

#: The user under which credential programs give an identity token instead of a password.
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a user name, fixed by docker-credential-helpers

#: Docker Hub's key in config.json and for credential programs, from before registries had a v2 API.
DOCKER_HUB_LEGACY = "https://index.docker.io/v1/"

_HUB_KEYS = (DOCKER_HUB_LEGACY, "index.docker.io", DOCKER_HUB, DOCKER_HUB_API)
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NOT_FOUND = "credentials not found"


class Secret:
    """Text that is shown nowhere: not by repr, str or format, and it refuses to be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and a password, or an identity token. `source` says where it was found, for error messages."""

    user: str
    secret: Secret
    source: str

    @property
    def is_identity_token(self) -> bool:
        return self.user == IDENTITY_TOKEN_USER

    def __str__(self) -> str:
        who = "an identity token" if self.is_identity_token else f"user {self.user!r}"
        return f"{who} ({self.source})"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a registry. `looked` says where nothing was, for the error of a 401."""

    credential: Credential | None
    looked: tuple[str, ...] = ()


class Credentials(Protocol):
    """Where credentials come from."""

    def find(self, registry: str, repository: str = "") -> Found:
        """The credential for a repository of a registry (as in an image's name: `docker.io`)."""
        ...


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No credentials for any registry."""

    def find(self, registry: str, repository: str = "") -> Found:
        return Found(None)


@dataclass(frozen=True, slots=True)
class DockerCredentials:
    """The credentials that `docker login`, `podman login` or a credential program keep.

    The first of `files` with an answer wins. `timeout` bounds a credential program, in seconds.
    """

    files: tuple[Path, ...]
    timeout: float = 30.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> DockerCredentials:
        """$DOCKER_CONFIG/config.json, $REGISTRY_AUTH_FILE, ${XDG_RUNTIME_DIR}/containers/auth.json."""
        env = os.environ if environment is None else environment
        folder = env.get("DOCKER_CONFIG")
        files = [
            (Path(folder) if folder else Path(env.get("HOME") or "~").expanduser() / ".docker")
            / "config.json"
        ]
        if named := env.get("REGISTRY_AUTH_FILE"):
            files.append(Path(named))
        if runtime := env.get("XDG_RUNTIME_DIR"):
            files.append(Path(runtime) / "containers" / "auth.json")
        return cls(tuple(files))

    def find(self, registry: str, repository: str = "") -> Found:
        """Look through the files. Raises RegistryError for a file that cannot be read."""
        looked: list[str] = []
        for file in self.files:
            document = _read(file)
            if document is None:
                looked.append(f"{file} (no such file)")
                continue
            for credential in self._of_file(file, document, registry, repository, looked):
                return Found(credential, tuple(looked))
        return Found(None, tuple(looked))

    def _of_file(
        self, file: Path, document: Mapping[str, Json], registry: str, repository: str, looked: list[str]
    ) -> Iterator[Credential]:
        before = len(looked)
        program = _program_for(document, registry)
        if program is not None:
            key = DOCKER_HUB_LEGACY if registry == DOCKER_HUB else registry
            credential = _ask(program, key, file, self.timeout, looked)
            if credential is not None:
                yield credential
        credential = _stored(file, document, registry, repository, looked)
        if credential is not None:
            yield credential
        if len(looked) == before:
            looked.append(str(file))


def _read(file: Path) -> Mapping[str, Json] | None:
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(
            f"the registry credentials in {file} cannot be read: {error.strerror}",
            "make the file readable for this user, or point DOCKER_CONFIG to another folder",
        ) from None
    try:
        document = json.loads(content) if content.strip() else {}
    except ValueError as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "not UTF-8"
        raise _malformed(file, f"it is not JSON ({where})") from None
    if not isinstance(document, dict):
        raise _malformed(file, "it is not a JSON object")
    return document


def _malformed(file: Path, why: str) -> RegistryError:
    return RegistryError(
        f"the registry credentials in {file} cannot be read: {why}",
        "mend the file, or remove it and run `docker login` again",
    )


def _section(document: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    section = document.get(name)
    return section if isinstance(section, dict) else {}


def _program_for(document: Mapping[str, Json], registry: str) -> str | None:
    named = _section(document, "credHelpers")
    for key in _HUB_KEYS if registry == DOCKER_HUB else (registry,):
        if isinstance(program := named.get(key), str) and program:
            return program
    store = document.get("credsStore")
    return store if isinstance(store, str) and store else None


def _ask(name: str, key: str, file: Path, timeout: float, looked: list[str]) -> Credential | None:
    """Run a credential program. What it lacks is noted in `looked`: a public image needs no credentials."""
    program = f"docker-credential-{name}"
    place = f"{program}, named in {file}"
    if not _PROGRAM.match(name):
        looked.append(f"{place} (not a program's name)")
        return None
    try:
        done = subprocess.run(
            [program, "get"], input=key.encode(), capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        looked.append(f"{place} (not installed)")
        return None
    except subprocess.TimeoutExpired:
        looked.append(f"{place} (no answer within {timeout:g} s)")
        return None
    except OSError as error:
        looked.append(f"{place} ({error.strerror})")
        return None
    if done.returncode != 0:
        looked.append(f"{place} ({_complaint(done)})")
        return None
    return _answer(done.stdout, program, place, looked)


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    # Programs of docker-credential-helpers print their errors to standard output, others to standard error.
    text = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
    if _NOT_FOUND in text:
        return "has none for it"
    first = "".join(c for c in text.partition("\n")[0] if c.isprintable())[:200]
    return f"exit code {done.returncode}: {first}" if first else f"exit code {done.returncode}"


def _answer(output: bytes, program: str, place: str, looked: list[str]) -> Credential | None:
    try:
        reply = json.loads(output)
        user, secret = reply["Username"], reply["Secret"]
    except (ValueError, KeyError, TypeError):
        looked.append(f"{place} (its answer is not JSON with Username and Secret)")
        return None
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        looked.append(f"{place} (has none for it)")
        return None
    return Credential(user, Secret(secret), program)


def _stored(
    file: Path, document: Mapping[str, Json], registry: str, repository: str, looked: list[str]
) -> Credential | None:
    entries = {_normal(key): value for key, value in _section(document, "auths").items()}
    for key in _keys(registry, repository):
        entry = entries.get(key)
        if isinstance(entry, dict) and entry:
            credential = _of_entry(entry, str(file))
            if credential is not None:
                return credential
            looked.append(f"{file} (its entry for {key} holds no user and password)")
    return None


def _normal(key: str) -> str:
    """`https://host/v1/` → `host`: older Dockers wrote keys as URLs."""
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    return bare.removesuffix("/v1").removesuffix("/v2")


def _keys(registry: str, repository: str) -> Iterator[str]:
    """The most special first: Podman keeps credentials for `host/namespace` too."""
    for host in (*map(_normal, _HUB_KEYS),) if registry == DOCKER_HUB else (registry,):
        parts = [part for part in repository.split("/") if part]
        for count in range(len(parts), -1, -1):
            yield "/".join((host, *parts[:count]))


def _of_entry(entry: Mapping[str, Json], source: str) -> Credential | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credential(IDENTITY_TOKEN_USER, Secret(token), source)
    user, password = _decoded(entry.get("auth")) or (entry.get("username"), entry.get("password"))
    if isinstance(user, str) and isinstance(password, str) and user and password:
        return Credential(user, Secret(password), source)
    return None


def _decoded(auth: Json) -> tuple[str, str] | None:
    if not isinstance(auth, str) or not auth:
        return None
    try:
        # Docker itself strips NUL bytes from the end (docker/cli, configfile.decodeAuth).
        text = base64.b64decode(auth, validate=True).decode().rstrip("\0")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


__all__ = [
    "IDENTITY_TOKEN_USER",
    "Anonymous",
    "Credential",
    "Credentials",
    "DockerCredentials",
    "Found",
    "Secret",
]
