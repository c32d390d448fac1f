"""What is said when the Hub refuses, one text for each reason. A token is named by its place, never shown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from enginebuild.errors import SourceError


@dataclass(frozen=True, slots=True)
class About:
    """What was asked, of whom and with which token. `token_place` is None for an anonymous request."""

    source: str
    repository: str
    endpoint: str
    token_variable: str
    token_place: str | None

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{self.repository}"

    @property
    def token_page(self) -> str:
        return f"{self.endpoint}/settings/tokens"


def gated(about: About) -> SourceError:
    if about.token_place is None:
        return SourceError(
            f"{about.source} is gated: only accounts that were granted access may read its files",
            f"accept its terms or ask for access at {about.page}, then set {about.token_variable} to a token "
            f"of that account ({about.token_page})",
        )
    return SourceError(
        f"{about.source} is gated, and the account of the token {about.token_place} has no access to it",
        f"accept its terms or ask for access at {about.page} with that account, or use another one's token",
    )


def not_found(about: About) -> SourceError:
    message = f"{about.source} was not found at {about.endpoint}"
    if about.token_place is None:
        return SourceError(
            message,
            "check the spelling; a private repository looks like this too: to read one, set "
            f"{about.token_variable} to a token that may ({about.token_page})",
        )
    return SourceError(
        message,
        "check the spelling; a private repository looks like this too, if the token "
        f"{about.token_place} may not read it",
    )


def bad_token(about: About) -> SourceError:
    return SourceError(
        f"{about.endpoint} does not accept the token {about.token_place}",
        f"it may be mistyped, expired or revoked: make a new one at {about.token_page} "
        f"and set {about.token_variable} to it",
    )


def not_a_token(variable: str) -> SourceError:
    return SourceError(
        f"{variable} does not hold a token: it has spaces or characters that no token has",
        f"set {variable} to the token alone, without quotes or line breaks",
    )


def forbidden(about: About, text: str) -> SourceError:
    said = f": {text}" if text else ""
    who = "without a token" if about.token_place is None else f"with the token {about.token_place}"
    return SourceError(
        f"{about.endpoint} forbids to read {about.source} {who}{said}",
        f"give the token the right to read this repository ({about.token_page}), or set "
        f"{about.token_variable} to another one",
    )


def no_revision(about: About, revision: str, known: Sequence[str]) -> SourceError:
    message = f"{about.source} has no revision {revision!r}"
    close = difflib.get_close_matches(revision, known, 1)
    if close:
        return SourceError(message, f"did you mean {close[0]!r}?")
    if known:
        listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        return SourceError(message, f"it has {listed}; a commit is named by all its 40 digits")
    return SourceError(message, "name a branch, a tag or a commit by all its 40 digits")


def no_file(about: About, path: str, commit: str) -> SourceError:
    return SourceError(
        f"{about.source} has no file {path} at commit {commit}",
        "its history may have been rewritten: lock the recipe again with `enginebuild lock`",
    )


def offline(about: About, variable: str, missing: Sequence[str]) -> SourceError:
    if not missing:
        return SourceError(
            f"{about.source} cannot be resolved: {variable} forbids to ask the Hub",
            f"unset {variable}, or use a recipe with its lock whose files are in the cache",
        )
    more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
    are = "are" if len(missing) > 1 else "is"
    return SourceError(
        f"{missing[0]}{more} of {about.source} {are} not in the cache, and {variable} forbids to fetch",
        f"unset {variable}, or fetch the model once on a machine with the same cache",
    )


def unreachable(about: About, reason: str, hint: str = "") -> SourceError:
    return SourceError(
        f"{about.endpoint} cannot be reached: {reason}",
        hint or "check the network and HF_ENDPOINT; behind a proxy, set HTTPS_PROXY",
    )


def answered(about: About, status: int, text: str) -> SourceError:
    said = f" ({text})" if text else ""
    hint = "try again later" if status >= 500 or status == 429 else "check HF_ENDPOINT"
    return SourceError(f"{about.endpoint} answers {status} for {about.source}{said}", hint)


def no_hub(about: About, reason: str) -> SourceError:
    return SourceError(
        f"{about.endpoint} does not answer as a Hugging Face Hub does: {reason}",
        "check HF_ENDPOINT, and whether a proxy wants you to log in",
    )


def gave_up(about_name: str, path: str, done: int, size: int, attempts: int, reason: str) -> SourceError:
    return SourceError(
        f"{about_name}: {path} could not be fetched: {reason} ({attempts} attempts without progress, "
        f"{done} of {size} bytes are here)",
        "run again to go on from there",
    )


def wrong_size(about_name: str, path: str, expected: int, got: int) -> SourceError:
    return SourceError(
        f"{about_name}: {path} should have {expected} bytes, the server sends {got}",
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT",
    )


def wrong_bytes(about_name: str, path: str, text: str) -> SourceError:
    return SourceError(
        f"{about_name}: {path} has the right length but not the right bytes: {text}",
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT",
    )


def wrong_range(about_name: str, path: str, asked: int, got: int) -> SourceError:
    return SourceError(
        f"{about_name}: {path} was asked for from byte {asked} on, the server answers from byte {got} on",
        "the server or a proxy on the way is at fault; try again, or another HF_ENDPOINT",
    )
