"""The Hugging Face Hub: the only module that imports huggingface_hub, and only when the Hub is asked.

The library does metadata, tokens, headers, URLs and its HTTP client (proxies, trust store, offline switch).
Bodies are streamed here instead of with its `http_get`, because that neither digests nor resumes after a
process that died (huggingface_hub #4306). The environment is read at each call, by the library's rules.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from enginebuild.errors import SourceError
from enginebuild.sources import hub_words
from enginebuild.sources.hub_cache import cached_copy
from enginebuild.sources.hub_words import About
from enginebuild.sources.model import ModelRequest
from enginebuild.sources.origin import Body, Listing, Patience, RemoteFile, TransientError
from enginebuild_cache import Digest, File, Tree

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile, RepoSibling

DEFAULT_ENDPOINT = "https://huggingface.co"

#: Above this many files the Hub's info may not name all (huggingface_hub, VERY_LARGE_REPO_THRESHOLD).
_INFO_LIMIT = 50_000
_TRUE = {"1", "ON", "YES", "TRUE"}
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_NO_DIGEST = "0" * 64
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
T = TypeVar("T")


class Hub:
    """One repository of the Hub, as one recipe reads it. Satisfies `Origin` once `commit` is set."""

    def __init__(self, request: ModelRequest, repository: str, commit: str | None = None) -> None:
        """Reads the token; raises SourceError for one that cannot be one."""
        self.repository = repository
        self.repo_type = request.repo_type
        self.commit = commit
        self._token, place = _token(request.token_variable)
        endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        page = repository if request.repo_type == "model" else f"datasets/{repository}"
        self.about = About(request.source, page, endpoint, request.token_variable, place)

    @property
    def name(self) -> str:
        return self.about.source

    @property
    def place(self) -> str:
        return self.about.endpoint

    @property
    def forbidden_by(self) -> str | None:
        """The environment variable that forbids requests, if one does."""
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            if os.environ.get(variable, "").upper() in _TRUE:
                return variable
        return None

    def offline(self, missing: list[str]) -> SourceError:
        """What to raise when `forbidden_by` is set and these files (none: the listing) are needed."""
        return hub_words.offline(self.about, self.forbidden_by or "HF_HUB_OFFLINE", missing)

    def listing(self, revision: str, patience: Patience) -> Listing:
        """The files at a branch, tag or commit, and its commit. Raises SourceError."""
        if self.forbidden_by:
            raise self.offline([])
        info = self._ask(lambda: self._info(revision), patience, revision)
        siblings = info.siblings or []
        if len(siblings) < _INFO_LIMIT and all(_complete(sibling) for sibling in siblings):
            files = [_from_sibling(sibling) for sibling in siblings]
        else:
            entries = self._ask(lambda: self._tree(info.sha or revision), patience, revision)
            files = [_from_entry(entry) for entry in entries]
        if info.sha is None:
            raise hub_words.no_hub(self.about, "it names no commit")
        self._check(info.sha, files)
        return Listing(info.sha, tuple(files), _licence(info))

    @contextmanager
    def open(self, path: str, offset: int, end: int | None = None) -> Iterator[Body]:
        """The file's bytes from an offset on, to before `end`; all from 0 where the server has no ranges.

        No If-Range: at a commit the bytes of a URL never change, the whole file is digested in the end, and a
        CDN's ETag is not the Hub's, so it would throw away every partial file.
        """
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # loaded lazily

        assert self.commit is not None
        url = hf_hub_url(
            self.repository,
            path,
            repo_type=self.repo_type,
            revision=self.commit,
            endpoint=self.about.endpoint,
        )
        headers = build_hf_headers(token=self._token or False) | {"Accept-Encoding": "identity"}
        if offset or end is not None:
            headers["Range"] = f"bytes={offset}-{'' if end is None else end - 1}"
        with (
            self._failures(path),
            get_session().stream("GET", url, headers=headers, timeout=_timeout()) as response,
        ):
            yield self._body(response)

    def cached(self, file: RemoteFile) -> str | None:
        blob = cached_copy(self.repository, self.commit, file, self.repo_type)
        return None if blob is None else str(blob)

    def _check(self, commit: str, files: list[RemoteFile]) -> None:
        """Refuse what no Hub lists, before a path or a digest of it is used."""
        if not _COMMIT.match(commit):
            raise hub_words.no_hub(self.about, f"{commit!r} is no commit")
        try:
            Tree.of(File(file.path, Digest(file.sha256 or _NO_DIGEST), file.size) for file in files)
        except (ValueError, TypeError) as error:
            raise hub_words.no_hub(self.about, str(error)) from error

    def _info(self, revision: str) -> ModelInfo | DatasetInfo:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.about.endpoint, token=self._token or False)
        ask = api.dataset_info if self.repo_type == "dataset" else api.model_info
        return ask(self.repository, revision=revision, files_metadata=True, timeout=_timeout())

    def _tree(self, revision: str) -> list[RepoFile]:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        api = HfApi(endpoint=self.about.endpoint, token=self._token or False)
        entries = api.list_repo_tree(
            self.repository, repo_type=self.repo_type, revision=revision, recursive=True
        )
        return [entry for entry in entries if isinstance(entry, RepoFile)]

    def _branches(self) -> list[str]:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.about.endpoint, token=self._token or False)
        try:
            refs = api.list_repo_refs(self.repository, repo_type=self.repo_type)
        except Exception:  # noqa: BLE001 - only adds a proposal to an error that is raised anyway
            return []
        return [ref.name for ref in (*refs.branches, *refs.tags)]

    def _ask(self, call: Callable[[], T], patience: Patience, revision: str) -> T:
        for failures in range(1, patience.attempts + 1):
            try:
                with self._failures("", revision), self._not_json():
                    return call()
            except TransientError as error:
                if failures == patience.attempts or error.refused:
                    raise error.final from error
                time.sleep(patience.pause(failures, error.wait))
        raise AssertionError("a request is made at least once")

    def _body(self, response: Response) -> Body:
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined] # loaded lazily

        if response.status_code >= 400:
            response.read()
            hf_raise_for_status(response)
        encoded = "Content-Encoding" in response.headers
        chunks = response.iter_bytes() if encoded else response.iter_raw()
        length = None if encoded else _number(response.headers.get("Content-Length", ""))
        total = _total(response) if response.status_code == 206 else length
        return Body(_offset(response), length, chunks, total)

    @contextmanager
    def _failures(self, path: str, revision: str = "") -> Iterator[None]:
        """Turn what the library and its HTTP client raise into SourceError or TransientError."""
        import httpx2
        from huggingface_hub import errors

        try:
            yield
        except errors.HfHubHTTPError as error:
            self._raise_answer(error, path, revision)
        except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
            self._raise_transport(error)
        except errors.HFValidationError as error:
            raise SourceError(
                f"not a Hugging Face repository: {self.about.source!r}",
                "write hf://organisation/name, as in the model's URL",
            ) from error

    @contextmanager
    def _not_json(self) -> Iterator[None]:
        """The library takes answers apart without looking: what it raises then is the server's fault."""
        from huggingface_hub.errors import HFValidationError

        try:
            yield
        except HFValidationError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise hub_words.no_hub(self.about, "its answer is not the JSON of that request") from error

    def _raise_answer(self, error: Any, path: str, revision: str) -> NoReturn:
        from huggingface_hub import errors

        about, status = self.about, error.response.status_code
        text = " ".join((error.server_message or "").split())[:200]
        match error:
            case errors.GatedRepoError():
                raise hub_words.gated(about) from error
            case errors.RevisionNotFoundError():
                wanted = revision or self.commit or ""
                raise hub_words.no_revision(about, wanted, self._branches()) from error
            case errors.RepositoryNotFoundError():
                raise hub_words.not_found(about) from error
            case errors.EntryNotFoundError():
                raise hub_words.no_file(about, path, self.commit or "") from error
        if status in _TRY_AGAIN:
            final = hub_words.answered(about, status, text)
            raise TransientError(
                f"{about.endpoint} answers {status}", _retry_after(error.response), final
            ) from error
        if status == 401:
            # Anonymous requests get it for what does not exist and for what is private alike.
            raise (hub_words.bad_token if about.token_place else hub_words.not_found)(about) from error
        if status == 403:
            raise hub_words.forbidden(about, text) from error
        raise hub_words.answered(about, status, text) from error

    def _raise_transport(self, error: Exception) -> NoReturn:
        import httpx2

        causes = list(_causes(error))
        host = httpx2.URL(self.about.endpoint).host
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            raise hub_words.unreachable(
                self.about,
                "its TLS certificate is not trusted",
                "add your company's certificate to the system's trust store, or name it in SSL_CERT_FILE",
            ) from error
        if isinstance(error, httpx2.TooManyRedirects | httpx2.UnsupportedProtocol):
            raise hub_words.unreachable(self.about, str(error)) from error
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            reason = f"the name {host} cannot be resolved"
        elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
            reason = "connection refused"
        elif isinstance(error, httpx2.TimeoutException):
            reason = f"no answer within {_timeout():g} s"
        elif isinstance(error, httpx2.ConnectError):
            reason = f"no connection ({error})"
        else:
            reason = "the connection was dropped"
        refused = isinstance(error, httpx2.ConnectError)
        raise TransientError(reason, None, hub_words.unreachable(self.about, reason), refused) from error


def _token(variable: str) -> tuple[str | None, str | None]:
    """The token and where it was found."""
    value, place = os.environ.get(variable), f"in {variable}"
    if value is None and variable == "HF_TOKEN":
        value, place = _stored_token()
    value = (value or "").strip()
    if not value:
        return None, None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise hub_words.not_a_token(variable)
    return value, place


def _stored_token() -> tuple[str | None, str]:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None, ""
    try:
        return get_token(), "stored by `hf auth login`"
    except Exception as error:
        raise SourceError(
            f"huggingface_hub cannot read its token: {error}",
            "set HF_TOKEN, or log in again with `hf auth login`",
        ) from error


def _timeout() -> float:
    """Seconds without a byte, as huggingface_hub reads it."""
    value = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
    return float(value) if value.isdigit() and int(value) else 10.0


def _complete(sibling: RepoSibling) -> bool:
    return sibling.size is not None and sibling.blob_id is not None


def _from_sibling(sibling: RepoSibling) -> RemoteFile:
    assert sibling.size is not None
    assert sibling.blob_id is not None
    if sibling.lfs is None:
        return RemoteFile(sibling.rfilename, sibling.size, sibling.blob_id, None)
    return RemoteFile(sibling.rfilename, sibling.lfs.size, sibling.blob_id, sibling.lfs.sha256)


def _from_entry(entry: RepoFile) -> RemoteFile:
    if entry.lfs is None:
        return RemoteFile(entry.path, entry.size, entry.blob_id, None)
    return RemoteFile(entry.path, entry.lfs.size, entry.blob_id, entry.lfs.sha256)


def _licence(info: ModelInfo | DatasetInfo) -> str | None:
    card = info.card_data
    named = getattr(card, "license", None)
    if named == "other":
        named = getattr(card, "license_name", None) or named
    if isinstance(named, str) and named:
        return named
    tags = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    return tags[0] if tags else None


def _offset(response: Response) -> int:
    if response.status_code != 206:
        return 0
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


def _total(response: Response) -> int | None:
    """The whole file's size, which follows the slash of a Content-Range."""
    return _number(response.headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _retry_after(response: Response) -> float | None:
    """Seconds; the HTTP date form, which the Hub does not send, counts as none."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
