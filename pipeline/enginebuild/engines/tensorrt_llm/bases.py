"""Whether an image holds the TensorRT-LLM that a recipe names: NVIDIA's own images say so in their tags."""

from __future__ import annotations

import re
from collections.abc import Iterator

from enginebuild.engines.tensorrt_llm.versions import Release, release_image, releases, spans
from enginebuild.errors import Problem

#: Mirrors keep the last two parts of the name; images of other makers say nothing.
_RELEASE = re.compile(r"(?:^|/)tensorrt-llm/release:(?P<tag>[^@]+)")
_TRITON = re.compile(r"(?:^|/)tritonserver:(?P<tag>[^@]+)")
_TRITON_TAG = re.compile(r"(?P<release>\d\d\.\d\d)-trtllm-python-py3\Z")
_VLLM = re.compile(r"(?:^|/)vllm/vllm-openai(?:-cpu)?[:@]")


def triton_releases() -> dict[str, Release]:
    """Triton's releases, such as `26.07`, and what they hold."""
    return {tag: known for known in releases().values() for tag in known.triton_tags}


def base_problem(base: str, wanted: Release, server: str | None) -> Problem | None:
    """What is wrong with image.base. `server` None: not known."""
    right = wanted.triton_image if server == "triton" else None
    found = (
        _other_engine(base, right or release_image(wanted.version))
        or _other_server(base, wanted, server)
        or _other_version(base, wanted)
    )
    return Problem(("image", "base"), f"image.base {found[0]}", found[1]) if found else None


def builder_problem(image: str, wanted: Release) -> Problem | None:
    """What is wrong with builder.image, which compiles for the version that will serve."""
    found = _other_engine(image, release_image(wanted.version)) or _other_version(image, wanted)
    return Problem(("builder", "image"), f"builder.image {found[0]}", found[1]) if found else None


def server_problems(wanted: Release, server: str, has_serve: bool) -> Iterator[Problem]:
    """A server that the version does not have. `has_serve`: its trtllm-serve is known."""
    path = ("engine", "server")
    if server == "triton" and not wanted.triton_tags:
        near = [known.version for known in releases().values() if known.triton_tags]
        message = f"no Triton image has TensorRT-LLM {wanted.version}"
        yield Problem(path, message, f"write server: trtllm-serve; Triton has {spans(near)}")
    if server == "trtllm-serve" and not has_serve:
        message = f"TensorRT-LLM {wanted.version} is not known to have trtllm-serve, which came with 0.16.0"
        yield Problem(path, message, f"write server: triton, and image.base {wanted.triton_image}")


_Finding = tuple[str, str] | None


def _other_engine(image: str, right: str) -> _Finding:
    if _VLLM.search(image) is None:
        return None
    return "is vLLM's, and engine.type is tensorrt_llm", f"write {right}"


def _other_server(base: str, wanted: Release, server: str | None) -> _Finding:
    if server == "triton" and _RELEASE.search(base):
        return "has no Triton, and engine.server is triton", f"write {wanted.triton_image}"
    if server == "trtllm-serve" and _TRITON.search(base):
        hint = f"write server: triton, or image.base {release_image(wanted.version)}"
        return "is Triton's, and engine.server is trtllm-serve", hint
    return None


def _other_version(image: str, wanted: Release) -> _Finding:
    if match := _RELEASE.search(image):
        if match["tag"] == wanted.version:
            return None
        tag = match["tag"]
        said = f"holds TensorRT-LLM {tag}, and engine.version is {wanted.version}"
        other = f", or version: {tag}" if tag in releases() else ""
        return said, f"write {image.partition('@')[0].replace(f':{tag}', f':{wanted.version}')}{other}"
    if match := _TRITON.search(image):
        return _other_triton(match["tag"], wanted)
    return None


def _other_triton(tag: str, wanted: Release) -> _Finding:
    write = f"write {wanted.triton_image or release_image(wanted.version)}"
    match = _TRITON_TAG.match(tag)
    if match is None:
        return f"has the tag {tag}, and Triton's images with TensorRT-LLM end in -trtllm-python-py3", write
    held = triton_releases().get(match["release"])
    if held is None:
        return f"is Triton {match['release']}, whose TensorRT-LLM is not known", write
    if held.version != wanted.version:
        said = f"holds TensorRT-LLM {held.version}, and engine.version is {wanted.version}"
        return said, f"{write}, or version: {held.version}"
    return None
