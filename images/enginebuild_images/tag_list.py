"""The tags of a repository, page by page (distribution spec 1.1, "Listing Tags")."""

from __future__ import annotations

import json
import re

from enginebuild_images.failure import Answer, Failure
from enginebuild_images.location import origin, resolve
from enginebuild_images.pace import Pace
from enginebuild_images.repository import Repository, Request

#: Tags per page that are asked for, and pages that are read at most: a registry that never ends is wrong.
_PAGE = 1000
_MOST_PAGES = 1000

_NEXT = re.compile(r"<([^<>]+)>\s*;[^,]*\brel=\"?next\"?")


def list_tags(repository: Repository, pace: Pace) -> list[str]:
    """Every tag, sorted; none if the repository does not exist yet. Raises RegistryError."""
    action = f"list the tags of {repository.name}"
    found: set[str] = set()
    url: str | None = None
    for _ in range(_MOST_PAGES):

        def request(url: str | None = url) -> Request:
            return Request("GET", url or repository.url(f"tags/list?n={_PAGE}"), repository.pull)

        answer = repository.ask(pace, action, request, (200, 404))
        if answer.status == 404:
            break
        listed = _tags_in(answer)
        if listed is None:
            raise Failure("the answer is not a list of tags", "see the registry's log").error(
                repository.registry, action
            )
        found |= listed
        url = _next_page(answer)
        if url is None:
            break
    return sorted(found)


def _tags_in(answer: Answer) -> set[str] | None:
    try:
        document = json.loads(answer.body)
    except ValueError:
        return None
    listed = document.get("tags") if isinstance(document, dict) else None
    if listed is None and isinstance(document, dict) and "tags" in document:
        return set()  # docker-registry says null where every tag was deleted
    if not isinstance(listed, list):
        return None
    return {tag for tag in listed if isinstance(tag, str)}


def _next_page(answer: Answer) -> str | None:
    """The next page's URL; one on another host would not get our credentials and is not followed."""
    match = _NEXT.search(answer.headers.get("link", ""))
    if match is None:
        return None
    url = resolve(answer.url, match[1])
    return url if origin(url) == origin(answer.url) else None
