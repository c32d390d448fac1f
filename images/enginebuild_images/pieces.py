"""Cutting a stream of bytes anew."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from enginebuild_cache import CHUNK


class PieceReader:
    """A stream that is taken in parts of given sizes; no part is ever held in memory whole."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in the pieces they come in; fewer if the stream ends."""
        while size > 0:
            piece = self._rest or next(self._pieces, b"")
            if not piece:
                return
            part, self._rest = piece[:size], piece[size:]
            size -= len(part)
            yield part

    def close(self) -> None:
        """Give up the rest."""
        if close := getattr(self._pieces, "close", None):
            close()


def in_chunks(pieces: Iterable[bytes], size: int = CHUNK) -> Generator[bytes]:
    """The same bytes in pieces of exactly `size`, but for the last: small ones cost more to send."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
