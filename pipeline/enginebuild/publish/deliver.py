"""Sending an image to its places, and saying beforehand whether that is needed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from enginebuild.build import Outcome
from enginebuild.errors import PublishError
from enginebuild.events import Report, Status, StepFinished, StepStarted, Waiting
from enginebuild.plan import PlannedStep
from enginebuild.publish import Publisher
from enginebuild.step import unresolved_step
from enginebuild_cache import Digest, Store, Tree
from enginebuild_images.image import Image

PUBLISH_VERSION = 1


def publish_key(image: Image, places: Sequence[Publisher]) -> Digest:
    """Names one delivery. No record is kept under it: what is at a place is asked there, never remembered."""
    return Digest.of_json(
        {
            "step": "publish",
            "version": PUBLISH_VERSION,
            "image": str(image.digest),
            "places": [place.place for place in places],
        }
    )


def publish(image: Image, places: Sequence[Publisher], tree: Tree, store: Store, report: Report) -> Outcome:
    """Send the image to each place that does not have it. Raises PublishError."""
    start = time.monotonic()
    key = publish_key(image, places)
    report(StepStarted("publish", key))
    status: Status = "hit"
    if not all(place.has(image) for place in places):
        with store.lock(key.hex, lambda holder: report(Waiting("publish", holder))):
            for place in places:
                if not place.has(image):
                    status = "built"
                    place.publish(image, report)
    seconds = time.monotonic() - start
    report(StepFinished("publish", key, status, seconds))
    return Outcome("publish", key, status, seconds, tree)


def plan_publish(image: Image | None, places: Sequence[Publisher]) -> tuple[PlannedStep, int | None]:
    """Whether each place has the image, and the bytes to send; unresolved where that cannot be asked."""
    step = unresolved_step("publish", PUBLISH_VERSION, "the image is not built yet", ("image",))
    if image is None:
        return PlannedStep(step, "unresolved", reason=step.unresolved), None
    key = publish_key(image, places)
    try:
        absent = [place for place in places if not place.has(image)]
        to_send = sum(place.missing(image) for place in absent)
    except PublishError as error:
        return PlannedStep(step, "unresolved", key, reason=error.message), None
    if absent:
        where = ", ".join(place.place for place in absent)
        return PlannedStep(step, "miss", key, reason=f"not at {where}"), to_send
    return PlannedStep(step, "hit", key), 0
