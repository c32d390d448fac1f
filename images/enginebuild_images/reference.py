"""Names of images in registries: `docker.io/vllm/vllm-openai:v0.33.0@sha256:…`.

The grammar is the one of github.com/distribution/reference v0.6; a short name is completed as Docker does:
`busybox` is `docker.io/library/busybox`. A tag is never made up unless the caller asks for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from enginebuild_cache import Digest
from enginebuild_images.errors import ImageError

DOCKER_HUB = "docker.io"
#: The host that serves Docker Hub's API; `docker.io` itself only redirects to a web page.
DOCKER_HUB_API = "registry-1.docker.io"

_HUB_ALIASES = frozenset({DOCKER_HUB, "index.docker.io", DOCKER_HUB_API})
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]+))?\Z")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_NAME_LIMIT = 255
_FORM = "an image is named like registry.example.com/team/name:tag or …/name@sha256:<64 hex digits>"


@dataclass(frozen=True, order=True, slots=True)
class Reference:
    """An image's name in full. Make one with `Reference.parse`; `str()` gives what `parse` reads back."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_tag: str | None = None) -> Reference:
        """Read a name; `default_tag` is taken when it has neither tag nor digest. Raises ImageError."""
        if "://" in text:
            raise _bad(text, "it starts like a URL", f"leave out {text.split('://')[0]}://")
        rest, digest = _split_digest(text)
        rest, tag = _split_tag(text, rest)
        registry, repository = _split_registry(text, rest)
        if tag is None and digest is None:
            tag = default_tag
        return cls(registry, repository, tag, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def api_host(self) -> str:
        """`host[:port]` to which requests go; differs from `registry` for Docker Hub alone."""
        return DOCKER_HUB_API if self.registry == DOCKER_HUB else self.registry

    def with_digest(self, digest: Digest) -> Reference:
        """The same name pinned to a digest; the tag stays, for people to read."""
        return replace(self, digest=digest)

    def with_tag(self, tag: str) -> Reference:
        """The same repository at another tag; the digest goes, for it belonged to the old one."""
        _check_tag(f"{self.name}:{tag}", tag)
        return replace(self, tag=tag, digest=None)


def _bad(text: str, why: str, hint: str = _FORM) -> ImageError:
    return ImageError(f"{text!r} is not an image name: {why}", hint)


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return rest, None
    try:
        return rest, Digest.parse(digest)
    except ValueError:
        raise _bad(text, "after @ must stand sha256: and 64 lower-case hex digits") from None


def _split_tag(text: str, rest: str) -> tuple[str, str | None]:
    slash = rest.rfind("/")
    name, colon, tag = rest[slash + 1 :].partition(":")
    if not colon:
        return rest, None
    _check_tag(text, tag)
    return rest[: slash + 1] + name, tag


def _check_tag(text: str, tag: str) -> None:
    if not _TAG.match(tag):
        raise _bad(
            text,
            f"{tag!r} cannot be a tag",
            "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and starts with none of . and -",
        )


def _split_registry(text: str, rest: str) -> tuple[str, str]:
    first, slash, path = rest.partition("/")
    if not slash or not _is_host(first):
        registry, path = DOCKER_HUB, rest
    else:
        registry = first
        _check_host(text, first)
    if registry in _HUB_ALIASES:
        registry = DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    _check_repository(text, registry, path)
    return registry, path


def _is_host(part: str) -> bool:
    return part == "localhost" or any(c in ".:[" for c in part) or part != part.lower()


def _check_host(text: str, host: str) -> None:
    match = _HOST.match(host)
    if match is None:
        raise _bad(text, f"{host!r} cannot be a registry's host")
    port = match["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise _bad(text, f"{port} is not a port")


def _check_repository(text: str, registry: str, path: str) -> None:
    shown = path.removeprefix("library/") if registry == DOCKER_HUB else path
    if not shown:
        raise _bad(text, "it names no repository")
    if path != path.lower():
        raise _bad(text, f"the repository {shown!r} has capital letters", f"write {shown.lower()!r}")
    for part in path.split("/"):
        if not _PART.match(part):
            raise _bad(
                text,
                f"{part!r} cannot be a part of a repository",
                "each part has a-z 0-9, with single . or _, or -, in between",
            )
    if len(registry) + 1 + len(path) > _NAME_LIMIT:
        raise _bad(text, f"it has more than {_NAME_LIMIT} characters")
