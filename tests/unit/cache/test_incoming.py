"""Downloads and writers: resumed after a break, refused when wrong, one at a time, and nothing by halves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from enginebuild_cache import CacheError, Digest, File, Store, WrongDigest

_CONTENT = os.urandom(3_000_000)
_DIGEST = Digest.of(_CONTENT)
_AGAIN = "run again; if it happens again, the source or a proxy is at fault"


@pytest.fixture
def store(cache_dir: Path) -> Store:
    return Store.open(cache_dir)


def _partials(cache_dir: Path) -> list[str]:
    return sorted(path.name for path in (cache_dir / "partial").iterdir())


def _stored(store: Store) -> bytes:
    return store.read_bytes(File("x", _DIGEST, len(_CONTENT)))


def test_a_download(store: Store, cache_dir: Path) -> None:
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        assert partial.offset == 0
        partial.write(_CONTENT[:1_000_000])
        assert not store.has(_DIGEST)
        partial.write(_CONTENT[1_000_000:])
        assert partial.offset == len(_CONTENT)
        partial.commit()
        assert partial.offset == len(_CONTENT)
    assert _stored(store) == _CONTENT
    assert _partials(cache_dir) == []


def test_a_broken_download_goes_on_where_it_was(store: Store, cache_dir: Path) -> None:
    def broken() -> None:
        with store.download(_DIGEST, len(_CONTENT)) as partial:
            partial.write(_CONTENT[:1_000_000])
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        broken()
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        assert partial.offset == 1_000_000
        partial.write(_CONTENT[1_000_000:])
        partial.commit()
    assert _stored(store) == _CONTENT


def test_a_server_that_sends_everything_again(store: Store) -> None:
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        partial.write(_CONTENT[:1_000_000])
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        partial.restart()
        assert partial.offset == 0
        partial.write(_CONTENT)
        partial.commit()
    assert _stored(store) == _CONTENT


def test_a_download_of_what_is_here_already(store: Store, cache_dir: Path) -> None:
    store.put_bytes(_CONTENT)
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        assert partial.offset == len(_CONTENT)
        partial.commit()
    assert _partials(cache_dir) == []
    with pytest.raises(ValueError), store.download(_DIGEST, len(_CONTENT)) as partial:
        partial.write(b"more")


def test_an_empty_file(store: Store) -> None:
    with store.download(Digest.of(b""), 0) as partial:
        partial.commit()
    assert store.read_bytes(File("empty", Digest.of(b""), 0)) == b""


def _wrong(store: Store, content: bytes, size: int) -> WrongDigest:
    with pytest.raises(WrongDigest) as error:
        _download(store, content, size)
    return error.value


def _download(store: Store, content: bytes, size: int) -> None:
    with store.download(_DIGEST, size) as partial:
        partial.write(content)
        partial.commit()


def test_wrong_bytes_are_refused_and_not_kept(store: Store, cache_dir: Path) -> None:
    other = bytes(len(_CONTENT))
    error = _wrong(store, other, len(_CONTENT))
    assert error.message == f"the source sent bytes of {Digest.of(other)} instead of {_DIGEST}"
    assert (error.hint, error.resumed) == (_AGAIN, False)
    assert (_partials(cache_dir), list(store.list())) == ([], [])


def test_too_few_bytes_are_refused_and_not_kept(store: Store, cache_dir: Path) -> None:
    error = _wrong(store, _CONTENT[:100], len(_CONTENT))
    assert error.message == f"the source sent 100 of the 3000000 bytes of {_DIGEST}"
    assert (error.hint, error.resumed) == (_AGAIN, False)
    assert (_partials(cache_dir), list(store.list())) == ([], [])


def test_too_many_bytes_are_refused_at_once(store: Store, cache_dir: Path) -> None:
    error = _wrong(store, _CONTENT + b"x", len(_CONTENT))
    assert error.message == f"the source sent more than the 3000000 bytes of {_DIGEST}"
    assert (error.hint, error.resumed) == (_AGAIN, False)
    assert (_partials(cache_dir), list(store.list())) == ([], [])


def test_wrong_bytes_of_an_earlier_attempt_are_told_apart(store: Store, cache_dir: Path) -> None:
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        partial.write(bytes(1000))
    assert _wrong(store, _CONTENT[1000:], len(_CONTENT)).resumed
    assert _partials(cache_dir) == []


@pytest.mark.parametrize("left", [bytes(len(_CONTENT)), bytes(len(_CONTENT) + 1)])
def test_a_partial_file_that_cannot_be_right_starts_over(store: Store, cache_dir: Path, left: bytes) -> None:
    (cache_dir / "partial" / _DIGEST.hex).write_bytes(left)
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        assert partial.offset == 0
        partial.write(_CONTENT)
        partial.commit()
    assert _stored(store) == _CONTENT


def test_a_download_killed_between_its_end_and_its_new_name(store: Store, cache_dir: Path) -> None:
    left = cache_dir / "partial" / _DIGEST.hex
    left.write_bytes(_CONTENT)
    left.chmod(0o444)
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        assert partial.offset == len(_CONTENT)
        partial.commit()
    assert _stored(store) == _CONTENT


def test_two_downloads_of_one_file_do_the_work_once(store: Store) -> None:
    waited: list[str] = []
    offsets: list[int] = []
    asked = threading.Event()

    def second() -> None:
        def on_wait(holder: str) -> None:
            waited.append(holder)
            asked.set()

        with store.download(_DIGEST, len(_CONTENT), on_wait=on_wait) as partial:
            offsets.append(partial.offset)
            partial.commit()

    thread = threading.Thread(target=second)
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        thread.start()
        assert asked.wait(10)
        partial.write(_CONTENT)
        partial.commit()
    thread.join(10)
    assert offsets == [len(_CONTENT)]
    assert [text.split(" since ")[0] for text in waited] == [
        f"process {os.getpid()} on {os.uname().nodename}"
    ]


def test_more_than_the_disk_can_hold_is_refused_before_the_first_byte(store: Store, cache_dir: Path) -> None:
    with pytest.raises(CacheError) as error, store.download(_DIGEST, 1 << 60):
        pass
    assert f"needs {1 << 60} bytes more" in error.value.message
    with store.download(_DIGEST, len(_CONTENT)) as partial:
        partial.write(_CONTENT)
        partial.commit()


def test_a_writer(store: Store, cache_dir: Path) -> None:
    with store.writer() as writer:
        writer.write(_CONTENT[:7])
        writer.write(_CONTENT[7:])
        assert writer.commit() == (_DIGEST, len(_CONTENT))
    assert _stored(store) == _CONTENT
    assert list((cache_dir / "tmp").iterdir()) == []


def test_a_writer_that_gave_up_leaves_nothing(store: Store, cache_dir: Path) -> None:
    with store.writer() as writer:
        writer.write(_CONTENT)
    assert list((cache_dir / "tmp").iterdir()) == []
    assert list(store.list()) == []
