"""What the builder must have for the steps that will run: asked before anything large is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from enginebuild.build import Elsewhere, Nowhere
from enginebuild.errors import RefusedError
from enginebuild.events import Report
from enginebuild.plan import plan
from enginebuild.step import Step
from enginebuild_cache import Digest, Record, Store


@runtime_checkable
class Lacking(Protocol):
    """An action that needs more than files."""

    def lacking(self) -> tuple[str, ...]:
        """What this machine lacks to run it, each as one sentence."""
        ...


def require_runner(
    steps: Sequence[Step], store: Store, report: Report, elsewhere: Elsewhere | None = None
) -> None:
    """Refuse with all that this machine lacks for the commands that no record makes needless.

    Raises RefusedError.
    """
    if not any(step.commands for step in steps):
        return
    others = elsewhere or Nowhere()

    def record_of(step: Step, key: Digest) -> Record | None:
        return store.record(key) or others.find(step, key, report)

    planned = plan(steps, record_of, lambda _step: None)
    lacking: dict[str, None] = {}
    for each in planned:
        action = each.step.action
        if each.status in ("miss", "unresolved") and isinstance(action, Lacking):
            lacking |= dict.fromkeys(action.lacking())
    if lacking:
        lines = "".join(f"\n  {line}" for line in lacking)
        raise RefusedError(
            f"this machine cannot run what is to be built:{lines}",
            "run it where that is there, or name another builder: the recipe's builder section, --runner, "
            "DOCKER_HOST",
        )
