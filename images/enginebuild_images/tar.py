"""The bytes of a tar archive around its files' own bytes, as pure functions of name, mode and size.

Format: POSIX ustar, with PAX records where ustar does not reach (names, files of 8 GiB and more) and as
padding. Owner and group are 0 and without names, so archives are equal whoever makes them.

Alignment: the bytes of a file of 4096 bytes or more start at a multiple of 4096, by a PAX `comment` of the
right length, so that file systems with reflinks (XFS, btrfs) can share the blocks of a layer with those of
the file. It is always on, since aligned and unaligned archives differ in their digests. docker 20.10,
podman 4.3, skopeo 1.9, umoci 0.4.7, GNU tar and Python's tarfile accept such archives (measured).
"""

from __future__ import annotations

from enginebuild_images.errors import ImageError

BLOCK = 512
#: Where the bytes of a file may start, and from what size on: the block size of file systems.
ALIGNMENT = 4096
#: Two blocks of zeros end an archive.
END = bytes(2 * BLOCK)
#: The largest size that ustar's 11 octal digits hold: 8 GiB - 1.
USTAR_SIZE = 8**11 - 1

_NAME, _PREFIX = 100, 155
_NAME_LIMIT, _PART_LIMIT = 4096, 255  # PATH_MAX and NAME_MAX of Linux
_PAX_NAME = "././@PaxHeader"
_COMMENT = len("10 comment=\n")  # the shortest comment record


def directory_header(name: str, mtime: int, mode: int = 0o755) -> bytes:
    """The header of a directory named without a slash at its end. Raises ImageError for a bad name."""
    _check_name(name)
    return _headers(f"{name}/", mode, 0, mtime, b"5", None)


def file_header(name: str, mode: int, size: int, mtime: int, offset: int | None = None) -> bytes:
    """All that stands before a file's bytes. Raises ImageError for a name that an image cannot have.

    `offset`: where the header starts in its archive, a multiple of 512; None: do not align.
    """
    _check_name(name)
    return _headers(name, mode, size, mtime, b"0", offset if size >= ALIGNMENT else None)


def padding(size: int) -> bytes:
    """The zeros after a file's bytes."""
    return bytes(-size % BLOCK)


def _headers(name: str, mode: int, size: int, mtime: int, kind: bytes, offset: int | None) -> bytes:
    split = _split(name)
    records = b""
    if size > USTAR_SIZE:
        records += _record("size", str(size))
    if split is None:
        records += _record("path", name)
        split = name.encode("ascii", "replace")[:_NAME], b""
    records = _aligned(records, offset)
    pax = b""
    if records:
        header = _block((_PAX_NAME.encode(), b""), 0o644, len(records), mtime, b"x")
        pax = header + records + padding(len(records))
    return pax + _block(split, mode, size if size <= USTAR_SIZE else 0, mtime, kind)


def _split(name: str) -> tuple[bytes, bytes] | None:
    """The name and prefix fields of ustar, or None if they cannot hold the name."""
    if not name.isascii():
        return None
    whole = name.encode()
    if len(whole) <= _NAME:
        return whole, b""
    # several slashes may do; the last one that the prefix can hold is part of the layer format
    slash = whole.rfind(b"/", 0, min(_PREFIX + 1, len(whole) - 1))
    if slash <= 0 or len(whole) - slash - 1 > _NAME:
        return None
    return whole[slash + 1 :], whole[:slash]


def _record(key: str, value: str) -> bytes:
    """A PAX record. Its length counts itself, so one more digit can make it longer by one more."""
    body = f" {key}={value}\n".encode()
    length = len(body) + len(str(len(body)))
    if len(str(length)) > len(str(len(body))):
        length += 1
    return str(length).encode() + body


def _comment(length: int) -> bytes:
    """A PAX comment record of exactly `length` bytes, at least 12."""
    value = length - len(str(length)) - len(" comment=\n")
    return f"{length} comment={' ' * value}\n".encode()


def _aligned(records: bytes, offset: int | None) -> bytes:
    """The records with a comment by which the file's bytes start at a multiple of ALIGNMENT."""
    if offset is None or (not records and (offset + BLOCK) % ALIGNMENT == 0):
        return records
    room = -(offset + 2 * BLOCK) % ALIGNMENT  # what the records must fill beside their own header and ustar's
    while room - len(records) < _COMMENT:
        room += ALIGNMENT
    return records + _comment(room - len(records))


def _block(split: tuple[bytes, bytes], mode: int, size: int, mtime: int, kind: bytes) -> bytes:
    name, prefix = split
    block = b"".join(
        (
            name.ljust(_NAME, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % 0,  # owner
            b"%07o\0" % 0,  # group
            b"%011o\0" % size,
            b"%011o\0" % mtime,
            b" " * 8,  # the checksum counts itself as spaces
            kind,
            bytes(_NAME),  # no link
            b"ustar\00000",
            bytes(32 + 32),  # no names of owner and group
            b"%07o\0" % 0 + b"%07o\0" % 0,  # no device
            prefix.ljust(_PREFIX, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def check_mtime(mtime: int) -> None:
    """Refuse with ImageError a time that a header cannot hold: before 1970 or after 2242."""
    if not 0 <= mtime <= USTAR_SIZE:
        raise ImageError(
            f"{mtime} cannot be the time of files in an image",
            "set SOURCE_DATE_EPOCH to whole seconds since 1970, or unset it",
        )


def _check_name(name: str) -> None:
    why = _fault(name)
    if why:
        raise ImageError(f"an image cannot hold a file named {name!r}: {why}", "rename the file")


def _fault(name: str) -> str:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    parts = encoded.split(b"/")
    if b"\0" in encoded or any(part in (b"", b".", b"..") for part in parts):
        return "not a plain relative path"
    if any(part.startswith(b".wh.") for part in parts):
        return "a name that starts with .wh. deletes files of the layers below"
    if len(encoded) > _NAME_LIMIT or any(len(part) > _PART_LIMIT for part in parts):
        return f"Linux allows {_NAME_LIMIT} bytes, and {_PART_LIMIT} between slashes"
    return ""
