"""Output as lines: whole, without control characters, and without secrets however they come."""

from __future__ import annotations

import random

import pytest

from enginebuild.runners.log_lines import LONGEST, LogLines


def lines(*pieces: bytes, secrets: tuple[str, ...] = ()) -> list[str]:
    log = LogLines(secrets)
    found = [line for piece in pieces for line in log.feed(piece)]
    return [*found, *log.end()]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\ntw", b"o"), ["one", "two"]),
        ((b"one\r\n\ntwo\r\n",), ["one", "", "two"]),
        ((b"  1%\r 50%\r100%\n",), ["100%"]),
        ((b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07plain\x00\n",), ["red plain"]),
        ((b"a\tb\n",), ["a\tb"]),
        (("gr\u00fc\u00dfe\n".encode()[:3], "gr\u00fc\u00dfe\n".encode()[3:]), ["gr\u00fc\u00dfe"]),
        ((b"\xff\xfe\n",), ["\ufffd\ufffd"]),
        ((), []),
    ],
)
def test_lines(pieces: tuple[bytes, ...], expected: list[str]) -> None:
    assert lines(*pieces) == expected


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"token=s3cr3t/+value.\n", "token=***."),
        (b"https://host/?t=s3cr3t%2F%2Bvalue\n", "https://host/?t=***"),
        (b"s3cr3t/+values3cr3t/+value\n", "******"),
        (b"s3cr3\x1b[0mt/+value\n", "***"),
        (b"abc\n", "abc"),
        (b"-----first line-----\nsecond line\n", "***|***"),
    ],
)
def test_secrets(written: bytes, shown: str) -> None:
    secrets = ("s3cr3t/+value", "abc", "", "-----first line-----\nsecond line")
    assert "|".join(lines(written, secrets=secrets)) == shown


def test_a_line_without_end_is_cut_and_a_secret_at_the_cut_is_not_shown() -> None:
    secret = "a-secret-of-some-length"
    for offset in (-30, -23, -22, -1, 0, 1):
        text = b"x" * (LONGEST + offset) + secret.encode() + b"y" * 100
        generator = random.Random(offset)
        log = LogLines([secret])
        found: list[str] = []
        while text:
            count = generator.randint(1, 5000)
            found += log.feed(text[:count])
            text = text[count:]
        found += log.end()
        assert len(found) == 2
        assert "".join(found) == "x" * (LONGEST + offset) + "***" + "y" * 100


def test_memory_stays_bounded() -> None:
    log = LogLines(["some-secret"])
    for _ in range(200):
        for line in log.feed(b"z" * 10_000):
            assert len(line) <= LONGEST + 20_000
