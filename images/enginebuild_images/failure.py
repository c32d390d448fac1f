"""One try at a registry that did not work, and the sentence it becomes when no other try may help."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from enginebuild_cache import Json
from enginebuild_images.credentials import Found
from enginebuild_images.errors import RegistryError
from enginebuild_images.reference import DOCKER_HUB

#: Answers after which another try may work.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524})

#: Python 3.13 took RFC 9110's words for these; older ones have those of RFC 7231.
_PHRASES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}

#: Codes (OCI distribution spec 1.1, error codes) after which the whole upload is begun anew.
_LOST_UPLOAD = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UNKNOWN", "DIGEST_INVALID"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A registry's answer: header names in lower case, a body of bounded size, the URL that was asked."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Failure(Exception):  # noqa: N818 - of one try, not yet an error
    """One try that did not work.

    `what` is the end of the sentence "cannot …: what"; `hint` says what to do; `again` whether another try
    may work, not before `after` seconds if the registry named a time. `status` and `codes` are the answer's,
    if there was one.
    """

    def __init__(
        self,
        what: str,
        hint: str = "",
        *,
        again: bool = False,
        after: float | None = None,
        status: int | None = None,
        codes: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.again = again
        self.after = after
        self.status = status
        self.codes = codes

    def error(self, registry: str, action: str, tries: int = 1) -> RegistryError:
        """What the user reads."""
        times = f" ({tries} tries)" if tries > 1 else ""
        return RegistryError(f"{registry}: cannot {action}: {self.what}{times}", self.hint)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked, of which repository: what a refusal's hint is made of."""

    registry: str
    repository: str
    find: Callable[[], Found]

    @property
    def login(self) -> str:
        """The command that mends missing or old credentials."""
        return "docker login" if self.registry == DOCKER_HUB else f"docker login {self.registry}"


def refusal(answer: Answer, asker: Asker, *, sender: str = "") -> Failure:
    """The failure that an answer with an error status means. `sender` names another host that gave it."""
    codes, text = said(answer)
    what = f"{status_line(answer.status)}{': ' + text if text else ''}"
    return Failure(
        f"{sender} answered {what}" if sender else what,
        _hint(answer, codes, asker),
        again=answer.status in _PASSING or bool(codes & _LOST_UPLOAD),
        after=retry_after(answer.headers),
        status=answer.status,
        codes=codes,
    )


def status_line(status: int) -> str:
    """`404 Not Found`, in the words of RFC 9110 whatever the Python."""
    try:
        return f"{status} {_PHRASES.get(status) or HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def said(answer: Answer) -> tuple[frozenset[str], str]:
    """The registry's own error codes and words, in one printable line of at most 300 characters."""
    try:
        document: Json = json.loads(answer.body)
    except ValueError:
        return frozenset(), _line(answer.body.decode(errors="replace"))
    if not isinstance(document, dict):
        return frozenset(), ""
    errors = document.get("errors")
    entries = [entry for entry in errors if isinstance(entry, dict)] if isinstance(errors, list) else []
    codes = frozenset(code for entry in entries if isinstance(code := entry.get("code"), str))
    return codes, _line("; ".join(map(_entry, entries)) if entries else _entry(document))


def _entry(entry: Mapping[str, Json]) -> str:
    # Token servers say `details` (Docker Hub) or `error` and `error_description` (OAuth 2, RFC 6749 §5.2).
    code = entry.get("code") or entry.get("error")
    message = entry.get("message") or entry.get("error_description") or entry.get("details")
    detail = entry.get("detail")
    parts = [part for part in (code, message) if isinstance(part, str) and part]
    text = ": ".join(parts)
    return f"{text} ({detail})" if isinstance(detail, str) and detail else text


def _line(text: str) -> str:
    # Pages for people, and documents that broke off, say nothing in one line.
    if text.lstrip()[:1] in ("<", "{"):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def _hint(answer: Answer, codes: frozenset[str], asker: Asker) -> str:
    status = answer.status
    if status == 401:
        return _unauthorized(asker)
    if status == 403:
        return _forbidden(asker)
    if status == 404:
        return _not_found(codes, asker)
    if status == 413:
        return (
            "the registry, or a proxy before it, limits the size of a request: raise the limit "
            "(nginx: client_max_body_size 0), or set a smaller chunk size"
        )
    if status == 429:
        return f"wait and run again; a login may raise the limit: {asker.login}"
    if status >= 500:
        return "see the registry's own log; run again when it is well: what it already has is not sent again"
    return ""


def _unauthorized(asker: Asker) -> str:
    found = asker.find()
    if found.credential is not None:
        return f"{asker.registry} does not accept {found.credential}: log in again with `{asker.login}`"
    looked = f" (looked in {'; '.join(found.looked)})" if found.looked else ""
    return f"no credentials for {asker.registry} were found{looked}: log in with `{asker.login}`"


def _forbidden(asker: Asker) -> str:
    credential = asker.find().credential
    if credential is None:
        return _unauthorized(asker)
    return (
        f"{credential} may not do this in {asker.repository}: ask its owner for the right, "
        f"or log in as somebody who has it with `{asker.login}`"
    )


def _not_found(codes: frozenset[str], asker: Asker) -> str:
    if "NAME_UNKNOWN" in codes:
        return (
            f"the repository {asker.repository} is not there, or hidden from this user: check its name, "
            "create it if the registry does not by itself (Amazon ECR does not), or log in with "
            f"`{asker.login}`"
        )
    return f"check the name {asker.registry}/{asker.repository} and what follows it"


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds until the time that `Retry-After` names (RFC 9110 §10.2.3), or None."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
