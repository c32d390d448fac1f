"""What is looked at again and again while many recipes are planned, each once: records, facts of models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from enginebuild.lock import ModelLock
from enginebuild.model_facts import facts_at_hand
from enginebuild.models import ModelFacts
from enginebuild.past import Past
from enginebuild.recipe import Recipe
from enginebuild.resolve import Unresolved, model_request
from enginebuild.sources import ModelRequest
from enginebuild_cache import Digest, Record, Store


@dataclass
class _Step:
    """A step's records, the one used last first, as far as somebody asked."""

    unread: Iterator[Record]
    newest: Record | None = None
    by_subject: dict[str, Record] = field(default_factory=dict)

    def last(self, subject: str) -> Record | None:
        while subject not in self.by_subject:
            record = next(self.unread, None)
            if record is None:
                break
            self.newest = self.newest or record
            self.by_subject.setdefault(str(record.provenance.get("subject")), record)
        return self.by_subject.get(subject, self.newest)


@dataclass(frozen=True)
class History:
    """The records of a cache and the facts of models, as they are when they are first looked at."""

    store: Store
    found: dict[Digest, Record | None] = field(default_factory=dict)
    steps: dict[str, _Step] = field(default_factory=dict)
    models: dict[ModelRequest, ModelFacts | None] = field(default_factory=dict)

    @cached_property
    def past(self) -> Past:
        """How long steps took."""
        return Past(self.store)

    def record(self, key: Digest) -> Record | None:
        """See `Store.record`."""
        if key not in self.found:
            self.found[key] = self.store.record(key)
        return self.found[key]

    def facts(self, recipe: Recipe, model: ModelLock | Unresolved) -> ModelFacts | None:
        """See `facts_at_hand`; None of a model that is not resolved: a plan says why, and goes on."""
        if not isinstance(model, ModelLock):
            return None
        request = model_request(recipe)
        if request not in self.models:
            self.models[request] = facts_at_hand(recipe, model, self.store)
        return self.models[request]

    def last_record(self, step: str, subject: str) -> Record | None:
        """See `Store.last_record`."""
        if step not in self.steps:
            self.steps[step] = _Step(self.store.records_of(step))
        return self.steps[step].last(subject)
