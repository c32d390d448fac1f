"""Pushing to a registry that plays the quirks and faults of real ones: it arrives, or the error says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enginebuild_images.errors import ImageError, RegistryError
from enginebuild_images.image import Image
from enginebuild_images.reference import Reference
from enginebuild_images.registry import PushResult, Registry
from parts.registry_images import GivenCredentials, SyntheticBlob, client, image_of
from parts.registry_quirks import IDENTITY_TOKEN, PASSWORD, USER, QuirkRegistry, quirk_registry

SMALL = image_of(b"one layer", b"another")
BIG = image_of(SyntheticBlob.of(5_500_000), b"small")
UPLOADS = "/blobs/uploads/"
BUILDER = GivenCredentials(USER, PASSWORD)
IN_TROUBLE = "see the registry's own log; run again when it is well: what it already has is not sent again"


@pytest.fixture
def quirks() -> Iterator[QuirkRegistry]:
    with quirk_registry() as registry:
        yield registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with client() as registry:
        yield registry


def name(quirks: QuirkRegistry, text: str = "team/app:v1") -> Reference:
    return Reference.parse(f"{quirks.host}/{text}")


def assert_arrived(
    quirks: QuirkRegistry, image: Image, repository: str = "team/app", tag: str = "v1"
) -> None:
    assert quirks.manifests[repository, tag][1] == image.manifest.content
    assert quirks.manifests[repository, str(image.digest)][1] == image.manifest.content
    for blob in image.blobs:
        assert quirks.blobs[repository, str(blob.descriptor.digest)] == b"".join(blob.chunks())


def refused(registry: Registry, image: Image, reference: Reference) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        registry.push(image, reference)
    return caught.value


def upload_error(quirks: QuirkRegistry, image: Image, what: str, position: int = 0, size: str = "9 B") -> str:
    digest = image.layers[position].descriptor.digest
    return f"{quirks.host}: cannot upload blob {digest.short} ({size}) to team/app: {what}"


# The way of an image


def test_blobs_then_config_then_manifest_by_digest_then_tags(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    result = registry.push(SMALL, name(quirks), ["v2", "v1", "latest"])
    size = sum(blob.descriptor.size for blob in SMALL.blobs)
    assert result == PushResult(SMALL.digest, bytes_sent=size, present=0, mounted=0, sent=3)
    manifests = "PUT /v2/team/app/manifests/"
    assert quirks.lines()[-4:] == [
        f"{manifests}{SMALL.digest}",
        f"{manifests}v1",
        f"{manifests}v2",
        f"{manifests}latest",
    ]
    commits = [seen for seen in quirks.seen if seen.method == "PUT" and UPLOADS in seen.path]
    assert commits[-1].query["digest"] == str(SMALL.config.descriptor.digest)
    assert_arrived(quirks, SMALL)


def test_a_second_push_sends_no_blob(quirks: QuirkRegistry, registry: Registry) -> None:
    registry.push(SMALL, name(quirks))
    quirks.seen.clear()
    assert registry.push(SMALL, name(quirks)) == PushResult(SMALL.digest, 0, present=3, mounted=0, sent=0)
    assert quirks.lines("POST", "PATCH") == []
    assert len(quirks.lines("HEAD")) == 3


def test_a_layer_that_stands_twice_is_sent_once(quirks: QuirkRegistry, registry: Registry) -> None:
    image = image_of(b"same", b"same")
    assert registry.push(image, name(quirks)).sent == 2
    assert_arrived(quirks, image)


def test_an_empty_layer_is_sent(quirks: QuirkRegistry, registry: Registry) -> None:
    image = image_of(b"")
    registry.push(image, name(quirks))
    assert_arrived(quirks, image)


def test_bodies_have_a_length_and_are_never_chunked_on_the_wire(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    registry.push(BIG, name(quirks))
    for seen in quirks.seen:
        assert "transfer-encoding" not in seen.headers
        if seen.method in ("PUT", "POST", "PATCH"):
            assert int(seen.headers["content-length"]) == seen.body


def test_progress_is_reported(quirks: QuirkRegistry) -> None:
    told: list[tuple[str, int, int]] = []
    with client(jobs=1, report=lambda *one: told.append(one)) as registry:
        registry.push(BIG, name(quirks))
    big = BIG.layers[0].descriptor
    mine = [(done, total) for label, done, total in told if label == f"blob {big.digest.short}"]
    assert mine[0] == (1 << 20, big.size)
    assert mine[-1] == (big.size, big.size)
    assert mine == sorted(mine)


def test_at_most_so_many_uploads_run_at_a_time(quirks: QuirkRegistry) -> None:
    image = image_of(*(bytes([number]) * 10 for number in range(8)))
    for _ in range(8):
        quirks.fault("PUT", UPLOADS, stall=0.05)
    started = time.monotonic()
    with client(jobs=2) as registry:
        registry.push(image, name(quirks))
    assert time.monotonic() - started >= 4 * 0.05
    assert_arrived(quirks, image)


# Mounts


def mounted(quirks: QuirkRegistry, registry: Registry) -> tuple[Image, PushResult]:
    registry.push(SMALL, name(quirks, "base/image:v1"))
    base = registry.base(name(quirks, "base/image:v1"))
    image = image_of(*base.layers, b"ours")
    quirks.seen.clear()
    return image, registry.push(image, name(quirks))


def test_base_layers_of_the_same_registry_are_mounted(quirks: QuirkRegistry, registry: Registry) -> None:
    image, result = mounted(quirks, registry)
    assert (result.present, result.mounted, result.sent) == (0, 2, 2)
    mounts = [seen for seen in quirks.seen if "mount" in seen.query]
    assert {seen.query["from"] for seen in mounts} == {"base/image"}
    assert quirks.lines("GET") == []
    assert_arrived(quirks, image)


@pytest.mark.parametrize("status", [202, 400, 401, 403, 404, 500])
def test_a_mount_that_is_refused_becomes_an_upload(
    quirks: QuirkRegistry, registry: Registry, status: int
) -> None:
    quirks.mount = status
    image, result = mounted(quirks, registry)
    assert (result.mounted, result.sent) == (0, 4)
    posts = [seen for seen in quirks.seen if seen.method == "POST"]
    # A 202 has opened an upload already: no second POST.
    assert len(posts) == (4 if status == 202 else 6)
    assert_arrived(quirks, image)


def test_a_mount_whose_connection_drops_becomes_an_upload(quirks: QuirkRegistry) -> None:
    quirks.fault("POST", UPLOADS, drop=True, skip=3)  # three for the base image
    with client(jobs=1) as registry:
        image, result = mounted(quirks, registry)
        assert_arrived(quirks, image)
    assert (result.mounted, result.sent) == (1, 3)


def test_a_source_for_which_there_is_no_token_becomes_an_upload(quirks: QuirkRegistry) -> None:
    quirks.auth = "token"
    with client(BUILDER) as registry, client() as reader:
        registry.push(SMALL, name(quirks, "base/image:v1"))
        base = reader.base(name(quirks, "base/image:v1"))
        quirks.hidden = {"base/image"}  # the reader still has its token
        image = image_of(*base.layers)
        result = registry.push(image, name(quirks))
        assert_arrived(quirks, image)
    assert (result.mounted, result.sent) == (0, 3)
    assert len([seen for seen in quirks.seen if "mount" in seen.query and seen.status == 401]) == 4


def test_layers_of_another_registry_are_piped(quirks: QuirkRegistry, registry: Registry) -> None:
    with quirk_registry() as other:
        registry.push(BIG, name(other, "base/image:v1"))
        image = image_of(*registry.base(name(other, "base/image:v1")).layers)
        registry.push(image, name(quirks))
        assert all("mount" not in seen.query for seen in quirks.seen)
    assert_arrived(quirks, image)


# Ways of sending


def test_the_first_way_is_one_put(quirks: QuirkRegistry, registry: Registry) -> None:
    registry.push(BIG, name(quirks))
    assert quirks.lines("PATCH") == []
    assert_arrived(quirks, BIG)


@pytest.mark.parametrize(("status", "code"), [(404, ""), (405, ""), (501, ""), (400, "UNSUPPORTED")])
def test_a_refused_put_leads_to_one_patch(
    quirks: QuirkRegistry, registry: Registry, status: int, code: str
) -> None:
    quirks.fault("PUT", UPLOADS, status=status, code=code)
    with client(jobs=1) as registry:
        registry.push(BIG, name(quirks))
    patches = [seen for seen in quirks.seen if seen.method == "PATCH"]
    assert len(patches) == 3  # the way is remembered
    assert all("content-range" not in seen.headers for seen in patches)
    assert_arrived(quirks, BIG)


def test_where_only_chunks_are_taken_chunks_are_sent(quirks: QuirkRegistry) -> None:
    quirks.ways = {"Content-Range"}
    with client(jobs=1, chunk_size=2_000_000) as registry:
        registry.push(BIG, name(quirks))
    sent = [seen.headers["content-range"] for seen in quirks.seen if "content-range" in seen.headers]
    assert sent[:3] == ["0-1999999", "2000000-3999999", "4000000-5499999"]
    assert_arrived(quirks, BIG)


def test_a_limit_on_bodies_leads_to_chunks_that_fit(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.largest_body = 1 << 20
    registry.push(BIG, name(quirks))
    assert max(len(quirks.blobs[key]) for key in quirks.blobs) == 5_500_000
    assert max(seen.body for seen in quirks.seen if seen.status == 202) == 1 << 20
    assert_arrived(quirks, BIG)


def test_a_limit_on_chunks_is_met(quirks: QuirkRegistry) -> None:
    quirks.ways, quirks.largest_chunk = {"Content-Range"}, 4 << 20
    with client(jobs=1) as registry:
        registry.push(BIG, name(quirks))
    assert max(seen.body for seen in quirks.seen if seen.status == 202) == 4 << 20
    assert_arrived(quirks, BIG)


def test_the_least_chunk_is_honoured(quirks: QuirkRegistry) -> None:
    quirks.ways, quirks.least_chunk = {"Content-Range"}, 3_000_000
    with client(jobs=1, chunk_size=1 << 20) as registry:
        registry.push(BIG, name(quirks))
    sent = [seen.body for seen in quirks.seen if "content-range" in seen.headers]
    assert sent[:2] == [3_000_000, 2_500_000]


def test_a_limit_below_every_chunk_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.largest_body = 1000
    error = refused(registry, BIG, name(quirks))
    assert error.message == upload_error(quirks, BIG, "413 Content Too Large", size="5.5 MB")
    assert error.hint == (
        "the registry, or a proxy before it, limits the size of a request: raise the limit "
        "(nginx: client_max_body_size 0), or set a smaller chunk size"
    )
    assert quirks.manifests == {}


# Locations


@pytest.mark.parametrize("way", ["PUT", "PATCH", "Content-Range"])
@pytest.mark.parametrize("location", ["absolute", "relative", "query", "storage"])
def test_every_kind_of_location_is_followed(quirks: QuirkRegistry, location: str, way: str) -> None:
    quirks.location, quirks.ways, quirks.auth = location, {way}, "basic"  # type: ignore[assignment] # see below
    with client(BUILDER, jobs=1, chunk_size=2 << 20) as registry:
        registry.push(BIG, name(quirks))
        pulled = [b"".join(registry.blob(name(quirks), blob.descriptor).chunks()) for blob in BIG.layers]
    assert_arrived(quirks, BIG)
    assert pulled == [b"".join(blob.chunks()) for blob in BIG.layers]
    elsewhere = [seen for seen in quirks.seen if seen.path.startswith("/storage/")]
    assert bool(elsewhere) is (location == "storage")
    # The storage gets its own signature as it was, and never our password.
    assert all(seen.query["signature"] == "abc/def" for seen in elsewhere)
    assert all("authorization" not in seen.headers for seen in elsewhere)


def test_a_location_on_the_metadata_service_is_refused(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("POST", UPLOADS, headers={"Location": "http://169.254.169.254/latest/"}, times=9)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(
        quirks, SMALL, "the registry sent us to the private address http://169.254.169.254"
    )


def test_an_upload_without_a_location_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("POST", UPLOADS, status=202, times=9)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "the registry opened an upload without a Location")


# Trouble on the way


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 502, "body": b"<html>bad gateway</html>"},
        {"status": 503, "headers": {"Retry-After": "0"}},
        {"status": 429, "code": "TOOMANYREQUESTS", "headers": {"Retry-After": "0"}},
        {"drop": True},
        {"drop": True, "read": 100},
        {"status": 404, "code": "BLOB_UPLOAD_UNKNOWN"},
        {"status": 400, "code": "DIGEST_INVALID"},
    ],
)
@pytest.mark.parametrize("path", [UPLOADS, "/manifests/"])
def test_two_failures_in_a_row_are_overcome(
    quirks: QuirkRegistry, registry: Registry, trouble: dict[str, object], path: str
) -> None:
    quirks.fault("PUT", path, times=2, **trouble)
    registry.push(BIG, name(quirks))
    assert_arrived(quirks, BIG)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH"])
@pytest.mark.parametrize("trouble", [{"status": 503}, {"drop": True}])
def test_two_failures_of_other_requests_are_overcome(
    quirks: QuirkRegistry, registry: Registry, method: str, trouble: dict[str, object]
) -> None:
    quirks.ways = {"PATCH"}
    quirks.fault(method, "/blobs/", times=2, **trouble)
    registry.push(BIG, name(quirks))
    assert_arrived(quirks, BIG)


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 404, "code": "BLOB_UPLOAD_UNKNOWN"},
        {"status": 500},
        {"drop": True},
        {"stall": 1.0},
    ],
)
@pytest.mark.parametrize("way", ["PUT", "PATCH"])
def test_a_commit_that_failed_but_worked_is_believed_after_a_head(
    quirks: QuirkRegistry, trouble: dict[str, object], way: str
) -> None:
    image = image_of(b"one layer")
    quirks.ways, quirks.auth = {way}, "basic"
    quirks.fault("PUT", UPLOADS, skip=1 if way == "PATCH" else 0, apply=True, **trouble)
    with client(BUILDER, timeout=0.5) as registry:
        registry.push(image, name(quirks))
    assert_arrived(quirks, image)
    layer = str(image.layers[0].descriptor.digest)
    commits = [s for s in quirks.seen if s.query.get("digest") == layer and s.status != 405]
    # A commit that stalls is seen when it ends, which may be after the push.
    assert len(commits) == (0 if "stall" in trouble and not commits else 1)


def test_a_slow_commit_is_waited_for(quirks: QuirkRegistry) -> None:
    from enginebuild_images.credentials import Anonymous
    from enginebuild_images.transport import Timeouts

    quirks.fault("PUT", UPLOADS, stall=1.0)
    with Registry(Anonymous(), timeouts=Timeouts(read=0.3, commit=20)) as registry:
        assert registry.push(image_of(b"one layer"), name(quirks)).bytes_sent < 500
    assert len([seen for seen in quirks.seen if seen.method == "POST"]) == 2


def test_an_early_refusal_in_the_middle_of_a_body_is_shown(quirks: QuirkRegistry, registry: Registry) -> None:
    image = image_of(SyntheticBlob.of(30_000_000))
    quirks.fault(
        "PUT", UPLOADS, read=100_000, status=403, code="DENIED", message="quota of team/app exceeded", times=9
    )
    error = refused(registry, image, name(quirks))
    assert error.message == upload_error(
        quirks, image, "403 Forbidden: DENIED: quota of team/app exceeded", size="30.0 MB"
    )


def test_a_refusal_whose_words_are_lost_counts(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, status=403, code="DENIED", send=9, times=9)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "403 Forbidden")


def test_what_keeps_failing_is_told_after_three_tries(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, status=500, code="UNKNOWN", message="disk full", times=99)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    what = "500 Internal Server Error: UNKNOWN: disk full (3 tries)"
    assert (error.message, error.hint) == (upload_error(quirks, SMALL, what), IN_TROUBLE)
    assert len(quirks.lines("PUT")) == 3
    assert quirks.manifests == {}


def test_too_many_requests_are_told_after_three_tries(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, status=429, code="TOOMANYREQUESTS", headers={"Retry-After": "0"}, times=99)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    what = "429 Too Many Requests: TOOMANYREQUESTS: as the test wants it (3 tries)"
    assert error.message == upload_error(quirks, SMALL, what)
    assert error.hint == f"wait and run again; a login may raise the limit: docker login {quirks.host}"


def test_retry_after_is_waited_for(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    registry.push(image_of(b"one layer"), name(quirks))
    assert time.monotonic() - started >= 1.0


def test_a_retry_after_of_an_hour_is_told_at_once(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, status=503, headers={"Retry-After": "3600"}, times=9)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "503 Service Unavailable; it asks to wait 3600 s")


def test_a_registry_that_drops_every_upload_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", UPLOADS, drop=True, times=99)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message in {
        upload_error(quirks, SMALL, f"the connection was dropped{why} (3 tries)")
        for why in ("", " (Connection reset by peer)", " (Broken pipe)")
    }
    assert error.hint == "see the log of the registry, and of the proxies before it"


def test_a_registry_that_does_not_answer_is_told(quirks: QuirkRegistry) -> None:
    quirks.fault("PUT", UPLOADS, stall=3, times=3)
    with client(timeout=0.5) as registry:
        error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "no answer within 0.5 s (3 tries)")
    assert error.hint == "see the log of the registry, and of the proxies before it"


def test_a_registry_that_stops_reading_is_told(quirks: QuirkRegistry) -> None:
    image = image_of(SyntheticBlob.of(30_000_000))
    quirks.fault("PUT", UPLOADS, read=100_000, stall=4, drop=True, times=3)
    with client(timeout=0.5) as registry:
        error = refused(registry, image, name(quirks))
    what = "the registry took no bytes for 0.5 s (3 tries)"
    assert error.message == upload_error(quirks, image, what, size="30.0 MB")


def test_a_digest_that_the_registry_does_not_confirm_is_told(
    quirks: QuirkRegistry, registry: Registry
) -> None:
    other = "sha256:" + "0" * 64
    quirks.fault("PUT", UPLOADS, headers={"Docker-Content-Digest": other}, times=9)
    image = image_of(b"one layer")
    error = refused(registry, image, name(quirks))
    what = f"the registry stored it as {other}, not as {image.layers[0].descriptor.digest}"
    assert error.message == upload_error(quirks, SMALL, what)
    assert error.hint == (
        "the registry, or a proxy before it, changes what it is sent: see its configuration"
    )


def test_a_manifest_that_the_registry_changed_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    other = "sha256:" + "0" * 64
    quirks.fault("PUT", "/manifests/", headers={"Docker-Content-Digest": other})
    error = refused(registry, SMALL, name(quirks))
    assert error.message == (
        f"{quirks.host}: cannot write the manifest team/app@{SMALL.digest}: "
        f"the registry stored it as {other}, not as {SMALL.digest}"
    )


def test_a_tag_that_cannot_be_moved_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("PUT", "/manifests/v1", status=400, code="TAG_INVALID", message="the tag is immutable")
    error = refused(registry, SMALL, name(quirks))
    assert error.message == (
        f"{quirks.host}: cannot write the manifest team/app:v1: "
        "400 Bad Request: TAG_INVALID: the tag is immutable"
    )


def test_a_repository_that_must_be_made_first_is_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.fault("POST", UPLOADS, status=404, code="NAME_UNKNOWN", message="no such repository", times=9)
    error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "404 Not Found: NAME_UNKNOWN: no such repository")
    assert error.hint == (
        "the repository team/app is not there, or hidden from this user: check its name, create it if the "
        f"registry does not by itself (Amazon ECR does not), or log in with `docker login {quirks.host}`"
    )


class ChangedBlob:
    """A stand-in for a file that changed after it was described."""

    def __init__(self, content: bytes, actual: bytes) -> None:
        self.descriptor = image_of(content).layers[0].descriptor
        self.actual = actual

    def chunks(self) -> Iterator[bytes]:
        yield self.actual

    pieces = chunks


@pytest.mark.parametrize(("actual", "word"), [(b"12345678", "fewer"), (b"1234567890", "more")])
def test_a_file_of_another_size_is_never_committed(
    quirks: QuirkRegistry, registry: Registry, actual: bytes, word: str
) -> None:
    image = image_of(ChangedBlob(b"123456789", actual))
    with pytest.raises(ImageError) as caught:
        registry.push(image, name(quirks))
    digest = image.layers[0].descriptor.digest
    assert caught.value.message == f"blob {digest.short} has {word} than the 9 bytes described"
    assert caught.value.hint == "a file of it has changed since it was read: run again"
    assert not quirks.blobs
    assert not quirks.manifests


def test_a_file_of_other_bytes_is_refused_by_the_registry(quirks: QuirkRegistry, registry: Registry) -> None:
    image = image_of(ChangedBlob(b"123456789", b"987654321"))
    error = refused(registry, image, name(quirks))
    what = "400 Bad Request: DIGEST_INVALID: provided digest did not match uploaded content (3 tries)"
    assert error.message == upload_error(quirks, image, what)
    assert error.hint == "the bytes sent are not those described: has a file changed since it was read?"


def test_a_failed_upload_stops_the_others_and_a_rerun_sends_only_the_rest(quirks: QuirkRegistry) -> None:
    layers = [SyntheticBlob.of(3_000_000, bytes([number])) for number in range(6)]
    image = image_of(*layers)
    quirks.fault("PUT", UPLOADS, skip=3, status=403, code="DENIED")
    with client(jobs=1) as registry:
        refused(registry, image, name(quirks))
        assert len(quirks.blobs) == 3
        assert quirks.manifests == {}
        result = registry.push(image, name(quirks))
    assert (result.present, result.sent) == (3, 4)
    assert_arrived(quirks, image)


_PUSH = """
import sys
from enginebuild_images.reference import Reference
from parts.registry_images import client, image_of

with client(timeout=60) as registry:
    registry.push(image_of(b"one layer"), Reference.parse(sys.argv[1]))
"""


def test_an_interrupt_ends_a_push_that_hangs(quirks: QuirkRegistry) -> None:
    quirks.fault("PUT", UPLOADS, stall=30)
    running = subprocess.Popen(
        [sys.executable, "-c", _PUSH, str(name(quirks))],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not quirks.lines("POST") and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    interrupted = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)
    assert time.monotonic() - interrupted < 5
    assert said.decode().splitlines()[-1] == "KeyboardInterrupt"
    assert not quirks.manifests


# Authorization


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_credentials_are_sent_once_they_are_asked_for(quirks: QuirkRegistry, auth: str) -> None:
    quirks.auth = auth  # type: ignore[assignment] # a parameter is any str
    with client(BUILDER) as registry:
        registry.push(BIG, name(quirks))
        assert registry.has(name(quirks), BIG.digest)
    assert_arrived(quirks, BIG)
    # One 401 for writing and, as it wants less, one for reading; no request for the body of one.
    assert len([seen for seen in quirks.seen if seen.status == 401]) <= 3
    assert all("authorization" not in seen.headers for seen in quirks.seen if seen.path == "/v2/")
    assert quirks.tokens_given == (2 if auth == "token" else 0)


def test_an_identity_token_is_exchanged(quirks: QuirkRegistry) -> None:
    quirks.auth = "token"
    with client(GivenCredentials("<token>", IDENTITY_TOKEN)) as registry:
        registry.push(SMALL, name(quirks))
    assert_arrived(quirks, SMALL)
    assert all(seen.method == "POST" for seen in quirks.seen if seen.path == "/token")


def test_public_images_are_read_with_an_anonymous_token(quirks: QuirkRegistry, registry: Registry) -> None:
    registry.push(SMALL, name(quirks))
    quirks.auth = "token"
    with client() as reader:
        assert reader.resolve(name(quirks)).digest == SMALL.digest


@pytest.mark.parametrize("way", ["PUT", "PATCH", "Content-Range"])
def test_tokens_that_end_all_the_time_are_renewed(quirks: QuirkRegistry, way: str) -> None:
    quirks.auth, quirks.ways = "token", {way}
    for method in ("HEAD", "POST", "PATCH", "PUT"):
        for skip in (0, 2):
            quirks.fault(method, "/v2/", forget=True, skip=skip)
    with client(BUILDER, jobs=1) as registry:
        registry.push(SMALL, name(quirks))
    assert quirks.tokens_given >= 6
    assert_arrived(quirks, SMALL)


def test_a_token_without_a_lifetime_lasts_a_minute_and_is_renewed_before_a_body(
    quirks: QuirkRegistry,
) -> None:
    quirks.auth, quirks.token_lifetime = "token", None
    with client(BUILDER, jobs=1) as registry:
        registry.push(SMALL, name(quirks))
    # One after the 401, then one before each of three blobs and two manifests: 60 s are too few for a body.
    assert quirks.tokens_given == 6


@pytest.mark.parametrize("way", ["PUT", "PATCH"])
def test_a_token_that_ended_within_the_body_costs_one_renewal(quirks: QuirkRegistry, way: str) -> None:
    quirks.auth, quirks.ways = "token", {way}
    quirks.fault("PUT", UPLOADS, status=401, skip=1 if way == "PATCH" else 0)
    with client(BUILDER, jobs=1) as registry:
        registry.push(image_of(b"one layer"), name(quirks))
    assert len([seen for seen in quirks.seen if seen.status == 401 and seen.path != "/v2/"]) == 2
    assert_arrived(quirks, image_of(b"one layer"))


def test_a_401_within_chunks_begins_the_upload_anew(quirks: QuirkRegistry) -> None:
    quirks.auth, quirks.ways = "token", {"Content-Range"}
    quirks.fault("PATCH", UPLOADS, status=401, skip=3)
    with client(BUILDER, jobs=1, chunk_size=1 << 20) as registry:
        registry.push(BIG, name(quirks))
    assert_arrived(quirks, BIG)


def test_missing_credentials_are_told(quirks: QuirkRegistry, registry: Registry) -> None:
    quirks.auth = "basic"
    error = refused(registry, SMALL, name(quirks))
    first = SMALL.layers[0].descriptor.digest
    assert error.message == f"{quirks.host}: cannot ask for blob {first.short} in team/app: 401 Unauthorized"
    assert error.hint == (
        f"no credentials for {quirks.host} were found: log in with `docker login {quirks.host}`"
    )


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_wrong_credentials_are_told_and_never_shown(quirks: QuirkRegistry, auth: str) -> None:
    quirks.auth = auth  # type: ignore[assignment] # a parameter is any str
    with client(GivenCredentials(USER, "wrong-password")) as registry:
        error = refused(registry, SMALL, name(quirks))
    first = SMALL.layers[0].descriptor.digest
    what = {
        "basic": "401 Unauthorized",
        "token": f"the token server http://{quirks.host} answered 401 Unauthorized: "
        "incorrect username or password",
    }[auth]
    assert error.message == f"{quirks.host}: cannot ask for blob {first.short} in team/app: {what}"
    assert error.hint == (
        f"{quirks.host} does not accept user 'builder' (the test): "
        f"log in again with `docker login {quirks.host}`"
    )
    assert "wrong-password" not in repr(error) + str(error.__cause__)


def test_a_user_who_may_only_read_is_told(quirks: QuirkRegistry) -> None:
    quirks.fault("POST", UPLOADS, status=403, code="DENIED", message="may not push", times=9)
    quirks.auth = "basic"
    with client(BUILDER) as registry:
        error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(quirks, SMALL, "403 Forbidden: DENIED: may not push")
    assert error.hint == (
        "user 'builder' (the test) may not do this in team/app: ask its owner for the right, "
        f"or log in as somebody who has it with `docker login {quirks.host}`"
    )


def test_a_body_that_is_refused_again_and_again_names_the_proxy(quirks: QuirkRegistry) -> None:
    quirks.auth = "token"
    quirks.fault("PUT", UPLOADS, status=401, times=99)
    with client(BUILDER) as registry:
        error = refused(registry, image_of(b"one layer"), name(quirks))
    assert error.message == upload_error(
        quirks, SMALL, "401 Unauthorized: UNAUTHORIZED: authentication required"
    )
    assert error.hint == (
        f"{quirks.host} does not accept user 'builder' (the test): "
        f"log in again with `docker login {quirks.host}`"
        "; if small images do work, a proxy may hold uploads back until the token has ended "
        "(nginx: proxy_request_buffering off), or the registry's tokens are too short-lived"
    )


@pytest.mark.parametrize(
    ("trouble", "what"),
    [
        ({"status": 200, "body": b"{}"}, "the token server http://HOST gave no token"),
        ({"status": 200, "body": b"<html>"}, "the token server http://HOST gave no token"),
        ({"status": 500}, "the token server http://HOST answered 500 Internal Server Error (3 tries)"),
        ({"stall": 2.0}, "the token server http://HOST: no answer within 0.5 s (3 tries)"),
    ],
)
def test_a_token_server_in_trouble_is_named(
    quirks: QuirkRegistry, trouble: dict[str, object], what: str
) -> None:
    quirks.auth = "token"
    quirks.fault("GET", "/token", times=9, **trouble)
    with client(BUILDER, timeout=0.5) as registry:
        error = refused(registry, SMALL, name(quirks))
    first = SMALL.layers[0].descriptor.digest
    told = what.replace("HOST", quirks.host)
    assert error.message == f"{quirks.host}: cannot ask for blob {first.short} in team/app: {told}"
