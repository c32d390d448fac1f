"""What registries take at most, known before a byte is sent.

The table is of November 2026, from the registries' own pages unless a line says otherwise; none of it was
tried on the hosted service. Where a page leaves open whether its GB are decimal, what is too large by either
reading is refused, and what is too large by one of them warned of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from enginebuild_images.reference import DOCKER_HUB, Reference

_GB, _GIB, _MB, _MIB = 10**9, 1 << 30, 10**6, 1 << 20

#: Docker runs no more, the base's included (moby #25957).
ENGINE_LAYERS = 125
#: What every registry must be expected to take (OCI distribution spec 1.1, "Pushing Manifests").
MANIFEST = 4 * _MIB
#: From here on the time an upload may take is worth a warning.
_LONG_UPLOAD = 3 * _GB


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """Limits of a kind of registry, in bytes; `hosts` are shell patterns. None: not published.

    A layer above `layer` is refused, one above `doubtful` may be; `limit` says either in words, `source`
    where it stands. `seconds`: what an upload may take.
    """

    name: str
    hosts: tuple[str, ...]
    layer: int | None
    limit: str
    source: str
    doubtful: int | None = None
    manifest: int | None = None
    seconds: int | None = None


REGISTRIES: tuple[RegistryLimits, ...] = (
    RegistryLimits(
        "GitHub Container Registry",
        ("ghcr.io",),
        10 * _GIB,
        "10 GB a layer",
        "docs.github.com, Working with the Container registry",
        doubtful=10 * _GB,
        seconds=600,
    ),
    RegistryLimits(
        "Amazon ECR",
        ("*.dkr.ecr*.amazonaws.com", "*.dkr.ecr*.amazonaws.com.cn", "*.dkr-ecr.*.on.aws"),
        52_000 * _MIB,
        "52,000 MiB a layer",
        "docs.aws.amazon.com, Amazon ECR service quotas",
    ),
    RegistryLimits(
        "Amazon ECR Public",
        ("public.ecr.aws",),
        10_000 * _MIB,
        "10,000 MB a layer",
        "docs.aws.amazon.com, Amazon ECR Public service quotas",
        doubtful=10_000 * _MB,
    ),
    RegistryLimits(
        "Azure Container Registry",
        ("*.azurecr.io", "*.azurecr.cn", "*.azurecr.us"),
        200 * _GIB,
        "200 GiB a layer",
        "learn.microsoft.com, Azure Container Registry service tiers",
        manifest=4 * _MIB,
    ),
    RegistryLimits(
        "Google Artifact Registry",
        ("*-docker.pkg.dev", "*.gcr.io", "gcr.io"),
        None,
        "its quota is 9.9 GB of data per request, which may count for one layer",
        "cloud.google.com, Artifact Registry quotas and limits",
        doubtful=99 * _GB // 10,
    ),
    RegistryLimits("Docker Hub", (DOCKER_HUB,), None, "nothing published", "docs.docker.com, Docker Hub"),
)

#: S3 keeps a layer in at most 10,000 parts, of 10 MiB unless the registry's `chunksize` says more.
_S3_PARTS = 10_000 * 10 * _MIB
#: All other hosts; most of them run distribution, or what is made of it. It goes by its host's name.
SELF_HOSTED = RegistryLimits(
    "",
    ("*",),
    None,
    "on S3 a layer fits up to about 100 GB unless chunksize is raised",
    "distribution #4572",
    doubtful=_S3_PARTS,
)


class Finding(NamedTuple):
    """What does not fit, or may not, and what to do."""

    message: str
    hint: str


class Verdict(NamedTuple):
    """`refusals`: it cannot work. `warnings`: it may not."""

    refusals: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def limits_of(registry: str) -> RegistryLimits:
    """The limits of a registry by its host, with or without a port."""
    host = registry.lower()
    for limits in REGISTRIES:
        if any(fnmatchcase(host, pattern) for pattern in limits.hosts):
            return limits
    return SELF_HOSTED


def check_limits(
    reference: Reference, layers: Sequence[tuple[str, int]], manifest_size: int, layer_count: int
) -> Verdict:
    """Hold an image against the limits of the registry that it is to go to.

    `layers`: those that we send, what is in each and how many bytes it has. `layer_count`: all of them, the
    base's included.
    """
    limits = limits_of(reference.registry)
    name = limits.name or reference.registry
    refusals, warnings = [], []
    refused = [layer for layer in layers if limits.layer is not None and layer[1] > limits.layer]
    doubtful = [layer for layer in layers if limits.doubtful is not None and layer[1] > limits.doubtful]
    if refused:
        refusals.append(_too_large(limits, name, refused))
    elif doubtful:
        warnings.append(_doubtful(limits, name, doubtful))
    if limits.seconds is not None and layers and not refused:
        warnings += _slow(limits, name, layers)
    if manifest_size > MANIFEST:
        (refusals if limits.manifest else warnings).append(_manifest(limits, name, manifest_size))
    if layer_count > ENGINE_LAYERS:
        refusals.append(_too_many(layer_count))
    return Verdict(tuple(refusals), tuple(warnings))


def _largest(layers: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """What is said of the largest layer, and its size."""
    label, size = max(layers, key=lambda layer: layer[1])
    others = f" (and {len(layers) - 1} more are too large)" if len(layers) > 1 else ""
    return f"the layer of {label} has {_size(size)}{others}", size


def _too_large(limits: RegistryLimits, name: str, layers: Sequence[tuple[str, int]]) -> Finding:
    largest, size = _largest(layers)
    return Finding(f"{largest}, and {name} takes {limits.limit} at most ({limits.source})", _advice(size))


def _doubtful(limits: RegistryLimits, name: str, layers: Sequence[tuple[str, int]]) -> Finding:
    largest, size = _largest(layers)
    return Finding(f"{largest}, and {name} may refuse it: {limits.limit} ({limits.source})", _advice(size))


def _slow(limits: RegistryLimits, name: str, layers: Sequence[tuple[str, int]]) -> list[Finding]:
    label, size = max(layers, key=lambda layer: layer[1])
    if limits.seconds is None or size < _LONG_UPLOAD:
        return []
    rate = round(size * 8 / (limits.seconds * 10**6))
    return [
        Finding(
            f"{name} ends an upload after {limits.seconds // 60} minutes ({limits.source}), and the layer of "
            f"{label} has {_size(size)}: it needs {rate} Mb/s for itself",
            "push over a fast uplink, one layer at a time: --jobs 1",
        )
    ]


def _manifest(limits: RegistryLimits, name: str, size: int) -> Finding:
    source = limits.source if limits.manifest else "OCI distribution spec 1.1"
    verb = "takes 4 MiB at most" if limits.manifest else "need not take more than 4 MiB"
    return Finding(
        f"the manifest has {_size(size)}, and {name} {verb} ({source})", "shorten the image's annotations"
    )


def _too_many(count: int) -> Finding:
    return Finding(
        f"the image has {count} layers, and Docker runs at most {ENGINE_LAYERS} (moby #25957)",
        "name a base image with fewer layers",
    )


def _advice(size: int) -> str:
    """A file is at least one layer, so only another registry or smaller files help."""
    takers = [
        f"{limits.name} ({limits.limit})"
        for limits in REGISTRIES
        if limits.layer is not None and size <= (limits.doubtful or limits.layer)
    ]
    own = "a registry of your own"
    takers.append(own if size <= _S3_PARTS else f"{own} that keeps its layers on a disk")
    return f"push to {' or '.join(takers)}, or save the model in smaller files"


def _size(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / _MB:.1f} MB"
