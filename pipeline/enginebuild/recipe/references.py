"""Forms of image names: what `image.base`, `image.repository` and `image.tags` may be.

The grammar is that of distribution's reference package (github.com/distribution/reference, v0.6.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from enginebuild.recipe.forms import HOME
from enginebuild.recipe.kinds import Complaint, any_of, closest
from enginebuild.recipe.show import bare, quoted

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
REPOSITORY = rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
#: The base that is none.
SCRATCH = "scratch"
IMAGE = rf"{REPOSITORY}(?::{TAG})?(?:@{_DIGEST})?"
BASE = rf"scratch|oci:.+|{IMAGE}"
_REPOSITORY = re.compile(REPOSITORY + r"\Z")
_REFERENCE = re.compile(rf"(?P<name>{REPOSITORY})(?::(?P<tag>{TAG}))?(?:@(?P<digest>{_DIGEST}))?\Z")
_TAG = re.compile(TAG + r"\Z")
#: containers/image's transports; without a check, docker-archive:x.tar would read as a name and a tag.
_TRANSPORT = re.compile(r"(docker-archive|oci-archive|docker-daemon|containers-storage|dir):")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

#: What a tag may hold in braces → a text of its length, where that does not depend on the recipe.
PLACEHOLDERS: Mapping[str, str] = {
    "key": "0" * 12,
    "name": "",
    "commit": "0" * 12,
    "version": "",
}

_FILLED = r"\{(?:" + "|".join(PLACEHOLDERS) + r")\}"
#: A tag with placeholders, for the schema.
TAG_PATTERN = rf"(?:[A-Za-z0-9_]|{_FILLED})(?:[A-Za-z0-9._-]|{_FILLED})*"


def base(text: str) -> Complaint | None:
    """`scratch`, `oci:./layout[:tag]`, or a registry reference with a tag or a digest."""
    if text == SCRATCH:
        return None
    if text.startswith("oci:"):
        return _layout(text)
    match = None if _TRANSPORT.match(text) else _REFERENCE.match(text)
    if match is None:
        message = f"must be scratch, oci:./layout or an image reference, not {quoted(text)}"
        hint = _reference_hint(text) or "write for example docker.io/vllm/vllm-openai:v0.33.0"
        return Complaint(message, f"for an OCI layout, write oci:{bare(text)}" if text[:1] in "./" else hint)
    if match["tag"] is None and match["digest"] is None:
        hint = f"write {bare(text)}:TAG or {bare(text)}@sha256:DIGEST"
        return Complaint(f"has neither a tag nor a digest: {quoted(text)}", hint)
    return None


def builder_image(text: str) -> Complaint | None:
    """A registry reference with a tag or a digest."""
    match = None if _TRANSPORT.match(text) or text.startswith("oci:") else _REFERENCE.match(text)
    if match is None:
        message = f"must be an image reference, not {quoted(text)}"
        return Complaint(
            message, _reference_hint(text) or "write for example nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
        )
    if match["tag"] is None and match["digest"] is None:
        hint = f"write {bare(text)}:TAG or {bare(text)}@sha256:DIGEST"
        return Complaint(f"has neither a tag nor a digest: {quoted(text)}", hint)
    return None


def _layout(text: str) -> Complaint | None:
    folder = text.removeprefix("oci:")
    if folder.startswith("//"):
        return Complaint(
            f"must be oci:./layout[:tag], not {quoted(text)}", "write oci: and the folder, without //"
        )
    if folder.startswith("~"):
        return HOME
    if not folder.split(":")[0].strip() or "\0" in folder:
        message = f"must name the folder of an OCI layout after oci:, not {quoted(text)}"
        return Complaint(message, "write for example oci:./base")
    return None


def _reference_hint(text: str) -> str:
    scheme = re.match(r"(?:docker|https?)://(.+)", text)
    if scheme:
        # What is before the @ is a user's name and password.
        return f"write it without the scheme: {bare(scheme[1].rpartition('@')[2])}"
    transport = _TRANSPORT.match(text)
    if transport:
        return f"{transport[1]}: is no base of this version: copy it to an OCI layout and write oci:./layout"
    login = re.match(r"[^/@]+:[^/@]+@(?!sha256:)(.+)", text)
    if login:
        return f"a recipe holds no passwords: use docker login and write {bare(login[1])}"
    if "@" in text and not re.search(rf"@{_DIGEST}\Z", text):
        return "a digest is sha256: and 64 digits"
    if _REFERENCE.match(text.lower()):
        return f"names of images are in lower case: {bare(text.lower())}"
    return "remove the spaces" if text.strip() != text or " " in text else ""


def repository(text: str) -> Complaint | None:
    """A registry reference without tag and digest."""
    if _REPOSITORY.match(text):
        return None
    match = _REFERENCE.match(text)
    if match is not None:
        message = f"has a tag or a digest: {quoted(text)}"
        tag = f' and tags: ["{bare(match["tag"])}"]' if match["tag"] else ""
        return Complaint(message, f"write repository: {bare(match['name'])}{tag}")
    message = f"must be the name of a repository, not {quoted(text)}"
    return Complaint(
        message, _reference_hint(text) or "write for example registry.example.com/llm/llama-3.1-8b"
    )


def cache_repository(text: str) -> Complaint | None:
    """A registry reference without tag and digest: a cache has tags of its own."""
    match = None if _REPOSITORY.match(text) else _REFERENCE.match(text)
    if match is not None:
        return Complaint(f"has a tag or a digest: {quoted(text)}", f"write {bare(match['name'])}")
    return repository(text)


def tag(text: str) -> Complaint | None:
    """A tag with placeholders. Whether it is short enough when expanded depends on the recipe's name."""
    for placeholder in _PLACEHOLDER.findall(text):
        if placeholder not in PLACEHOLDERS:
            known = tuple(PLACEHOLDERS)
            close = closest(placeholder, known)
            hint = (
                f"did you mean {{{close}}}?"
                if close
                else f"write {any_of([f'{{{each}}}' for each in known])}"
            )
            return Complaint(f"has the unknown placeholder {{{bare(placeholder)}}}", hint)
    if _TAG.match(_PLACEHOLDER.sub("0", text)):
        return None
    message = f"must be a tag: letters, digits, '.', '_' and '-', 128 at most, not {quoted(text)}"
    if ":" in text or "/" in text:
        return Complaint(message, "write the tag alone; its repository is image.repository")
    return Complaint(message, 'write for example "fp8-{key}"')


def expand(text: str, values: Mapping[str, str]) -> str:
    """A tag with its placeholders filled in."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def is_tag(text: str) -> bool:
    return bool(_TAG.match(text))


#: The vLLM in Triton's images, by their release (NVIDIA's support matrix of Triton's images).
_TRITON_VLLM = {"26.08": "0.27.1"}


def vllm_version(reference: str) -> str:
    """The version in the tag of vLLM's own image (docker.io/vllm/vllm-openai:v0.33.0), or that of Triton's
    with it where that is known, else an empty text.
    """
    match = re.search(r"(?:^|/)vllm/vllm-openai(?:-cpu)?:v([0-9]+\.[0-9]+\.[0-9]+)(?:[-@]|\Z)", reference)
    if match:
        return match[1]
    triton = re.search(r"(?:^|/)nvidia/tritonserver:([0-9.]+)-vllm-python-py3", reference)
    return _TRITON_VLLM.get(triton[1], "") if triton else ""


def holds_tensorrt_llm(reference: str) -> bool:
    """Whether this is one of NVIDIA's images with TensorRT-LLM: its own, or Triton's with it."""
    name = r"nvidia/(?:tensorrt-llm/release[:@]|tritonserver:[0-9.]+-trtllm-python-py3)"
    return re.search(rf"(?:^|/){name}", reference) is not None
