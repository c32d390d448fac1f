"""What `verify` measured of a recipe's model, from the store's records, and how long its engine took."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import cast

from enginebuild.advise.advice import Candidate
from enginebuild.advise.figure import Figure
from enginebuild.recipe import Recipe
from enginebuild.steps.image import DESCRIPTION
from enginebuild.verify.gate import VERIFY
from enginebuild.verify.report import REPORT_FILE
from enginebuild_cache import CacheError, Digest, Json, Record, Store
from enginebuild_images.description import ImageDescription

_SECONDS_PER_HOUR = 3600


def measured(store: Store, recipe: Recipe, model: Digest | None) -> tuple[Candidate, ...]:
    """A candidate for each verification with a benchmark on GPUs, of this model's images or this recipe's.

    `model` is the digest of the model's files, where it is known. Of several measurements of one the latest
    counts. Output tokens, at the best number of requests at a time.
    """
    labels = _labels_by_image(store)
    found: dict[str, tuple[str, Candidate]] = {}
    for record, report in _reports(store):
        told = labels.get(str(report.get("image")), {})
        same_model = model is not None and told.get("enginebuild.model.digest") == str(model)
        if same_model or record.provenance.get("subject") == recipe.name:
            candidate = candidate_of(report, told, str(record.provenance.get("subject")))
            finished = str(report.get("finished"))
            if candidate is not None and finished >= found.get(candidate.name, ("",))[0]:
                found[candidate.name] = (finished, candidate)
    return tuple(candidate for _, candidate in found.values())


def compile_minutes(store: Store, recipe: Recipe) -> Figure | None:
    """How long the recipe's last compilation took; None if it was never made here."""
    record = store.last_record("compile", recipe.name)
    if record is None or record.provenance.get("subject") != recipe.name:
        return None
    seconds = record.provenance.get("seconds")
    if not isinstance(seconds, int | float):
        return None
    source = f"the record {record.key.short} of {record.provenance.get('finished')}"
    return Figure(round(seconds / 60, 2), "measured", source)


def candidate_of(report: Mapping[str, Json], labels: Mapping[str, str], subject: str) -> Candidate | None:
    """None without a benchmark, or without GPUs."""
    rows = [row for row in _list(report.get("performance")) if isinstance(row, dict)]
    gpus = [str(gpu) for gpu in _list(report.get("gpus"))]
    engine = labels.get("enginebuild.engine")
    if not rows or not gpus or engine is None:
        return None
    best = max(rows, key=lambda row: _number(row.get("output_throughput")))
    rate = _number(best.get("output_throughput")) / len(gpus) * _SECONDS_PER_HOUR
    if rate <= 0:
        return None
    mode = "-pytorch" if labels.get("enginebuild.mode") == "pytorch" else ""
    source = (
        f"verify of {subject}, {report.get('finished')}: {best.get('concurrency')} at a time on {gpus[0]}"
    )
    figure = Figure(round(rate), "measured", source)
    return Candidate(f"{engine}{mode}", labels.get("enginebuild.quantization", ""), len(gpus), figure)


def _reports(store: Store) -> Iterator[tuple[Record, dict[str, Json]]]:
    for record in store.records():
        report = _document(store, record, REPORT_FILE) if record.step == VERIFY else {}
        if report:
            yield record, report


def _labels_by_image(store: Store) -> dict[str, Mapping[str, str]]:
    """What images of the records say of themselves, by digest."""
    found: dict[str, Mapping[str, str]] = {}
    for record in store.records():
        document = _document(store, record, DESCRIPTION) if record.step == "image" else {}
        if document:
            description = ImageDescription.from_json(document)
            config = json.loads(description.config).get("config") or {}
            found[str(description.digest)] = cast("Mapping[str, str]", config.get("Labels") or {})
    return found


def _document(store: Store, record: Record, path: str) -> dict[str, Json]:
    """A record whose file somebody removed has nothing to tell."""
    try:
        document = json.loads(store.read_bytes(record.tree.file(path)))
    except (CacheError, KeyError):
        return {}
    return document if isinstance(document, dict) else {}


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
