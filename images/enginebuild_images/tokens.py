"""The `Authorization` of requests to one repository: Basic, or bearer tokens that are renewed in time.

The protocol is the distribution project's token authentication: a 401 names a realm, which gives a token for
scopes (`repository:team/app:pull,push`) that lasts `expires_in` seconds, 60 if it does not say.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

from enginebuild_images.challenge import Challenge, parse_challenges
from enginebuild_images.credentials import Credential, Credentials, Found, Secret
from enginebuild_images.failure import Answer, Asker, Failure, refusal
from enginebuild_images.location import check_target, origin, with_query
from enginebuild_images.transport import Transport

#: Seconds a token lasts that does not say how long.
DEFAULT_LIFETIME = 60.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: Secret
    until: float


class Authorizer:
    """Knows what a repository's registry demands, and meets it. Safe for several threads.

    Nothing is known, and nothing sent, until the first 401. `base` is the registry's URL.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        registry: str,
        repository: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._registry = registry
        self._repository = repository
        self._clock = clock
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._base = ""
        self._tokens: dict[frozenset[str], _Token] = {}

    @cached_property
    def _found(self) -> Found:
        return self._credentials.find(self._registry, self._repository)

    @property
    def asker(self) -> Asker:
        """What error messages say of these credentials."""
        return Asker(self._registry, self._repository, lambda: self._found)

    def header(self, scopes: frozenset[str], fresh_for: float) -> str | None:
        """The header's value, if it is known that one is needed.

        A token that ends within `fresh_for` seconds is renewed first. Raises Failure if that is refused.
        """
        with self._lock:
            return self._value(scopes, fresh_for)

    def renew(self, answer: Answer, scopes: frozenset[str], used: str | None) -> str | None:
        """Another value than `used` after a 401, or None if there is none to be had. Raises Failure."""
        chosen = _choose(parse_challenges(answer.headers.get("www-authenticate", "")))
        if chosen is None:
            return None
        with self._lock:
            self._challenge, self._base = chosen, answer.url
            token = self._tokens.get(scopes)
            if token is not None and f"Bearer {token.text.reveal()}" == used:
                del self._tokens[scopes]
            value = self._value(scopes, 0.0)
        return value if value != used else None

    def _value(self, scopes: frozenset[str], fresh_for: float) -> str | None:
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            credential = self._found.credential
            return None if credential is None or credential.is_identity_token else _basic(credential)
        token = self._tokens.get(scopes)
        if token is None or token.until - self._clock() <= fresh_for:
            token = self._fetch(self._challenge, scopes)
            self._tokens[scopes] = token
        return f"Bearer {token.text.reveal()}"

    def _fetch(self, challenge: Challenge, scopes: frozenset[str]) -> _Token:
        realm = challenge.parameters["realm"]
        here, there = origin(self._base), origin(realm)
        check_target(here, there)
        credential = self._found.credential
        if credential is not None and here.scheme == "https" and there.scheme == "http":
            raise Failure(
                f"its token server {there} wants the credentials over plain HTTP",
                "this is a mistake in the registry's configuration: its token realm must begin with https://",
            )
        wanted = sorted(scopes | frozenset(challenge.parameters.get("scope", "").split()))
        started = self._clock()
        try:
            answer = self._ask(realm, challenge.parameters.get("service", ""), wanted, credential)
        except Failure as failure:
            raise Failure(
                f"the token server {there}: {failure.what}",
                failure.hint,
                again=failure.again,
                after=failure.after,
            ) from failure
        if answer.status != 200:
            refused = refusal(answer, self.asker, sender=f"the token server {there}")
            raise Failure(refused.what, refused.hint, again=refused.again, after=refused.after)
        return _read(answer, started, str(there))

    def _ask(self, realm: str, service: str, scopes: list[str], credential: Credential | None) -> Answer:
        if credential is not None and credential.is_identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "enginebuild",
                "scope": " ".join(scopes),
                "refresh_token": credential.secret.reveal(),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._send("POST", realm, headers, urlencode(form).encode())
        url = with_query(realm, service=service) if service else realm
        for scope in scopes:
            url = with_query(url, scope=scope)
        return self._send("GET", url, {"Authorization": _basic(credential)} if credential else {}, b"")

    def _send(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._transport.exchange(method, url, headers, body) as exchange:
            return exchange.answer()


def _choose(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """Bearer before Basic: a token says less than a password."""
    bearer = [c for c in challenges if c.scheme == "bearer" and c.parameters.get("realm")]
    basic = [c for c in challenges if c.scheme == "basic"]
    return next(iter((*bearer, *basic)), None)


def _basic(credential: Credential) -> str:
    pair = f"{credential.user}:{credential.secret.reveal()}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _read(answer: Answer, started: float, server: str) -> _Token:
    try:
        document = json.loads(answer.body)
        text = document.get("token") or document["access_token"]
    except (ValueError, KeyError, TypeError, AttributeError):
        text = None
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable():
        raise Failure(f"the token server {server} gave no token", "see the token server's log")
    seconds = document.get("expires_in")
    known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
    return _Token(Secret(text), started + (float(seconds) if known else DEFAULT_LIFETIME))
