"""The facts of a recipe's model where they are asked for: what is at hand, and what its source says.

A config.json is a small file, and in the store once the model is resolved; the headers of safetensors files
are read where they lie, or asked for where config.json leaves doubt (`ModelFacts.doubtful`) or a user asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enginebuild.errors import SourceError
from enginebuild.events import Report, silent
from enginebuild.lock import ModelLock
from enginebuild.models import ModelFacts, facts_of
from enginebuild.recipe import Recipe
from enginebuild.resolve import Resolution, Unresolved, asked_of, model_request
from enginebuild.sources import ModelRequest, read_config, read_folder_config
from enginebuild.sources import resolve as resolve_source
from enginebuild.sources.origin import Patience
from enginebuild_cache import Json, Store

if TYPE_CHECKING:
    from enginebuild.sources.headers import Headers

CONFIG = "config.json"
#: One try: who goes on without the facts is not kept waiting.
_ONCE = Patience(attempts=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source said. `headers` None: the model has no safetensors."""

    facts: ModelFacts | None
    headers: Headers | None


def facts_at_hand(recipe: Recipe, model: ModelLock | None, store: Store | None) -> ModelFacts | None:
    """What can be known without a network: of a folder, of a locked model whose config.json is in the store.

    None where that is not there; whoever fetches the model says what is wrong with it. Raises SourceError for
    weights whose headers are here and broken.
    """
    request = model_request(recipe)
    if request.source.startswith("file:"):
        return _of_folder(request)
    if model is None or store is None or model.asked != asked_of(request):
        return None
    config = next((file for file in model.tree if file.path == CONFIG), None)
    if config is None or not store.has(config.digest):
        return None
    read = read_config(request, model.commit, model.tree, store, silent, _ONCE)
    return _facts(read, model, _headers_here(request, model, store))


def asked_facts(recipe: Recipe, store: Store, report: Report) -> Asked:
    """What the model's source says now: its list of files, its small ones and the headers of the others.

    Raises SourceError.
    """
    from enginebuild.sources.headers import ask_headers

    request = model_request(recipe)
    resolved = resolve_source(request, store, report)
    model = ModelLock({}, resolved.commit, resolved.tree, resolved.licence)
    here = _headers_here(request, model, store)
    headers = here or ask_headers(request, model.commit, model.tree, store)
    config = _config(request, model, store, report)
    return Asked(None if config is None else _facts(config, model, headers), headers)


def facts_to_build(
    recipe: Recipe, resolution: Resolution, model: ModelLock, store: Store, report: Report, *, fetched: bool
) -> ModelFacts | None:
    """Before anything is made of a model; `fetched`: its source will be asked for what is not here.

    Then what the source refuses is raised at once, as SourceError, and headers are asked for where there is
    doubt. A source that does not answer is left to the step that fetches, which is more patient.
    """
    request, config = model_request(recipe), resolution.config
    read = config if config is not None and not isinstance(config, Unresolved) else None
    read = _config(request, model, store, report) if read is None else read
    here = _headers_here(request, model, store)
    facts = None if read is None else _facts(read, model, here)
    if not fetched or model.commit is None:
        return facts
    if read is None or facts is None or not facts.doubtful:
        from enginebuild.sources.resolve import require_access

        require_access(request, model.commit, model.tree, store)
        return facts
    return _facts(read, model, _asked_now(request, model, store))


def _asked_now(request: ModelRequest, model: ModelLock, store: Store) -> Headers | None:
    from enginebuild.sources.headers import UnavailableError, ask_headers

    try:
        return ask_headers(request, model.commit, model.tree, store, _ONCE)
    except UnavailableError:
        return None


def _headers_here(request: ModelRequest, model: ModelLock, store: Store) -> Headers | None:
    from enginebuild.sources.headers import folder_headers, headers_at_hand

    if request.source.startswith("file:"):
        return folder_headers(request)
    return headers_at_hand(request, model.tree, store)


def _facts(config: Mapping[str, Json], model: ModelLock, headers: Headers | None) -> ModelFacts:
    tensors = None if headers is None else headers.tensors
    return facts_of(config, licence=model.licence, tree=model.tree, tensors=tensors)


def _config(
    request: ModelRequest, model: ModelLock, store: Store, report: Report
) -> Mapping[str, Json] | None:
    """None where the model has no config.json or it cannot be had: fetching says so, if it matters."""
    try:
        return read_config(request, model.commit, model.tree, store, report, _ONCE)
    except SourceError:
        return None


def _of_folder(request: ModelRequest) -> ModelFacts | None:
    from enginebuild.sources.folder import licence
    from enginebuild.sources.headers import folder_headers

    try:
        config = read_folder_config(request)
    except SourceError:
        return None
    headers = folder_headers(request)
    tensors = None if headers is None else headers.tensors
    return facts_of(config, licence=licence(request), tensors=tensors)
