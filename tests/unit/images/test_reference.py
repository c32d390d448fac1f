"""Names of images: completed as Docker completes them, read back as written, refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild_cache import Digest
from enginebuild_images.errors import ImageError
from enginebuild_images.reference import Reference

DIGEST = Digest.of(b"image")
FORM = "an image is named like registry.example.com/team/name:tag or …/name@sha256:<64 hex digits>"
TAG_RULE = "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and starts with none of . and -"
PART_RULE = "each part has a-z 0-9, with single . or _, or -, in between"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("vllm/vllm-openai:v0.33.0", "docker.io/vllm/vllm-openai:v0.33.0"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("index.docker.io/a/b", "docker.io/a/b"),
        ("registry-1.docker.io/a/b", "docker.io/a/b"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/a", "[::1]:5000/a"),
        ("Registry/a", "Registry/a"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.1", "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"),
        ("a.b/c__d/e--f/g.h", "a.b/c__d/e--f/g.h"),
        (f"a.b/c@{DIGEST}", f"a.b/c@{DIGEST}"),
        (f"a.b/c:d@{DIGEST}", f"a.b/c:d@{DIGEST}"),
        (f"c:{'t' * 128}", f"docker.io/library/c:{'t' * 128}"),
    ],
)
def test_a_name_in_full(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


def test_parts() -> None:
    reference = Reference.parse(f"localhost:5000/team/name:tag@{DIGEST}")
    assert (reference.registry, reference.repository) == ("localhost:5000", "team/name")
    assert (reference.tag, reference.digest) == ("tag", DIGEST)
    assert reference.name == "localhost:5000/team/name"


def test_only_docker_hub_has_another_host_for_requests() -> None:
    assert Reference.parse("busybox").api_host == "registry-1.docker.io"
    assert Reference.parse("localhost:5000/busybox").api_host == "localhost:5000"


def test_no_tag_is_made_up_unless_asked_for() -> None:
    assert Reference.parse("a.b/c").tag is None
    assert Reference.parse("a.b/c", "latest").tag == "latest"
    assert Reference.parse("a.b/c:d", "latest").tag == "d"
    assert Reference.parse(f"a.b/c@{DIGEST}", "latest").tag is None


def test_pinning_keeps_the_tag_and_another_tag_drops_the_digest() -> None:
    pinned = Reference.parse("a.b/c:d").with_digest(DIGEST)
    assert str(pinned) == f"a.b/c:d@{DIGEST}"
    assert str(pinned.with_tag("e")) == "a.b/c:e"
    with pytest.raises(ImageError) as caught:
        pinned.with_tag("no/tag")
    assert caught.value.message == "'a.b/c:no/tag' is not an image name: 'no/tag' cannot be a tag"


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("", "it names no repository", FORM),
        ("a.b/", "it names no repository", FORM),
        ("https://a.b/c", "it starts like a URL", "leave out https://"),
        ("Llama", "the repository 'Llama' has capital letters", "write 'llama'"),
        ("a.b/Llama/x", "the repository 'Llama/x' has capital letters", "write 'llama/x'"),
        ("a.b/c:", "'' cannot be a tag", TAG_RULE),
        ("a.b/c:-x", "'-x' cannot be a tag", TAG_RULE),
        ("a.b/c:d:e", "'d:e' cannot be a tag", TAG_RULE),
        (f"c:{'t' * 129}", f"{'t' * 129!r} cannot be a tag", TAG_RULE),
        ("a.b/c@sha256:12", "after @ must stand sha256: and 64 lower-case hex digits", FORM),
        (f"a.b/c@{'0' * 64}", "after @ must stand sha256: and 64 lower-case hex digits", FORM),
        ("a.b:0/c", "0 is not a port", FORM),
        ("a.b:65536/c", "65536 is not a port", FORM),
        ("-a.b/c", "'-a.b' cannot be a registry's host", FORM),
        ("a.b:x/c", "'a.b:x' cannot be a registry's host", FORM),
        ("a//b", "'' cannot be a part of a repository", PART_RULE),
        ("a.b/c d", "'c d' cannot be a part of a repository", PART_RULE),
        ("a.b/c___d", "'c___d' cannot be a part of a repository", PART_RULE),
        ("a.b/../c", "'..' cannot be a part of a repository", PART_RULE),
        (f"a.b/{'c' * 252}", "it has more than 255 characters", FORM),
    ],
)
def test_a_bad_name_is_refused(text: str, why: str, hint: str) -> None:
    with pytest.raises(ImageError) as caught:
        Reference.parse(text)
    assert caught.value.message == f"{text!r} is not an image name: {why}"
    assert caught.value.hint == hint


_PART = st.from_regex(r"[a-z0-9]{1,9}([._-][a-z0-9]{1,9})?", fullmatch=True)
_HOST = st.sampled_from(["docker.io", "localhost", "localhost:5000", "a.b", "10.0.0.1:80", "[::1]:5000"])
_TAG = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(_HOST, st.lists(_PART, min_size=1, max_size=4), _TAG, st.sampled_from([None, DIGEST]))
def test_what_is_written_is_read_back(
    host: str, parts: list[str], tag: str | None, digest: Digest | None
) -> None:
    repository = "/".join(parts) if host != "docker.io" or len(parts) > 1 else f"library/{parts[0]}"
    reference = Reference(host, repository, tag, digest)
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ImageError:
        return
    assert Reference.parse(str(reference)) == reference
