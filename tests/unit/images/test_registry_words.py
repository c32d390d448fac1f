"""The pure parts of the registry client: challenges, locations, failures and their texts, retries, pieces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginebuild_images.challenge import Challenge, parse_challenges
from enginebuild_images.credentials import Credential, Found, Secret
from enginebuild_images.errors import RegistryError
from enginebuild_images.failure import Answer, Asker, Failure, refusal, retry_after, said
from enginebuild_images.location import Origin, is_loopback, origin, resolve, shown, with_query
from enginebuild_images.pace import Pace, Retry, Stop, Stopped
from enginebuild_images.parallel import run_all
from enginebuild_images.pieces import PieceReader, in_chunks
from enginebuild_images.upload import human


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ('Basic realm="tests"', [("basic", {"realm": "tests"})]),
        (
            (
                'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
                'scope="repository:samalba/my-app:pull,push"'
            ),
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:samalba/my-app:pull,push",
                    },
                )
            ],
        ),
        ('BEARER Realm = "a \\"b\\" c" , error="x"', [("bearer", {"realm": 'a "b" c', "error": "x"})]),
        (
            "Bearer realm=https://auth.example.com/token?a=b",
            [("bearer", {"realm": "https://auth.example.com/token?a=b"})],
        ),
        (
            'Negotiate, Bearer realm="r", Basic realm="b", charset="UTF-8"',
            [("negotiate", {}), ("bearer", {"realm": "r"}), ("basic", {"realm": "b", "charset": "UTF-8"})],
        ),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="open', [("bearer", {})]),
        ('"quoted"', []),
        (",,Basic", [("basic", {})]),
    ],
)
def test_challenges_are_read(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == tuple(
        Challenge(scheme, parameters) for scheme, parameters in challenges
    )


@given(st.text())
def test_no_header_breaks_the_reader(header: str) -> None:
    assert len(parse_challenges(header)) <= len(header)


BASE = "https://r.example.com/v2/a/blobs/uploads/"


@pytest.mark.parametrize(
    ("base", "location", "resolved"),
    [
        (BASE, "/v2/a/blobs/uploads/1?s=x%2By", "https://r.example.com/v2/a/blobs/uploads/1?s=x%2By"),
        (BASE, "1", "https://r.example.com/v2/a/blobs/uploads/1"),
        (BASE, "?id=1", "https://r.example.com/v2/a/blobs/uploads/?id=1"),
        (BASE, "//s.example.com/x", "https://s.example.com/x"),
        (BASE, "https://s.example.com:8443/x?y", "https://s.example.com:8443/x?y"),
        # Behind a proxy that ends TLS, registries name themselves with http.
        (BASE, "http://r.example.com/v2/1?s=x", "https://r.example.com/v2/1?s=x"),
        (BASE.replace("com/", "com:444/"), "http://r.example.com:444/v2/1", "https://r.example.com:444/v2/1"),
        (BASE.replace("com/", "com:444/"), "http://r.example.com/v2/1", "https://r.example.com:444/v2/1"),
        ("http://r.example.com/", "http://r.example.com/v2/1", "http://r.example.com/v2/1"),
        # A registry on a private address may name its neighbours; the same host may name itself.
        ("http://10.0.0.5/", "http://10.0.0.6/x", "http://10.0.0.6/x"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
        ("http://localhost:5000/", "http://192.168.0.1/x", "http://192.168.0.1/x"),
        ("http://[::1]:5000/", "/x", "http://[::1]:5000/x"),
        (BASE, "https://93.184.215.14/x", "https://93.184.215.14/x"),
    ],
)
def test_locations_are_resolved(base: str, location: str, resolved: str) -> None:
    assert resolve(base, location) == resolved


@pytest.mark.parametrize(
    ("base", "location", "where"),
    [
        (BASE, "http://10.0.0.6/x", "http://10.0.0.6"),
        (BASE, "https://192.168.1.1:8443/x", "https://192.168.1.1:8443"),
        (BASE, "http://127.0.0.1/x", "http://127.0.0.1"),
        (BASE, "http://localhost/x", "http://localhost"),
        (BASE, "http://169.254.169.254/latest/meta-data", "http://169.254.169.254"),
        (BASE, "http://[::1]/x", "http://[::1]"),
        (BASE, "http://[::ffff:10.0.0.1]/x", "http://[::ffff:10.0.0.1]"),
        (BASE, "http://[fe80::1]/x", "http://[fe80::1]"),
        ("http://10.0.0.5/", "http://169.254.169.254/latest", "http://169.254.169.254"),
    ],
)
def test_private_addresses_are_refused(base: str, location: str, where: str) -> None:
    with pytest.raises(Failure) as caught:
        resolve(base, location)
    assert caught.value.what == f"the registry sent us to the private address {where}"
    assert caught.value.hint == (
        "if that is right, give the registry's storage a public host name, "
        "or let the registry pass the bytes on itself"
    )
    assert not caught.value.again


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("ftp://r.example.com/x?secret=1", "ftp://r.example.com/x"),
        ("http://[bad/x", "http://[bad/x"),
        ("http://r.example.com:99999/x", "http://r.example.com:99999/x"),
        ("file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_other_schemes_are_refused(location: str, seen: str) -> None:
    with pytest.raises(Failure) as caught:
        resolve(BASE, location)
    assert caught.value.what == f"the registry sent us to {seen!r}, which is not an http(s) URL"


def test_origins_compare_with_their_ports() -> None:
    assert (
        origin("https://r.example.com/v2/")
        == origin("https://R.example.com:443/x")
        == Origin("https", "r.example.com", 443)
    )
    assert origin("http://r.example.com") != origin("https://r.example.com")
    assert str(origin("http://[::1]:5000/")) == "http://[::1]:5000"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.8.9.1:80", True),
        ("[::1]:5000", True),
        ("registry.localhost", True),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
        ("registry.example.com", False),
    ],
)
def test_loopback_is_known(host: str, here: bool) -> None:
    assert is_loopback(host) is here


def test_a_query_is_appended_and_what_is_there_stays() -> None:
    digest = "sha256:" + "0" * 64
    assert with_query("http://r/x", digest=digest) == f"http://r/x?digest={digest}"
    assert with_query("http://r/x?s=a%2Bb%3D", digest=digest) == f"http://r/x?s=a%2Bb%3D&digest={digest}"
    assert with_query("http://r/x", scope="a b&c") == "http://r/x?scope=a+b%26c"


def test_a_shown_url_has_no_secrets() -> None:
    assert shown("https://user:pw@s.example.com/x?X-Amz-Signature=abc#d") == "https://s.example.com/x"


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, headers, body, "https://r.example.com/v2/")


@pytest.mark.parametrize(
    ("body", "codes", "words"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no","detail":null}]}', {"DENIED"}, "DENIED: no"),
        (b'{"errors":[{"code":"A"},{"code":"B","message":"b","detail":"d"}]}', {"A", "B"}, "A; B: b (d)"),
        (b'{"errors":[{"code":"A","message":"m","detail":[{"Type":"repository"}]}]}', {"A"}, "A: m"),
        (b'{"details":"incorrect username or password"}', set(), "incorrect username or password"),
        (b'{"error":"invalid_grant","error_description":"expired"}', set(), "invalid_grant: expired"),
        (b'{"errors":["text"],"message":"top"}', set(), "top"),
        (b"plain words\n and more", set(), "plain words and more"),
        (b"<html><h1>502 Bad Gateway</h1></html>", set(), ""),
        (b"\x1b[31mred\x07", set(), "[31mred"),
        (b"x" * 400, set(), "x" * 299 + "…"),
        (b"[]", set(), ""),
        (b'{"errors":[{"co', set(), ""),
        (b"", set(), ""),
    ],
)
def test_the_registry_s_own_words_are_read(body: bytes, codes: set[str], words: str) -> None:
    assert said(answer(400, body)) == (frozenset(codes), words)


BUILDER = Found(Credential("builder", Secret("s"), "config.json"))


@pytest.mark.parametrize(
    ("status", "body", "found", "message", "hint"),
    [
        (
            401,
            b"",
            BUILDER,
            "401 Unauthorized",
            (
                "r.example.com does not accept user 'builder' (config.json): "
                "log in again with `docker login r.example.com`"
            ),
        ),
        (
            401,
            b"",
            Found(None, ("a.json (no such file)", "b.json")),
            "401 Unauthorized",
            (
                "no credentials for r.example.com were found (looked in a.json (no such file); b.json): "
                "log in with `docker login r.example.com`"
            ),
        ),
        (
            403,
            b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
            BUILDER,
            "403 Forbidden: DENIED: requested access to the resource is denied",
            (
                "user 'builder' (config.json) may not do this in team/app: ask its owner for the right, "
                "or log in as somebody who has it with `docker login r.example.com`"
            ),
        ),
        (
            403,
            b"",
            Found(None),
            "403 Forbidden",
            "no credentials for r.example.com were found: log in with `docker login r.example.com`",
        ),
        (
            404,
            b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository not found"}]}',
            Found(None),
            "404 Not Found: NAME_UNKNOWN: repository not found",
            (
                "the repository team/app is not there, or hidden from this user: check its name, "
                "create it if the registry does not by itself (Amazon ECR does not), "
                "or log in with `docker login r.example.com`"
            ),
        ),
        (404, b"", Found(None), "404 Not Found", "check the name r.example.com/team/app and what follows it"),
        (
            413,
            b"<html>",
            Found(None),
            "413 Content Too Large",
            (
                "the registry, or a proxy before it, limits the size of a request: raise the limit "
                "(nginx: client_max_body_size 0), or set a smaller chunk size"
            ),
        ),
        (
            429,
            b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}',
            Found(None),
            "429 Too Many Requests: TOOMANYREQUESTS: slow down",
            "wait and run again; a login may raise the limit: docker login r.example.com",
        ),
        (
            503,
            b"",
            Found(None),
            "503 Service Unavailable",
            "see the registry's own log; run again when it is well: what it already has is not sent again",
        ),
        (400, b"bad tag", Found(None), "400 Bad Request: bad tag", ""),
        (
            599,
            b"",
            Found(None),
            "599",
            "see the registry's own log; run again when it is well: what it already has is not sent again",
        ),
    ],
)
def test_an_answer_becomes_a_sentence(
    status: int, body: bytes, found: Found, message: str, hint: str
) -> None:
    failure = refusal(answer(status, body), Asker("r.example.com", "team/app", lambda: found))
    error = failure.error("r.example.com", "do it")
    assert (error.message, error.hint) == (f"r.example.com: cannot do it: {message}", hint)


def test_docker_hub_s_login_has_no_host() -> None:
    assert Asker("docker.io", "library/busybox", lambda: Found(None)).login == "docker login"


def test_an_answer_of_another_host_names_it() -> None:
    failure = refusal(answer(500), Asker("r", "a", lambda: Found(None)), sender="https://s.example.com")
    assert failure.what == "https://s.example.com answered 500 Internal Server Error"


NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Mon, 23 Nov 2026 12:00:30", None),
        ("²", None),
    ],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOON) == seconds


def test_waits_double_and_spread() -> None:
    retry = Retry(base=2.0)
    for number, middle in ((1, 2.0), (2, 4.0), (3, 8.0)):
        delays = [retry.delay(number) for _ in range(200)]
        assert middle / 2 <= min(delays) < max(delays) <= middle * 1.5
        assert max(delays) - min(delays) > middle / 4
    assert retry.delay(1, 7.0) == 7.0


def failing(failures: list[Failure]) -> Callable[[int], str]:
    def attempt(number: int) -> str:
        if failures:
            raise failures.pop(0)
        return f"worked at {number}"

    return attempt


FAST = Pace(Retry(base=0.0))


def test_what_may_pass_is_tried_three_times() -> None:
    assert FAST.patiently("r", "do it", failing([Failure("a", again=True)] * 2)) == "worked at 3"
    with pytest.raises(RegistryError) as caught:
        FAST.patiently("r", "do it", failing([Failure("a", "wait", again=True) for _ in range(3)]))
    assert (caught.value.message, caught.value.hint) == ("r: cannot do it: a (3 tries)", "wait")


def test_what_cannot_pass_is_tried_once() -> None:
    with pytest.raises(RegistryError) as caught:
        FAST.patiently("r", "do it", failing([Failure("a")]))
    assert str(caught.value) == "r: cannot do it: a"


def test_a_wait_that_is_too_long_is_told() -> None:
    with pytest.raises(RegistryError) as caught:
        FAST.patiently("r", "do it", failing([Failure("429", "later", again=True, after=3600.0)]))
    assert caught.value.message == "r: cannot do it: 429; it asks to wait 3600 s"


def test_a_stop_ends_a_wait_at_once() -> None:
    pace = Pace(Retry(base=60.0))
    threading.Timer(0.05, pace.stop.set).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        pace.patiently("r", "do it", failing([Failure("a", again=True)]))
    assert time.monotonic() - started < 10


def test_results_keep_their_order_and_the_jobs_their_number() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def task(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number

    tasks = [lambda number=number: task(number) for number in range(12)]
    assert run_all(tasks, 3, Stop()) == list(range(12))
    assert 1 < most <= 3
    assert run_all([], 3, Stop()) == []


def test_the_first_failure_stops_the_others() -> None:
    stop, started = Stop(), []

    def wait() -> None:
        started.append(1)
        stop.wait(30)

    def fail() -> None:
        while not started:
            time.sleep(0.001)
        raise ValueError("mine")

    before = time.monotonic()
    with pytest.raises(ValueError) as caught:
        run_all([wait, fail, *[wait] * 20], 2, stop)
    assert str(caught.value) == "mine"
    assert time.monotonic() - before < 10
    assert len(started) == 1


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(min_value=1, max_value=50))
def test_pieces_are_cut_anew(pieces: list[bytes], size: int) -> None:
    cut = list(in_chunks(pieces, size))
    assert b"".join(cut) == b"".join(pieces)
    assert all(len(piece) == size for piece in cut[:-1])
    assert all(0 < len(piece) <= size for piece in cut)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.lists(st.integers(0, 60), max_size=20))
def test_a_stream_is_taken_in_parts(pieces: list[bytes], sizes: list[int]) -> None:
    whole, reader, at = b"".join(pieces), PieceReader(iter(pieces)), 0
    for size in sizes:
        assert b"".join(reader.take(size)) == whole[at : at + size]
        at += size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4_300_000_000, "4.3 GB"),
        (999_960, "1.0 MB"),
        (5 * 10**13, "50.0 TB"),
    ],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert human(size) == text
